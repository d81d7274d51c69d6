"""How long deals stay in each stage, with the stays that are not over yet."""

from __future__ import annotations

import datetime as dt
import functools

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.estimators.competing_risks import add_counts, kaplan_meier, quantiles
from salesops_kit.estimators.states import is_open, observation

STAGE_KEYS = ("pipeline", "stage", "stage_position")
SHARES = {"p50": 0.5, "p75": 0.75, "p90": 0.9}


@functools.lru_cache(maxsize=8)
def stage_times(states: ir.Table, start: dt.date | None, last: dt.date) -> pd.DataFrame:
    """Days by which half, three quarters and nine in ten of a stage's visits have ended in any way.

    One row per pipeline and open stage that a deal was in from ``start`` (None = ever) to ``last``, with
    ``stage_position``, ``left`` (visits that ended) and ``p50``, ``p75`` and ``p90`` by Kaplan-Meier over
    counting-process records (:func:`observation`): visits still under way, handed to another team or
    deleted are censored. Missing where the curve does not come down that far, and where it rests on fewer
    than 5 visits, or 10 for ``p90`` (:func:`records_needed`).

    Several tables of a report ask for the same times, so that they are kept: nobody may change the frame.
    """
    rows = states.filter(is_open(states))
    seen = observation(rows, rows.stage_since_date, rows.next_stage != rows.stage, start, last)
    keys = [*STAGE_KEYS, "entry_age", "exit_age"]
    pairs = collect(seen.group_by(keys).aggregate(records=seen.count(), events=seen.is_event.sum()))
    pairs["events"] = pairs["events"].astype("int64")
    entries = pairs.rename(columns={"entry_age": "age", "records": "entered"})
    exits = pairs.rename(columns={"exit_age": "age", "records": "left"})
    parts = [entries[[*STAGE_KEYS, "age", "entered"]], exits[[*STAGE_KEYS, "age", "left", "events"]]]
    counts = add_counts(parts, (), STAGE_KEYS)
    result = counts.groupby(list(STAGE_KEYS), as_index=False)["events"].sum()
    result = result.rename(columns={"events": "left"})
    wanted = {name: (share, "survival") for name, share in SHARES.items()}
    ages = quantiles(kaplan_meier(counts, STAGE_KEYS), wanted, STAGE_KEYS, only_if_known=True)
    result = result.merge(ages, on=list(STAGE_KEYS), how="left", validate="one_to_one")
    return result.sort_values(["pipeline", "stage_position"], ignore_index=True)
