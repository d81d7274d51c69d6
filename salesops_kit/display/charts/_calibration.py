"""Reliability: what was predicted against what came, with how much was observed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _rows
from salesops_kit.display.palette import ACCENT, GROUND, INK, SOFT
from salesops_kit.language import _


def calibration(frame: pd.DataFrame) -> Figure:
    """One row per group of predictions, lowest first: the mean prediction as an upright mark, what was
    observed as a dot on its interval, and both in words with the number of cases.

    Columns: predicted, observed, low, high (rates), n. A forecast that can be trusted has its marks
    within the intervals. A group without cases keeps its row and says "n/a".
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("No prediction has come due yet."))
    rows = frame.sort_values("predicted", kind="stable", na_position="last")
    predicted, observed, low, high, n = (
        _rows.floats(rows, name) for name in ("predicted", "observed", "low", "high", "n")
    )
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_("said {rate}").format(rate=formats.percent(rate)) for rate in predicted],
            values=[
                _("{value} of {n}").format(value=formats.percent(rate), n=formats.count(cases))
                for rate, cases in zip(observed, n, strict=True)
            ],
            axis_label=_("| predicted  ● observed, with its interval"),
        )
        positions = np.arange(len(rows))
        known = np.isfinite(low) & np.isfinite(high)
        axes.hlines(positions[known], low[known], high[known], color=SOFT, linewidth=5, zorder=2)
        said = np.isfinite(predicted)
        axes.vlines(
            predicted[said], positions[said] - 0.34, positions[said] + 0.34, color=INK, lw=1.8, zorder=3
        )
        drawn = np.isfinite(observed)
        axes.scatter(observed[drawn], positions[drawn], s=52, color=ACCENT, edgecolor=GROUND, zorder=4)
        _rows.scale(axes, 0.0, 1.0, formats.percent)
    return figure
