"""The histogram: how many fall into each range, what has no value counted as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _rows, _words
from salesops_kit.language import _


def histogram(frame: pd.DataFrame, *, n: str = "n", show: Callable[[float], str] = formats.number) -> Figure:
    """One row per range in the frame's order: a solid bar from zero to its count, which stands beside it.

    Columns: low and high (the range, in what ``show`` writes; one missing end is open) and the count
    named by ``n``. A row with both ends missing holds what has no value: it is outlined, and last.
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("There is nothing to count yet."))
    is_missing = ~np.isfinite(_rows.floats(frame, "low")) & ~np.isfinite(_rows.floats(frame, "high"))
    rows = pd.concat([frame[~is_missing], frame[is_missing]]) if is_missing.any() else frame
    counts = np.nan_to_num(_rows.floats(rows, n))
    outlined = np.sort(is_missing)
    labels = [
        _range(low, high, show)
        for low, high in zip(_rows.floats(rows, "low"), _rows.floats(rows, "high"), strict=True)
    ]
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(label) for label in labels],
            values=[formats.count(count) for count in counts],
            row_points=26.0,
            axis=False,
        )
        positions = np.arange(len(rows))
        _notation.bars(axes, positions[~outlined], counts[~outlined], kind="actual", height=0.74)
        if outlined.any():
            _notation.bars(axes, positions[outlined], counts[outlined], kind="plan", height=0.74)
        _rows.no_scale(axes, 0.0, float(counts.max()) * 1.02 or 1.0)
    return figure


def _range(low: float, high: float, show: Callable[[float], str]) -> str:
    if formats.is_missing(low) and formats.is_missing(high):
        return _("no value")
    if formats.is_missing(low):
        return _("under {high}").format(high=show(high))
    if formats.is_missing(high):
        return _("{low} and more").format(low=show(low))
    return formats.interval(low, high, show)
