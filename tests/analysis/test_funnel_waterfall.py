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


WON, LOST = "Closed Won", "Closed Lost"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([old(close_date=IN_Q2), old(close_date=IN_Q2).then(MID, amount=9)], {}),
        ([old(None)], {"opening": 0, "closing": 0}),
        ([old(), old().then(MID, amount=130)], {"opening": 100, "up": 30, "closing": 130}),
        # Pushed and removed leave at what they began with, so their last amount moves nothing.
        ([old(), old(7, IN_Q2).then(MID)], {"opening": 100, "pushed": -100}),
        ([old(), old(7, is_deleted=True).then(MID)], {"opening": 100, "removed": -100}),
        ([old(), old(110, None).then(MID)], {"opening": 100, "pushed": -100}),
        # A deal due elsewhere is in the period once it is won in it, and never otherwise.
        ([old(5, IN_Q2), old(8, MID, stage=WON).then(MID)], {"pulled_in": 5, "up": 3, "won": -8}),
        ([old(5, IN_Q2), old(8, IN_Q2, stage=WON).then(MID)], {}),
        ([old(5), old(8, IN_Q2, stage=WON).then(MID)], {"opening": 5, "up": 3, "won": -8}),
        ([old(stage=WON)], {}),
        ([old(stage=WON), old(is_deleted=True, stage=WON).then(MID)], {}),
        (
            [old(stage=LOST), old().then(MID), old(90, stage=WON).then(LATE)],
            {"reopened": 90, "won": -90},
        ),
        ([old(stage=LOST), old(stage=WON).then(MID)], {}),
        ([old(is_deleted=True), old(60).then(MID)], {"reopened": 60, "closing": 60}),
        ([old().then(MID), old(is_deleted=True).then(LATE)], {}),
        ([old(stage=WON).then(MID)], {"created": 100, "won": -100}),
    ],
)
def test_each_rule(changes: list[Change], expected: dict[str, float]) -> None:
    assert moves([deal("A", changes)]) == expected


def test_a_transfer_leaves_one_team_and_enters_the_other() -> None:
    rows = deal("A", [old(), old(120).then(MID), old(130, team="South").then(LATE)])
    north, south = ([row for row in rows if row["team"] == team] for team in ("North", "South"))
    assert moves([north]) == {"opening": 100, "up": 20, "transferred_out": -120}
    assert moves([south]) == {"transferred_in": 130, "closing": 130}
    assert moves([rows]) == {
        "opening": 100,
        "transferred_in": 130,
        "up": 20,
        "transferred_out": -120,
        "closing": 130,
    }


def test_a_deal_that_comes_back_is_followed_as_two_stays() -> None:
    there = old(50, team="South").then(MID)
    rows = deal("A", [old(), there, old(70).then(LATE)])
    north = [row for row in rows if row["team"] == "North"]
    assert moves([north]) == {"opening": 100, "transferred_out": -100, "transferred_in": 70, "closing": 70}


@pytest.mark.parametrize(
    ("created", "as_of", "expected"),
    [
        (dt.date(2026, 12, 31), Q1.start, {"opening": 100, "closing": 100}),
        (Q1.start, Q1.start, {"created": 100, "closing": 100}),
        (dt.date(2027, 1, 2), Q1.start, {}),
    ],
)
def test_boundary_days(created: dt.date, as_of: dt.date, expected: dict[str, float]) -> None:
    assert moves([deal("A", [old().then(created)])], as_of=as_of) == expected


def test_changes_within_one_day_show_the_last_and_make_no_line_of_their_own() -> None:
    same_day = [old().then(MID), old(300).then(MID), old(40).then(MID)]
    assert moves([deal("A", same_day)]) == {"created": 40, "closing": 40}
    at_edges = [old(1), old(2).then(Q1.start - DAY), old(3).then(Q1.start), old(4).then(AS_OF)]
    assert moves([deal("A", at_edges)]) == {"opening": 2, "up": 2, "closing": 4}
    next_day = [old(2), old(9).then(AS_OF + DAY)]
    assert moves([deal("A", next_day)]) == {"opening": 2, "closing": 2}


def test_start_and_no_period() -> None:
    rows = [deal("A", [old(), old(130, IN_Q2).then(MID)])]
    assert moves(rows, period=None) == {"opening": 100, "up": 30, "closing": 130}
    late = (MID + DAY).isoformat()
    assert moves(rows, period=None, start=late) == {"opening": 130, "closing": 130}
    assert moves(rows, start=late) == {}


def test_unknown_amounts_count_as_nothing_and_are_noted() -> None:
    rows = [deal("A", [old(None)]), deal("B", [old(None), old(5).then(MID)]), deal("C", [old(None, IN_Q2)])]
    frame = waterfall(states_table(rows), as_of=AS_OF, period=Q1, settings=Settings())
    assert frame.set_index("step")["amount"].to_dict()["closing"] == 5
    assert frame.attrs["notes"] == ["2 deals of the waterfall have no amount and count as 0."]
    assert frame.attrs["start"] == "2027-01-01"


def test_cents_are_exact() -> None:
    rows = [deal(f"D{i}", [old(0.1), old(0.3).then(MID)]) for i in range(3)]
    assert run(rows)["up"] == (0.6, 3)


def test_empty_history_gives_every_line() -> None:
    assert set(run([]).values()) == {(0.0, 0)}


def test_wrong_start_is_refused() -> None:
    with pytest.raises(InputError, match="expected a date such as 2026-07-01; got 'January'"):
        run([], start="January")
    with pytest.raises(InputError, match="would end before it starts"):
        run([], start="2027-02-01")


def test_states_that_overlap_or_leave_a_gap_are_refused() -> None:
    overlap = deal("A", [old(), old(130).then(MID)])
    overlap[0]["valid_to_date"] = None
    gap = deal("B", [old(), old(130).then(MID)])[:1]
    twice = deal("C", [old()]) + deal("C", [old(70)])
    for rows in (overlap, gap, twice):
        with pytest.raises(SalesOpsError, match="cannot follow 1 deals"):
            run([rows])


def slow_waterfall(
    histories: list[list[Change]], start: dt.date, as_of: dt.date, period: Period | None, team: str | None
) -> dict[str, tuple[Decimal, int]]:
    """The same definition, stay by stay, from the changes themselves."""
    total: dict[str, tuple[Decimal, int]] = {}

    def add(step: str, amount: Decimal) -> None:
        before = total.get(step, (Decimal(0), 0))
        total[step] = (before[0] + amount, before[1] + 1)

    def is_in(c: Change) -> bool:
        return is_live(c) and due(c)

    def is_live(c: Change) -> bool:
        return c.stage not in (WON, LOST) and not c.is_deleted

    def due(c: Change) -> bool:
        return period is None or (c.close_date is not None and period.contains(c.close_date))

    def value(c: Change) -> Decimal:
        return Decimal(0) if c.amount is None else Decimal(str(c.amount))

    for changes in histories:
        stays: list[list[Change]] = []
        for change in changes:
            if stays and stays[-1][-1].team == change.team:
                stays[-1].append(change)
            else:
                stays.append([change])
        for place, stay in enumerate(stays):
            if team is not None and stay[0].team != team:
                continue
            left_on = stays[place + 1][0].day if place + 1 < len(stays) else None
            before = [c for c in stay if c.day < start]
            within = [c for c in stay if start <= c.day <= as_of]
            if left_on is not None and left_on < start:
                continue
            kind = "opening" if before else "created" if place == 0 else "transferred"
            seen = before[-1:] + within
            if not seen:
                continue
            first, last = seen[0], seen[-1]
            gone = left_on is not None and left_on <= as_of
            if is_in(last) and not gone:
                add("closing", value(last))
            closed = last.stage in (WON, LOST) and not last.is_deleted
            if kind == "created":
                if is_in(last) or (closed and due(last)):
                    add("created", value(last))
                else:
                    continue
            elif is_live(first):
                if is_in(first):
                    add("opening" if kind == "opening" else "transferred_in", value(first))
                    if last.is_deleted:
                        add("removed", -value(first))
                        continue
                    if is_live(last) and not due(last):
                        add("pushed", -value(first))
                        continue
                elif is_in(last) or (closed and due(last)):
                    add("pulled_in", value(first))
                else:
                    continue
                change_of = value(last) - value(first)
                if change_of:
                    add("up" if change_of > 0 else "down", change_of)
            else:
                if is_in(last) or (closed and due(last) and any(is_live(c) for c in seen)):
                    add("reopened", value(last))
                else:
                    continue
            if closed:
                add("won" if last.stage == WON else "lost", -value(last))
            elif gone:
                add("transferred_out", -value(last))
    return total


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    days = sorted(draw(st.lists(st.integers(0, 12), min_size=1, max_size=6)))
    changes: list[Change] = []
    for day in days:
        change = Change(
            dt.date(2026, 12, 27) + day * DAY,
            stage=draw(st.sampled_from(["Discovery", "Proposal", WON, LOST])),
            amount=draw(st.sampled_from([None, 0, 10, 25.5, 40.01])),
            close_date=draw(st.sampled_from([IN_Q1, IN_Q2, None])),
            team=draw(st.sampled_from(["North", "South"])),
            is_deleted=draw(st.sampled_from([False, False, False, True])),
        )
        if changes and change.stage in (WON, LOST):
            change = change.then(change.day, team=changes[-1].team)
        changes.append(change)
    return changes


@given(
    st.lists(histories(), max_size=8),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([Q1, None]),
)
@settings(max_examples=30)
def test_agrees_with_the_slow_version_and_teams_sum_to_the_company(
    deals: list[list[Change]], start: int, length: int, period: Period | None
) -> None:
    first = dt.date(2026, 12, 27) + start * DAY
    as_of = first + length * DAY
    rows = [deal(f"D{number}", changes) for number, changes in enumerate(deals)]
    options: dict[str, Any] = {"start": first.isoformat(), "as_of": as_of, "period": period}
    company = run(rows, **options)
    slow = slow_waterfall(deals, first, as_of, period, None)
    for step, (amount, n) in company.items():
        assert (amount, n) == (float(slow.get(step, (0, 0))[0]), slow.get(step, (0, 0))[1]), step
    parts = [
        run([[row for row in states if row["team"] == team] for states in rows], **options)
        for team in ("North", "South")
    ]
    for step, (amount, n) in company.items():
        assert sum(part[step][1] for part in parts) == n
        assert sum(part[step][0] for part in parts) == pytest.approx(amount, abs=1e-9)


def test_row_order_does_not_matter() -> None:
    rows = [row for states in known_answer() for row in states]
    shuffled = pd.Series(range(len(rows))).sample(frac=1, random_state=3)
    assert run([[rows[i] for i in shuffled]]) == run(known_answer())
