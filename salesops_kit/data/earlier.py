"""What earlier snapshots of a dataset knew of its deals, beside what the newest knows."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from pathlib import Path

import ibis
import ibis.expr.types as ir

from salesops_kit.data.deals import deals_at
from salesops_kit.data.snapshot import Snapshot
from salesops_kit.data.storing import archived, is_whole

EARLIER = "earlier_deals"
MOST_SNAPSHOTS = 12
# What is compared between snapshots; columns of the data beyond these are left out.
COLUMNS = {
    "opportunity_id": "string", "name": "string", "owner_id": "string", "team": "string",
    "pipeline": "string", "stage": "string", "stage_position": "int64", "reached_position": "int64",
    "stage_since_date": "date", "is_closed": "boolean", "is_won": "boolean", "amount": "decimal(18, 4)",
    "currency": "string", "close_date": "date", "type": "string", "account_id": "string",
    "loss_reason": "string", "lead_source": "string", "next_step": "string", "created_date": "date",
    "forecast_category": "string", "pushes": "int64", "first_close_date": "date",
    "least_close_date": "date", "most_close_date": "date", "first_seen_date": "date",
}  # fmt: skip


def earlier_snapshots(opened: Snapshot, archive: Path) -> list[Snapshot]:
    """The archived snapshots of the same dataset that knew less, oldest first: of each day known the
    newest, at most twelve. Datasets are told apart by the name in their settings; one without a name has
    no earlier snapshot."""
    if not opened.settings.name:
        return []
    by_day: dict[dt.date, Snapshot] = {}
    for found in archived(archive):
        is_same = found.settings.name == opened.settings.name and found.digest != opened.digest
        is_older = found.observed_until < opened.observed_until and (not opened.seq or found.seq < opened.seq)
        if is_same and is_older and is_whole(found):
            by_day.setdefault(found.observed_until, found)
    return [by_day[day] for day in sorted(by_day)][-MOST_SNAPSHOTS:]


def earlier_deals(con: ibis.BaseBackend, snapshots: Sequence[Snapshot]) -> ir.Table:
    """The deals of each snapshot at the end of its last known day, one under another, with that day as
    ``known_date``; amounts in the currency of each deal."""
    parts = []
    for found in snapshots:
        states = con.read_parquet(found.paths["opportunity_states"])
        deals = con.read_parquet(found.paths["opportunities"]) if "opportunities" in found.paths else None
        rows = deals_at(states, deals, found.observed_until, COLUMNS)
        columns = {
            name: rows[name].cast(type_) if name in rows.columns else ibis.null(type_)
            for name, type_ in COLUMNS.items()
        }
        parts.append(rows.select(known_date=ibis.literal(found.observed_until), **columns))
    return functools.reduce(lambda above, below: above.union(below), parts)
