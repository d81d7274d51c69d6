"""Ageing: the open deals of each stage by how long they have been there."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _rows, _words
from salesops_kit.display.palette import GAIN, GROUND, INK, LOSS
from salesops_kit.language import _

# Dots nearer than this share of the scale would lie on each other.
_FINEST = 1 / 80


def ageing(frame: pd.DataFrame) -> Figure:
    """One row per stage in the frame's order, one mark per open deal at its age in days: a dot up to the
    age by which nine in ten deals have left the stage (an upright mark), a diamond beyond it.

    Columns: stage, age_days, p90_days (the stage's own; missing where nine in ten have not left). The
    figure at the right counts the deals beyond. Marks that would lie on each other are drawn once.
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("No deal is open."))
    stages = [(name, rows) for name, rows in frame.groupby("stage", sort=False, dropna=False)]
    ages, p90 = _rows.floats(frame, "age_days"), _rows.floats(frame, "p90_days")
    every = np.concatenate([ages, p90])
    end = (float(np.nanmax(every)) if np.isfinite(every).any() else 0.0) * 1.04 or 1.0
    beyond = [
        int((_rows.floats(rows, "age_days") > _rows.floats(rows, "p90_days")).sum()) for _n, rows in stages
    ]
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(formats.text(name)) for name, _r in stages],
            values=[
                _("{n} of {all}").format(n=formats.count(late), all=formats.count(len(rows)))
                for late, (_n, rows) in zip(beyond, stages, strict=True)
            ],
            row_points=36.0,
            axis_label=_("days open in the stage; ◆ beyond |, by which nine in ten have left"),
        )
        for position, (_name, rows) in enumerate(stages):
            age, limit = _rows.floats(rows, "age_days"), _rows.floats(rows, "p90_days")
            known = limit[np.isfinite(limit)]
            if known.size:
                axes.vlines(known[0], position - 0.4, position + 0.4, color=INK, linewidth=1.8, zorder=3)
            for late, colour, marker in ((False, GAIN, "o"), (True, LOSS, "D")):
                chosen = age[np.isfinite(age) & ((age > limit) == late)]
                if chosen.size:
                    shown = _apart(chosen, end * _FINEST)
                    axes.scatter(
                        shown, np.full(len(shown), position), s=36, color=colour, marker=marker,
                        edgecolor=GROUND, linewidth=0.8, zorder=4,
                    )  # fmt: skip
        _rows.scale(axes, 0.0, end, formats.number)
    return figure


def _apart(values: np.ndarray, step: float) -> np.ndarray:
    """The values, one of each ``step``."""
    ordered = np.sort(values)
    _buckets, first = np.unique(np.floor(ordered / step), return_index=True)
    return ordered[first]
