"""The canvas of charts over time or another measure: two scales, and labels at the ends of curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from salesops_kit.display.charts import _words
from salesops_kit.display.charts._words import LINE_POINTS, MARGIN_POINTS, SMALL_POINTS, WIDTH_POINTS
from salesops_kit.display.palette import INK, MUTED, RULE

PLOT_POINTS = 190.0
_LEAST_RIGHT = 30.0
_PAD = 8.0


def limits(*values: np.ndarray, zero: bool = True) -> tuple[float, float]:
    """Limits that hold every finite value with a little room, and zero where asked; 0 to 1 for
    none, and for zeros."""
    every = np.concatenate([np.asarray(each, dtype=float).ravel() for each in values])
    finite = every[np.isfinite(every)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high == 0:
        return 0.0, 1.0
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if zero and low == 0 else low - room), (high if zero and high == 0 else high + room)


def plane(
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    *,
    y_show: Callable[[float], str],
    y_label: str = "",
    x_label: str = "",
    ends: Sequence[str] = (),
    least_left: float = 0.0,
    rows_below: int = 0,
    height: float = PLOT_POINTS,
    strip_above: bool = False,
) -> tuple[Figure, Axes]:
    """A figure with a labelled y scale, room on the right for ``ends`` (labels of curve ends) and
    below for the ticks, ``rows_below`` lines of figures and ``x_label``, which may take several lines;
    ``strip_above`` leaves a line between ``y_label`` and the plot."""
    ticks = _distinct_ticks(y_limits, y_show)
    left = max([_words.text_points(y_show(tick)) for tick in ticks] + [least_left, 12.0]) + _PAD + 4
    right = max([_words.text_points(text) for text in ends] + [_LEAST_RIGHT - _PAD]) + _PAD + 4
    told = _words.wrap(x_label) if x_label else []
    bottom = SMALL_POINTS + 17 + (rows_below + len(told)) * LINE_POINTS + MARGIN_POINTS
    top = (bool(y_label) + strip_above) * LINE_POINTS + 10
    total = top + height + bottom
    figure = Figure(figsize=(WIDTH_POINTS / 72, total / 72))
    figure.patch.set_alpha(0)
    width = max(WIDTH_POINTS - left - right, 60.0)
    axes = figure.add_axes((left / WIDTH_POINTS, bottom / total, width / WIDTH_POINTS, height / total))
    axes.set_facecolor("none")
    axes.set_xlim(*x_limits)
    axes.set_ylim(*y_limits)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: y_show(value)))
    axes.tick_params(axis="both", length=0, labelsize=SMALL_POINTS, labelcolor=MUTED, pad=5)
    axes.tick_params(axis="x", pad=8)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    if y_limits[0] <= 0 <= y_limits[1]:
        axes.axhline(0, color=MUTED, linewidth=0.9, zorder=1)
    if y_label:
        figure.text(
            MARGIN_POINTS / WIDTH_POINTS, 1 - 4 / total, y_label, va="top", fontsize=SMALL_POINTS, color=MUTED
        )
    for line, text in enumerate(reversed(told)):
        y = (MARGIN_POINTS / 2 + line * LINE_POINTS) / total
        figure.text(MARGIN_POINTS / WIDTH_POINTS, y, text, va="bottom", fontsize=SMALL_POINTS, color=MUTED)
    return figure, axes


def _distinct_ticks(limits: tuple[float, float], show: Callable[[float], str]) -> list[float]:
    """Round figures within the limits, no more than differ as they are written."""
    ticks: list[float] = []
    for bins in range(4, 0, -1):
        found = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]).tick_values(*limits)
        ticks = [float(tick) for tick in found if limits[0] <= tick <= limits[1]]
        if len({show(tick) for tick in ticks}) == len(ticks):
            break
    return ticks


def width_points(axes: Axes) -> float:
    """How wide the plot is, in points."""
    return float(axes.get_position().width) * WIDTH_POINTS


def category_ticks(axes: Axes, labels: Sequence[str]) -> None:
    """Names under the positions 0, 1, ...: every one where there is room, else every second, third, ...
    counted from the last, which is always named."""
    shown = [_words.shorten(label, 7.0) for label in labels]
    room = max((_words.text_points(label) for label in shown), default=0.0) + 8
    low, high = axes.get_xlim()
    apart = width_points(axes) / max(high - low, 1e-9)
    step = max(int(np.ceil(room / apart)), 1)
    positions = list(range(len(shown) - 1, -1, -step))[::-1]
    axes.set_xticks(positions, labels=[shown[position] for position in positions])


def end_labels(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Labels at the right of the plot, level with the ends of curves and pushed apart where they would
    lie on each other: (y, text, colour) each; those without a finite y are left out."""
    known = sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0])
    low, high = axes.get_ylim()
    per_point = (high - low) / (axes.get_window_extent().height / axes.figure.dpi * 72)
    levels = spread([end[0] / per_point for end in known], LINE_POINTS, low / per_point, high / per_point)
    for (y, text, colour), level in zip(known, levels, strict=True):
        axes.annotate(
            text,
            xy=(x, y),
            xytext=(1, level * per_point),
            textcoords=axes.get_yaxis_transform(),
            ha="left",
            va="center",
            fontsize=SMALL_POINTS,
            color=colour or INK,
            annotation_clip=False,
        ).set_x(1 + _PAD / width_points(axes))


def spread(levels: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Ascending levels moved as little as keeps them ``apart``, within ``low`` and ``high`` if they fit.

    >>> spread([1, 2, 50], 10, 0, 100)
    [1, 11, 50]
    >>> spread([98, 99], 10, 0, 100)
    [90, 100]
    """
    placed: list[float] = []
    for level in levels:
        placed.append(max(level, placed[-1] + apart) if placed else max(level, low))
    ceiling = high
    for position in range(len(placed) - 1, -1, -1):
        placed[position] = min(placed[position], ceiling)
        ceiling = placed[position] - apart
    return placed
