"""A matplotlib figure as a small, accessible, theme-aware piece of inline SVG.

What matplotlib writes is parsed and rebuilt from lists of allowed elements, attributes and values,
so that nothing of a chart leaves that is not a shape, a text or a colour.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from salesops_kit.display.palette import VARIABLES
from salesops_kit.formats import visible

FONT_FAMILY = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, "
    "'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Apple SD Gothic Neo', 'Malgun Gothic', "
    "'Noto Sans CJK KR', sans-serif, 'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Color Emoji'"
)
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = frozenset(
    {"g", "path", "text", "tspan", "rect", "line", "circle", "polygon", "polyline"}
    | {"use", "defs", "clipPath", "pattern"}
)
_GEOMETRY = frozenset(
    {"d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "cx", "cy", "r", "points", "transform"}
    | {"patternUnits"}
)
_PAINT = frozenset({"fill", "stroke"})
_STYLE = frozenset(
    {"fill-opacity", "stroke-opacity", "opacity", "stroke-width", "stroke-dasharray", "stroke-linecap"}
    | {"stroke-linejoin", "font-size", "font-weight", "font-style", "text-anchor", "fill-rule", "clip-rule"}
)
_DEFAULTS = {
    ("stroke-dashoffset", "0"),
    ("stroke-linejoin", "miter"),
    ("stroke-linecap", "butt"),
    ("text-anchor", "start"),
    ("font-weight", "400"),
    ("opacity", "1"),
}
_HEX = re.compile(r"#[0-9a-f]{6}")
_PLAIN_VALUE = re.compile(r"[-+0-9a-zA-Z.,% ()]*")
_LOCAL_URL = re.compile(r"url\(#([\w.-]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+e-?\d+")
_NO_TURN = re.compile(r"rotate\(-?0(?:\.0+)? [^)]*\)")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_THIN_ABOVE_POINTS = 60
_THIN_TOLERANCE = 0.25
_NATURAL_SCALE = 1.35


def figure_svg(figure: Figure, *, title: str, description: str, figure_id: str | None = None) -> str:
    """The figure as an ``<svg role="img">`` string, named by ``title`` and told by ``description``.

    Text stays text in the reader's own fonts; colours of the palette become
    ``var(--name, #hex)``; ids start with ``figure_id`` (by default a digest of the drawing and its
    words); the picture scales with its column. The same figure gives the same bytes.

    Raises ValueError when title or description is empty: a picture without words is not published.
    """
    title, description = visible(title).strip(), visible(description).strip()
    if not title or not description:
        raise ValueError("a figure needs a title and a description: expected text, got an empty one")
    drawing = _draw(figure)
    source = ET.fromstring(drawing)  # noqa: S314 - matplotlib wrote it just now; it holds no entities
    prefix = figure_id or "f" + _digest(drawing, title, description)
    width, height = (float(number) for number in source.attrib["viewBox"].split()[2:])
    root = ET.Element(
        "svg",
        {
            "role": "img",
            "aria-labelledby": f"{prefix}-t {prefix}-d",
            "viewBox": f"0 0 {_short(width)} {_short(height)}",
            "width": "100%",
            # The page's stylesheet sets the height free; where there is none, as in JupyterLab, this
            # height bounds the picture at its natural size instead of the full width of the panel.
            "height": _short(height * _NATURAL_SCALE),
            "preserveAspectRatio": "xMinYMin meet",
            "font-family": FONT_FAMILY,
            "fill": _variable("#1b2530"),
        },
    )
    _child(root, "title", title, id=f"{prefix}-t")
    _child(root, "desc", description, id=f"{prefix}-d")
    used = set(_references(source))
    for child in source:
        rebuilt = _rebuild(child, prefix, used)
        if rebuilt is not None:
            root.append(rebuilt)
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _draw(figure: Figure) -> str:
    """Matplotlib's own SVG as parsable XML, with every text literal: a ``$`` is a dollar."""
    buffer = io.StringIO()
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "salesops",
        "text.parse_math": False,
        "text.usetex": False,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The text is drawn by the reader's browser in a font of its own; matplotlib only measures it,
        # and a glyph that its measuring font lacks (CJK, emoji) changes nothing on the page.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font", category=UserWarning)
        # Tick labels come to be while drawing, under the settings above.
        _make_literal(figure)
        with _lines_apart(figure):
            figure.savefig(
                buffer,
                format="svg",
                transparent=True,
                metadata={"Date": None, "Creator": None, "Format": None},
            )
    return _NOT_XML.sub(lambda match: visible(match[0]), buffer.getvalue())


@contextmanager
def _lines_apart(figure: Figure) -> Iterator[None]:
    """Each line of a text of several lines as a text of its own, for the time of drawing.

    Matplotlib anchors only texts of one line in the SVG; the lines of others start where its own font
    would have them start, which in a reader's wider font is beyond where they should end.
    """
    several = [text for text in figure.findobj(Text) if "\n" in text.get_text() and text.get_visible()]
    added = []
    if several:
        figure.draw_without_rendering()
        onto_figure = figure.transFigure.inverted()
        for text in several:
            box = text.get_window_extent()
            lines = text.get_text().split("\n")
            x = {"left": box.x0, "right": box.x1}.get(text.get_horizontalalignment(), (box.x0 + box.x1) / 2)
            for place, line in enumerate(lines):
                y = box.y1 - (place + 0.5) * box.height / len(lines)
                left, bottom = onto_figure.transform((x, y))
                added.append(
                    figure.text(
                        float(left),
                        float(bottom),
                        line,
                        ha=text.get_horizontalalignment(),
                        va="center_baseline",
                        fontproperties=text.get_fontproperties(),
                        color=text.get_color(),
                        parse_math=False,
                    )
                )
            text.set_visible(False)
    try:
        yield
    finally:
        for drawn in added:
            drawn.remove()
        for text in several:
            text.set_visible(True)


def _make_literal(figure: Figure) -> None:
    for item in figure.findobj(Text):
        item.set_parse_math(False)
        item.set_usetex(False)
        item.set_url(None)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _references(source: ET.Element) -> Iterator[str]:
    for element in source.iter():
        for name, value in element.attrib.items():
            if name == _HREF and value.startswith("#"):
                yield value[1:]
            yield from _LOCAL_URL.findall(value)


def _rebuild(element: ET.Element, prefix: str, used: set[str]) -> ET.Element | None:
    """The element with what is allowed of it; None when nothing of it would be seen."""
    tag = element.tag.removeprefix(_SVG)
    if tag not in _ELEMENTS:
        return None
    attributes = _attributes(element, prefix, used)
    if tag == "path" and "d" in attributes:
        attributes["d"] = _thin(element.attrib["d"])
    if tag in {"path", "rect"} and _is_unseen(attributes) and "id" not in attributes:
        return None
    rebuilt = ET.Element(tag, attributes)
    rebuilt.text = visible(element.text) if tag in {"text", "tspan"} and element.text else None
    for child in element:
        inner = _rebuild(child, prefix, used)
        if inner is not None:
            rebuilt.append(inner)
    if tag in {"g", "defs"} and not len(rebuilt):
        return None
    if tag == "g" and not attributes and len(rebuilt) == 1:
        return rebuilt[0]
    return rebuilt


def _attributes(element: ET.Element, prefix: str, used: set[str]) -> dict[str, str]:
    declared = dict(element.attrib)
    style = declared.pop("style", "")
    for declaration in style.split(";"):
        name, _colon, value = declaration.partition(":")
        declared[name.strip()] = value.strip()
    kept: dict[str, str] = {}
    for name, value in declared.items():
        if name == "id" and value in used:
            kept["id"] = f"{prefix}-{value}"
        elif name == _HREF and value.startswith("#"):
            kept["href"] = f"#{prefix}-{value[1:]}"
        elif name in {"clip-path", "fill", "stroke"} and _LOCAL_URL.fullmatch(value):
            kept[name] = _LOCAL_URL.sub(rf"url(#{prefix}-\1)", value)
        elif name in _PAINT:
            kept.update(_paint(name, value))
        elif name in _GEOMETRY and _PLAIN_VALUE.fullmatch(value.replace("\n", " ")):
            if not (name == "transform" and _NO_TURN.fullmatch(value)):
                kept[name] = _round(value)
        elif name in _STYLE and (name, value) not in _DEFAULTS and _PLAIN_VALUE.fullmatch(value):
            kept[name] = _round(value.removesuffix("px"))
    return kept


def _paint(name: str, value: str) -> dict[str, str]:
    value = value.lower()
    if value == "none":
        return {name: value}
    return {name: _variable(value)} if _HEX.fullmatch(value) else {}


def _variable(colour: str) -> str:
    name = VARIABLES.get(colour)
    return f"var(--{name}, {colour})" if name else colour


def _is_unseen(attributes: dict[str, str]) -> bool:
    """True for the figure's and the axes' transparent background."""
    return attributes.get("fill") == "none" and "stroke" not in attributes


def _round(value: str) -> str:
    return _NUMBER.sub(lambda match: _short(float(match[0])), value).replace("\n", "").strip()


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def _thin(data: str) -> str:
    """The path with fewer points where the eye cannot tell: straight-line paths only."""
    tokens = data.split()
    if "C" in tokens or "Q" in tokens or tokens.count("M") != 1:
        return _round(data)
    closed = tokens[-1] == "z"
    points = np.array([token for token in tokens if token not in {"M", "L", "z"}], dtype=float).reshape(-1, 2)
    if len(points) > _THIN_ABOVE_POINTS:
        points = points[_kept_points(points, _THIN_TOLERANCE)]
    steps = [f"{_short(x)} {_short(y)}" for x, y in points]
    return "M" + "L".join(steps) + ("z" if closed else "")


def _kept_points(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Ramer-Douglas-Peucker: which points to keep so that no dropped one lies further than
    ``tolerance`` from the line that replaces it. Both ends are kept."""
    kept = np.zeros(len(points), dtype=bool)
    kept[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distances = _distances(points[first + 1 : last], points[first], points[last])
        furthest = int(np.argmax(distances))
        if distances[furthest] > tolerance:
            middle = first + 1 + furthest
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return kept


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far each point lies from the segment between ``start`` and ``end``."""
    chord = end - start
    offsets = points - start
    along = np.clip(offsets @ chord / max(float(chord @ chord), 1e-12), 0, 1)
    return np.hypot(*(offsets - along[:, None] * chord).T)


def _child(parent: ET.Element, tag: str, content: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = content
