"""Cohorts of deals and of leads: by hand, against slow walks, and what a young cohort may say."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import cohorts, leads, win_rate
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
JAN = dt.date(2026, 1, 1)
DEALS = {"opportunity_id": "string", "created_date": "date", "loss_reason": "string", "kind": "string"}
WON, LOST = "Closed Won", "Closed Lost"
DAY = dt.timedelta(days=1)


def ends(name: str, created: dt.date, stage: str | None, days: int = 0, **more: Any) -> list[dict[str, Any]]:
    """A deal that was closed so many days after its creation, or is open."""
    first = Change(created, **more)
    if stage is None:
        return deal(name, [first])
    day = created + days * DAY
    return deal(name, [first, first.then(day, stage=stage, close_date=day)])


def deals_table(walks: list[list[dict[str, Any]]], reasons: dict[str, str] | None = None) -> ibis.Table:
    created = [(states[0]["opportunity_id"], states[0]["valid_from_date"]) for states in walks]
    rows = [
        (name, day, (reasons or {}).get(name), "even" if name[-1] in "02468" else "odd")
        for name, day in created
    ]
    return table_of(DEALS, rows)


def run(
    walks: list[list[dict[str, Any]]], reasons: dict[str, str] | None = None, **more: Any
) -> pd.DataFrame:
    options: dict[str, Any] = {
        "as_of": dt.date(2026, 6, 30), "period": None, "settings": Settings(), "months": 3, "how_many": 2,
        **more,
    }  # fmt: skip
    return cohorts(states_table(walks), stages_table(), deals_table(walks, reasons), **options)


WALKS = [
    ends("A", JAN, WON, 20),
    ends("B", JAN, LOST, 50),
    ends("C", JAN + 30 * DAY, WON, 100),
    ends("D", JAN + 40 * DAY, None),
    ends("E", JAN, LOST, 10),
    ends("F", dt.date(2026, 6, 10), None),
]


def test_a_mature_cohort_is_a_plain_count() -> None:
    frame = run(WALKS, {"E": "Duplicate"})
    assert frame["cohort"].tolist() == ["2026-Q1"] * 3
    assert frame["age_days"].tolist() == [30, 61, 91]
    first = frame.iloc[0]
    assert first[["deals", "won", "lost", "open", "excluded"]].tolist() == [4, 2, 1, 1, 1]
    assert frame["won_share"].tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4])
    assert frame["lost_share"].tolist() == pytest.approx([0, 1 / 4, 1 / 4])
    assert frame["at_risk"].tolist() == [3, 2, 2]
    assert (frame["won_share"] + frame["lost_share"] + frame["open_share"]).tolist() == pytest.approx([1] * 3)
    # The cohort's last day is 31 March: 91 days later is 30 June, the cut-off.
    assert frame["is_mature"].all()
    assert frame.attrs["notes"] == []


def test_maturity_begins_on_the_day_that_every_deal_is_old_enough() -> None:
    assert run(WALKS)["is_mature"].tolist() == [True] * 3
    the_day_before = run(WALKS, as_of=dt.date(2026, 6, 29))
    assert the_day_before["is_mature"].tolist() == [True, True, False]
    assert "not yet 3 months old" in the_day_before.attrs["notes"][0]


def test_a_young_cohort_shows_what_was_reached_and_no_age_that_nobody_has() -> None:
    frame = run(WALKS, as_of=dt.date(2026, 2, 20), how_many=1)
    # On 20 February the oldest deal is 50 days old: nothing is said of 61.
    assert frame["age_months"].tolist() == [1]
    assert not frame["is_mature"].any()
    # E was lost at 10 days, when D was as old, and A won at 20 among A, B and C.
    assert frame["lost_share"].iloc[0] == pytest.approx(1 / 5)
    assert frame["won_share"].iloc[0] == pytest.approx((1 - 1 / 5) * 1 / 3)


def test_what_comes_later_changes_nothing() -> None:
    as_of = dt.date(2026, 3, 31)
    later = run(WALKS, as_of=as_of, how_many=1)
    cut = [ends("A", JAN, WON, 20), ends("B", JAN, LOST, 50), ends("C", JAN + 30 * DAY, None),
           ends("D", JAN + 40 * DAY, None), ends("E", JAN, LOST, 10)]  # fmt: skip
    pd.testing.assert_frame_equal(later, run(cut, as_of=as_of, how_many=1))


def test_the_shares_rest_on_the_deals_kept_and_the_deals_handed_over() -> None:
    first = Change(JAN)
    away = [deal(f"G{n}", [first, first.then(JAN + 5 * DAY, team="South")]) for n in range(6)]
    own = [ends("A", JAN, WON, 3), ends("B", JAN, LOST, 50), ends("D", JAN, None)]
    north = [[row for row in states if row["team"] == "North"] for states in [*own, *away]]
    row = run(north, {"B": "Duplicate"}).iloc[0]
    assert row[["deals", "deals_seen", "excluded"]].tolist() == [2, 8, 1]
    assert row["won_share"] == pytest.approx(1 / 8)
    # In the company nothing was handed over.
    frame = run([*own, *away])
    assert (frame["deals_seen"] == frame["deals"]).all()


def test_a_reopened_deal_is_open_and_a_deleted_one_is_none() -> None:
    first = Change(JAN)
    closed = first.then(JAN + 10 * DAY, stage=LOST)
    again = deal("A", [first, closed, first.then(JAN + 20 * DAY)])
    gone = deal("B", [first, first.then(JAN + 9 * DAY, is_deleted=True)])
    frame = run([again, gone, ends("C", JAN, WON, 15)])
    assert frame.iloc[0][["deals", "won", "lost", "open"]].tolist() == [2, 1, 0, 1]
    assert frame["lost_share"].tolist() == [0, 0, 0]
    assert run([again, gone, ends("C", JAN, WON, 15)], as_of=JAN + 12 * DAY, how_many=1).empty


def test_a_deal_taken_over_counts_from_that_day_on_and_one_handed_over_is_censored() -> None:
    first = Change(JAN, team="South")
    taken = deal("A", [first, first.then(JAN + 40 * DAY, team="North"),
                       first.then(JAN + 50 * DAY, team="North", stage=LOST)])  # fmt: skip
    own = [ends("B", JAN, WON, 20), ends("C", JAN, None), ends("D", JAN, LOST, 45)]
    north = [[row for row in states if row["team"] == "North"] for states in [taken, *own]]
    options: dict[str, Any] = {
        "as_of": dt.date(2026, 6, 30),
        "period": None,
        "settings": Settings(),
        "months": 3,
    }
    table = deals_table([[{**states[0], "valid_from_date": JAN}] for states in north])
    frame = cohorts(states_table(north), stages_table(), table, **options)
    # 20 days: B of B, C, D. 45: D of C, D and A, which came at 40. 50: A of A and C.
    assert frame["won_share"].tolist() == pytest.approx([1 / 3] * 3)
    assert frame["lost_share"].tolist() == pytest.approx(
        [0, 2 / 3 * (1 / 3 + 2 / 3 / 2), 2 / 3 * (1 / 3 + 2 / 3 / 2)]
    )
    south = [[row for row in taken if row["team"] == "South"], ends("E", JAN, LOST, 60, team="South")]
    frame = cohorts(states_table(south), stages_table(), deals_table(south), **options)
    assert frame["at_risk"].tolist() == [2, 0, 0]
    assert frame["lost_share"].tolist() == pytest.approx([0, 1, 1])


def test_the_period_view_is_the_win_rate_of_the_same_quarter() -> None:
    walks = random_walks(np.random.default_rng(5), 120)
    frame = run(walks, months=2, how_many=3)
    for quarter in frame["cohort"].unique():
        period = Settings().fiscal.quarter(quarter)
        expected = win_rate(
            states_table(walks), stages_table(), deals_table(walks),
            as_of=dt.date(2026, 6, 30), period=period, settings=Settings(),
        ).iloc[0]  # fmt: skip
        row = frame[frame["cohort"] == quarter].iloc[0]
        assert (row["period_won"], row["period_lost"]) == (expected["won"], expected["lost"])
        assert [row["period_rate"], row["period_low"], row["period_high"]] == pytest.approx(
            expected[["rate", "low", "high"]].tolist()
        )


def random_walks(rng: np.random.Generator, count: int) -> list[list[dict[str, Any]]]:
    walks = []
    for number in range(count):
        created = dt.date(2025, 10, 1) + int(rng.integers(270)) * DAY
        stage = str(rng.choice([WON, LOST])) if rng.random() < 0.8 else None
        walks.append(ends(f"R{number:03}", created, stage, int(rng.exponential(45))))
    return walks


def slowly(
    walks: list[list[dict[str, Any]]], period: Period, as_of: dt.date, age: int
) -> tuple[float, float]:
    """Won and lost shares by walking over the days of age, one after the other."""
    spans = []
    for states in walks:
        created = states[0]["valid_from_date"]
        if not period.contains(created) or created > as_of:
            continue
        closing = states[-1] if states[-1]["is_closed"] and states[-1]["valid_from_date"] <= as_of else None
        until = closing["valid_from_date"] if closing else as_of
        spans.append(((until - created).days, closing["stage"] if closing else None))
    under_way, shares = 1.0, {WON: 0.0, LOST: 0.0}
    for day in range(age + 1):
        seen = sum(length >= day for length, _stage in spans)
        leave = {end: sum(length == day and stage == end for length, stage in spans) for end in shares}
        if seen:
            for end, number in leave.items():
                shares[end] += under_way * number / seen
            under_way *= 1 - sum(leave.values()) / seen
    return shares[WON], shares[LOST]


@pytest.mark.parametrize("seed", range(4))
def test_shares_equal_a_slow_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walks = random_walks(rng, int(rng.integers(5, 90)))
    as_of = dt.date(2026, 1, 15) + int(rng.integers(170)) * DAY
    frame = run(walks, as_of=as_of, months=6, how_many=4)
    assert len(frame)
    for row in frame.itertuples():
        expected = slowly(walks, Settings().fiscal.quarter(row.cohort), as_of, row.age_days)
        assert (row.won_share, row.lost_share) == pytest.approx(expected)
        assert row.open_share == pytest.approx(1 - sum(expected))
        assert row.won_low <= row.won_share <= row.won_high
        assert row.deals == row.won + row.lost + row.open
    parts = run(walks, as_of=as_of, months=6, how_many=4, by="kind")
    whole = frame.drop_duplicates("cohort").set_index("cohort")["deals"]
    assert (
        parts.drop_duplicates(["kind", "cohort"]).groupby("cohort")["deals"].sum().to_dict()
        == whole.to_dict()
    )


def test_months_dimensions_and_order_of_rows() -> None:
    walks = random_walks(np.random.default_rng(8), 60)
    frame = run(walks, cohort="month", how_many=3, months=2, by="kind,owner_id")
    assert frame.columns[:3].tolist() == ["kind", "owner_id", "cohort"]
    assert set(frame["cohort"]) <= {"2026-M04", "2026-M05", "2026-M06"}
    again = run(walks[::-1], cohort="month", how_many=3, months=2, by="kind,owner_id")
    pd.testing.assert_frame_equal(frame, again)
    for wrong in ({"how_many": 0}, {"months": 0}, {"by": "kid"}, {"by": "won_share"}):
        with pytest.raises(InputError):
            run(walks, **wrong)


def test_no_deal_is_no_row_and_no_creation_date_is_said() -> None:
    assert run([]).empty
    assert run([ends("A", dt.date(2020, 1, 1), WON, 3)]).empty
    with pytest.raises(NotAvailableError, match="date on which each deal was created"):
        cohorts(states_table([]), stages_table(), None, as_of=JAN, period=None, settings=Settings())


LEADS = {
    "lead_id": "string",
    "created_at": "timestamp('UTC')",
    "converted_at": "timestamp('UTC')",
    "source": "string",
    "status": "string",
}


def at(day: dt.date, hour: float = 12) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC) + dt.timedelta(hours=hour)


def lead(
    name: str, created: dt.datetime, after_hours: float | None, source: str | None = "Web"
) -> tuple[Any, ...]:
    converted = None if after_hours is None else created + dt.timedelta(hours=after_hours)
    return (name, created, converted, source, "disqualified" if after_hours is None else "converted")


def lead_rates(rows: list[tuple[Any, ...]], **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {
        "as_of": dt.date(2026, 6, 30), "period": None, "settings": Settings(), "how_many": 2, "months": 2,
        **more,
    }  # fmt: skip
    return leads(table_of(LEADS, rows), **options)


def test_leads_of_a_mature_cohort_by_hand() -> None:
    rows = [
        lead("a", at(JAN), 5),
        lead("b", at(JAN), 31 * 24 - 0.1),
        lead("c", at(JAN), 31 * 24),
        lead("d", at(JAN), None),
        lead("e", at(JAN), -3, "Event"),
        lead("f", at(JAN), 24, None),
    ]
    frame = lead_rates(rows)
    web = frame[frame["source"] == "Web"]
    # 30 whole days have passed for b, and 31 for c.
    assert web["converted_by_age"].tolist() == [2, 3]
    assert web["conversion_rate"].tolist() == [0.5, 0.75]
    assert web["leads"].tolist() == [4, 4]
    assert frame["source"].unique().tolist() == ["(none)", "Event", "Web"]
    assert frame[frame["source"] == "Event"]["conversion_rate"].tolist() == [1, 1]
    assert frame["is_mature"].all()
    assert lead_rates(rows, by="")["converted_by_age"].tolist() == [4, 5]


def test_leads_belong_to_the_business_day_of_their_zone() -> None:
    zone = Settings(zone="America/New_York")
    # 04:59 UTC on 1 April is still 31 March in New York (summer time).
    rows = [lead("a", at(dt.date(2026, 4, 1), 3.9), None), lead("b", at(dt.date(2026, 4, 1), 4), None)]
    assert lead_rates(rows, settings=zone, months=1)["cohort"].tolist() == ["2026-Q1", "2026-Q2"]
    assert lead_rates(rows, months=1)["cohort"].tolist() == ["2026-Q2"]
    # What happens after the end of the cut-off in New York is not known.
    created, end = at(dt.date(2026, 3, 1)), at(dt.date(2026, 4, 6), 4)
    hours = (end - created) / dt.timedelta(hours=1)
    rows = [lead("a", created, hours - 0.5), lead("b", created, hours + 0.5)]
    shown = lead_rates(rows, settings=zone, as_of=dt.date(2026, 4, 5), months=1)
    assert shown["leads"].tolist() == [2]
    assert shown["converted"].tolist() == [1]


@pytest.mark.parametrize("seed", range(3))
def test_lead_conversion_equals_a_slow_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(150):
        created = at(dt.date(2026, 1, 1) + int(rng.integers(170)) * DAY, float(rng.uniform(0, 24)))
        hours = float(rng.exponential(500)) if rng.random() < 0.5 else None
        rows.append(lead(str(number), created, hours, str(rng.choice(["Web", "Event"]))))
    as_of = dt.date(2026, 3, 1) + int(rng.integers(120)) * DAY
    frame = lead_rates(rows, as_of=as_of, how_many=2, months=3)
    cutoff = at(as_of + DAY, 0)
    for row in frame.itertuples():
        period = Settings().fiscal.quarter(row.cohort)
        mine = [r for r in rows if r[3] == row.source and period.contains(r[1].date()) and r[1] < cutoff]
        days = [(r[2] - r[1]).days if r[2] is not None and r[2] < cutoff else None for r in mine]
        assert row.leads == len(mine)
        assert row.converted == sum(d is not None for d in days)
        assert row.converted_by_age == sum(d is not None and d <= row.age_days for d in days)
        still = 1.0
        seen_for = [(cutoff - r[1]).days - 1 for r in mine]
        for age in range(row.age_days + 1):
            at_risk = sum(
                seen >= age and (d is None or d >= age) for d, seen in zip(days, seen_for, strict=True)
            )
            events = sum(d == age and seen >= age for d, seen in zip(days, seen_for, strict=True))
            still *= 1 - events / at_risk if at_risk else 1
        assert row.conversion_rate == pytest.approx(1 - still)
        if row.is_mature:
            assert row.conversion_rate == pytest.approx(row.converted_by_age / row.leads)
        assert row.is_mature == (period.last_day + (row.age_days + 1) * DAY <= as_of)
        assert row.low <= row.conversion_rate <= row.high


def test_sources_are_tested_at_a_mature_age_only() -> None:
    rows = [lead(f"w{n}", at(JAN), 24 if n < 30 else None) for n in range(60)]
    rows += [lead(f"e{n}", at(JAN), 24 if n < 28 else None, "Event") for n in range(60)]
    frame = lead_rates(rows)
    test = frame.attrs["test"]
    assert (test["method"], test["df"], test["evidence"], test["age_days"]) == ("chi-square", 1, False, 61)
    assert "No evidence of a difference in lead conversion by source" in frame.attrs["notes"][0]
    assert "test" not in lead_rates(rows, as_of=JAN + 40 * DAY, how_many=1).attrs
    assert "test" not in lead_rates(rows, by="").attrs


def test_leads_that_are_none_or_asked_for_wrongly() -> None:
    assert lead_rates([]).empty
    assert lead_rates([lead("a", at(JAN), None)], as_of=JAN, how_many=1).empty
    with pytest.raises(InputError, match="source"):
        lead_rates([], by="sourse")
