"""Pipeline coverage: what is due against what is still needed, and what past quarters needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._composition import unknown_amounts
from salesops_kit.analysis.pipeline._yield import (
    PAST_QUARTERS,
    By,
    Vantage,
    Yield,
    past_numbers,
    prior_of,
    seen_from,
    vantage,
    yields_by_group,
)
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import sort_groups
from salesops_kit.estimators.intervals import CONFIDENCE, wilson
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.shrinkage import Prior, shrink
from salesops_kit.estimators.targets import owner_targets, target_notes, team_targets, whole_target
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

# Enough for the second digit of a limit; the seed makes a report repeatable.
_DRAWS = 4000
_SEED = 20_260_331
_RESULT = [
    "quarter", "target", "target_source", "won_to_date", "gap", "open_deals", "open_due", "coverage",
    "conversion", "conversion_low", "conversion_high", "expected_elsewhere", "required_coverage", "low",
    "high", "quarters_observed", "reason",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["target", "won_to_date", "gap", "open_due", "expected_elsewhere"], "money"),
        **dict.fromkeys(["coverage", "required_coverage", "low", "high"], "ratio"),
        **dict.fromkeys(["conversion", "conversion_low", "conversion_high"], "rate"),
        "open_deals": "deals",
    }
)
def coverage(
    opportunity_states: ir.Table,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    reference: Mapping[str, Any] | None = None,
    by: By = "team",
    ahead: int = 0,
) -> pd.DataFrame:
    """Open pipeline due in a quarter against the gap to its target, and the coverage that it takes.

    One row per team, per rep (``by`` owner_id, with ``rep_name``) or in all (``by`` empty), for the
    report's quarter or the one ``ahead`` quarters after it, seen at the end of ``as_of``.

    ``target`` (base currency) comes from the plan's budget for bookings; a team without one takes its own
    quota, else the sum of its reps'; a rep takes the quota. ``target_source`` says which, ``several`` for a
    sum of different ones; a target that may count twice, such as that of a name that no team has, is noted.
    ``won_to_date``: won with a close date in the quarter; ``gap`` = target - won to date; ``open_due`` and
    ``open_deals``: open with a close date in the quarter, overdue ones included; ``coverage`` = open due /
    gap.

    What it takes is learnt from the last eight quarters that are over, each seen from the same day of it:
    ``conversion`` (0-1) is the share of the amount due on that day that the team (the rep) won within the
    quarter, amounts as they were that day, pulled towards the company's where few deals speak for
    themselves, with 95 % credible limits that allow for quarters differing more than deals.
    ``expected_elsewhere`` is the mean amount per quarter that was booked after that day without having been
    due then: create-and-close, pulled in, reopened, taken over, or won above the amount of that day.
    ``required_coverage`` = (gap - expected elsewhere) / (conversion x gap), at least 0: the open pipeline,
    per unit of gap, that closes the gap if conversion and the rest are as they were. ``low`` and ``high`` are
    its 95 % limits (4,000 seeded draws of both). ``quarters_observed``: quarters in which something was due.

    A missing or zero target leaves target, gap and both coverages missing; with the gap closed both are
    missing too; once the quarter is over, or if nothing due was ever won, the required one is. ``reason``
    says why. Teams and reps are listed that have a target, or something open or won in the quarter.

    Raises :class:`InputError` when ``ahead`` is negative.

    Quarters before the history of close dates say nothing of what is needed.
    """
    if ahead < 0:
        what = "a quarter that is over"
        raise InputError(Problem(what, column="ahead", expected="0 or more", got=str(ahead)))
    view = vantage(as_of, period, settings, ahead)
    seen = seen_from(opportunity_states, view, by, record.changes_from)
    told: list[str] = []
    if by == "owner_id":
        targets = owner_targets(quotas, view.quarter)
    else:
        targets = team_targets(plan, quotas, reps, team_memberships, view.quarter, settings)
        told = target_notes(targets, teams, team_memberships)
    if not by:
        seen = seen.assign(scope="")
        amount, source = whole_target(targets, teams)
        targets = pd.DataFrame({"scope": [""], "target": [amount], "target_source": [source]})
    group = by or "scope"
    now = seen[seen["number"] == len(view.quarters) - 1]
    now = now.rename(columns={"booked": "won_to_date", "due_amount": "open_due", "due_deals": "open_deals"})
    # A team without an open deal, a booking and a target is one of the past.
    now = now[(now["open_deals"] > 0) | (now["won_to_date"] != 0)]
    wanted = [group, "won_to_date", "open_deals", "open_due", "unknown_amount"]
    frame = now[wanted].merge(targets, on=group, how="outer")
    frame = frame.fillna(dict.fromkeys(wanted[1:], 0.0)).fillna({"target_source": ""})
    frame["target"] = frame["target"].where(frame["target"] > 0)
    frame.loc[frame["target"].isna(), "target_source"] = ""
    frame["gap"] = frame["target"] - frame["won_to_date"]
    open_gap = frame["gap"].where(frame["gap"] > 0)
    frame["coverage"] = frame["open_due"] / open_gap
    result = _with_requirement(frame, seen, view, group, reference, open_gap)
    result["quarter"] = view.quarter.label
    result["open_deals"] = result["open_deals"].astype("int64")
    if by:
        result[by] = result[by].where(result[by] != "", _("(none)"))
    notes = _notes(result, group, view) + unknown_amounts(int(result["unknown_amount"].sum()))
    names = [by] if by else []
    result = with_rep_names(sort_groups(result, names)[[*names, *_RESULT]], reps)
    result.attrs["notes"] = [*told, *notes]
    return result


def _with_requirement(
    frame: pd.DataFrame,
    seen: pd.DataFrame,
    view: Vantage,
    group: str,
    reference: Mapping[str, Any] | None,
    gap: pd.Series,
) -> pd.DataFrame:
    """Adds conversion, what comes from elsewhere, the required coverage with limits, and the reasons."""
    numbers = past_numbers(seen, view)
    past = seen[seen["number"].isin(numbers)]
    by_group = yields_by_group(past, group, numbers)
    silent = Yield(0.0, 0.0, 0.0 if numbers else np.nan, np.nan, 0)
    yields = [by_group.get(key, silent) for key in frame[group]]
    prior = prior_of(list(by_group.values()), float(past["due_amount"].sum()), reference, view)
    result = frame.copy()
    successes = np.array([each.successes for each in yields], dtype=float)
    size = np.array([each.size for each in yields], dtype=float)
    rate, low, high = conversion_of(successes, size, prior)
    result["conversion"], result["conversion_low"], result["conversion_high"] = rate, low, high
    result["expected_elsewhere"] = [each.elsewhere for each in yields]
    result["quarters_observed"] = [each.quarters for each in yields]
    is_over = view.days[-1] >= view.quarter.last_day
    limits = [
        (np.nan, np.nan, np.nan)
        if is_over or not share > 0
        else required(float(needed), float(share), each, prior)
        for needed, share, each in zip(gap, result["conversion"], yields, strict=True)
    ]
    for place, name in enumerate(("required_coverage", "low", "high")):
        result[name] = np.array([values[place] for values in limits], dtype=float)
    result["reason"] = [
        _reason(row, is_over=is_over) for row in result[["target", "gap", "conversion"]].itertuples()
    ]
    return result


def conversion_of(
    successes: np.ndarray, size: np.ndarray, prior: Prior | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The conversion of each group with its limits: shrunk to the prior, or on its own (Wilson)."""
    if prior is not None:
        return shrink(successes, size, prior)
    rate = np.divide(successes, size, out=np.full(len(size), np.nan), where=size > 0)
    return rate, *wilson(successes, size)


def required(gap: float, conversion: float, past: Yield, prior: Prior | None) -> tuple[float, float, float]:
    """The open pipeline that closes a gap, per unit of gap, with its 95 % limits.

    ``(gap - elsewhere) / (conversion x gap)``, at least 0. The limits come from draws of the conversion's
    posterior and of the mean that comes from elsewhere (Student's t).

    >>> half = Yield(successes=500.0, size=1000.0, elsewhere=20.0, elsewhere_error=0.0, quarters=8)
    >>> [round(value, 1) for value in required(100.0, 0.5, half, None)]
    [1.6, 1.5, 1.7]
    """
    if not gap > 0 or np.isnan(past.elsewhere):
        return np.nan, np.nan, np.nan
    random = np.random.default_rng(_SEED)
    # Without a prior Jeffreys' stands for not knowing anything.
    wins, losses = (prior.mean * prior.strength, (1 - prior.mean) * prior.strength) if prior else (0.5, 0.5)
    wins, losses = wins + past.successes, losses + past.size - past.successes
    shares = random.beta(wins, losses, _DRAWS) if min(wins, losses) > 0 else np.full(_DRAWS, conversion)
    elsewhere = np.full(_DRAWS, float(past.elsewhere))
    if past.elsewhere_error > 0 and past.quarters > 1:
        elsewhere += past.elsewhere_error * random.standard_t(past.quarters - 1, _DRAWS)
    tail = (1 - CONFIDENCE) / 2 * 100
    draws = np.maximum(gap - elsewhere, 0) / np.maximum(shares * gap, np.finfo(float).tiny)
    low, high = np.percentile(draws, [tail, 100 - tail])
    value = max(gap - past.elsewhere, 0.0) / (conversion * gap)
    return value, min(float(low), value), max(float(high), value)


def _reason(row: Any, *, is_over: bool) -> str:
    if np.isnan(row.target):
        return _("There is no target.")
    if row.gap <= 0:
        return _("The target is reached.")
    if is_over:
        return _("The quarter is over.")
    if np.isnan(row.conversion):
        return _("There is no past quarter to learn from.")
    if row.conversion <= 0:
        return _("Nothing that was due on this day of past quarters was won in them.")
    return ""


def _notes(result: pd.DataFrame, group: str, view: Vantage) -> list[str]:
    notes = []
    without = int(result["target"].isna().sum())
    if without and group != "scope":
        text = ngettext(
            "{count} row has no target for {quarter}.", "{count} rows have no target for {quarter}.", without
        )
        notes.append(text.format(count=without, quarter=view.quarter.label))
    if len(view.quarters) - 1 == PAST_QUARTERS and 0 < result["quarters_observed"].max() < 4:
        notes.append(_("Fewer than four past quarters are known, so that the required coverage is rough."))
    return notes
