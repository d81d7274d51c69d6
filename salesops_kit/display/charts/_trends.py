"""Small multiples: one line per team, stage or product over time, all on one scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _plane, _rows, _words
from salesops_kit.display.palette import ACCENT, GROUND, MUTED, RULE
from salesops_kit.language import _, ngettext

MOST_PANELS = 40
_PANEL_SHARE = 0.8


def trends(
    frame: pd.DataFrame,
    panel: str,
    period: str,
    value: str,
    *,
    show: Callable[[float], str] = formats.number,
    zero: bool = True,
) -> Figure:
    """One panel per value of ``panel``, under each other in the frame's order: ``value`` over ``period``
    as a line, its last figure written at the right.

    Every panel has the same scale, named under the last one, from zero unless ``zero`` is false.
    Periods stand in the order of their first rows; a missing value leaves a gap. Of more than 40
    panels the first 40 are drawn and the rest counted.
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("There is nothing to follow over time yet."))
    values = pd.to_numeric(frame[value]).astype(float)
    periods = list(dict.fromkeys(frame[period]))
    panels = list(dict.fromkeys(frame[panel]))
    places = {each: position for position, each in enumerate(periods)}
    hidden = max(len(panels) - MOST_PANELS, 0)
    low, high = _plane.limits(values.to_numpy(), zero=zero)
    rows = {
        name: values[frame[panel].isna() if pd.isna(name) else frame[panel] == name]
        for name in panels[:MOST_PANELS]
    }
    last = [_last(row) for row in rows.values()]
    scale = _("each panel from {low} to {high}").format(low=show(low), high=show(high))
    if hidden:
        more = ngettext("{n} more, in the table", "{n} more, in the table", hidden)
        scale = f"{scale}; {more.format(n=formats.count(hidden))}"
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(formats.text(name)) for name in rows],
            values=[show(amount) for amount in last],
            row_points=46.0 if len(rows) <= 12 else 36.0,
            axis_label=scale,
        )
        axes.set_xlim(-0.35, len(periods) - 0.65)
        for row, series in enumerate(rows.values()):
            upright = Affine2D().translate(0, -low).scale(1, -_PANEL_SHARE / (high - low))
            onto = upright.translate(0, row + _PANEL_SHARE / 2) + axes.transData
            x = np.array([places[each] for each in frame.loc[series.index, period]])
            y = series.to_numpy()
            base = 0.0 if low <= 0 <= high else low
            axes.plot(
                [-0.35, len(periods) - 0.65], [base, base], color=RULE, lw=0.8, transform=onto, zorder=1
            )
            axes.plot(x, y, transform=onto, label=formats.text(panels[row]), **_notation.LINES["actual"])
            known = np.flatnonzero(np.isfinite(y))
            if known.size:
                axes.plot(
                    x[known[-1:]], y[known[-1:]], "o", color=ACCENT, markersize=6, markeredgecolor=GROUND,
                    transform=onto, zorder=4,
                )  # fmt: skip
        axes.tick_params(axis="x", length=0, labelsize=_words.SMALL_POINTS, labelcolor=MUTED, pad=5)
        _plane.category_ticks(axes, [formats.text(each) for each in periods])
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    return figure


def _last(series: pd.Series) -> float:
    known = series.dropna()
    return float(known.iloc[-1]) if len(known) else float("nan")
