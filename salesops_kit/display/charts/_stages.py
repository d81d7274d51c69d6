"""Charts of the funnel's stages: how many deals go on from each, and how long they stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _rows, _words
from salesops_kit.display.palette import ACCENT, GROUND, INK, SOFT
from salesops_kit.language import _


def conversion_steps(frame: pd.DataFrame, *, reference_label: str = "") -> Figure:
    """One row per stage of ``funnel.conversion``, in the frame's order: a bar from zero to the rate at
    which deals go on, its interval, and a mark at the company's rate where there is one.

    Columns: pipeline, stage, entrants, rate, low, high, reference_rate (may be missing). Several
    pipelines each get a heading row. A stage without a rate keeps its row and says "n/a".
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("No deal has entered a stage yet."))
    rows = _with_headings(frame)
    is_heading = rows["_heading"].to_numpy(bool)
    shown = [
        "" if heading else _("{value} of {n}").format(value=formats.percent(rate), n=formats.count(entrants))
        for heading, rate, entrants in zip(is_heading, rows["rate"], rows["entrants"], strict=True)
    ]
    reference = _rows.floats(rows, "reference_rate")
    has_reference = np.isfinite(reference)
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(formats.text(stage)) for stage in rows["stage"]],
            values=shown,
            row_points=34.0,
            top_points=24.0 if has_reference.any() else 8.0,
            bold=[int(position) for position in np.flatnonzero(is_heading)],
        )
        positions = np.arange(len(rows))
        rates, lows, highs = (_rows.floats(rows, name) for name in ("rate", "low", "high"))
        drawn = np.isfinite(rates)
        axes.barh(positions[drawn], rates[drawn], height=0.56, color=SOFT, zorder=2)
        _intervals(axes, positions, lows, highs)
        sns.scatterplot(
            x=rates[drawn], y=positions[drawn], ax=axes, color=ACCENT, s=46, edgecolor=GROUND, zorder=4
        )
        if has_reference.any():
            axes.vlines(
                reference[has_reference],
                positions[has_reference] - 0.36,
                positions[has_reference] + 0.36,
                color=INK,
                linewidth=1.6,
                zorder=3,
            )
        _rows.scale(axes, 0.0, 1.0, formats.percent)
        if has_reference.any():
            first = int(np.flatnonzero(has_reference)[0])
            _rows.note(axes, reference_label or _("company"), reference[first], first - 0.36, dy=9)
    return figure


def stage_times(frame: pd.DataFrame) -> Figure:
    """One row per stage of ``funnel.time_in_stage``: a dot where half of the deals have left (on its
    interval), a ring where three in four have, a bar's end where nine in ten have; days from zero.

    Columns: stage, p50, p50_low, p50_high, p75, p90, and pipeline where there are several, each of
    which gets a heading row. A percentile that was not reached, or that too few deals tell, is missing:
    the band then runs on as an arrow, and the value says "n/a".
    """
    if frame.empty:
        return _rows.nothing_to_draw(_("No deal has entered a stage yet."))
    frame = _with_headings(frame)
    is_heading = frame["_heading"].to_numpy(bool)
    p50, p75, p90 = (_rows.floats(frame, name) for name in ("p50", "p75", "p90"))
    low, high = (_rows.floats(frame, name) for name in ("p50_low", "p50_high"))
    shown = [
        "" if heading else " · ".join(formats.days_number(value) for value in row)
        for heading, *row in zip(is_heading, p50, p75, p90, strict=True)
    ]
    every = np.concatenate([p50, p75, p90, high])
    end = (float(np.nanmax(every)) * 1.04 if np.isfinite(every).any() else 0.0) or 1.0
    with _rows.chart_style():
        figure, axes = _rows.row_axes(
            [_words.fit(formats.text(stage)) for stage in frame["stage"]],
            values=shown,
            row_points=36.0,
            top_points=22.0,
            axis_label=_("days: ● half have left, ○ three in four, | nine in ten"),
            bold=[int(position) for position in np.flatnonzero(is_heading)],
        )
        positions = np.arange(len(frame))
        reached = np.isfinite(p50) & np.isfinite(p90)
        axes.hlines(positions[reached], p50[reached], p90[reached], color=SOFT, linewidth=6, zorder=2)
        axes.vlines(
            p90[reached], positions[reached] - 0.2, positions[reached] + 0.2, color=ACCENT, lw=2, zorder=3
        )
        for position in positions[np.isfinite(p50) & ~np.isfinite(p90)]:
            axes.annotate(
                "",
                xy=(end, position),
                xytext=(p50[position], position),
                arrowprops={"arrowstyle": "->", "color": ACCENT, "linewidth": 1.4},
            )
        _intervals(axes, positions, low, high)
        for values, face in ((p75, GROUND), (p50, ACCENT)):
            drawn = np.isfinite(values)
            sns.scatterplot(
                x=values[drawn],
                y=positions[drawn],
                ax=axes,
                color=face,
                s=52,
                edgecolor=ACCENT,
                linewidth=1.6,
                zorder=4,
            )
        _rows.scale(axes, 0.0, end, formats.number)
    return figure


def _intervals(axes: Axes, positions: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    known = np.isfinite(low) & np.isfinite(high)
    axes.hlines(positions[known], low[known], high[known], color=ACCENT, linewidth=2, zorder=3)


def _with_headings(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, under one heading row per pipeline where there are several."""
    marked = frame.assign(_heading=False)
    if "pipeline" not in frame or frame["pipeline"].nunique(dropna=False) < 2:
        return marked.reset_index(drop=True)
    blocks = []
    for pipeline, rows in marked.groupby("pipeline", sort=False, dropna=False):
        heading = {name: [np.nan] for name in marked.columns} | {"stage": [pipeline or _("no pipeline")]}
        blocks += [pd.DataFrame(heading).assign(_heading=True), rows]
    return pd.concat(blocks, ignore_index=True)
