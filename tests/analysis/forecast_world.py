"""Random histories of deals, written by hand-made rules, for the tests of the forecast."""

from __future__ import annotations

import datetime as dt
import random
from functools import lru_cache
from typing import Any

import ibis.expr.types as ir

from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table

DAY = dt.timedelta(days=1)
FIRST, LAST = dt.date(2024, 1, 10), dt.date(2026, 9, 30)
WON, LOST = "Closed Won", "Closed Lost"
TEAMS = ("North", "South", "East", "West", "Centre")


def one_deal(number: int, dice: random.Random) -> list[dict[str, Any]]:
    """A deal that passes two or three stages, is sometimes pushed, and is won or lost in the end."""
    day = FIRST + dt.timedelta(days=dice.randrange((LAST - FIRST).days))
    due = day + dt.timedelta(days=dice.randint(20, 150))
    amount = float(dice.choice([10, 20, 40, 80, 160])) * 1000
    state = Change(
        day, amount=amount, close_date=due, team=TEAMS[number % len(TEAMS)], owner_id=f"rep-{number % 11}"
    )
    changes = [state]
    for stage, category in (("Proposal", "Best Case"), ("Negotiation", "Commit")):
        day += dt.timedelta(days=dice.randint(3, 40))
        if dice.random() < 0.3:
            due += dt.timedelta(days=45)
        if dice.random() < 0.3:
            changes.append(changes[-1].then(day, stage=LOST, close_date=day))
            return deal(f"D{number:04d}", changes)
        changes.append(changes[-1].then(day, stage=stage, forecast_category=category, close_date=due))
    day += dt.timedelta(days=dice.randint(3, 40))
    end = WON if dice.random() < 0.6 else LOST
    changes.append(changes[-1].then(day, stage=end, close_date=day))
    return deal(f"D{number:04d}", changes)


@lru_cache
def world(count: int = 450, seed: int = 1) -> tuple[list[dict[str, Any]], ...]:
    """So many deals, as rows of ``opportunity_states``."""
    dice = random.Random(seed)
    return tuple(one_deal(number, dice) for number in range(count))


@lru_cache
def world_states(count: int = 450, seed: int = 1) -> ir.Table:
    return states_table(world(count, seed))


def known_by(day: dt.date, count: int = 450, seed: int = 1) -> ir.Table:
    """The same histories as an export of that day would hold them: nothing later, nothing replaced later."""
    rows = []
    for states in world(count, seed):
        seen = [dict(row) for row in states if row["valid_from_date"] <= day]
        if seen and seen[-1]["valid_to_date"] is not None and seen[-1]["valid_to_date"] > day:
            seen[-1].update(
                valid_to_date=None, valid_to_at=None, exit=None, next_stage=None, next_position=None,
                next_is_closed=None, next_is_won=None,
            )  # fmt: skip
        rows.append(seen)
    return states_table(rows)


def source_of(states: ir.Table, as_of: dt.date = LAST, **options: Any) -> Source:
    settings = options.pop("settings", Settings())
    return read_source(
        states, None, stages_table(), None, None, as_of=as_of, period=options.get("period"), settings=settings
    )
