"""Histories of deals written by hand, as ``opportunity_states`` rows for the tests of analyses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa

STAGES = (
    ("Discovery", 1, False, False),
    ("Proposal", 2, False, False),
    ("Negotiation", 3, False, False),
    ("Closed Won", 4, True, True),
    ("Closed Lost", 5, True, False),
)
_POSITION = {name: position for name, position, _, _ in STAGES}
_CLOSED = {name: closed for name, _, closed, _ in STAGES}
_WON = {name: won for name, _, _, won in STAGES}

STATE_SCHEMA = ibis.schema(
    {
        "opportunity_id": "!string",
        "state_no": "!int64",
        "team": "!string",
        "owner_id": "string",
        "pipeline": "!string",
        "stage": "!string",
        "stage_position": "int64",
        "is_closed": "boolean",
        "is_won": "boolean",
        "is_deleted": "boolean",
        "amount": "decimal(18, 4)",
        "close_date": "date",
        "forecast_category": "string",
        "valid_from_at": "timestamp('UTC')",
        "valid_to_at": "timestamp('UTC')",
        "valid_from_date": "!date",
        "valid_to_date": "date",
        "stage_since_date": "!date",
        "reached_position": "int64",
        "entry": "!string",
        "exit": "string",
        "next_stage": "string",
        "next_position": "int64",
        "next_is_closed": "boolean",
        "next_is_won": "boolean",
    }
)
STAGE_TYPES = {
    "pipeline": "string",
    "stage": "string",
    "position": "int64",
    "is_closed": "boolean",
    "is_won": "boolean",
    "default_probability": "float64",
}


@dataclass(frozen=True)
class Change:
    """The full state of a deal from ``day`` on."""

    day: dt.date
    stage: str = "Discovery"
    amount: float | None = 100
    close_date: dt.date | None = dt.date(2026, 3, 31)
    team: str = "North"
    owner_id: str | None = "rep-1"
    is_deleted: bool = False
    pipeline: str = ""
    forecast_category: str | None = None

    def then(self, day: dt.date, **changes: Any) -> Change:
        """The state after some of it changed on ``day``."""
        return replace(self, day=day, **changes)


def deal(opportunity_id: str, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The states of one deal from its changes in order; a closed deal must not change team."""
    rows: list[dict[str, Any]] = []
    reached: int | None = None
    since = changes[0].day
    for number, change in enumerate(changes):
        before = changes[number - 1] if number else None
        after = changes[number + 1] if number + 1 < len(changes) else None
        if before is not None and before.stage != change.stage:
            since = change.day
        if not _CLOSED[change.stage]:
            reached = max(reached or 0, _POSITION[change.stage])
        goes = after is not None and after.team != change.team
        shown = None if after is None or goes or after.is_deleted else after
        came = before is not None and before.team != change.team
        rows.append(
            {
                "opportunity_id": opportunity_id,
                "state_no": number,
                "team": change.team,
                "owner_id": change.owner_id,
                "pipeline": change.pipeline,
                "stage": change.stage,
                "stage_position": _POSITION[change.stage],
                "is_closed": _CLOSED[change.stage],
                "is_won": _WON[change.stage],
                "is_deleted": change.is_deleted,
                "amount": None if change.amount is None else Decimal(str(change.amount)),
                "close_date": change.close_date,
                "forecast_category": change.forecast_category,
                "valid_from_at": _instant(change.day, number),
                "valid_to_at": None if after is None else _instant(after.day, number + 1),
                "valid_from_date": change.day,
                "valid_to_date": None if after is None else after.day,
                "stage_since_date": since,
                "reached_position": reached,
                "entry": "created" if before is None else "transferred" if came else "continued",
                "exit": None if after is None else "transferred" if goes else "continued",
                "next_stage": None if shown is None else shown.stage,
                "next_position": None if shown is None else _POSITION[shown.stage],
                "next_is_closed": None if shown is None else _CLOSED[shown.stage],
                "next_is_won": None if shown is None else _WON[shown.stage],
            }
        )
    return rows


def _instant(day: dt.date, number: int) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, 9, 0, number % 60, tzinfo=dt.UTC)


def states_table(deals: Iterable[Sequence[dict[str, Any]]]) -> ibis.Table:
    """The rows of the deals as an engine table."""
    rows = [row for states in deals for row in states]
    return ibis.memtable(pa.Table.from_pylist(rows, schema=STATE_SCHEMA.to_pyarrow()))


def table_of(types: dict[str, str], rows: Sequence[Sequence[Any]]) -> ibis.Table:
    """Any table from its column types and its rows."""
    records = [dict(zip(types, row, strict=True)) for row in rows]
    return ibis.memtable(pa.Table.from_pylist(records, schema=ibis.schema(types).to_pyarrow()))


def stages_table(pipelines: Sequence[str] = ("",)) -> ibis.Table:
    """The stages that :func:`deal` knows, for each pipeline."""
    rows = [
        (pipeline, name, position, closed, won, None)
        for pipeline in pipelines
        for name, position, closed, won in STAGES
    ]
    return table_of(STAGE_TYPES, rows)
