"""The waterfall: the known answer line by line, its identities, and an independent slow version."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_kit.analysis.funnel import waterfall
from salesops_kit.errors import InputError, SalesOpsError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, states_table

DAY = dt.timedelta(days=1)
Q1 = Period(dt.date(2027, 1, 1), dt.date(2027, 4, 1), "2027-Q1")
IN_Q1, IN_Q2 = dt.date(2027, 3, 31), dt.date(2027, 6, 30)
AS_OF = dt.date(2027, 1, 31)
OLD, MID, LATE = dt.date(2026, 11, 3), dt.date(2027, 1, 12), dt.date(2027, 1, 20)


def run(deals: list[list[dict[str, Any]]], **options: Any) -> dict[str, tuple[float, int]]:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": Settings(), **options}
    frame = waterfall(states_table(deals), **arguments)
    return {row.step: (row.amount, row.deals) for row in frame.itertuples()}


def moves(deals: list[list[dict[str, Any]]], **options: Any) -> dict[str, float]:
    return {step: amount for step, (amount, n) in run(deals, **options).items() if n}


def old(amount: float | None = 100, close_date: dt.date | None = IN_Q1, **more: Any) -> Change:
    return Change(OLD, amount=amount, close_date=close_date, **more)


def known_answer() -> list[list[dict[str, Any]]]:
    a, e = old(), Change(MID, amount=40, close_date=IN_Q1)
    return [
        deal("A", [a, a.then(MID, amount=120), a.then(LATE, amount=120, stage="Closed Won")]),
        deal("B", [old(80), old(80).then(MID, close_date=IN_Q2)]),
        deal("C", [old(60), old(60).then(MID, stage="Closed Lost")]),
        deal("D", [old(50, IN_Q2), old(70, IN_Q1).then(MID)]),
        deal("E", [e, e.then(LATE, amount=45)]),
        deal("F", [e.then(MID, amount=30), e.then(LATE, amount=30, stage="Closed Lost")]),
        deal("G", [old(90), old(75).then(MID)]),
        deal("H", [old(25), old(25).then(OLD + DAY, stage="Closed Lost"), old(25).then(MID)]),
        deal("I", [old(55), old(55).then(MID, is_deleted=True)]),
    ]


def test_known_answer_line_by_line() -> None:
    assert run(known_answer()) == {
        "opening": (385, 5),
        "created": (75, 2),
        "pulled_in": (50, 1),
        "transferred_in": (0, 0),
        "up": (40, 2),
        "reopened": (25, 1),
        "won": (-120, 1),
        "lost": (-90, 2),
        "pushed": (-80, 1),
        "transferred_out": (0, 0),
        "down": (-15, 1),
        "removed": (-55, 1),
        "closing": (215, 4),
    }
