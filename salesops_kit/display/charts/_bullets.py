"""Bullet bars: each key figure against its plan and its value before, on a scale of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _rows, _words
from salesops_kit.display.palette import RULE
from salesops_kit.language import _

# From the back to the front: column and height of the bar.
_BARS: dict[_notation.Kind, tuple[str, float]] = {
    "prior": ("prior", 0.44),
    "actual": ("value", 0.2),
    "plan": ("target", 0.66),
}


def kpi_bullet(frame: pd.DataFrame, *, currency: str = "USD", prior_label: str = "") -> Figure:
    """One row per key figure: the actual as a solid bar, the prior as a lighter one behind it, the plan
    as an outline.

    Columns: label, value, unit (``money`` is ``currency``), target and prior (each may be missing, or
    absent). Each row is drawn as a share of its own largest figure, so that bars of different units
    are not compared with each other. A missing figure has no bar and says "n/a".
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("There is no key figure to show."))
    figures = {kind: _rows.floats(frame, name) for kind, (name, _height) in _BARS.items()}
    sizes = np.abs(np.where(np.isfinite(list(figures.values())), list(figures.values()), 0.0)).max(axis=0)
    units = frame["unit"] if "unit" in frame else [""] * len(frame)
    shown = [
        _text(actual, plan, currency if unit == "money" else str(unit or ""))
        for actual, plan, unit in zip(figures["actual"], figures["plan"], units, strict=True)
    ]
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(formats.text(label)) for label in frame["label"]],
            values=shown,
            row_points=36.0,
            axis=False,
            axis_label=_("■ actual  ▒ {prior}  □ plan").format(prior=prior_label or _("before")),
        )
        positions = np.arange(len(frame))
        lowest = 0.0
        for kind, (_name, height) in _BARS.items():
            drawn = np.isfinite(figures[kind])
            shares = figures[kind][drawn] / np.where(sizes[drawn] > 0, sizes[drawn], 1.0)
            lowest = min(lowest, *shares, 0.0)
            _notation.bars(axes, positions[drawn], shares, kind=kind, height=height)
        _rows.no_scale(axes, lowest * 1.03, 1.03)
        axes.axvline(0, color=RULE, linewidth=1, zorder=1)
    return figure


def _text(actual: float, plan: float, unit: str) -> str:
    if formats.is_missing(plan):
        return formats.value(actual, unit)
    return _("{value} of {plan}").format(value=formats.value(actual, unit), plan=formats.value(plan, unit))
