"""The sales process as a handbook page, beside what the deals do with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._deal_checks import YEAR
from salesops_kit.analysis.quality._findings import find
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.data.engine import collect
from salesops_kit.estimators.stage_times import stage_times
from salesops_kit.estimators.states import days_between, is_true, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy, StageRules
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "pipeline", "stage", "means", "exit", "required", "most_days", "p50", "p90", "open_deals", "over_limit",
    "over_share",
]  # fmt: skip
LEVELS = ["level", "title", "table", "start", "end", "within_days", "records", "waiting", "share"]


@table(
    units={
        **dict.fromkeys(["most_days", "p50", "p90"], "days"),
        **dict.fromkeys(["open_deals", "over_limit"], "deals"),
        "over_share": "rate",
    }
)
def process(
    opportunity_states: ir.Table,
    stages: ir.Table,
    *,
    as_of: dt.date,
    settings: Settings,
    policy: Policy,
) -> pd.DataFrame:
    """The stages of the process: what they mean, what they ask, and how long deals stay.

    One row per open stage, in order. ``means`` and ``exit`` (criteria for leaving it, one after another)
    are what the company wrote down; ``required`` are the fields that a deal needs in this stage, those of
    the stages before included; ``most_days`` is the limit of days, missing without one. ``p50`` and
    ``p90`` are the days by which half and nine in ten visits of the last year have ended (Kaplan-Meier);
    ``open_deals`` are in the stage at the end of ``as_of``, ``over_limit`` of them for longer than the
    limit, ``over_share`` (0-1) = over_limit / open_deals, missing without a limit or a deal.
    """
    listed = collect(stages.filter(~is_true(stages.is_closed)).select("pipeline", "stage", "position"))
    listed = listed.sort_values(["pipeline", "position"], ignore_index=True)
    rules = {(rule.pipeline, rule.stage): rule for rule in policy.process.stages}
    rows = []
    for pipeline, part in listed.groupby("pipeline", sort=False):
        needed = list(policy.process.required)
        for item in part.itertuples():
            if settings.first_qualified_stage in ("", item.stage):
                needed += [c for c in policy.process.required_qualified if c not in needed]
            empty = StageRules(stage=item.stage)
            rule = rules.get((str(pipeline), item.stage)) or rules.get(("", item.stage), empty)
            needed += [column for column in rule.required if column not in needed]
            rows.append(
                {
                    "pipeline": pipeline,
                    "stage": item.stage,
                    "means": rule.means,
                    "exit": "; ".join(rule.exit),
                    "required": ", ".join(needed),
                    "most_days": float("nan") if rule.most_days is None else float(rule.most_days),
                }
            )
    frame = pd.DataFrame(rows, columns=COLUMNS[:6])
    times = stage_times(opportunity_states, as_of - YEAR, as_of)[["pipeline", "stage", "p50", "p90"]]
    frame = frame.merge(times, on=["pipeline", "stage"], how="left", validate="one_to_one")
    frame = _with_open(frame, opportunity_states, as_of)
    limited = frame["most_days"].notna() & (frame["open_deals"] > 0)
    frame["over_share"] = (frame["over_limit"] / frame["open_deals"].where(limited)).astype(float)
    return frame[COLUMNS].astype({"p50": float, "p90": float})


def _with_open(frame: pd.DataFrame, states: ir.Table, as_of: dt.date) -> pd.DataFrame:
    known = known_states(states, as_of)
    known = known.filter(~is_true(known.is_closed))
    ages = known.select("pipeline", "stage", age=days_between(ibis.literal(as_of), known.stage_since_date))
    counts = collect(ages.group_by("pipeline", "stage", "age").aggregate(n=ages.count()))
    joined = frame[["pipeline", "stage", "most_days"]].merge(counts, on=["pipeline", "stage"], how="left")
    joined["n"] = joined["n"].fillna(0).astype("int64")
    # A comparison with a missing limit is false: nothing is over it.
    joined["over"] = joined["n"].where(joined["age"] > joined["most_days"], 0)
    sums = joined.groupby(["pipeline", "stage"]).agg(open_deals=("n", "sum"), over_limit=("over", "sum"))
    return frame.merge(sums.reset_index(), on=["pipeline", "stage"], how="left", validate="one_to_one")


@table(units={"within_days": "days", **dict.fromkeys(["records", "waiting"], "rows"), "share": "rate"})
def service_levels(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The promises of time, and what waits for longer.

    One row per service level: ``level``, ``title``, ``table``, the moments ``start`` and ``end``, and
    ``within_days``. ``records`` have begun by the end of ``as_of`` and meet the level's conditions;
    ``waiting`` of them have no end yet and began more than ``within_days`` ago; ``share`` (0-1) =
    waiting / records, missing without a record. No row without service levels.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    found = find(data)
    waiting = found.records.drop_duplicates(["check_id", "record_id"])["check_id"].value_counts()
    rows = []
    for level in policy.process.service_levels:
        records = found.judged.get(level.id, float("nan"))
        late = int(waiting.get(level.id, 0))
        share = late / records if records else float("nan")
        rows.append(
            (
                level.id,
                level.title,
                level.table,
                level.start,
                level.end,
                level.within_days,
                records,
                late,
                share,
            )
        )
    frame = pd.DataFrame(rows, columns=LEVELS)
    frame.attrs["empty"] = _("The policy promises nothing by a certain time.")
    frame.attrs["notes"] = [found.skipped[level] for level in frame["level"] if level in found.skipped]
    return frame.astype({"records": float, "share": float})
