"""The bridge: what carried an opening amount to a closing amount, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _rows, _words
from salesops_kit.display.palette import ACCENT, GAIN, LOSS, RULE, TOTAL
from salesops_kit.language import _

TOTALS = ("opening", "closing")


def step_labels() -> dict[str, str]:
    """The steps of ``funnel.waterfall`` as a reader calls them."""
    return {
        "opening": _("Open at the start"),
        "created": _("Created"),
        "pulled_in": _("Pulled in"),
        "transferred_in": _("Taken over"),
        "up": _("Grown"),
        "reopened": _("Reopened"),
        "won": _("Won"),
        "lost": _("Lost"),
        "pushed": _("Pushed out"),
        "transferred_out": _("Handed over"),
        "down": _("Shrunk"),
        "removed": _("Removed"),
        "closing": _("Open at the end"),
    }


def waterfall(
    frame: pd.DataFrame, *, currency: str = "USD", labels: Mapping[str, str] | None = None
) -> Figure:
    """Columns step and amount (signed, in ``currency``), in the order of the bridge. ``opening`` and
    ``closing`` are bars from zero; every other step is a bar from where the one before it ended,
    signed in its label. ``labels`` names the steps, by default as those of the pipeline. Steps of nothing
    are left out; the data table under the figure has them.
    """
    amounts = pd.to_numeric(frame["amount"]).fillna(0.0)
    is_total = frame["step"].isin(TOTALS)
    kept = frame[is_total | (amounts != 0)]
    if kept.empty:
        return _rows.nothing_to_draw(_("There was no open pipeline and no change."))
    names = labels or step_labels()
    steps = kept["step"].tolist()
    values = amounts[kept.index].to_numpy(dtype=float)
    starts, ends = _spans(steps, values)
    shown = [
        formats.money(value, currency, signed=step not in TOTALS)
        for step, value in zip(steps, values, strict=True)
    ]
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(names.get(step, step)) for step in steps],
            values=shown,
            row_points=29.0,
            axis=False,
            bold=[position for position, step in enumerate(steps) if step in TOTALS],
        )
        positions = np.arange(len(steps))
        colours = [_colour(step, value) for step, value in zip(steps, values, strict=True)]
        axes.barh(positions, ends - starts, left=starts, height=0.62, color=colours, zorder=2)
        axes.vlines(ends[:-1], positions[:-1] + 0.31, positions[1:] - 0.31, color=TOTAL, linewidth=0.8)
        low, high = min(0.0, *starts, *ends), max(0.0, *starts, *ends)
        room = (high - low) * 0.01 or 1.0
        _rows.no_scale(axes, low - room, high + room)
        axes.axvline(0, color=RULE, linewidth=1, zorder=1)
    return figure


def _spans(steps: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts, ends, level = [], [], 0.0
    for step, value in zip(steps, values, strict=True):
        start = 0.0 if step in TOTALS else level
        level = start + value
        starts.append(start)
        ends.append(level)
    return np.array(starts), np.array(ends)


def _colour(step: str, value: float) -> str:
    if step in TOTALS:
        return TOTAL
    if step == "won":
        return ACCENT
    return GAIN if value > 0 else LOSS
