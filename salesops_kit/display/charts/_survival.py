"""Survival curves: the share still there over time, with the numbers that it rests on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _plane, _rows, _words
from salesops_kit.display.palette import MUTED
from salesops_kit.language import _

MOST_CURVES = len(_notation.GROUPS)
_NAME_EM = 7.0


def survival(frame: pd.DataFrame, *, axis_label: str = "") -> Figure:
    """One falling step curve per group with its interval, named at its end; under the time axis, how
    many of each group were still observed.

    Columns: group, days, survival, low, high (rates), at_risk. The number under a tick is the
    ``at_risk`` of the group's first row at or after it, and 0 past its last row. Curves begin at 1 on
    day 0. At most five groups: Raises ValueError for more, which nobody could tell apart.
    """
    known = frame[np.isfinite(_rows.floats(frame, "survival"))] if len(frame) else frame
    if known.empty:
        return _rows.nothing_to_draw(_("Nothing has been observed long enough yet."))
    groups = {
        name: rows.sort_values("days") for name, rows in known.groupby("group", sort=False, dropna=False)
    }
    if len(groups) > MOST_CURVES:
        raise ValueError(f"expected at most {MOST_CURVES} groups to draw, got {len(groups)}")
    names = [_words.shorten(formats.text(name), _NAME_EM) for name in groups]
    longest = float(_rows.floats(known, "days").max()) or 1.0
    with _rows.chart_style():
        figure, axes = _plane.plane(
            (0.0, longest),
            (0.0, 1.02),
            y_show=formats.percent,
            ends=names,
            least_left=max(_words.text_points(name) for name in names) + 14,
            rows_below=len(groups) + 1,
            x_label=axis_label or _("days"),
        )
        ends = []
        for (colour, dash), name, rows in zip(_notation.GROUPS, names, groups.values(), strict=False):
            days, share, low, high = (
                np.concatenate([[start], _rows.floats(rows, column)])
                for column, start in (("days", 0.0), ("survival", 1.0), ("low", 1.0), ("high", 1.0))
            )
            axes.fill_between(
                days, low, high, step="post", facecolor=colour, alpha=0.14, linewidth=0, label=name, zorder=2
            )
            axes.step(
                days, share, where="post", color=colour, linestyle=dash, linewidth=2.2, label=name, zorder=3
            )
            ends.append((float(share[-1]), name, colour))
        ticks = _rows.round_ticks(axes, formats.number, most=4)
        _plane.end_labels(axes, longest, ends)
        _numbers_at_risk(axes, ticks, names, list(groups.values()))
    return figure


def _numbers_at_risk(axes: Axes, ticks: list[float], names: list[str], groups: list[pd.DataFrame]) -> None:
    def write(x: float, line: float, text: str, colour: str, *, ha: str, in_data: bool) -> None:
        axes.annotate(
            text,
            xy=(x, 0),
            xycoords=("data" if in_data else "axes fraction", "axes fraction"),
            xytext=(0 if in_data else -22 if ha == "right" else 0, -line),
            textcoords="offset points",
            ha=ha,
            va="top",
            fontsize=_words.SMALL_POINTS,
            color=colour,
            annotation_clip=False,
        )

    top = _words.SMALL_POINTS + 12
    write(0, top, _("still observed:"), MUTED, ha="left", in_data=False)
    for row, (name, group) in enumerate(zip(names, groups, strict=True), start=1):
        colour = _notation.GROUPS[row - 1][0]
        line = top + row * _words.LINE_POINTS
        write(0, line, name, colour, ha="right", in_data=False)
        days, at_risk = _rows.floats(group, "days"), _rows.floats(group, "at_risk")
        for tick in ticks:
            later = np.flatnonzero(days >= tick)
            number = at_risk[later[0]] if later.size else 0.0
            write(tick, line, formats.count(number), colour, ha="center", in_data=True)
