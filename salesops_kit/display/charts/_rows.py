"""The canvas that the charts share: rows with a label on the left, marks, and a value on the right."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_kit.display.formats import visible
from salesops_kit.display.palette import INK, MUTED, RULE

# A picture 420 points wide is 320 px on a phone, where 12.5 points are 9.5 px, and about 560 px on a desk.
WIDTH_POINTS = 420.0
TEXT_POINTS = 13.0
SMALL_POINTS = 12.5
LINE_POINTS = 15.5
_MARGIN_POINTS = 6.0
_EM_PER_NARROW = 0.56
_LABEL_LIMIT_EM = 11.5
_MEASURING_FONTS = (
    ("Liberation Sans", "Arial", "Helvetica", "DejaVu Sans"),
    ("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Microsoft YaHei", "Malgun Gothic"),
)


@contextmanager
def chart_style() -> Iterator[None]:
    """Matplotlib's settings while a chart is built: literal text, fonts that exist here."""
    settings: dict[Any, Any] = {
        "font.family": list(_measuring_fonts()),
        "font.size": TEXT_POINTS,
        "text.parse_math": False,
        "text.color": INK,
        "axes.unicode_minus": True,
        "lines.solid_capstyle": "butt",
    }
    with matplotlib.rc_context(settings):
        yield


@cache
def _measuring_fonts() -> tuple[str, ...]:
    installed = set(fontManager.get_font_names())
    found = [next((name for name in names if name in installed), None) for names in _MEASURING_FONTS]
    return tuple(name for name in (*found, "DejaVu Sans") if name)


def text_em(text: str) -> float:
    """The width of a text in em, estimated alike on every machine: wide characters count one.

    >>> text_em("ab"), text_em("销售")
    (1.12, 2.0)
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return round(wide + (len(text) - wide) * _EM_PER_NARROW, 4)


def fit(text: object, limit_em: float = _LABEL_LIMIT_EM) -> str:
    """A label from data, hidden characters spelled out, on at most two lines of ``limit_em``.

    >>> fit("Enterprise accounts, northern Europe and the Baltics", 10)
    'Enterprise\\naccounts, norther…'
    """
    shown = visible(text).strip()
    if text_em(shown) <= limit_em:
        return shown
    first, rest = _break(shown, limit_em)
    if text_em(rest) > limit_em:
        rest = _cut(rest, limit_em - 1).rstrip() + "…"
    return f"{first}\n{rest}"


def _cut(text: str, limit_em: float) -> str:
    while text and text_em(text) > limit_em:
        text = text[:-1]
    return text


def _break(text: str, limit_em: float) -> tuple[str, str]:
    head = _cut(text, limit_em)
    space = head.rfind(" ")
    if text[len(head) : len(head) + 1] != " " and space > 0:
        head = head[:space]
    return head.rstrip(), text[len(head) :].strip()


# The reader's browser draws the text in a font of its own, which may run wider than the measured one.
_WIDER_FONT = 1.14


def row_axes(
    labels: Sequence[str],
    *,
    values: Sequence[str] = (),
    row_points: float = 30.0,
    top_points: float = 8.0,
    axis: bool = True,
    axis_label: str = "",
) -> tuple[Figure, Axes]:
    """A figure with one row per label (the first on top, row ``i`` at y = ``i``), labels written on
    the left, ``values`` written on the right, and room for both; x limits are the caller's."""
    lines = max((line for label in labels for line in label.split("\n")), key=text_em, default="")
    left = text_em(lines) * TEXT_POINTS * _WIDER_FONT + 14
    right = max((text_em(value) for value in values), default=0.0) * TEXT_POINTS * _WIDER_FONT + 14
    bottom = (SMALL_POINTS + 11 if axis else 4) + (LINE_POINTS if axis_label else 0)
    height = top_points + max(len(labels), 1) * row_points + bottom + _MARGIN_POINTS
    figure = Figure(figsize=(WIDTH_POINTS / 72, height / 72))
    axes = figure.add_axes(
        (
            left / WIDTH_POINTS,
            (bottom + _MARGIN_POINTS / 2) / height,
            max(WIDTH_POINTS - left - right, 60) / WIDTH_POINTS,
            max(len(labels), 1) * row_points / height,
        )
    )
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=list(labels), fontsize=TEXT_POINTS, color=INK)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.set_facecolor("none")
    figure.patch.set_alpha(0)
    for side in axes.spines.values():
        side.set_visible(False)
    for position, value in enumerate(values):
        axes.annotate(
            value,
            xy=(1, position),
            xycoords=("axes fraction", "data"),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=TEXT_POINTS,
            color=INK,
            annotation_clip=False,
        )
    if axis_label:
        axes.set_xlabel(axis_label, fontsize=SMALL_POINTS, color=MUTED, loc="left", labelpad=3)
    return figure, axes


def scale(axes: Axes, low: float, high: float, show: Callable[[float], str], *, ticks: int = 4) -> None:
    """The value axis: limits, a few labelled ticks, thin vertical rules behind the marks."""
    axes.set_xlim(low, high if high > low else low + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: show(value)))
    axes.tick_params(axis="x", length=0, labelsize=SMALL_POINTS, labelcolor=MUTED, pad=5)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def no_scale(axes: Axes, low: float, high: float) -> None:
    """Limits without ticks, where every mark carries its own number."""
    axes.set_xlim(low, high)
    axes.set_xticks([])


def note(axes: Axes, text: str, x: float, row: float, *, dy: float = 0.0, ha: str = "center") -> None:
    """A small direct label at a value and a row, ``dy`` points above it."""
    axes.annotate(
        text,
        xy=(x, row),
        xytext=(0, dy),
        textcoords="offset points",
        ha=ha,
        va="center",
        fontsize=SMALL_POINTS,
        color=MUTED,
        annotation_clip=False,
    )


def nothing_to_draw(message: str) -> Figure:
    """A figure that says in words that there is nothing to draw."""
    with chart_style():
        figure = Figure(figsize=(WIDTH_POINTS / 72, 48 / 72))
        figure.patch.set_alpha(0)
        figure.text(0.02, 0.5, message, va="center", fontsize=TEXT_POINTS, color=MUTED)
    return figure
