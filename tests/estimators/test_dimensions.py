"""Joining dimensions with and without the columns that nobody asked for."""

from __future__ import annotations

import datetime as dt

import pytest

from salesops_kit.data.engine import collect
from salesops_kit.estimators.dimensions import join_dimensions, parse_by
from tests.states import Change, deal, states_table, table_of

DAY = dt.date(2026, 1, 5)
STATES = states_table(
    [
        deal("A", [Change(DAY, amount=10, owner_id="rep-1", team="West")]),
        deal("B", [Change(DAY, amount=20, owner_id="rep-2", team="West")]),
    ]
)
TABLES = {
    "opportunity_states": STATES,
    "opportunities": table_of(
        {"opportunity_id": "string", "account_id": "string", "type": "string"},
        [("A", "X", "new"), ("B", "Y", "renewal")],
    ),
    "accounts": table_of({"account_id": "string", "region": "string"}, [("X", "North"), ("Y", None)]),
    "reps": table_of({"owner_id": "string", "level": "string"}, [("rep-1", "senior")]),
    "teams": table_of({"team": "string", "parent_team": "string"}, [("West", "All")]),
}


@pytest.mark.parametrize("by", ["", "team", "type,region", "level,parent_team,stage"])
def test_only_the_columns_asked_for_are_carried_along(by: str) -> None:
    dimensions = parse_by(by, TABLES)
    whole = join_dimensions(STATES, dimensions, TABLES, ["type"])
    narrow = join_dimensions(STATES, dimensions, TABLES, ["type"], only=["amount"])
    wanted = ["amount", "type", *(dimension.column_in_rows for dimension in dimensions)]
    assert set(STATES.columns) <= set(whole.columns)
    assert len(narrow.columns) < len(whole.columns)
    ours, all_of_them = (collect(table.order_by("amount"))[wanted] for table in (narrow, whole))
    assert ours.to_dict("list") == all_of_them.to_dict("list")
    assert ours["type"].tolist() == ["new", "renewal"]
