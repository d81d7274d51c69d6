"""The pipeline as it stood: against a naive reading of the events, and unmoved by the future."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import ibis
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salesops_kit.data import as_of, engine
from salesops_kit.settings import NO_TEAM

DAY0 = dt.date(2026, 1, 1)
STAGES = pd.DataFrame(
    {
        "pipeline": "",
        "stage": ["Qualify", "Propose", "Won", "Lost"],
        "position": [1, 2, 3, 4],
        "is_closed": [False, False, True, True],
        "is_won": [False, False, True, False],
    }
)
CLOSED = {"Won", "Lost"}
ZONE = "America/New_York"


@dataclass(frozen=True)
class Event:
    """One change of a deal, some minutes after midnight of a day."""

    deal: str
    day: int
    minute: int
    stage: str
    amount: int
    owner: str | None

    @property
    def date(self) -> dt.date:
        return DAY0 + dt.timedelta(self.day)

    @property
    def at(self) -> dt.datetime:
        return as_of.midnight(self.date, ZONE) + dt.timedelta(minutes=self.minute)


@dataclass(frozen=True)
class Stay:
    """One stay of a rep in a team, half-open; None is open-ended."""

    owner: str
    team: str
    start: int | None
    end: int | None

    def holds(self, day: dt.date) -> bool:
        after = self.start is None or day >= DAY0 + dt.timedelta(self.start)
        return after and (self.end is None or day < DAY0 + dt.timedelta(self.end))


def states_of(events: list[Event], stays: list[Stay]) -> ibis.Table:
    history = pd.DataFrame(
        {
            "opportunity_id": [e.deal for e in events],
            "changed_at": pd.to_datetime(pd.Series([e.at for e in events], dtype=object), utc=True),
            "changed_date": [e.date for e in events],
            "stage": [e.stage for e in events],
            "amount": [e.amount for e in events],
            "currency": None,
            "close_date": [e.date for e in events],
            "forecast_category": None,
            "owner_id": [e.owner for e in events],
            "is_deleted": False,
        }
    )
    schema = {
        "opportunity_id": "string", "changed_at": "timestamp('UTC')", "changed_date": "date",
        "stage": "string", "amount": "decimal(18, 4)", "currency": "string", "close_date": "date",
        "forecast_category": "string",
        "owner_id": "string", "is_deleted": "boolean",
    }  # fmt: skip
    deals = pd.DataFrame({"opportunity_id": sorted({e.deal for e in events}), "pipeline": None})
    members = pd.DataFrame(
        [
            (s.owner, s.team, *(None if d is None else DAY0 + dt.timedelta(d) for d in (s.start, s.end)))
            for s in stays
        ],
        columns=["owner_id", "team", "valid_from_date", "valid_to_date"],
    )
    gapless = as_of.gapless_memberships(members, ZONE)
    return as_of.derive_states(
        ibis.memtable(history, schema=schema),
        ibis.memtable(deals, schema={"opportunity_id": "string", "pipeline": "string"}),
        ibis.memtable(STAGES),
        ibis.memtable(gapless, schema=as_of.GAPLESS_SCHEMA),
    )


def naive_at(
    events: list[Event], stays: list[Stay], day: dt.date
) -> dict[str, tuple[str, int, str | None, str]]:
    """Deal -> (stage, amount, owner, team) at the end of a day, by reading the events one by one."""
    found: dict[str, tuple[str, int, str | None, str]] = {}
    closing: dict[str, tuple[str | None, dt.date]] = {}
    before: dict[str, str] = {}
    for event in sorted(events, key=lambda e: (e.deal, e.at)):
        if event.date > day:
            continue
        is_closed = event.stage in CLOSED
        if is_closed and before.get(event.deal) not in CLOSED:
            closing[event.deal] = (event.owner, event.date)
        owner, seen_on = closing[event.deal] if is_closed else (event.owner, day)
        team = next((s.team for s in reversed(stays) if s.owner == owner and s.holds(seen_on)), NO_TEAM)
        found[event.deal] = (event.stage, event.amount, owner, team)
        before[event.deal] = event.stage
    return found


def answer_at(states: ibis.Table, day: dt.date) -> dict[str, tuple[str, int, str | None, str]]:
    frame = engine.collect(as_of.pipeline_at(states, day))
    assert frame["opportunity_id"].is_unique
    return {
        row.opportunity_id: (
            row.stage, int(row.amount), row.owner_id if isinstance(row.owner_id, str) else None, row.team,
        )
        for row in frame.itertuples()
    }  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Event], list[Stay]]:
    days = st.integers(0, 60)
    events = {}
    for deal in "abcd"[: draw(st.integers(1, 4))]:
        for _ in range(draw(st.integers(1, 5))):
            event = Event(
                deal, draw(days), draw(st.integers(0, 1400)), draw(st.sampled_from(list(STAGES["stage"]))),
                draw(st.integers(0, 900)), draw(st.sampled_from(["ann", "bob", "cy", None])),
            )  # fmt: skip
            events[(deal, event.at)] = event
    stays = []
    for owner in ("ann", "bob"):
        cut = draw(st.one_of(st.none(), days))
        first, second = draw(st.permutations(["East", "West"]))
        stays.append(Stay(owner, first, draw(st.sampled_from([None, 0, 5])), cut))
        if cut is not None:
            stays.append(Stay(owner, second, cut, draw(st.one_of(st.none(), st.integers(cut + 1, 80)))))
    return list(events.values()), stays


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds(), st.integers(0, 61))
def test_equals_a_naive_reading_of_the_events(world: tuple[list[Event], list[Stay]], day: int) -> None:
    events, stays = world
    when = DAY0 + dt.timedelta(day)
    assert answer_at(states_of(events, stays), when) == naive_at(events, stays, when)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds(), st.integers(0, 60), st.integers(0, 60))
def test_future_rows_change_no_past_answer(
    world: tuple[list[Event], list[Stay]], known: int, asked: int
) -> None:
    events, stays = world
    asked, known = min(asked, known), max(asked, known)
    past = [event for event in events if event.day <= known]
    if not past:
        return
    when = DAY0 + dt.timedelta(asked)
    assert answer_at(states_of(past, stays), when) == answer_at(states_of(events, stays), when)


def test_a_reorganisation_moves_open_deals_from_its_day_on_and_closed_ones_never() -> None:
    events = [
        Event("open", 0, 600, "Qualify", 10, "ann"),
        Event("shut", 0, 600, "Qualify", 10, "ann"),
        Event("shut", 5, 600, "Won", 12, "ann"),
        Event("shut", 20, 600, "Won", 12, "bob"),
    ]
    stays = [Stay("ann", "East", None, 10), Stay("ann", "West", 10, None), Stay("bob", "West", None, None)]
    states = states_of(events, stays)
    assert answer_at(states, DAY0 + dt.timedelta(9))["open"][3] == "East"
    assert answer_at(states, DAY0 + dt.timedelta(10))["open"][3] == "West"
    assert answer_at(states, DAY0 + dt.timedelta(30))["shut"] == ("Won", 12, "ann", "East")


def test_a_row_tells_nothing_of_the_team_that_has_the_deal_next() -> None:
    events = [Event("d", 0, 600, "Qualify", 10, "ann"), Event("d", 4, 600, "Propose", 99, "bob")]
    stays = [Stay("ann", "East", None, None), Stay("bob", "West", None, None)]
    frame = engine.collect(states_of(events, stays)).sort_values("state_no")
    east, west = frame.iloc[0], frame.iloc[1]
    assert (east["team"], east["exit"], west["entry"]) == ("East", "transferred", "transferred")
    assert frame.iloc[0][["next_stage", "next_position", "next_is_closed", "next_is_won"]].isna().all()
    assert west["stage_since_date"] == DAY0 + dt.timedelta(4)


def test_an_instant_and_a_day_agree_at_the_days_end() -> None:
    events = [Event("d", 0, 600, "Qualify", 10, "ann"), Event("d", 3, 600, "Won", 10, "ann")]
    states = states_of(events, [])
    noon = as_of.midnight(DAY0 + dt.timedelta(3), ZONE) + dt.timedelta(hours=9)
    assert engine.collect(as_of.pipeline_at(states, noon))["stage"].tolist() == ["Qualify"]
    evening = noon + dt.timedelta(hours=2)
    assert engine.collect(as_of.pipeline_at(states, evening))["stage"].tolist() == ["Won"]
    assert engine.collect(as_of.pipeline_at(states, DAY0 + dt.timedelta(3)))["stage"].tolist() == ["Won"]


def test_the_days_of_a_state_follow_the_business_zone() -> None:
    assert as_of.midnight(dt.date(2026, 1, 1), ZONE) == dt.datetime(2026, 1, 1, 5, tzinfo=dt.UTC)
    assert as_of.midnight(dt.date(2026, 7, 1), ZONE) == dt.datetime(2026, 7, 1, 4, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("stays", "expected"),
    [
        ([("ann", "East", None, None)], ["East"]),
        ([("ann", "East", "2026-02-01", None)], [NO_TEAM, "East"]),
        (
            [("ann", "East", None, "2026-02-01"), ("ann", "West", "2026-03-01", None)],
            ["East", NO_TEAM, "West"],
        ),
        ([("ann", "East", None, None), ("ann", "West", "2026-03-01", None)], ["East", "West"]),
        ([("ann", "East", None, "2026-02-01"), ("ann", "East", "2026-02-01", None)], ["East"]),
    ],
)
def test_memberships_partition_all_time(stays: list[tuple[str, str, str, str]], expected: list[str]) -> None:
    frame = pd.DataFrame(stays, columns=["owner_id", "team", "valid_from_date", "valid_to_date"])
    gapless = as_of.gapless_memberships(frame, ZONE)
    assert gapless["team"].tolist() == expected
    assert gapless["from_date"].tolist()[1:] == gapless["to_date"].tolist()[:-1]
    assert (gapless["from_at"].iloc[1:].to_numpy() == gapless["to_at"].iloc[:-1].to_numpy()).all()


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "pyspark"])
def test_compiles_for_every_engine(dialect: str) -> None:
    text = {"opportunity_id": "string", "stage": "string", "owner_id": "string", "currency": "string"}
    history = ibis.table(
        {**text, "changed_at": "timestamp('UTC')", "changed_date": "date", "amount": "decimal(18, 4)",
         "close_date": "date", "forecast_category": "string", "is_deleted": "boolean"},
        name="opportunity_history",
    )  # fmt: skip
    deals = ibis.table({"opportunity_id": "string", "pipeline": "string"}, name="opportunities")
    stages = ibis.table(
        {
            "pipeline": "string",
            "stage": "string",
            "position": "int64",
            "is_closed": "boolean",
            "is_won": "boolean",
        },
        name="stages",
    )
    states = as_of.derive_states(history, deals, stages, ibis.table(as_of.GAPLESS_SCHEMA, name="stays"))
    assert states.schema().names == tuple(as_of.STATE_COLUMNS)
    assert "opportunity_history" in ibis.to_sql(as_of.pipeline_at(states, DAY0), dialect=dialect)
