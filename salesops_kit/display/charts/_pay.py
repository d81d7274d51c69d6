"""The pay curve: what a plan pays at each attainment, and at what rate the next unit is paid."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _plane, _rows, _words
from salesops_kit.display.palette import ACCENT, GROUND, INK, RULE
from salesops_kit.language import _


def pay_curve(frame: pd.DataFrame, *, currency: str = "USD", quota: float = 1.0) -> Figure:
    """Pay over attainment as a solid line through its break points; above each segment, the rate at
    which what is sold there is paid; a dashed line at ``quota``.

    Columns: attainment (rate, 1 is the quota), pay (in ``currency``), marginal_rate (the rate from
    this point to the next; may be missing). Rows in any order. A jump (two rows of one attainment) is
    drawn as the upright step that it is. A rate is left to the table where its segment has no room.
    """
    drawn = frame.sort_values(["attainment", "pay"], kind="stable")
    x, y, rates = (_rows.floats(drawn, name) for name in ("attainment", "pay", "marginal_rate"))
    known = np.isfinite(x) & np.isfinite(y)
    x, y, rates = x[known], y[known], rates[known]
    if not x.size:
        return _rows.nothing_to_draw(_("The plan pays nothing that could be drawn."))

    def show(amount: float) -> str:
        return formats.money(amount, currency)

    end = show(float(y[-1]))
    with _rows.chart_style():
        figure, axes = _plane.plane(
            _plane.limits(x),
            _plane.limits(y),
            y_show=show,
            y_label=_("pay, and the rate at which the next sale is paid"),
            x_label=_("attainment of quota"),
            ends=[end],
            strip_above=True,
        )
        axes.axvline(quota, zorder=1, **_notation.REFERENCE_LINE)
        axes.plot(x, y, label="pay", zorder=3, **_notation.LINES["actual"])
        axes.scatter(x, y, s=34, color=ACCENT, edgecolor=GROUND, zorder=4)
        _write_rates(axes, x, rates)
        _rows.round_ticks(axes, formats.percent, most=5)
        _plane.end_labels(axes, float(x[-1]), [(float(y[-1]), end, INK)])
    return figure


def _write_rates(axes: Axes, x: np.ndarray, rates: np.ndarray) -> None:
    low, high = axes.get_xlim()
    points = _plane.width_points(axes) / (high - low)
    for start, end, rate in zip(x[:-1], x[1:], rates[:-1], strict=True):
        text = formats.percent(rate, 1)
        if not np.isfinite(rate) or (end - start) * points < _words.text_points(text) + 4:
            continue
        axes.axvline(end, color=RULE, linewidth=0.6, zorder=0)
        axes.annotate(
            text,
            xy=((start + end) / 2, 1),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=_words.SMALL_POINTS,
            color=INK,
            annotation_clip=False,
        )
