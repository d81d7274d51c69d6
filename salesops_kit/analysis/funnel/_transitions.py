"""How deals leave each stage, as counts per age for the competing-risks estimators."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.data.engine import collect, shared
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.competing_risks import add_counts
from salesops_kit.estimators.dimensions import Dimension, label_groups
from salesops_kit.estimators.states import is_open, observation
from salesops_kit.language import current_locale
from salesops_kit.periods import Period
from salesops_kit.settings import Settings

CAUSES = ("next", "skipped", "lost", "regressed")
MOVED_ON = "moved_on"
TOTALS = ["entrants", "at_risk", "still_open", "events", *CAUSES, MOVED_ON, "closed_days"]
STAGE_KEYS = ("pipeline", "stage", "stage_position")
_NEXT = ["next_position", "next_is_closed", "next_is_won"]
_DATES = ["valid_from_date", "valid_to_date", "stage_since_date"]
_READ = ["opportunity_id", "state_no", *_DATES, "entry", "exit", "next_stage", *_NEXT]


@dataclass(frozen=True)
class Window:
    """The days whose passages count: from ``start`` (None = the beginning) to ``last`` inclusive."""

    start: dt.date | None
    last: dt.date


def window(as_of: dt.date, period: Period | None, settings: Settings, trailing_quarters: int) -> Window:
    """The days of the period, or of the quarters that end with it, as far as they are known.

    Without a period the quarters end with the one that holds ``as_of``; without quarters either,
    everything known by ``as_of`` counts.
    """
    last = as_of if period is None else min(as_of, period.last_day)
    if trailing_quarters < 0:
        what = "a negative number of quarters"
        raise InputError(Problem(what, column="trailing_quarters", got=str(trailing_quarters)))
    if trailing_quarters == 0:
        return Window(None if period is None else period.start, last)
    quarter = settings.fiscal.quarter_of(last)
    for _step in range(trailing_quarters - 1):
        quarter = settings.fiscal.previous(quarter)
    return Window(quarter.start, last)


@dataclass(frozen=True)
class StageCounts:
    """``ages`` is the count table of the estimators; ``totals`` has one row per group and stage."""

    ages: pd.DataFrame
    totals: pd.DataFrame
    keys: tuple[str, ...]


def open_stages(stages: ir.Table) -> pd.DataFrame:
    """The open stages of each pipeline in order, each with ``following``, the next open position."""
    columns = ["pipeline", "stage", "position", "is_closed"]
    frame = collect(stages.select(*columns))
    is_closed = frame["is_closed"].fillna(value=False).astype(bool)
    frame = frame[~is_closed].sort_values(["pipeline", "position"], ignore_index=True)
    frame["following"] = frame.groupby("pipeline")["position"].shift(-1).astype(float)
    return frame.rename(columns={"position": "stage_position"}).drop(columns="is_closed")


def count_transitions(
    rows: ir.Table, stages: ir.Table, days: Window, dimensions: Sequence[Dimension], settings: Settings
) -> StageCounts:
    """Counts entries to and exits from every open stage in the window, per group and age in days.

    ``rows`` are states with the dimensions joined. An exit is ``next`` (to the following open stage, or
    won from the last), ``skipped`` (further on, also won from an earlier stage), ``lost``, or
    ``regressed`` (back); ``moved_on`` is next and skipped together. Totals: ``entrants`` (stage runs
    that begin in the window), ``at_risk`` (entrants, runs under way when the window opens, and runs
    taken over from another team), ``still_open`` (under way when it ends), the exits by kind, and
    ``closed_days`` (their summed ages).

    Several tables of a report ask for the same counts, so that they are kept: nobody may change them.
    """
    return _counted(rows, stages, days, tuple(dimensions), settings, current_locale())


@functools.lru_cache(maxsize=8)
def _counted(
    rows: ir.Table,
    stages: ir.Table,
    days: Window,
    dimensions: tuple[Dimension, ...],
    settings: Settings,
    _locale_of_labels: str,
) -> StageCounts:
    entries, exits = _ends(rows, days, (*(dimension.column_in_rows for dimension in dimensions), *STAGE_KEYS))
    following = open_stages(stages).set_index(["pipeline", "stage_position"])["following"]
    exits = pd.concat([exits, classify(exits, following)], axis="columns")
    names = (*(dimension.name for dimension in dimensions), *STAGE_KEYS)
    entries, exits = (label_groups(part, dimensions, settings) for part in (entries, exits))
    ages = add_counts([entries, exits], [*CAUSES, MOVED_ON], names)
    exits["closed_days"] = exits["events"] * exits["age"]
    of_exits = [name for name in TOTALS if name in exits.columns]
    totals = (
        pd.concat([entries[[*names, "entrants", "at_risk"]], exits[[*names, *of_exits]]], ignore_index=True)
        .fillna(dict.fromkeys(TOTALS, 0))
        .groupby(list(names), as_index=False, dropna=False)
        .sum()
    )
    totals = totals.astype(dict.fromkeys(TOTALS, "int64"))
    return StageCounts(ages, totals, names)


def _ends(rows: ir.Table, days: Window, keys: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Entries and exits by age."""
    narrow = rows.filter(is_open(rows)).select(*dict.fromkeys([*keys, *_READ]))
    leaves = narrow.next_stage != narrow.stage
    seen = shared(observation(narrow, narrow.stage_since_date, leaves, days.start, days.last))
    return _entries(seen, keys, days), _exits(seen, keys)


def _entries(seen: ir.Table, keys: Sequence[str], days: Window) -> pd.DataFrame:
    starts_run = seen.valid_from_date == seen.stage_since_date
    under_way = ibis.literal(value=False)
    if days.start is not None:
        first = ibis.literal(days.start)
        starts_run &= seen.valid_from_date >= first
        under_way = seen.valid_from_date < first
    taken_over = (seen.entry == "transferred") & ~under_way & ~starts_run
    counts = seen.group_by([*keys, "entry_age"]).aggregate(
        entered=seen.count(),
        entrants=starts_run.sum(),
        at_risk=(starts_run | under_way | taken_over).sum(),
        taken=taken_over.sum(),
    )
    result = collect(counts).rename(columns={"entry_age": "age"})
    if not result.pop("taken").fillna(0).any():
        return result
    # A run that was handed over within the group before, as from one of its teams to another, is still one
    # run; what is handed over only later takes nothing away.
    given = seen.exit == "transferred"
    moves = seen.mutate(is_taken=taken_over, given_no=ibis.cases((given, seen.state_no)))
    moves = moves.filter(moves.is_taken | moves.given_no.notnull())
    run = ibis.window(group_by=[*keys, "opportunity_id", "stage_since_date"])
    moves = moves.mutate(first_given=moves.given_no.min().over(run))
    again = moves.filter(moves.is_taken & (moves.state_no > moves.first_given))
    again = collect(again.group_by([*keys, "entry_age"]).aggregate(again=again.count()))
    merged = result.merge(again.rename(columns={"entry_age": "age"}), on=[*keys, "age"], how="left")
    result["at_risk"] = result["at_risk"] - merged["again"].fillna(0).to_numpy("int64")
    return result


def _exits(seen: ir.Table, keys: Sequence[str]) -> pd.DataFrame:
    where = {name: ibis.cases((seen.is_event, seen[name])) for name in _NEXT}
    counts = (
        seen.select(*keys, "exit_age", "is_event", "is_still_so", **where)
        .group_by([*keys, "exit_age", *_NEXT])
        .aggregate(
            left=lambda t: t.count(),
            events=lambda t: t.is_event.sum(),
            still_open=lambda t: t.is_still_so.sum(),
        )
    )
    return collect(counts).rename(columns={"exit_age": "age"})


def classify(exits: pd.DataFrame, following: pd.Series) -> pd.DataFrame:
    """The events of each row of exits as counts by kind."""
    place = pd.MultiIndex.from_frame(exits[["pipeline", "stage_position"]])
    following_position = following.reindex(place).to_numpy(float)
    is_closed = exits["next_is_closed"].astype("boolean").fillna(value=False).to_numpy(bool)
    is_won = exits["next_is_won"].astype("boolean").fillna(value=False).to_numpy(bool)
    next_position = exits["next_position"].to_numpy(float, na_value=np.nan)
    is_next = np.where(is_won, np.isnan(following_position), next_position == following_position)
    is_back = ~is_closed & (next_position <= exits["stage_position"].to_numpy(float))
    kinds = np.select(
        [is_closed & ~is_won, is_next, is_back, ~np.isnan(next_position) | is_won],
        ["lost", "next", "regressed", "skipped"],
        default="",
    )
    events = exits["events"].to_numpy("int64")
    counts = {cause: np.where(kinds == cause, events, 0) for cause in CAUSES}
    counts[MOVED_ON] = counts["next"] + counts["skipped"]
    return pd.DataFrame(counts, index=exits.index)
