"""Conversion and time per stage, by competing risks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._claims import CLAIM, reports_alike, with_claims
from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.analysis.funnel._transitions import (
    CAUSES,
    MOVED_ON,
    STAGE_KEYS,
    TOTALS,
    StageCounts,
    Window,
    count_transitions,
    open_stages,
    window,
)
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.competing_risks import (
    aalen_johansen,
    at_age,
    kaplan_meier,
    log_log_interval,
    quantiles,
)
from salesops_kit.estimators.dimensions import join_dimensions, sort_groups, tables_by_name
from salesops_kit.estimators.intervals import CONFIDENCE, Array, ratio, z_value
from salesops_kit.estimators.shrinkage import Prior, shrink
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

HORIZON_DAYS = 180
_RATES = [f"{cause}_rate" for cause in CAUSES]
_CONVERSION = [
    "pipeline",
    "stage",
    "entrants",
    "at_risk",
    *CAUSES,
    "next_rate",
    "next_low",
    "next_high",
    "skipped_rate",
    "lost_rate",
    "regressed_rate",
    "still_open_rate",
    "shrunk_rate",
    "shrunk_low",
    "shrunk_high",
    "reference_rate",
    "difference",
    "difference_low",
    "difference_high",
    *CLAIM,
    "observed_days",
]
_TIMES = ["at_risk", "left", "still_open", "p50", "p50_low", "p50_high", "p75", "p90", "closed_only_mean"]


@table(
    units={
        **dict.fromkeys(["entrants", "at_risk", *CAUSES], "deals"),
        **dict.fromkeys([*_RATES, "next_low", "next_high", "still_open_rate", "reference_rate"], "rate"),
        **dict.fromkeys(["shrunk_rate", "shrunk_low", "shrunk_high"], "rate"),
        **dict.fromkeys(["difference", "difference_low", "difference_high"], "rate"),
        "observed_days": "days",
    }
)
def conversion(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    reference: Mapping[str, Any] | None = None,
    by: str = "",
    horizon_days: int = HORIZON_DAYS,
    trailing_quarters: int = 0,
) -> pd.DataFrame:
    """How deals leave each stage: on to the next, skipping ahead, lost or back.

    One row per group of ``by``, pipeline and open stage, in the order of the process. Counts over the
    window (the period, the ``trailing_quarters`` that end with it, or all history): ``entrants`` and
    ``at_risk`` (entrants, deals in the stage when the window opens, deals taken over from another team
    while in it), and the exits ``next`` (to the following open stage, or won from the last one),
    ``skipped`` (further ahead, also won from an earlier stage), ``lost`` and ``regressed`` (back).

    ``<exit>_rate`` (0-1) is the Aalen-Johansen estimate of the share that leaves in this way within
    ``horizon_days`` of entering the stage; with ``still_open_rate`` they sum to 1. Deals still in the
    stage, transferred or deleted are censored, not lost. ``next_low`` and ``next_high`` are 95 %
    limits. ``shrunk_rate`` with its limits is ``next_rate`` pulled towards the company's.
    ``reference_rate`` is the company's ``next_rate`` over the window of the reference and
    ``difference`` the group's less the company's, with limits that follow from those of the two rates and
    allow for the group being part of the company. ``p_value`` tests it against zero and is below 0.05
    exactly where the limits leave zero out; ``adjusted_p_value`` allows for the number of groups and
    stages compared, here and in the other teams' reports, and ``evidence`` says that it is below 0.05.
    ``observed_days`` is the highest age seen: beyond it nothing is known.

    A stage nobody was in has missing rates. Without a reference over the same days and horizon (it
    holds the period and the four quarters that end with it) the
    columns that need it are missing, and ``evidence`` is false.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    if horizon_days < 1:
        raise InputError(
            Problem("no horizon", column="horizon_days", expected="1 or more", got=str(horizon_days))
        )
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, _CONVERSION, STAGE_KEYS)
    rows = join_dimensions(opportunity_states, dimensions, tables)
    days = window(as_of, period, settings, trailing_quarters)
    record.need_stages(days.start)
    counts = count_transitions(rows, stages, days, dimensions, settings)
    result = _all_stages(stage_rates(counts, horizon_days), open_stages(stages), counts.keys)
    company = reference_window(reference, days, trailing_quarters, horizon_days)
    result = with_reference(result, "next", company)
    result = with_claims(result, reports_alike(result, reference, company))
    names = [dimension.name for dimension in dimensions]
    result = sort_groups(result, [*names, "pipeline", "stage_position"])[[*names, *_CONVERSION]]
    result.attrs["notes"] = _conversion_notes(result, horizon_days, compared=bool(company))
    if reference and not company:
        result.attrs["notes"].append(not_compared())
    result.attrs["horizon_days"] = horizon_days
    return result


def stage_rates(counts: StageCounts, horizon_days: int) -> pd.DataFrame:
    """Totals and cumulative incidences at the horizon, one row per group and stage: ``<cause>_rate`` and
    ``<cause>_variance``, ``still_open_rate``, ``observed_days``, ``unseen_rate`` (still open at the highest
    age seen, where that is below the horizon), ``effective_n`` (deals that the rates rest on), and
    ``<cause>_low`` and ``<cause>_high`` for next and moved_on."""
    causes = [*CAUSES, MOVED_ON]
    keys = list(counts.keys)
    curve = aalen_johansen(counts.ages, causes, keys)
    reached = at_age(curve, horizon_days, keys)
    reached = reached.rename(columns={**{c: f"{c}_rate" for c in causes}, "survival": "still_open_rate"})
    observed = curve[curve["at_risk"] > 0].groupby(keys, as_index=False, dropna=False)["age"].max()
    rates = [f"{cause}_{kind}" for cause in causes for kind in ("rate", "variance")]
    wanted = [*keys, *rates, "still_open_rate", "effective_n"]
    result = counts.totals.merge(reached[wanted], on=keys, how="left", validate="one_to_one").merge(
        observed.rename(columns={"age": "observed_days"}), on=keys, how="left", validate="one_to_one"
    )
    is_short = result["observed_days"] < horizon_days
    result["unseen_rate"] = result["still_open_rate"].where(is_short, 0.0)
    result["effective_n"] = result[["effective_n", "at_risk"]].min(axis="columns", skipna=False)
    for cause in ("next", MOVED_ON):
        result[f"{cause}_low"], result[f"{cause}_high"] = log_log_interval(
            result[f"{cause}_rate"], result[f"{cause}_variance"], n=result["effective_n"]
        )
    return result


def reference_window(
    reference: Mapping[str, Any] | None, days: Window, trailing_quarters: int, horizon_days: int
) -> Mapping[str, Any]:
    """The company's stage figures over exactly these days and this horizon; empty where it has none.

    Figures over other days are no measure: a whole company would differ from itself.
    """
    figures = ((reference or {}).get("stages") or {}).get(str(trailing_quarters)) or {}
    first_day = None if days.start is None else days.start.toordinal()
    known = (figures.get("first_day"), figures.get("last_day"), (reference or {}).get("horizon_days"))
    return figures["figures"] if figures and known == (first_day, days.last.toordinal(), horizon_days) else {}


def not_compared() -> str:
    """The note that says why no stage is compared with the company."""
    return _("The company's figures cover other days or another horizon, so that nothing is compared.")


def with_reference(rates: pd.DataFrame, cause: str, company: Mapping[str, Any]) -> pd.DataFrame:
    """Adds the company's rate, the shrunk rate and the difference with its limits and variance.

    The limits are put together from those of the two rates (MOVER: Zou and Donner, Statistics in Medicine
    27, 2008). Of a rate of 0 % or 100 %, whose estimated variance is 0, they are the exact ones (Clopper
    and Pearson) for the deals that it rests on: Wilson's printed ones are too narrow for one or two. The
    company holds the group: with ``w`` the group's share of the company's deals the two rates are
    correlated by ``w x group's width / company's width``. With limits of equal width on both sides this is
    the variance ``(1 - 2w) x group's + company's``. ``difference_variance`` is the square of the distance
    to the limit on zero's side, in standard errors: the p-value from it is below 0.05 exactly where the
    limits leave zero out. Deals still open at the highest age seen may yet leave in this way, so that for
    the comparison the group's upper limit is higher by their share.

    A group that is the whole company differs from it by exactly zero, and is not shrunk towards itself.
    """
    result = rates.copy()
    places = zip(result["pipeline"], result["stage"], strict=True)
    figures = [company.get(pipeline, {}).get(stage, {}) for pipeline, stage in places]

    def column(name: str) -> np.ndarray:
        values = [figure.get(name) for figure in figures]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    rate, variance = result[f"{cause}_rate"].to_numpy(float), result[f"{cause}_variance"].to_numpy(float)
    result["reference_rate"] = column(cause)
    share = np.clip(ratio(result["at_risk"], column("at_risk")), 0, 1)
    result["difference"] = rate - result["reference_rate"]
    low, high = (result[f"{cause}_{end}"].to_numpy(float) for end in ("low", "high"))
    # Rounding may miss the edges by a hair.
    is_none, is_all = rate < 1e-9, rate > 1 - 1e-9
    exact = 1 - ((1 - CONFIDENCE) / 2) ** (1 / result["effective_n"].to_numpy(float))
    low = np.where(is_all, np.minimum(low, 1 - exact), low)
    high = np.where(is_none, np.maximum(high, exact), high)
    high = np.minimum(high + np.nan_to_num(result["unseen_rate"].to_numpy(float)), 1)
    mean, mean_low, mean_high = (column(f"{cause}{end}") for end in ("", "_low", "_high"))
    shared = np.where(share < 1, np.clip(share * ratio(high - low, mean_high - mean_low), 0, 1), 1)
    below = np.where(share < 1, _side(rate - low, mean_high - mean, shared), 0 * rate)
    above = np.where(share < 1, _side(high - rate, mean - mean_low, shared), 0 * rate)
    result["difference_low"] = result["difference"] - below
    result["difference_high"] = result["difference"] + above
    to_zero = np.where(result["difference"] > 0, below, above)
    result["difference_variance"] = (to_zero / z_value()) ** 2
    deals = np.where(variance > 0, ratio(rate * (1 - rate), variance), result["effective_n"])
    strengths = np.where(share < 1, column(f"{cause}_strength"), np.nan)
    shrunk = [
        shrink(r * n, n, Prior(mean, strength))
        for r, n, mean, strength in zip(rate, deals, result["reference_rate"], strengths, strict=True)
    ]
    for place, name in enumerate(("shrunk_rate", "shrunk_low", "shrunk_high")):
        result[name] = np.array([float(values[place]) for values in shrunk], dtype=float)
    return result


def _side(one: Array, other: Array, correlation: Array) -> Array:
    """The distance of a difference's limit from the distances of the two parts' limits."""
    return np.asarray(np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0)))


def reference_number(figures: Mapping[str, Any] | None, name: str) -> float:
    """A figure of the reference as a number, missing when it is unknown."""
    value = (figures or {}).get(name)
    return float("nan") if value is None else float(value)


def _all_stages(rates: pd.DataFrame, listed: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Without dimensions, stages that nobody was in get a row of zero counts and missing rates."""
    if len(keys) > len(STAGE_KEYS):
        return rates
    keyed, seen = (frame[list(STAGE_KEYS)] for frame in (listed, rates))
    known = set(seen.itertuples(index=False, name=None))
    empty = keyed[[place not in known for place in keyed.itertuples(index=False, name=None)]]
    counted = [name for name in rates.columns if name in {*TOTALS, "left"}]
    return pd.concat([rates, empty.assign(**dict.fromkeys(counted, 0))], ignore_index=True).astype(
        dict.fromkeys(counted, "int64")
    )


def _conversion_notes(result: pd.DataFrame, horizon_days: int, *, compared: bool) -> list[str]:
    notes = []
    young = int((result["observed_days"] < horizon_days).sum())
    if young:
        text = ngettext(
            "{count} stage was observed for less than {days} days: its rates are those reached so far.",
            "{count} stages were observed for less than {days} days: their rates are those reached so far.",
            young,
        )
        notes.append(text.format(count=young, days=horizon_days))
    if compared and not result["evidence"].any():
        notes.append(_("No evidence of a difference from the company in any stage."))
    return notes


@table(
    units={
        **dict.fromkeys(["at_risk", "left", "still_open"], "deals"),
        **dict.fromkeys(["p50", "p50_low", "p50_high", "p75", "p90", "closed_only_mean"], "days"),
    }
)
def time_in_stage(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    by: str = "",
    trailing_quarters: int = 0,
) -> pd.DataFrame:
    """How long deals stay in each stage.

    One row per group of ``by``, pipeline and open stage, over the window of ``conversion``. ``at_risk``
    deals were seen in the stage, ``left`` of them left it in any way, ``still_open`` were in it when the
    window ended. ``p50``, ``p75`` and ``p90`` are days from entering to leaving by Kaplan-Meier, which
    counts the stays that are not over; ``p50_low`` and ``p50_high`` are 95 % limits. They are missing
    where the curve does not come down that far, and where it rests on fewer than 5 deals, or 10 for
    ``p90``: at every age at which it fell, deals at risk / share still in the stage must come to as many.
    ``closed_only_mean`` (days) is the plain mean of the
    stays that ended, which is too short wherever long stays are still under way.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, _TIMES, STAGE_KEYS)
    rows = join_dimensions(opportunity_states, dimensions, tables)
    days = window(as_of, period, settings, trailing_quarters)
    record.need_stages(days.start)
    counts = count_transitions(rows, stages, days, dimensions, settings)
    keys = list(counts.keys)
    wanted = {
        "p50": (0.5, "survival"),
        "p50_low": (0.5, "low"),
        "p50_high": (0.5, "high"),
        "p75": (0.75, "survival"),
        "p90": (0.9, "survival"),
    }
    ages = quantiles(kaplan_meier(counts.ages, keys), wanted, keys, only_if_known=True)
    for limit in ("p50_low", "p50_high"):
        ages[limit] = ages[limit].where(ages["p50"].notna())
    result = counts.totals.rename(columns={"events": "left"})
    result = result.merge(ages, on=keys, how="left", validate="one_to_one")
    result["closed_only_mean"] = ratio(result["closed_days"], result["left"])
    result = _all_stages(result, open_stages(stages), counts.keys)
    names = [dimension.name for dimension in dimensions]
    return sort_groups(result, [*names, "pipeline", "stage_position"])[[*names, "pipeline", "stage", *_TIMES]]
