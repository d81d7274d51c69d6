"""The forecasts that each method would have made, beside what came, and how far off they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._company import company_figures
from salesops_kit.analysis.forecast._ladder import RUNGS, SEASONAL_NAIVE, SHIPPED
from salesops_kit.analysis.forecast._scores import COLUMNS, SHARES, choices, score, with_shipped
from salesops_kit.analysis.forecast._simulation import SEED
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.predictive import bias, mase, pinball, wape
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

QUARTERS = 8
_MONEY = ("actual", "booked", "mean", *SHARES, "crps")


@table(units=dict.fromkeys(_MONEY, "money"))
def backtest(
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
    by: Literal["", "team"] = "",
    quarters: int = QUARTERS,
    ahead: Literal[0, 1] = 0,
) -> pd.DataFrame:
    """What each method would have forecast at weeks 1, 5, 9 and 12 of past quarters.

    One row per quarter, ``week`` (its last day is the ``origin``) and ``method``, for the last ``quarters``
    quarters that had ended by ``as_of``; with ``by`` "team" per team, and for all of them (team
    "company"). Methods: the rungs ``seasonal_naive`` (1), ``commit_corrected`` (2), ``conversion`` (3),
    ``smoothing`` (4, exponential smoothing, Theta and ARIMA of monthly bookings, their mean), ``hazard``
    (5), ``boosted`` (6, only where deals are enough) and ``simulation`` (7); beside them ``commit``, what
    reps called (or open Commit deals) without a correction, ``stage_weighted``, booked and amounts due x
    the stage's probability, and ``shipped``, the rung ``chosen`` for that quarter by the CRPS of the
    quarters that had ended before it, as known then.

    Every forecast uses only what was known at the end of its origin, labels included. ``actual`` is what
    the quarter booked as known at ``as_of``; ``booked`` what it had at the origin; ``mean`` and the
    quantiles ``p2_5`` to ``p97_5`` are the forecast's; ``crps`` its score, in money, lower is better (for
    a point the absolute error). ``ahead`` 1 forecasts the quarter after that of the origin. Empty without
    a quarter to score. Raises :class:`InputError` when ``quarters`` is below 1.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    return scored_rows(source, reference, by=by, quarters=quarters, ahead=ahead)


def scored_rows(
    source: Source, reference: Mapping[str, Any] | None, *, by: str, quarters: int, ahead: int = 0
) -> pd.DataFrame:
    """The rows of ``forecast.backtest`` from what was read."""
    if quarters < 1:
        raise InputError(
            Problem("no past quarter", column="quarters", expected="1 or more", got=str(quarters))
        )
    own = _of_scope(source, reference, quarters, ahead)
    if by != "team":
        result = own
    else:
        figures = reference or company_figures(source)
        parts = [own.assign(team="company")]
        parts += [
            _of_scope(source.of_team(team), figures, quarters, ahead).assign(team=team)
            for team in source.history.teams_present
        ]
        # A team without a quarter that can be scored has no row, and no types of columns.
        scored = [part for part in parts if len(part)] or parts[:1]
        result = pd.concat(scored, ignore_index=True)[["team", *COLUMNS]]
    if result.empty:
        result.attrs["notes"] = [_("No past quarter can be scored: the history is too short.")]
    return result


def _of_scope(source: Source, reference: Mapping[str, Any] | None, quarters: int, ahead: int) -> pd.DataFrame:
    scored = score(source, ahead, reference)
    chosen = (reference or {}).get("chosen") if ahead == 0 else None
    if chosen is None:
        chosen = choices(source, ahead, reference)
    rows = with_shipped(scored, chosen)
    labels = list(dict.fromkeys(rows["quarter"]))[-quarters:]
    return rows[rows["quarter"].isin(labels)].reset_index(drop=True)


_RATES = ("wape", "wape_low", "wape_high", "bias", "bias_low", "bias_high", "coverage_50", "coverage_80",
          "coverage_95")  # fmt: skip


@table(
    units={
        **dict.fromkeys(_RATES, "rate"),
        **dict.fromkeys(["crps", "pinball_10", "pinball_90"], "money"),
        "mase": "ratio",
        "relative_crps": "rate",
    }
)
def accuracy(
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
    by: Literal["", "week", "team", "quarter"] = "week",
    quarters: int = QUARTERS,
    ahead: Literal[0, 1] = 0,
) -> pd.DataFrame:
    """How far off each method was over past quarters.

    One row per method, and per ``week``, ``team`` (with "company") or ``quarter``, from the rows of
    ``forecast.backtest``: ``origins``; ``wape`` = sum of absolute errors of the mean / sum of actuals;
    ``bias`` = sum of errors / sum of actuals (above 0: too high), both with 95 % intervals from
    resampling whole quarters; ``mase`` = mean absolute error / that of the seasonal naive; ``pinball_10``,
    ``pinball_90`` and ``crps``, means in money; ``relative_crps`` = mean CRPS / mean actual;
    ``coverage_50``, ``coverage_80`` and ``coverage_95``, the share of actuals within the middle 50, 80 and
    95 % of the forecast. Missing where the actuals sum to 0; an interval needs two quarters.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    rows = scored_rows(source, reference, by="team" if by == "team" else "", quarters=quarters, ahead=ahead)
    return summarised(rows, [by] if by else [])


def summarised(rows: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Rows of ``forecast.accuracy`` from rows of ``forecast.backtest``."""
    order = [*(rung.name for rung in RUNGS), SHIPPED]
    keys = ["method", *groups]
    names = [
        *keys, "origins", "wape", "wape_low", "wape_high", "bias", "bias_low", "bias_high", "mase",
        "pinball_10", "pinball_90", "crps", "relative_crps", "coverage_50", "coverage_80", "coverage_95",
    ]  # fmt: skip
    moment = [*(["team"] if "team" in rows else []), "quarter", "week"]
    naive = rows[rows["method"] == SEASONAL_NAIVE].set_index(moment)["mean"]
    result = []
    for key, part in rows.groupby(keys, sort=False):
        record = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        base = naive.reindex(pd.MultiIndex.from_frame(part[moment])).to_numpy()
        usable = ~np.isnan(base)
        actual, mean = part["actual"].to_numpy(float), part["mean"].to_numpy(float)
        limits = _resampled(part)
        result.append(
            {
                **record,
                "origins": len(part),
                "wape": wape(actual, mean),
                "bias": bias(actual, mean),
                **limits,
                "mase": mase(actual[usable], mean[usable], base[usable]),
                "pinball_10": float(pinball(actual, part["p10"], 0.1).mean()),
                "pinball_90": float(pinball(actual, part["p90"], 0.9).mean()),
                "crps": float(part["crps"].mean()),
                "relative_crps": float(part["crps"].mean() / actual.mean()) if actual.mean() > 0 else np.nan,
                "coverage_50": _inside(part, "p25", "p75"),
                "coverage_80": _inside(part, "p10", "p90"),
                "coverage_95": _inside(part, "p2_5", "p97_5"),
            }
        )
    frame = pd.DataFrame(result, columns=names)
    frame["place"] = frame["method"].map({name: place for place, name in enumerate(order)})
    return frame.sort_values(["place", *groups], ignore_index=True)[names]


def _inside(rows: pd.DataFrame, low: str, high: str) -> float:
    return float(((rows[low] <= rows["actual"]) & (rows["actual"] <= rows[high])).mean())


def _resampled(rows: pd.DataFrame) -> dict[str, float]:
    """95 % limits of WAPE and bias when whole quarters are drawn again, 500 times with a fixed seed."""
    missing = {name: float("nan") for name in ("wape_low", "wape_high", "bias_low", "bias_high")}
    error = rows["mean"] - rows["actual"]
    sums = pd.DataFrame(
        {"quarter": rows["quarter"], "off": error.abs(), "error": error, "actual": rows["actual"]}
    )
    parts = sums.groupby("quarter")[["off", "error", "actual"]].sum().to_numpy(float)
    if len(parts) < 2:
        return missing
    random = np.random.default_rng(SEED)
    drawn = parts[random.integers(0, len(parts), (500, len(parts)))].sum(axis=1)
    drawn = drawn[drawn[:, 2] > 0]
    if not len(drawn):
        return missing
    found: dict[str, float] = {}
    for name, column in (("wape", 0), ("bias", 1)):
        low, high = np.quantile(drawn[:, column] / drawn[:, 2], [0.025, 0.975])
        found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found
