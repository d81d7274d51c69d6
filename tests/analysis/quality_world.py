"""A small company whose every problem is known by hand, for the tests of data quality."""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import Any

import ibis

from salesops_kit.data.contracts import TABLES
from salesops_kit.periods import Period
from salesops_kit.policy.model import CHECKED_TABLES, Policy
from salesops_kit.policy.reading import read_policy
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = dt.date(2026, 3, 31)
SETTINGS = Settings(name="test", first_qualified_stage="Proposal")
COLUMNS = {name: {c.name: c.type for c in TABLES[name].columns.values()} for name in CHECKED_TABLES}
TYPES = {
    "bool": "boolean",
    "int": "int64",
    "number": "float64",
    "rate": "float64",
    "money": "decimal(18, 4)",
    "date": "date",
    "instant": "timestamp('UTC')",
}
EXCLUSIONS = {
    "table_name": "string",
    "source_file": "string",
    "source_row": "int64",
    "key": "string",
    "column_name": "string",
    "problem": "string",
    "expected": "string",
    "got": "string",
    "action": "string",
    "opportunity_id": "string",
    "owner_id": "string",
    "amount": "decimal(18, 4)",
}


def day(month: int, number: int) -> dt.date:
    return dt.date(2026, month, number)


def policy(folder: Path | None = None, **files: str) -> Policy:
    """The kit's rules, with files of a company's own on top."""
    if folder is not None:
        for name, text in files.items():
            (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return read_policy([folder] if folder else [], columns=COLUMNS, stages=None)


def canonical(name: str, *rows: dict[str, Any]) -> ibis.Table:
    """A canonical table of which only the named columns of each row are known."""
    columns = TABLES[name].columns
    types = {c.name: TYPES.get(c.type, "string") for c in columns.values()}
    return table_of(types, [[row.get(column) for column in types] for row in rows])


def flag(**values: Any) -> list[Any]:
    usual = {"table_name": "opportunities", "source_file": "deals.csv", "action": "kept"}
    return [(usual | values).get(name) for name in EXCLUSIONS]


def moment(year: int, month: int) -> dt.datetime:
    return dt.datetime(year, month, 1, tzinfo=dt.UTC)


def lead(key: str, name: str, company: str, email: str | None, month: int, owner: str) -> dict[str, Any]:
    made = {"lead_id": key, "name": name, "company": company, "email": email, "owner_id": owner}
    return made | {"created_at": moment(2026, month)}


def change(begin: dt.date, **values: Any) -> Change:
    return Change(begin, **{"close_date": day(5, 15), **values})


def won(begin: dt.date, end: dt.date, amount: float, **values: Any) -> list[Change]:
    first = change(begin, amount=amount, **values)
    return [first, first.then(end, stage="Closed Won", close_date=end)]


def lost(begin: dt.date, end: dt.date, amount: float, **values: Any) -> list[Change]:
    first = change(begin, amount=amount, **values)
    return [first, first.then(end, stage="Closed Lost", close_date=end)]


def deals() -> dict[str, list[Change]]:
    """Deals by name: what each is wrong about, and a few that are right."""
    start = day(1, 10)
    late = change(start, close_date=day(3, 30), amount=500)
    pushed = change(start, close_date=day(1, 20), amount=70)
    back = change(start, stage="Negotiation", amount=60)
    return {
        "good": [change(start, amount=1000)],
        "due-today": [change(start, close_date=AS_OF, amount=10)],
        "overdue": [late],
        "no-amount": [change(start, stage="Proposal", amount=None)],
        "no-amount-yet": [change(start, stage="Discovery", amount=None)],
        "no-date": [change(start, close_date=None, amount=40)],
        "zero": [change(start, amount=0)],
        "negative": lost(start, day(2, 1), -5),
        "no-reason": lost(start, day(2, 2), 30),
        "with-reason": lost(start, day(2, 3), 30),
        "won": won(start, day(2, 4), 200),
        "left-owner": [change(start, owner_id="gone", amount=90)],
        "pushed": [
            pushed,
            pushed.then(day(1, 15), close_date=day(2, 20)),
            pushed.then(day(2, 15), close_date=day(3, 20)),
            pushed.then(day(3, 15), close_date=day(5, 20)),
        ],
        "pushed-twice": [
            pushed,
            pushed.then(day(1, 15), close_date=day(2, 20)),
            pushed.then(day(2, 15), close_date=day(5, 20)),
        ],
        "regressed": [back, back.then(day(2, 1), stage="Proposal")],
        "orphan": [change(start, amount=25)],
        "deleted": [change(start, amount=-9), change(start, amount=-9).then(day(2, 1), is_deleted=True)],
        "later": [change(day(4, 2), amount=-7)],
    }


def world() -> dict[str, Any]:
    """Every table that the checks read, the same ones at each call."""
    return dict(_world())


@functools.cache
def _world() -> dict[str, Any]:
    made = deals()
    states = states_table(deal(name, changes) for name, changes in made.items())
    reasons = {"with-reason": "price", "negative": "price"}
    accounts = {"orphan": "A9"}
    return {
        "opportunity_states": states,
        "opportunities": canonical(
            "opportunities",
            *(
                {
                    "opportunity_id": name,
                    "name": f"Deal {name}",
                    "account_id": accounts.get(name, "A1"),
                    "created_date": changes[0].day,
                    "currency": None if name == "orphan" else "USD",
                    "type": "new",
                    "stage": changes[-1].stage,
                    "loss_reason": reasons.get(name),
                }
                for name, changes in made.items()
            ),
        ),
        "stages": stages_table(),
        "exclusions": table_of(
            EXCLUSIONS,
            [
                flag(
                    key="good",
                    opportunity_id="good",
                    column_name="lead_source",
                    source_row=2,
                    problem="another spelling of a value; read as the one expected",
                    expected="Web",
                    got="WEB ",
                ),
                flag(
                    key="won",
                    opportunity_id="won",
                    column_name="owner_id",
                    source_row=3,
                    problem="not in reps",
                    got="U9",
                ),
                flag(
                    key="bad",
                    opportunity_id="bad",
                    column_name="amount",
                    source_row=4,
                    owner_id="rep-1",
                    problem="not readable as money",
                    got="n/a",
                    action="set aside",
                ),
                flag(
                    key="bad",
                    opportunity_id="bad",
                    column_name="close_date",
                    source_row=4,
                    owner_id="rep-1",
                    problem="not readable as date",
                    got="x",
                    action="set aside",
                ),
            ],
        ),
        "accounts": canonical(
            "accounts",
            {"account_id": "A1", "name": "Harbour Works", "created_at": moment(2025, 1)},
            {"account_id": "A2", "name": "HARBOUR WORKS Inc.", "created_at": moment(2025, 2)},
            {"account_id": "A3", "name": "Another Company", "created_at": moment(2025, 2)},
        ),
        "leads": canonical(
            "leads",
            lead("L1", "Ada Brandt", "Harbour", "ada@x.example", 1, "rep-1"),
            lead("L2", "A. Brandt", "Else", "ADA@x.example ", 2, "rep-2"),
            lead("L3", "Ada Brandt", "Harbour Inc", None, 3, "rep-2"),
            lead("L4", "Ada Brandt", "Harbour", "other@x.example", 3, "rep-2"),
        ),
        "reps": canonical(
            "reps",
            {"owner_id": "rep-1", "name": "Ada"},
            {"owner_id": "rep-2", "name": "Bo"},
            {"owner_id": "gone", "name": "Cy", "left_date": AS_OF},
        ),
    }


def context(rules: Policy | None = None, **values: Any) -> dict[str, Any]:
    usual = {
        "as_of": AS_OF,
        "period": Q1,
        "settings": SETTINGS,
        "policy": rules or policy(),
        "reference": None,
    }
    return usual | values
