"""From which stage to which deals move: onwards, ahead, back, won and lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._transitions import STAGE_KEYS, Window, classify, open_stages, window
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.competing_risks import aalen_johansen, add_counts, at_age, log_log_interval
from salesops_kit.estimators.intervals import ratio, wilson
from salesops_kit.estimators.states import is_open, observation
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

View = Literal["period", "cohort"]
HORIZON_DAYS = 180
_TO = ["next_stage", "next_position", "next_is_closed", "next_is_won"]
_RESULT = [
    "pipeline",
    "from_stage",
    "to_stage",
    "kind",
    "moves",
    "n",
    "share",
    "low",
    "high",
    "median_days",
    "is_mature",
]


@table(
    units={
        **dict.fromkeys(["moves", "n"], "deals"),
        **dict.fromkeys(["share", "low", "high"], "rate"),
        "median_days": "days",
    }
)
def transitions(
    opportunity_states: ir.Table,
    stages: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    view: View = "period",
    trailing_quarters: int = 0,
    horizon_days: int = HORIZON_DAYS,
) -> pd.DataFrame:
    """The skip and regression matrix: moves from each open stage to each other stage.

    One row per pipeline, ``from_stage`` and ``to_stage`` between which deals moved, in the order of the
    process. ``kind``: ``next`` (the following open stage), ``skipped`` (further on), ``regressed`` (back),
    ``won``, ``lost``. ``median_days`` is the plain median of days in ``from_stage`` of the ``moves``.

    ``period``: ``moves`` made in the window (the period, the ``trailing_quarters`` that end with it, or all
    history), ``n`` all moves out of the stage in it, ``share`` = moves / n (0-1) with 95 % Wilson limits
    ``low`` and ``high``. The stays may have begun before; it is a fact, so ``is_mature`` is true.

    ``cohort``: ``n`` stays in the stage that began in the window, followed to the end of ``as_of``; ``share``
    is the Aalen-Johansen incidence of the move within ``horizon_days``, with 95 % limits. The row ``(still
    there)`` has the stays not over by then, censored ones apart, and the shares of a stage sum to 1.
    ``moves`` and ``median_days`` are of all moves seen. ``is_mature``: every stay could be seen for
    ``horizon_days``; before, the shares are those reached so far.

    A deal that is deleted or handed to another team makes no move. No move gives no row.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    if horizon_days < 1:
        raise InputError(
            Problem("no horizon", column="horizon_days", expected="1 or more", got=str(horizon_days))
        )
    days = window(as_of, period, settings, trailing_quarters)
    record.need_stages(days.start)
    found = _stays(opportunity_states, days, as_of, view)
    following = open_stages(stages).set_index(["pipeline", "stage_position"])["following"]
    moves = found[found["events"] > 0].reset_index(drop=True)
    moves["kind"] = _kinds(moves, following)
    keys = [*STAGE_KEYS, "next_stage", "next_position", "kind"]
    result = moves.groupby(keys, as_index=False, dropna=False)["events"].sum()
    result = result.rename(columns={"events": "moves"}).merge(
        _medians(moves, keys), on=keys, how="left", validate="one_to_one"
    )
    if view == "period":
        result["n"] = result.groupby(list(STAGE_KEYS))["moves"].transform("sum")
        result["share"] = ratio(result["moves"], result["n"])
        result["low"], result["high"] = wilson(result["moves"], result["n"])
        result["is_mature"] = True
    else:
        result = _followed(found, moves, result, horizon_days)
        result["is_mature"] = days.last + dt.timedelta(days=horizon_days) <= as_of
    result["order"] = result["next_position"].fillna(np.inf)
    result = result.sort_values(["pipeline", "stage_position", "order"], ignore_index=True)
    result = result.rename(columns={"stage": "from_stage", "next_stage": "to_stage"})[_RESULT]
    result.attrs["notes"] = []
    if len(result) and not result["is_mature"].all():
        text = _("Not every stay could be followed for {days} days: the shares are those reached so far.")
        result.attrs["notes"] = [text.format(days=horizon_days)]
    return result


def _stays(states: ir.Table, days: Window, as_of: dt.date, view: View) -> pd.DataFrame:
    """Stretches in open stages by the ages between which they were seen, and where they went."""
    rows = states.filter(is_open(states))
    leaves = rows.next_stage != rows.stage
    if view == "cohort":
        begun = rows.stage_since_date <= days.last
        if days.start is not None:
            begun &= rows.stage_since_date >= days.start
        seen = observation(rows.filter(begun), rows.stage_since_date, leaves, None, as_of)
        seen = seen.mutate(begins=(seen.valid_from_date == seen.stage_since_date).cast("int32"))
    else:
        seen = observation(rows, rows.stage_since_date, leaves, days.start, days.last)
        seen = seen.filter(seen.is_event)
    ages = ["exit_age", "entry_age", "begins"] if view == "cohort" else ["exit_age"]
    targets = {name: seen.is_event.ifelse(seen[name], None) for name in _TO}
    kept = seen.select(*STAGE_KEYS, *ages, "is_event", "is_still_so", **targets)
    counts = kept.group_by([*STAGE_KEYS, *ages, *_TO]).aggregate(
        stretches=kept.count(), events=kept.is_event.sum(), still_open=kept.is_still_so.sum()
    )
    return collect(counts).fillna({"events": 0, "still_open": 0})


def _kinds(moves: pd.DataFrame, following: pd.Series) -> np.ndarray:
    by_kind = classify(moves, following)
    won = moves["next_is_won"].astype("boolean").fillna(value=False).to_numpy(bool)
    kinds = ["next", "skipped", "lost", "regressed"]
    return np.select([won, *((by_kind[kind] > 0).to_numpy() for kind in kinds)], ["won", *kinds], default="")


def _medians(moves: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The median age of each kind of move from the number of moves per age."""
    ages = moves.groupby([*keys, "exit_age"], as_index=False, dropna=False)["events"].sum()
    groups = ages.groupby(list(keys), dropna=False)["events"]
    ages["so_far"], ages["all"] = groups.cumsum(), groups.transform("sum")
    # The median lies between the two middle moves, which are one where their number is odd.
    parts = []
    for name, middle in (("lower", (ages["all"] + 1) // 2), ("upper", ages["all"] // 2 + 1)):
        at = (
            ages[ages["so_far"] >= middle].groupby(list(keys), as_index=False, dropna=False)["exit_age"].min()
        )
        parts.append(at.rename(columns={"exit_age": name}))
    both = parts[0].merge(parts[1], on=list(keys), validate="one_to_one")
    both["median_days"] = (both["lower"] + both["upper"]) / 2
    return both[[*keys, "median_days"]]


def _followed(
    found: pd.DataFrame, moves: pd.DataFrame, result: pd.DataFrame, horizon_days: int
) -> pd.DataFrame:
    """The shares of a cohort of stays by competing risks, with a row for those that are not over."""
    keys = list(STAGE_KEYS)
    targets = sorted(moves["next_stage"].unique())
    causes = [f"to_{number}" for number in range(len(targets))]
    entries = found[keys].assign(age=found["entry_age"], entered=found["stretches"])
    exits = found[keys].assign(age=found["exit_age"], left=found["stretches"], events=found["events"])
    for cause, target in zip(causes, targets, strict=True):
        exits[cause] = found["events"].where(found["next_stage"] == target, 0)
    curve = at_age(
        aalen_johansen(add_counts([entries, exits], causes, keys), causes, keys), horizon_days, keys
    )
    begun = found[keys].assign(
        n=found["stretches"].where(found["begins"] == 1, 0), still_open=found["still_open"]
    )
    begun = begun.groupby(keys, as_index=False)[["n", "still_open"]].sum()
    reached = begun.merge(at_age(curve, horizon_days, keys), on=keys, how="inner", validate="one_to_one")
    parts = [
        reached[[*keys, "n"]].assign(
            next_stage=target, share=reached[cause], variance=reached[f"{cause}_variance"]
        )
        for cause, target in zip(causes, targets, strict=True)
    ]
    if not parts:
        known = result.assign(n=[], share=[], variance=[])
    else:
        shares = pd.concat(parts, ignore_index=True)
        known = result.merge(shares, on=[*keys, "next_stage"], how="left", validate="one_to_one")
    there = reached[[*keys, "n"]].assign(
        next_stage=_("(still there)"),
        next_position=np.nan,
        kind="open",
        moves=reached["still_open"],
        median_days=np.nan,
        share=reached["survival"],
        variance=reached["survival_variance"],
    )
    both = pd.concat([known, there], ignore_index=True)
    both["low"], both["high"] = log_log_interval(both["share"], both["variance"], n=both["n"])
    return both
