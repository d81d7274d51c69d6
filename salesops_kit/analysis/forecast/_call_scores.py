"""Calls of reps, managers and executives beside the model's forecast, each with its own past."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._backtest import QUARTERS, scored_rows
from salesops_kit.analysis.forecast._calls import LEVELS, Calls
from salesops_kit.analysis.forecast._ladder import SHIPPED
from salesops_kit.analysis.forecast._scope_outlook import whole_outlook
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.estimators.predictive import bias, wape
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

MODEL = "model"
_COLUMNS = ["caller", "period", "call", "callers", "past_calls", "wape", "bias", "corrected"]


@table(units={"call": "money", "corrected": "money", "wape": "rate", "bias": "rate", "callers": "people"})
def calls(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """What reps, managers and executives call for the quarter, and the model, each with its past error.

    One row per ``caller`` (rep, manager, executive, model): ``call``, the sum of everybody's latest Commit
    call by ``as_of`` (for the model the expected value), ``callers``, how many called; ``past_calls``,
    ``wape`` and ``bias`` (above 0: too high) over weeks 1, 5, 9 and 12 of the last ``quarters`` quarters
    that had ended, and ``corrected`` = call / (1 + bias). Missing where nobody called, or never before.
    Quarters count for a level only where somebody of it had called by that week. Executives call the whole
    company, so that they are left out for a part of it.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    scored = scored_rows(source, reference, by="", quarters=quarters)
    shipped = scored[scored["method"] == SHIPPED]
    label = source.quarters[source.here].label
    rows = []
    # Executives call the company; their rows lie in whatever slice the executives belong to.
    is_part = reference is not None and not source.is_all_of(reference)
    for level in LEVELS[: -1 if is_part else None]:
        standing = _told(source.calls, label, as_of.toordinal(), level)
        past = [
            (row.actual, told)
            for row in shipped.itertuples()
            if (told := _told(source.calls, row.quarter, row.origin.toordinal(), level))
        ]
        actual = np.array([each for each, _told_then in past])
        told_then = np.array([sum(told.values()) for _each, told in past])
        rows.append(_row(level, label, standing, actual, told_then))
    mean = whole_outlook(source, reference, 0).total.mean
    actual, guess = shipped["actual"].to_numpy(float), shipped["mean"].to_numpy(float)
    rows.append({**_row(MODEL, label, {MODEL: mean}, actual, guess), "callers": 1})
    result = pd.DataFrame(rows, columns=_COLUMNS)
    if source.calls is None:
        result.attrs["notes"] = [_("The data has no forecast calls, so that only the model is shown.")]
    return result


def _told(calls_: Calls | None, label: str, day: int, level: str) -> dict[str, float]:
    return {} if calls_ is None else calls_.standing(label, day, level)


def _row(
    caller: str, label: str, standing: Mapping[str, float], actual: np.ndarray, guess: np.ndarray
) -> dict[str, Any]:
    call = sum(standing.values()) if standing else np.nan
    off = bias(actual, guess)
    return {
        "caller": caller, "period": label, "call": call, "callers": len(standing), "past_calls": len(actual),
        "wape": wape(actual, guess), "bias": off, "corrected": call / (1 + off) if off > -1 else np.nan,
    }  # fmt: skip
