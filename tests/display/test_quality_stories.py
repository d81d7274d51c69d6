"""The data-quality exhibits on hand-made frames: the message, the rows that are shown, and their notes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from salesops_kit.display import tables
from salesops_kit.display.narrative import Exhibit
from salesops_kit.display.stories import quality as story

NAN = float("nan")


def framed(rows: list[dict[str, Any]], **attrs: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame.attrs = {"currency": "EUR", **attrs}
    return frame


def check(title: str, severity: str = "warning", status: str = "raised", **figures: Any) -> dict[str, Any]:
    usual = {"check_id": title.lower(), "title": title, "severity": severity, "status": status, "table": "x"}
    usual |= {"rows": 1, "deals": 1, "amount": 10.0, "judged": 9.0, "share": 0.1, "previous_rows": NAN}
    return usual | {"change": NAN, "owners": 1, "most": "Ada (1)", "reason": ""} | figures


def html(exhibit: Exhibit, frame: pd.DataFrame) -> str:
    shown = frame if exhibit.table is None else exhibit.table
    return tables.frame_html(shown, caption=exhibit.message, units=exhibit.units, currency="EUR")


def test_raised_checks_are_listed_and_the_others_counted() -> None:
    frame = framed(
        [
            check("Bad", "error", amount=5.0),
            check("Overdue", amount=2000.0, rows=3),
            check("Habit", "info", amount=9e6),
            check("Fine", status="clear", rows=0),
            check("Blind", status="not checked", rows=0, reason="No stages."),
        ],
        previous=None,
    )
    exhibit = story.checks(frame)
    assert exhibit.message == (
        "The checks raise 1 error, 1 warning, and 1 remark; 1 check finds nothing. "
        "Most money stands under “Overdue”: €2K."
    )
    assert exhibit.table is not None
    assert exhibit.table["title"].tolist() == ["Bad", "Overdue", "Habit"]
    assert exhibit.table.attrs["notes"] == ["Not checked: Blind. No stages."]
    assert "before" not in exhibit.table


def test_checks_show_what_the_snapshot_before_knew() -> None:
    frame = framed([check("Overdue", previous_rows=4.0)], previous="2026-03-01")
    exhibit = story.checks(frame)
    assert exhibit.table is not None
    assert exhibit.table["before"].tolist() == [4.0]
    assert exhibit.table.attrs["notes"] == ["Before: what the snapshot of Mar 1, 2026 knew."]


def test_no_raised_check_is_one_sentence() -> None:
    exhibit = story.checks(framed([check("Fine", status="clear", rows=0)], previous=None))
    assert (exhibit.message, exhibit.is_text) == ("The one check that was made finds nothing.", True)
    two = [check(name, status="clear", rows=0) for name in ("Fine", "Good")]
    assert story.checks(framed(two, previous=None)).message == "None of 2 checks finds anything."
    blind = framed([check("Blind", status="not checked", rows=0, reason="No stages.")], previous=None)
    assert story.checks(blind).message == "No check could be made."
    only = story.checks(framed([check("Bad", "error", amount=5.0)], previous=None)).message
    assert only == "The checks raise 1 error. Most money stands under “Bad”: €5."


def test_scores_name_the_lowest() -> None:
    rows = [
        {
            "team": "North",
            "deals": 10,
            "with_problem": 4,
            "score": 0.6,
            "amount": 1.0,
            "amount_with_problem": 1.0,
            "amount_score": 0.0,
        },
        {
            "team": "South",
            "deals": 10,
            "with_problem": 0,
            "score": 1.0,
            "amount": 1.0,
            "amount_with_problem": 0.0,
            "amount_score": 1.0,
        },
    ]
    total = {"deals": 20.0, "with_problem": 4.0, "score": 0.8}
    exhibit = story.scores(framed(rows, total=total, options={"by": "team"}))
    assert exhibit.message == (
        "An error or warning touches 4 of 20 deals: the score is 80.0%. The lowest score is that of "
        "North, 60.0%."
    )
    alike = story.scores(framed([rows[0], {**rows[0], "team": "South"}], total=total, options={"by": "team"}))
    assert alike.message == "An error or warning touches 4 of 20 deals: the score is 80.0%."
    clean = story.scores(framed(rows[1:], total={"deals": 10.0, "with_problem": 0.0, "score": 1.0}))
    assert clean.message == "No error or warning touches any of the 10 deals."
    for deals, wrong, score, message in (
        (0.0, 0.0, NAN, "No deal is open, and none was closed in the quarter."),
        (1.0, 0.0, 1.0, "No error or warning touches the one deal."),
        (1.0, 1.0, 0.0, "An error or warning touches the one deal: the score is 0.0%."),
        (2.0, 2.0, 0.0, "An error or warning touches all 2 deals: the score is 0.0%."),
    ):
        few = {"deals": deals, "with_problem": wrong, "score": score}
        assert story.scores(framed(rows[1:], total=few)).message == message


def measures(**changes: tuple[float, float, int]) -> pd.DataFrame:
    usual = {
        "bookings": (100.0, 100.0, 0),
        "open_pipeline": (2000.0, 2000.0, 0),
        "weighted_pipeline": (NAN, NAN, 0),
        "win_rate": (0.3, 0.3, 0),
    }
    rows = [
        {
            "measure": name,
            "with_all": whole,
            "without": without,
            "difference": without - whole,
            "low": 0.2 if name == "win_rate" else NAN,
            "high": 0.4 if name == "win_rate" else NAN,
            "affected": n,
        }
        for name, (whole, without, n) in (usual | changes).items()
    ]
    return framed(rows)


def test_the_effect_says_what_changes_and_when_chance_explains_it() -> None:
    assert story.effect(measures()).message == "The problems change none of the figures of the page."
    exhibit = story.effect(measures(open_pipeline=(2000.0, 1500.0, 2), win_rate=(0.3, 0.25, 4)))
    assert exhibit.message == (
        "Without the deals in question the open pipeline would be €1.5K instead of €2K and the win rate "
        "would be 25.0% instead of 30.0%. The change of the win rate is within what chance does to it "
        "(20.0% to 40.0%)."
    )
    beyond = story.effect(measures(win_rate=(0.3, 0.1, 40)))
    assert "chance" not in beyond.message
    assert exhibit.table is not None
    assert exhibit.table["with all"].tolist() == ["€100", "€2K", "n/a", "30.0%"]


def fix(owner: str | None, name: str, amount: float, **more: Any) -> dict[str, Any]:
    usual = {"owner_id": owner, "rep_name": name, "team": "N", "table": "opportunities", "record_id": "D1"}
    usual |= {
        "name": "Deal",
        "field": "amount",
        "problem": "Amount is zero",
        "check_id": "z",
        "severity": "warning",
    }
    return usual | {"value": None, "suggested": None, "amount": amount} | more


def test_the_fix_list_names_the_owner_with_most_money() -> None:
    rows = [
        fix("u1", "Ada", 90.0),
        fix("u2", "Bo", 10.0, record_id="D2"),
        fix(None, "(no owner)", 0.0, record_id="A"),
    ]
    exhibit = story.fix_list(framed(rows))
    assert exhibit.message == (
        "3 problems are to be mended by 2 owners; most money is exposed with Ada, €90."
    )
    page = html(exhibit, framed(rows))
    assert "None" not in page
    assert "n/a" not in page


def test_the_fix_list_writes_values_and_fields_as_readers_do() -> None:
    rows = [
        fix("u1", "Ada", 0.0, field="close_date", value="2025-10-01", suggested="2025-10-02"),
        fix("u1", "Ada", 0.0, field="close_date", value="soon"),
        fix("u1", "Ada", 0.0, field="amount", value="-465.88"),
        fix("u1", "Ada", 0.0, field="", value=None),
    ]
    table = story.fix_list(framed(rows)).table
    assert table is not None
    assert table["now"].tolist() == ["Oct 1, 2025", "soon", "−€465.88", ""]
    assert table["suggested"].tolist()[0] == "Oct 2, 2025"
    assert table["field"].tolist() == ["Close date", "Close date", "Amount", ""]
    alone = story.fix_list(framed([fix(None, "(no owner)", 0.0)]))
    assert alone.message == "1 problem is to be mended; no record has an owner."


def test_hostile_names_are_escaped() -> None:
    rows = [fix("u1", "<script>x</script>", 90.0, suggested='"><img src=x onerror=alert(1)>')]
    page = html(story.fix_list(framed(rows)), framed(rows))
    assert "<script" not in page
    assert "<img" not in page


def restated(told: float, now: float) -> pd.DataFrame:
    row = {
        "quarter": "2026-Q1",
        "told_on": dt.date(2026, 3, 31),
        "source": "history",
        "opportunity_id": "D",
        "name": "Deal",
        "owner_id": "u",
        "told": told,
        "now": now,
        "difference": now - told,
        "why": "x",
    }
    return framed(
        [row], quarters=[{"quarter": "2026-Q1", "told": told, "now": now, "difference": now - told}]
    )


def test_restatements_say_then_and_now() -> None:
    assert story.restatements(restated(100.0, 60.0)).message == (
        "Bookings of past quarters have changed: of these deals 2026-Q1 was told as €100 and is now €60; "
        "1 deal makes the difference."
    )
    assert "2026-Q1 changed by +€60" in story.restatements(restated(0.0, 60.0)).message


def tied(*rows: tuple[float, float, bool]) -> pd.DataFrame:
    listed = [
        {
            "source": "finance",
            "opportunity_id": f"D{n}",
            "name": None,
            "owner_id": "u",
            "close_date": dt.date(2026, 4, 1),
            "declared": declared,
            "computed": 0.0,
            "difference": difference,
            "why": "x",
            "explains": explains,
        }
        for n, (declared, difference, explains) in enumerate(rows)
    ]
    return framed(listed)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (tied((60.0, -60.0, True), (5.0, 5.0, True)), "2 deals make the difference of -€55.00."),
        (tied((NAN, -41.0, True)), "1 deal makes the difference of -€41.00. They are found by their amounts"),
        (tied((NAN, 9.0, False)), "1 deal may be counted in another way there; none has the very amount"),
    ],
)
def test_deals_behind_a_total_that_does_not_tie(frame: pd.DataFrame, message: str) -> None:
    assert story.tie_out_deals(frame).message.replace("−", "-").startswith(message)


def test_the_burn_down_compares_the_first_day_with_the_last() -> None:
    days = [dt.date(2026, 1, 31), dt.date(2026, 2, 28)]
    rows = [
        {
            "owner_id": owner,
            "rep_name": owner,
            "known_date": day,
            "problems": n,
            "deals": n,
            "amount": 1.0,
            "solved": NAN,
            "new": NAN,
        }
        for owner, counts in (("Ada", (3, 1)), ("Bo", (0, 1)))
        for day, n in zip(days, counts, strict=True)
    ]
    exhibit = story.burn_down(framed(rows, options={"by": "owner_id"}))
    assert exhibit.message == "2 problems of deals are open, after 3 on Jan 31, 2026."
    assert exhibit.table is not None
    assert exhibit.table["trend"].tolist() == [[3, 1], [0, 1]]


def stage(name: str, limit: float, **more: Any) -> dict[str, Any]:
    usual = {"pipeline": "", "stage": name, "means": "", "exit": "", "required": "amount", "most_days": limit}
    return usual | {"p50": 5.0, "p90": 9.0, "open_deals": 4, "over_limit": 0, "over_share": NAN} | more


def test_the_process_shows_what_is_written_down_and_no_empty_column() -> None:
    bare = story.process(framed([stage("A", NAN), stage("B", NAN)]))
    assert bare.message == "The process has 2 stages; none has a limit of days."
    assert bare.table is not None
    assert {"means", "exit", "most_days"}.isdisjoint(bare.table.columns)
    several = story.process(framed([stage("A", NAN, required="close_date, amount")])).table
    assert several is not None
    assert several["required"].tolist() == ["Close date and Amount"]
    full = story.process(framed([stage("A", 7.0, means="Met", over_limit=2), stage("B", NAN)]))
    assert full.message == "The process has 2 stages; 2 open deals are over the limit of their stage."
    assert full.table is not None
    assert {"means", "most_days", "over_limit"} <= set(full.table.columns)


OTHERS: list[tuple[Callable[[pd.DataFrame], Exhibit], dict[str, Any], str]] = [
    (
        story.duplicates,
        {
            "table": "accounts",
            "record_id": "A2",
            "name": "B",
            "keep_id": "A1",
            "keep_name": "A",
            "similarity": 1.0,
            "why": "same name",
            "amount": 0.0,
        },
        "1 account was probably entered twice.",
    ),
    (
        story.service_levels,
        {"level": "x", "title": "Answered", "within_days": 2, "records": 9.0, "waiting": 3, "share": 0.3},
        "3 records wait for longer than promised.",
    ),
    (
        story.segments,
        {
            "segment": "Key",
            "means": "",
            "rule": "",
            "accounts": 2,
            "open_deals": 1,
            "open_amount": 50.0,
            "won_deals": 0,
            "bookings": 0.0,
        },
        "Key holds most of the open pipeline: €50, 100%.",
    ),
]


@pytest.mark.parametrize(("tell", "row", "message"), OTHERS)
def test_other_exhibits_say_what_they_count(
    tell: Callable[[pd.DataFrame], Exhibit], row: dict[str, Any], message: str
) -> None:
    assert tell(framed([row])).message == message
