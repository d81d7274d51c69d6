"""Joining dimensions with and without the columns that nobody asked for."""

from __future__ import annotations

import datetime as dt

import pytest

from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError
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


USUAL = ["rep", "type", "sales_motion", "region", "role", "team", "parent_team"]


def refused(by: str, deals_are_named: bool = True) -> str:
    deals = {"opportunity_id": "string", "type": "string", "sales_motion": "string", "motion_id": "string"}
    tables = {
        **TABLES,
        "opportunities": table_of({**deals, **({"name": "string"} if deals_are_named else {})}, []),
        "accounts": table_of({"account_id": "string", "name": "string", "region": "string"}, []),
        "reps": table_of({"owner_id": "string", "role": "string"}, []),
    }
    with pytest.raises(InputError) as error:
        parse_by(by, tables)
    return str(error.value)


def test_what_people_group_by_is_offered_first_and_no_key_of_a_deal() -> None:
    offered = refused("xyzzyq").partition("Choose one of: ")[2].rstrip(".").split(", ")
    assert offered[: len(USUAL)] == USUAL
    dates = [name for name in offered if name.endswith(("_quarter", "_month"))]
    assert dates[:2] == ["close_quarter", "close_month"]
    assert offered.index("close_quarter") < min(map(offered.index, set(offered) & {"is_closed", "amount"}))
    assert not {"opportunity_id", "state_no", "name"} & set(offered)
    assert len(offered) == 21
    assert offered[-1] == "", "twenty names and three dots"


def test_a_mistyped_name_may_mean_any() -> None:
    assert "Did you mean opportunity_id" in refused("oportunity_id")
    assert "Did you mean state_no" in refused("stateno")
    assert "Did you mean region" in refused("regoin")


def test_a_name_that_only_accounts_have_is_offered() -> None:
    few = {"accounts": TABLES["accounts"], "opportunity_states": None}
    named = {**few, "accounts": table_of({"account_id": "string", "name": "string"}, [])}
    with pytest.raises(InputError) as error:
        parse_by("xyzzyq", named)
    assert "Choose one of: account_id, name, " in str(error.value).replace("rep, owner, ", "")
