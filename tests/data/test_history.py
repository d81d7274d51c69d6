"""Stage history where an export has none, or only a part of it: what is derived, and what is said."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from salesops_kit.data import engine

D = dt.date
STAGES = (
    "pipeline,stage,position,is_closed,is_won\n,Talk,1,,\n,Offer,2,,\n,Lost,3,true,false\n,Won,4,true,true\n"
)
UNTIL = "observed_until: 2026-06-30\n"


def events(made: Any, deal: str) -> list[tuple[D, str, Any, Any, str | None]]:
    """One deal's history: day, stage, amount, owner, source."""
    rows = made.rows.table("opportunity_history").to_pyarrow().to_pylist()
    return [
        (row["changed_date"], row["stage"], row["amount"], row["owner_id"], row["source"])
        for row in rows
        if row["opportunity_id"] == deal
    ]


def close_dates(made: Any, deal: str) -> list[D | None]:
    """The close dates that one deal's history shows, in order."""
    rows = made.rows.table("opportunity_history").to_pyarrow().to_pylist()
    return [row["close_date"] for row in rows if row["opportunity_id"] == deal]


def states(made: Any, deal: str) -> list[tuple[str, D, D | None]]:
    rows = engine.collect(made.rows.table("opportunity_states")).query(f"opportunity_id == '{deal}'")
    days = zip(rows["stage"], rows["valid_from_date"], rows["valid_to_date"], strict=True)
    return [(stage, start, end or None) for stage, start, end in days]


def test_without_any_history_a_deal_is_open_from_creation_until_it_closes(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,amount,created_date,close_date,owner_id\n"
        "won,Won,9,2026-01-05,2026-02-10,r1\nopen,Offer,5,2026-01-06,2026-09-01,r2\n"
        "early,Lost,1,2026-03-01,2026-02-01,r1\nbare,Won,2,,,r1\nfuture,Won,3,2026-01-01,2026-12-01,r1\n",
        stages=STAGES,
        settings=UNTIL,
    )
    nine, five = Decimal(9), Decimal(5)
    assert events(made, "won") == [
        (D(2026, 1, 5), "(open)", nine, "r1", "derived"),
        (D(2026, 2, 10), "Won", nine, "r1", "derived"),
    ]
    # The stage that an open deal stands in is known of the last day only.
    assert events(made, "open") == [
        (D(2026, 1, 6), "(open)", five, "r2", "derived"),
        (D(2026, 6, 30), "Offer", five, "r2", "derived"),
    ]
    assert [event[:2] for event in events(made, "early")] == [(D(2026, 2, 1), "Lost")]
    assert [event[:2] for event in events(made, "bare")] == [(D(2026, 6, 30), "Won")]
    assert [event[:2] for event in events(made, "future")] == [
        (D(2026, 1, 1), "(open)"), (D(2026, 6, 30), "Won"),
    ]  # fmt: skip
    assert states(made, "won") == [("(open)", D(2026, 1, 5), D(2026, 2, 10)), ("Won", D(2026, 2, 10), None)]
    assert "the export has no stage history, so it is built from the creation and close dates" in made.notes
    assert "Amount and owner in the past are today's; when a deal would close is not known" in made.notes
    assert close_dates(made, "won") == [None, D(2026, 2, 10)]
    assert close_dates(made, "open") == [D(2026, 9, 1), D(2026, 9, 1)]
    assert "1 deal has neither a creation nor a close date" in made.notes


STAGE_DATES = """\
settings:
  observed_until: 2026-06-30
  stages: [{stage: Talk}, {stage: Offer}, {stage: Won, is_closed: true, is_won: true}]
files: {'*': {dates: '%d.%m.%Y'}}
tables: {opportunities: {from: opportunities.csv}}
stage_dates: {Talk: created_date, Offer: offered}
"""


def test_stage_dates_become_events_in_the_files_own_date_format(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,created_date,close_date,offered\n"
        "a,Won,05.01.2026,10.02.2026,20.01.2026\nb,Offer,05.01.2026,,20.01.2026\n"
        "c,Offer,05.01.2026,,\nd,Won,05.01.2026,10.02.2026,11.02.2026\ne,Talk,05.01.2026,,31.04.2026\n",
        mapping=STAGE_DATES,
    )
    known = {deal: [event[:2] for event in events(made, deal)] for deal in "abcd"}
    talk = (D(2026, 1, 5), "Talk")
    assert known == {
        "a": [talk, (D(2026, 1, 20), "Offer"), (D(2026, 2, 10), "Won")],
        "b": [talk, (D(2026, 1, 20), "Offer")],
        "c": [talk, (D(2026, 6, 30), "Offer")],
        "d": [talk, (D(2026, 2, 10), "Won")],
    }
    assert "the dates of Talk, Offer and the close date" in made.notes
    assert [row[1:3] + row[4:] for row in made.found("set aside")] == [(6, "offered", "31.04.2026")]


def test_stage_dates_that_the_export_lacks_get_the_nearest_name(desk: Any) -> None:
    mapping = STAGE_DATES.replace("Offer: offered", "Offer: offerd")
    deals = "opportunity_id,stage,created_date,close_date,offered\na,Won,05.01.2026,10.02.2026,20.01.2026\n"
    problem = desk.refused_once(deals, mapping=mapping)
    assert (problem.what, problem.next_step) == (
        "stage_dates names 'offerd', which opportunities lack", "Did you mean offered or owner_id?",
    )  # fmt: skip


def test_two_events_of_one_day_keep_their_order(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,created_date,close_date\na,Won,2026-01-05,2026-01-05\n", stages=STAGES
    )
    assert [event[:2] for event in events(made, "a")] == [(D(2026, 1, 5), "(open)"), (D(2026, 1, 5), "Won")]
    assert states(made, "a")[-1] == ("Won", D(2026, 1, 5), None)


HISTORY = "opportunity_id,changed_at,stage\nh,2026-01-05T10:00:00Z,Talk\nh,2026-02-01T10:00:00Z,Offer\n"


def test_history_of_some_deals_only_is_completed_for_the_others(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,created_date,close_date\nh,Offer,2026-01-05,\nn,Won,2026-01-07,2026-02-07\n",
        opportunity_history=HISTORY,
        stages=STAGES,
        settings=UNTIL,
    )
    assert [(event[0], event[1], event[4]) for event in events(made, "h")] == [
        (D(2026, 1, 5), "Talk", None), (D(2026, 2, 1), "Offer", None),
    ]  # fmt: skip
    assert [(event[1], event[4]) for event in events(made, "n")] == [
        ("(open)", "derived"),
        ("Won", "derived"),
    ]
    assert "1 deal has no stage history" in made.notes
    assert "the export has no stage history" not in made.notes


def test_columns_that_the_history_lacks_are_todays_and_said_to_be(desk: Any) -> None:
    deals = (
        "opportunity_id,stage,amount,owner_id,created_date,close_date\nh,Offer,70,r1,2026-01-05,2026-03-01\n"
    )
    made = desk.load(deals, opportunity_history=HISTORY, stages=STAGES)
    assert [event[2:4] for event in events(made, "h")] == [(Decimal(70), "r1")] * 2
    assert "does not record amount, currency, close_date, forecast_category, owner_id: today's" in made.notes
    own = "opportunity_id,changed_at,stage,amount,owner_id\nh,2026-01-05,Talk,40,r0\nh,2026-02-01,Offer,,r1\n"
    made = desk.load(deals, opportunity_history=own, stages=STAGES)
    assert [event[2:4] for event in events(made, "h")] == [(Decimal(40), "r0"), (None, "r1")]
    assert "does not record currency, close_date, forecast_category: today's" in made.notes


def test_no_closing_value_leaks_into_the_past_with_list_prices(desk: Any) -> None:
    mapping = (
        "settings: {observed_until: 2026-06-30}\nopen_amount: list_price\n"
        "tables:\n  opportunities: {from: opportunities.csv}\n  products: {from: products.csv}\n"
        "  stages: {from: stages.csv}\n"
        "  opportunity_history: {from: opportunity_history.csv, optional: true}\n"
    )
    deals = (
        "opportunity_id,stage,amount,created_date,close_date,product_id\n"
        "h,Won,70,2026-01-05,2026-03-01,p\nx,Won,5,2026-01-05,2026-03-01,\n"
    )
    products = "product_id,list_price\np,100\n"
    made = desk.load(deals, mapping=mapping, products=products, stages=STAGES)
    assert [event[2] for event in events(made, "h")] == [Decimal(100), Decimal(70)]
    assert [event[2] for event in events(made, "x")] == [Decimal(5), Decimal(5)]
    assert "open deals count at the list price" in made.notes
    history = HISTORY + "h,2026-03-01T10:00:00Z,Won\n"
    made = desk.load(deals, mapping=mapping, products=products, stages=STAGES, opportunity_history=history)
    assert [event[2] for event in events(made, "h")] == [Decimal(100), Decimal(100), Decimal(70)]


def test_a_deal_that_stands_elsewhere_than_its_last_event_gets_one_more(desk: Any) -> None:
    cases = {
        "h1,Won,2026-03-01,": (D(2026, 3, 1), "Won"),  # closed after the last event: on the close date
        "h2,Won,2026-01-20,": (D(2026, 6, 30), "Won"),  # a close date before the last event cannot be it
        "h3,Won,2026-12-01,": (D(2026, 6, 30), "Won"),  # nor one that lies ahead
        "h4,Talk,2026-03-01,": (D(2026, 6, 30), "Talk"),  # open: known of the last day only
        "h5,Offer,2026-03-01,true": (D(2026, 6, 30), "Offer"),  # deleted without an event
    }
    header, *recorded = HISTORY.splitlines()
    history = [row.replace("h", deal[:2], 1) for deal in (*cases, "h6") for row in recorded]
    made = desk.load(
        "opportunity_id,stage,close_date,is_deleted\n" + "\n".join((*cases, "h6,Offer,,")) + "\n",
        opportunity_history="\n".join((header, *history)) + "\n",
        stages=STAGES,
        settings=UNTIL,
    )
    last = engine.collect(made.rows.table("opportunity_states")).groupby("opportunity_id").last()
    for deal, (day, stage) in cases.items():
        known = events(made, deal[:2])
        assert [event[:2] for event in known[:2]] == [(D(2026, 1, 5), "Talk"), (D(2026, 2, 1), "Offer")]
        assert (known[2][0], known[2][1], known[2][4], len(known)) == (day, stage, "derived", 3), deal
        assert last.loc[deal[:2], "valid_from_date"] == day
        assert last.loc[deal[:2], "is_deleted"] == deal.endswith("true")
    assert len(events(made, "h6")) == 2
    assert "5 deals stand in another stage" in made.notes


def test_nothing_is_said_of_a_complete_history(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,amount,currency,close_date,forecast_category,owner_id\n"
        "h,Offer,1,USD,2026-03-01,c,r\n",
        opportunity_history="opportunity_id,changed_at,stage,amount,currency,close_date,forecast_category,owner_id\n"
        "h,2026-02-01T10:00:00Z,Offer,1,USD,2026-03-01,c,r\n",
        stages=STAGES,
    )
    assert made.notes == ""


def test_of_two_events_at_one_instant_the_later_row_stands(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,close_date\nh,Offer,\n",
        opportunity_history="opportunity_id,changed_at,stage\nh,2026-02-01T10:00:00Z,Talk\n"
        "h,2026-02-01T12:00:00+02:00,Offer\n",
        stages=STAGES,
    )
    assert [event[:2] for event in events(made, "h")] == [(D(2026, 2, 1), "Offer")]
    assert [row[:3] for row in made.found("set aside")] == [
        ("opportunity_history.csv", 2, "opportunity_id and changed_at")
    ]


def test_stages_are_inferred_in_order_and_said_to_be(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,probability,created_date,close_date\na,Verbal,0.8,2026-01-01,\n"
        "b,Qualify,0.1,2026-01-01,\nc,Closed Won,1,2026-01-01,2026-02-01\n"
        "d,Closed Lost,0,2026-01-01,2026-02-01\ne,Demo,0.4,2026-01-01,\n"
    )
    assert list(made.table("stages")["stage"]) == [
        "(open)", "Qualify", "Demo", "Verbal", "Closed Lost", "Closed Won",
    ]  # fmt: skip
    assert "No stage list is given: stages, their order and what is won or lost are inferred" in made.notes
