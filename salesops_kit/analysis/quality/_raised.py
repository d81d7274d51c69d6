"""Which checks are raised, and by whose records: what stops a report, or stands at its head."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._checks import SEVERITIES
from salesops_kit.analysis.quality._findings import find
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.data.engine import collect
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import NO_TEAM, Settings

COLUMNS = ["check_id", "title", "severity", "table", "team", "rows"]
TOLD = ("error", "warning")


@table(units={"rows": "rows"})
def raised(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The checks of severity error or warning that are raised, by table and team.

    One row per check, ``table`` and ``team`` with ``rows``, the records that fail it, each once; errors
    first, then by rows. A check is raised where its share of all records at hand is beyond its tolerance.
    The team is the deal's, else that of the owner at the end of ``as_of``; ``(no team)`` where neither is
    known. ``table`` is where the records stand, also for a check of any table.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    found = find(data)
    told = {check.id: check for check in found.checks if check.severity in TOLD}
    records = found.records[found.records["check_id"].isin(list(told))]
    once = records.drop_duplicates(["check_id", "table", "record_id"])
    counts = once.groupby("check_id").size()
    beyond = [
        name
        for name, n in counts.items()
        if not n <= told[str(name)].tolerance * found.judged.get(str(name), float("nan"))
    ]
    mine = once[once["check_id"].isin(beyond)]
    teams = _teams(team_memberships, as_of)
    team = mine["team"].where(mine["team"].notna(), mine["owner_id"].map(teams))
    frame = mine.assign(team=team.where(team.notna(), NO_TEAM))
    frame = frame.groupby(["check_id", "table", "team"], as_index=False).agg(rows=("record_id", "size"))
    frame["title"] = [told[name].title for name in frame["check_id"]]
    frame["severity"] = [told[name].severity for name in frame["check_id"]]
    order = frame["severity"].map({name: place for place, name in enumerate(SEVERITIES)})
    frame = frame.assign(place=order).sort_values(
        ["place", "rows", "check_id", "table", "team"], ascending=[True, False, True, True, True]
    )
    return frame[COLUMNS].astype({"rows": "int64"}).reset_index(drop=True)


def _teams(team_memberships: ir.Table | None, as_of: dt.date) -> dict[str, str]:
    """The team of each owner at the end of a day."""
    if team_memberships is None:
        return {}
    day = ibis.literal(as_of)
    stays = team_memberships.filter(
        (team_memberships.valid_from_date.isnull() | (team_memberships.valid_from_date <= day))
        & (team_memberships.valid_to_date.isnull() | (team_memberships.valid_to_date > day))
    )
    frame = collect(stays.select("owner_id", "team")).dropna().sort_values(["owner_id", "team"])
    return dict(zip(frame["owner_id"], frame["team"], strict=True))


def raised_for(
    raised: pd.DataFrame, *, members: Collection[str] | None, tables: Collection[str]
) -> list[dict[str, Any]]:
    """What of ``raised`` a report is about: records of the leaf teams ``members`` (None for all) in the
    canonical ``tables`` that it reads. Per check a plain record of ``title``, ``severity`` and ``rows``,
    errors first, then by rows.

    >>> frame = pd.DataFrame(
    ...     [("a", "No amount", "error", "opportunities", "East", 2),
    ...      ("b", "Twice", "warning", "leads", "West", 1)], columns=COLUMNS)
    >>> raised_for(frame, members=["East"], tables=["opportunities"])
    [{'title': 'No amount', 'severity': 'error', 'rows': 2}]
    """
    mine = raised[raised["table"].isin(list(tables))]
    if members is not None:
        mine = mine[mine["team"].isin(list(members))]
    sums = mine.groupby(["severity", "title"], as_index=False).agg(rows=("rows", "sum"))
    sums = sums.sort_values(["severity", "rows", "title"], ascending=[True, False, True])
    return [
        {"title": row.title, "severity": row.severity, "rows": int(row.rows)} for row in sums.itertuples()
    ]
