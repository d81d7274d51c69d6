"""Conditions against a naive reading of them, row by row, and in the three dialects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from salesops_kit.data import engine
from salesops_kit.data.predicates import holds
from salesops_kit.policy.model import Condition
from tests.dialects import compile_everywhere
from tests.states import table_of

AS_OF = dt.date(2026, 3, 31)
TYPES = {
    "id": "string",
    "amount": "decimal(18, 4)",
    "day": "date",
    "other": "date",
    "text": "string",
    "flag": "boolean",
    "at": "timestamp('UTC')",
    "score": "float64",
}


def moment(day: int) -> dt.datetime:
    return dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC)


ROWS = [
    ("a", 10, dt.date(2026, 3, 31), dt.date(2026, 4, 1), "Acme", True, moment(31), 0.5),
    ("b", 0, dt.date(2026, 3, 30), dt.date(2026, 3, 30), " acme ", False, moment(1), 0.0),
    ("c", -5, dt.date(2026, 4, 1), None, "", None, None, None),
    ("d", None, None, dt.date(2026, 1, 1), None, True, moment(30), 1.0),
    ("e", Decimal("10.5"), dt.date(2026, 3, 1), dt.date(2026, 2, 1), "  ", False, moment(20), 0.25),
]
Row = dict[str, Any]
CASES: list[tuple[dict[str, Any], Callable[[Row], bool]]] = [
    ({"column": "amount", "operator": "empty"}, lambda r: r["amount"] is None),
    ({"column": "text", "operator": "empty"}, lambda r: not (r["text"] or "").strip()),
    ({"column": "text", "operator": "filled"}, lambda r: bool((r["text"] or "").strip())),
    ({"column": "amount", "operator": "equals", "value": "0"}, lambda r: r["amount"] == 0),
    (
        {"column": "amount", "operator": "not_equals", "value": "10"},
        lambda r: r["amount"] is not None and r["amount"] != 10,
    ),
    (
        {"column": "amount", "operator": "above", "value": "10"},
        lambda r: r["amount"] is not None and r["amount"] > 10,
    ),
    (
        {"column": "amount", "operator": "at_least", "value": "10"},
        lambda r: r["amount"] is not None and r["amount"] >= 10,
    ),
    (
        {"column": "amount", "operator": "below", "value": "0.5"},
        lambda r: r["amount"] is not None and r["amount"] < 0.5,
    ),
    (
        {"column": "score", "operator": "at_most", "value": "0.25"},
        lambda r: r["score"] is not None and r["score"] <= 0.25,
    ),
    (
        {"column": "day", "operator": "before", "value": "as_of"},
        lambda r: r["day"] is not None and r["day"] < AS_OF,
    ),
    (
        {"column": "day", "operator": "after", "value": "2026-03-30"},
        lambda r: r["day"] is not None and r["day"] > dt.date(2026, 3, 30),
    ),
    (
        {"column": "day", "operator": "before", "value": "@other"},
        lambda r: None not in (r["day"], r["other"]) and r["day"] < r["other"],
    ),
    (
        {"column": "day", "operator": "equals", "value": "@other"},
        lambda r: None not in (r["day"], r["other"]) and r["day"] == r["other"],
    ),
    (
        {"column": "day", "operator": "older_than_days", "value": "1"},
        lambda r: r["day"] is not None and (AS_OF - r["day"]).days > 1,
    ),
    (
        {"column": "at", "operator": "older_than_days", "value": "10"},
        lambda r: r["at"] is not None and r["at"].date() < AS_OF - dt.timedelta(10),
    ),
    (
        {"column": "text", "operator": "equals", "value": "ACME"},
        lambda r: (r["text"] or "").strip().lower() == "acme",
    ),
    (
        {"column": "text", "operator": "not_in", "value": ["acme", "x"]},
        lambda r: r["text"] is not None and r["text"].strip().lower() != "acme",
    ),
    ({"column": "amount", "operator": "in", "value": ["0", "10.5"]}, lambda r: r["amount"] in (0, 10.5)),
    ({"column": "text", "operator": "contains", "value": "CM"}, lambda r: "cm" in (r["text"] or "").lower()),
    (
        {"column": "text", "operator": "starts_with", "value": "ac"},
        lambda r: (r["text"] or "").strip().lower().startswith("ac"),
    ),
    ({"column": "flag", "operator": "equals", "value": "false"}, lambda r: r["flag"] is False),
    ({"column": "flag", "operator": "not_equals", "value": "yes"}, lambda r: r["flag"] is False),
]


@pytest.mark.parametrize(
    ("given", "naive"), CASES, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_a_condition_holds_where_a_plain_reading_says_so(
    given: dict[str, Any], naive: Callable[[Row], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(TYPES, ROWS)
    condition = Condition.model_validate(given)
    found = engine.collect(table.filter(holds(table, [condition], AS_OF)).select("id"))
    records = [dict(zip(TYPES, row, strict=True)) for row in ROWS]
    assert set(found["id"]) == {record["id"] for record in records if naive(record)}
    compile_everywhere(table.filter(holds(table, [condition], AS_OF)), monkeypatch)


def test_all_conditions_must_hold_and_none_is_no_bar() -> None:
    table = table_of(TYPES, ROWS)
    both = [
        Condition(column="amount", operator="filled"),
        Condition(column="day", operator="before", value="as_of"),
    ]
    assert set(engine.collect(table.filter(holds(table, both, AS_OF)))["id"]) == {"b", "e"}
    assert len(engine.collect(table.filter(holds(table, [], AS_OF)))) == len(ROWS)
