"""The canvas that the charts share: rows with a label on the left, marks, and a value on the right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator

from salesops_kit.display.charts._words import (
    LABEL_LIMIT_EM,
    LINE_POINTS,
    MARGIN_POINTS,
    SMALL_POINTS,
    TEXT_POINTS,
    WIDTH_POINTS,
    fit,
    shorten,
    text_points,
    wrap,
)
from salesops_kit.display.palette import INK, MUTED, RULE

_VALUE_LIMIT_EM = 10.5
# How much wider bold letters run.
_BOLDER = 1.1
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


def floats(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column as floats, missing and infinite as NaN; all NaN for a column that the frame lacks."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    values = pd.to_numeric(frame[name]).to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def row_axes(
    labels: Sequence[str],
    *,
    values: Sequence[str] = (),
    row_points: float = 30.0,
    top_points: float = 8.0,
    axis: bool = True,
    axis_label: str = "",
    bold: Collection[int] = (),
) -> tuple[Figure, Axes]:
    """A figure with one row per label (the first on top, row ``i`` at y = ``i``), labels written on
    the left, ``values`` written on the right (on two lines where they are long), and room for both;
    ``axis_label`` below, on as many lines as it takes. The labels at the positions ``bold`` are bold. The x
    limits are the caller's."""
    values = [fit(value, _VALUE_LIMIT_EM) for value in values]
    wide = [labels[position] for position in bold]
    left = max(_widest(labels), _widest(wide) * _BOLDER) + 14
    # Half of the last tick's label stands beyond the plot.
    right = max(_widest(values), 16.0) + 14
    told = wrap(axis_label) if axis_label else []
    bottom = (SMALL_POINTS + 11 if axis else 4) + LINE_POINTS * len(told)
    height = top_points + max(len(labels), 1) * row_points + bottom + MARGIN_POINTS
    figure = Figure(figsize=(WIDTH_POINTS / 72, height / 72))
    axes = figure.add_axes(
        (
            left / WIDTH_POINTS,
            (bottom + MARGIN_POINTS / 2) / height,
            max(WIDTH_POINTS - left - right, 60) / WIDTH_POINTS,
            max(len(labels), 1) * row_points / height,
        )
    )
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=list(labels), fontsize=TEXT_POINTS, color=INK)
    axes.tick_params(axis="y", length=0, pad=8)
    for position in bold:
        axes.get_yticklabels()[position].set_fontweight("bold")
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
    if told:
        indent = min(left, WIDTH_POINTS - MARGIN_POINTS - max(text_points(line) for line in told))
        figure.text(
            indent / WIDTH_POINTS,
            MARGIN_POINTS / 2 / height,
            "\n".join(told),
            va="bottom",
            fontsize=SMALL_POINTS,
            color=MUTED,
        )
    return figure, axes


def _widest(texts: Sequence[str]) -> float:
    return max((text_points(line, TEXT_POINTS) for text in texts for line in text.split("\n")), default=0.0)


def scale(axes: Axes, low: float, high: float, show: Callable[[float], str], *, ticks: int = 4) -> None:
    """The value axis: limits, a few labelled ticks, thin vertical rules behind the marks."""
    axes.set_xlim(low, high if high > low else low + 1)
    round_ticks(axes, show, most=ticks)
    axes.tick_params(axis="x", length=0, labelsize=SMALL_POINTS, labelcolor=MUTED, pad=5)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def round_ticks(axes: Axes, show: Callable[[float], str], *, most: int) -> list[float]:
    """Round figures on the x axis, as many as fit beside each other; gives the positions."""
    low, high = axes.get_xlim()
    width = axes.get_window_extent().width / axes.figure.dpi * 72
    for bins in range(most, 0, -1):
        found = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = [float(tick) for tick in found if low <= tick <= high]
        apart = width * (ticks[1] - ticks[0]) / (high - low) if len(ticks) > 1 else width
        told = [show(tick) for tick in ticks]
        if len(set(told)) == len(told) and max(map(text_points, told), default=0.0) + 4 <= apart:
            break
    axes.set_xticks(ticks, labels=[show(tick) for tick in ticks])
    return ticks


def no_scale(axes: Axes, low: float, high: float) -> None:
    """Limits without ticks, where every mark carries its own number."""
    axes.set_xlim(low, high)
    axes.set_xticks([])


def note(axes: Axes, text: str, x: float, row: float, *, dy: float = 0.0, ha: str = "center") -> None:
    """A small direct label at a value and a row, ``dy`` points above it, moved sideways where it would
    leave the canvas. Limits must be set before."""
    text = shorten(text, LABEL_LIMIT_EM)
    centre = float(axes.transData.transform((x, row))[0]) / axes.figure.dpi * 72
    half = text_points(text) / 2
    dx = min(max(centre, MARGIN_POINTS + half), WIDTH_POINTS - MARGIN_POINTS - half) - centre
    axes.annotate(
        text,
        xy=(x, row),
        xytext=(dx, dy),
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
        lines = wrap(message, size=TEXT_POINTS)
        figure = Figure(figsize=(WIDTH_POINTS / 72, (32 + 17 * len(lines)) / 72))
        figure.patch.set_alpha(0)
        left = MARGIN_POINTS / WIDTH_POINTS
        figure.text(left, 0.5, "\n".join(lines), va="center", fontsize=TEXT_POINTS, color=MUTED)
    return figure
