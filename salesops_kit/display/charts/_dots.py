"""Sorted dots with intervals and a reference line: one rate per team, rep, source or product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _rows, _words
from salesops_kit.display.palette import ACCENT, GROUND, SOFT
from salesops_kit.language import _, ngettext

MOST_ROWS = 40


def dots(
    frame: pd.DataFrame,
    label: str,
    value: str,
    *,
    low: str | None = None,
    high: str | None = None,
    n: str | None = None,
    reference: float | None = None,
    reference_label: str = "",
    show: Callable[[float], str] = formats.percent,
    axis_label: str = "",
    zero: bool = False,
    is_ranked: bool = True,
) -> Figure:
    """One row per label as a dot on its interval, highest value on top; not ``is_ranked``, the rows that
    most was observed of come first, then by label.

    ``low``, ``high`` and ``n`` name columns of the interval and of the number observed (written after
    the value). ``reference`` draws a dashed line named by ``reference_label``. ``show`` writes the
    values; ``zero`` makes the scale start there. Rows without a value come last and say "n/a"; of more
    than 40 rows the 20 highest and the 20 lowest are drawn and the gap is counted.
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("There is nothing to compare yet."))
    order = value if is_ranked or not n else n
    rows = frame.sort_values([order, label], ascending=[False, True], na_position="last", kind="stable")
    hidden = max(len(rows) - MOST_ROWS, 0)
    if hidden:
        half = MOST_ROWS // 2
        gap = rows.head(1).assign(**{name: np.nan for name in (value, low, high) if name})
        rows = pd.concat([rows.head(half), gap, rows.tail(half)])
    is_gap = (np.arange(len(rows)) == MOST_ROWS // 2) & bool(hidden)
    labels, shown = [], []
    for in_gap, row in zip(is_gap, rows.to_dict("records"), strict=True):
        labels.append("…" if in_gap else _words.fit(formats.text(row[label])))
        shown.append("" if in_gap else _value_text(row[value], row[n] if n else None, show))
    has_two_lines = any("\n" in item for item in labels)
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            labels,
            values=shown,
            row_points=34.0 if has_two_lines else 26.0 if len(labels) > 12 else 29.0,
            top_points=24.0 if reference is not None else 8.0,
            axis_label=axis_label,
        )
        positions = np.arange(len(rows))
        values = _rows.floats(rows, value)
        extent = [values]
        if low and high:
            lows, highs = _rows.floats(rows, low), _rows.floats(rows, high)
            drawn = np.isfinite(lows) & np.isfinite(highs)
            axes.hlines(positions[drawn], lows[drawn], highs[drawn], color=SOFT, linewidth=5, zorder=2)
            extent += [lows[drawn], highs[drawn]]
        drawn = np.isfinite(values)
        sns.scatterplot(
            x=values[drawn], y=positions[drawn], ax=axes, color=ACCENT, s=52, edgecolor=GROUND, zorder=3
        )
        if reference is not None and np.isfinite(reference):
            extent.append(np.array([reference]))
            axes.axvline(reference, zorder=1, **_notation.REFERENCE_LINE)
        start, end = _limits(np.concatenate(extent), zero=zero)
        _rows.scale(axes, start, end, show)
        if reference is not None and np.isfinite(reference):
            _rows.note(axes, reference_label, reference, -0.5, dy=9)
        if hidden:
            more = ngettext("{n} more, in the table", "{n} more, in the table", hidden)
            _rows.note(axes, more.format(n=formats.count(hidden)), (start + end) / 2, MOST_ROWS // 2)
    return figure


def _value_text(amount: float, observed: float | None, show: Callable[[float], str]) -> str:
    if observed is None:
        return show(amount)
    return _("{value} of {n}").format(value=show(amount), n=formats.count(observed))


def _limits(extent: np.ndarray, *, zero: bool) -> tuple[float, float]:
    finite = extent[np.isfinite(extent)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.03 or abs(high) * 0.1 or 1.0
    return (low if zero and low == 0 else low - room), high + room
