"""Reads figures and their SVG back: what was plotted, and where every text lies."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

SVG = "{http://www.w3.org/2000/svg}"
# A reader's font may run wider than the one that measures here.
WIDER = 1.08
_RENDERER = RendererAgg(10, 10, 72)


def row_labels(figure: Figure) -> list[str]:
    """The labels of the rows, from top to bottom, on one line each."""
    return [tick.get_text().replace("\n", " ") for tick in figure.axes[0].get_yticklabels()]


def words(figure: Figure) -> list[str]:
    """Every text that is not a tick label, in drawing order."""
    axes = figure.axes[0] if figure.axes else None
    texts = [*(axes.texts if axes else []), *figure.texts]
    return [text.get_text().replace("\n", " ") for text in texts]


def x_ticks(figure: Figure) -> list[str]:
    """The labels of the x axis."""
    return [tick.get_text() for tick in figure.axes[0].get_xticklabels()]


def points(figure: Figure, which: int = 0) -> list[tuple[float, float]]:
    """The marks of one scatter, as (x, y)."""
    clouds = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    return [(float(x), float(y)) for x, y in np.ma.getdata(clouds[which].get_offsets())]


def segments(figure: Figure, which: int = 0) -> list[tuple[float, float, float, float]]:
    """The straight lines of one hlines or vlines, as (x0, y0, x1, y1)."""
    found = [item for item in figure.axes[0].collections if isinstance(item, LineCollection)]
    return [tuple(np.asarray(line).ravel().tolist()) for line in found[which].get_segments()]


def band(figure: Figure, label: str) -> set[tuple[float, float]]:
    """The corners of a filled band."""
    (found,) = (
        item
        for item in figure.axes[0].collections
        if isinstance(item, PolyCollection) and item.get_label() == label
    )
    return {(float(x), float(y)) for x, y in found.get_paths()[0].vertices}


def line(figure: Figure, label: str) -> tuple[list[float], list[float]]:
    """The x and y of one line, in the units of the data that it was given."""
    (found,) = (item for item in figure.axes[0].lines if item.get_label() == label)
    return np.asarray(found.get_xdata(), float).tolist(), np.asarray(found.get_ydata(), float).tolist()


def bars(figure: Figure, label: str | None = None) -> list[tuple[float, float, float]]:
    """Horizontal bars as (row, start, end)."""
    held = [item for item in figure.axes[0].containers if isinstance(item, BarContainer)]
    chosen = [item for item in held if label is None or item.get_label() == label]
    return [
        (
            round(bar.get_y() + bar.get_height() / 2, 9),
            round(bar.get_x(), 9),
            round(bar.get_x() + bar.get_width(), 9),
        )
        for container in chosen
        for bar in container.patches
    ]


@dataclass(frozen=True)
class Box:
    """Where one line of text lies in an SVG."""

    text: str
    size: float
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two are seen on each other, by more than a hair."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > 1 and down > 1.5


def canvas(svg: str) -> tuple[float, float]:
    """Width and height of the view box."""
    width, height = ET.fromstring(svg).attrib["viewBox"].split()[2:]
    return float(width), float(height)


def text_boxes(svg: str, families: list[str]) -> list[Box]:
    """Every text of an SVG, measured in one of ``families``; turned text is refused."""
    found = []
    for element in ET.fromstring(svg).iter("text"):
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        moved = re.fullmatch(
            r"translate\(([-\d.]+) ([-\d.]+)\)(?: rotate\(-?0\))?", element.get("transform", "")
        )
        if moved:
            x, y = x + float(moved[1]), y + float(moved[2])
        else:
            assert not element.get("transform"), ET.tostring(element)
        size, text = float(element.attrib["font-size"]), "".join(element.itertext())
        face = FontProperties(family=families, size=size, weight=element.get("font-weight", "normal"))
        with warnings.catch_warnings():
            # A glyph that the measuring font lacks is measured as its box.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
            width = WIDER * _RENDERER.get_text_width_height_descent(text, face, False)[0]
        left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")] * width
        found.append(Box(text, size, left, y - 0.75 * size, left + width, y + 0.2 * size))
    return found


def all_text(figure: Figure) -> list[str]:
    """Every text artist of a figure that holds text."""
    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]
