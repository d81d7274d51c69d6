"""Random histories of deals, and slow readings of them that no engine is part of."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

from tests.states import Change, deal

DAY = dt.timedelta(days=1)
FIRST, LAST = dt.date(2024, 11, 20), dt.date(2026, 4, 10)
WON, LOST = "Closed Won", "Closed Lost"
CLOSED = (WON, LOST)
TEAMS = ("North", "South")
OWNERS = ("rep-1", "rep-2", "rep-3")
OPEN = ("Discovery", "Proposal", "Negotiation")


def random_histories(seed: int, deals: int = 60) -> list[list[Change]]:
    """Deals over five quarters: moved, pushed, revalued, handed over, deleted, closed, reopened."""
    draw = random.Random(seed)
    return [_history(draw) for _deal in range(deals)]


def _history(draw: random.Random) -> list[Change]:
    day = FIRST + DAY * draw.randrange((LAST - FIRST).days)
    change = Change(day, draw.choice(OPEN), _amount(draw), _due(draw, day), draw.choice(TEAMS))
    changes = [change.then(day, owner_id=draw.choice(OWNERS))]
    while len(changes) < 9 and draw.random() < 0.85:
        before = changes[-1]
        day = before.day + DAY * draw.choice([0, 1, 8, 25, 45])
        kind = draw.random()
        if kind < 0.2:
            changes.append(before.then(day, stage=draw.choice(OPEN)))
        elif kind < 0.35:
            changes.append(before.then(day, close_date=_due(draw, day)))
        elif kind < 0.5:
            changes.append(before.then(day, amount=_amount(draw)))
        elif kind < 0.58 and before.stage not in CLOSED:
            changes.append(before.then(day, team=draw.choice(TEAMS), owner_id=draw.choice(OWNERS)))
        elif kind < 0.6:
            changes.append(before.then(day, is_deleted=not before.is_deleted))
        elif before.stage not in CLOSED:
            changes.append(before.then(day, stage=draw.choice((WON, WON, LOST)), close_date=day))
    return changes


def _amount(draw: random.Random) -> float | None:
    return draw.choice([None, 0, 10, 25.5, 40.01, 120, 300])


def _due(draw: random.Random, day: dt.date) -> dt.date | None:
    return draw.choice([None, day - 20 * DAY, *(day + days * DAY for days in (10, 35, 60, 95, 200))])


def rows_of(histories: Sequence[Sequence[Change]]) -> list[list[dict[str, Any]]]:
    """The states of the deals, named D0, D1..."""
    return [deal(f"D{number}", changes) for number, changes in enumerate(histories)]


def of_team(rows: Sequence[Sequence[dict[str, Any]]], team: str) -> list[list[dict[str, Any]]]:
    """What a slice of one team holds."""
    return [[row for row in states if row["team"] == team] for states in rows]


def state_at(changes: Sequence[Change], day: dt.date) -> Change | None:
    """The state at the end of a day; None before the first."""
    seen = [change for change in changes if change.day <= day]
    return seen[-1] if seen else None


def is_live(change: Change | None) -> bool:
    """Whether there is a state that is neither closed nor deleted."""
    return change is not None and change.stage not in CLOSED and not change.is_deleted


def is_won(change: Change | None) -> bool:
    """Whether there is a won state that is not deleted."""
    return change is not None and change.stage == WON and not change.is_deleted


def money(change: Change) -> float:
    """The amount, 0 when it is unknown."""
    return float(change.amount or 0)
