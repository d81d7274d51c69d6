"""The funnel's exhibits on hand-made frames: the message, what is drawn, and the words for who cannot see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from salesops_kit.display.narrative import Exhibit
from salesops_kit.display.stories import funnel
from tests.display.reading import points, row_labels, segments, words

NAN = float("nan")
STEPS = ["opening", "created", "pulled_in", "transferred_in", "up", "reopened"]
STEPS += ["won", "lost", "pushed", "transferred_out", "down", "removed", "closing"]


def bridge(**amounts: float) -> pd.DataFrame:
    frame = pd.DataFrame({"step": STEPS, "amount": [amounts.get(step, 0.0) for step in STEPS]})
    frame.attrs["currency"] = "EUR"
    return frame


def stage(name: str, position: int, **figures: Any) -> dict[str, Any]:
    usual = {"pipeline": "", "stage": name, "stage_position": position, "entrants": 100, "moved_on_rate": 0.5}
    usual |= {"low": 0.4, "high": 0.6, "reference_rate": 0.5, "difference": 0.01, "p_value": 0.5}
    usual |= {"difference_low": -0.1, "difference_high": 0.1, "evidence": False, "best_rate": 0.5}
    return usual | {"revenue_lost": 0.0, "revenue_lost_low": 0.0, "revenue_lost_high": 2e6} | figures


def stages(*rows: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(rows or [stage("none", 0)])
    frame = frame if rows else frame.head(0)
    frame.attrs["currency"] = "EUR"
    return frame


def times(*rows: tuple[str, int, float, float, float], pipeline: str = "") -> pd.DataFrame:
    names = ["stage", "at_risk", "p50", "p75", "p90"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(pipeline=pipeline, p50_low=frame["p50"] - 1, p50_high=frame["p50"] + 1)


def reps(*rows: tuple[str, int, int], **test: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["rep_name", "won", "lost"]).astype({"won": float, "lost": float})
    frame["owner_id"] = frame["rep_name"]
    frame["n"] = frame["won"] + frame["lost"]
    frame["rate"] = frame["won"] / frame["n"].where(frame["n"] > 0)
    frame["low"], frame["high"] = frame["rate"] - 0.1, frame["rate"] + 0.1
    frame["won_amount"] = 1.0
    frame["shrunk_rate"] = 0.5 * frame["rate"] + 0.25
    frame.attrs |= {"options": {"by": "owner_id"}, "test": test}
    return frame


SLOW = {"moved_on_rate": 0.3, "reference_rate": 0.5, "difference": -0.2, "difference_low": -0.28}
SLOW |= {"difference_high": -0.12, "evidence": True, "p_value": 0.001}
FAST = {"moved_on_rate": 0.7, "difference": 0.2, "difference_low": 0.1, "difference_high": 0.3}
FAST |= {"evidence": True, "p_value": 0.001}
ALONE = {
    "reference_rate": NAN,
    "difference": NAN,
    "difference_low": NAN,
    "difference_high": NAN,
    "p_value": NAN,
}


def test_waterfall_tells_how_the_pipeline_was_used_up() -> None:
    exhibit = funnel.waterfall(
        bridge(opening=1000, created=300, pulled_in=50, won=-400, lost=-200, pushed=-250, closing=500)
    )
    assert exhibit.message == (
        "€1K was open at the start and €350 came in; €400 was won, €200 was lost, €250 was pushed out, "
        "and €500 is left."
    )
    assert exhibit.alternative == (
        "A bridge of bars from what was open at the start to what is left: Open at the start €1K; "
        "Created €300; Pulled in €50; Won €400; Lost €200; Pushed out €250; Open at the end €500."
    )


def test_waterfall_of_nothing_and_of_only_the_missing() -> None:
    for frame in (bridge(), bridge(opening=NAN, won=NAN), bridge().head(0)):
        assert funnel.waterfall(frame) == Exhibit("No deal was due in the quarter.", is_text=True)
    created = funnel.waterfall(bridge(created=80, lost=-80))
    assert created.message == (
        "Nothing due in the quarter was open at its start; €80 came in; €80 was lost and nothing is left."
    )


def test_conversion_names_the_stage_with_evidence() -> None:
    exhibit = funnel.stage_conversion(stages(stage("Close", 2, **SLOW), stage("Qualify", 1)))
    assert exhibit.message == (
        "Close holds deals back: 30% move on against 50% in the company, a gap of 12 to 28 points."
    )
    assert exhibit.alternative == (
        "One bar per stage, 2 in all, with its interval: the share of deals that moves on runs from 30% "
        "(Close) to 50% (Qualify). A mark on each bar shows the company's share."
    )
    assert exhibit.figure is not None
    assert row_labels(exhibit.figure) == ["Qualify", "Close"]
    assert points(exhibit.figure) == [(0.5, 0), (0.3, 1)]
    assert [line[0] for line in segments(exhibit.figure, 1)] == [0.5, 0.5]
    assert "reference_rate" in exhibit.columns


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((stage("Close", 2, **FAST),), "Close goes better than in the company: 70% move on against 50%."),
        ((stage("Close", 2),), "No stage differs from the company's by more than chance."),
        (
            (stage("Close", 2, **ALONE), stage("Qualify", 1, moved_on_rate=0.2, low=0.1, high=0.3, **ALONE)),
            "Fewest deals move on from Qualify: 20% (10% to 30%) of 100.",
        ),
        (
            (stage("Close", 2, moved_on_rate=NAN, low=NAN, high=NAN, **ALONE),),
            "No deal has left a stage yet.",
        ),
        ((), "No deal has left a stage yet."),
    ],
)
def test_conversion_claims_nothing_without_evidence(rows: tuple[dict[str, Any], ...], message: str) -> None:
    assert funnel.stage_conversion(stages(*rows)).message == message


def test_conversion_without_a_company_draws_none() -> None:
    exhibit = funnel.stage_conversion(stages(stage("Close", 2, **(ALONE | {"reference_rate": 0.9}))))
    assert exhibit.figure is not None
    assert "company" not in " ".join(words(exhibit.figure)) + exhibit.alternative
    assert "reference_rate" not in exhibit.columns


def test_several_pipelines_have_headings_and_their_own_rare_stages() -> None:
    exhibit = funnel.stage_conversion(
        stages(
            stage("Close", 2, pipeline="new", entrants=1000),
            stage("Clsoe", 3, pipeline="new", entrants=5),
            stage("Renew", 1, pipeline="renewal", entrants=5),
        )
    )
    assert exhibit.figure is not None
    assert row_labels(exhibit.figure) == ["new", "Close", "renewal", "Renew"]


def test_bottlenecks_name_the_dearest_stage() -> None:
    first = stage("Close", 2, best_rate=0.75, revenue_lost=1_250_000.0, revenue_lost_low=400_000.0)
    exhibit = funnel.bottlenecks(stages(first, stage("Qualify", 1)))
    assert exhibit.message == (
        "Close costs most: in four quarters about €1.25M (€400K to €2M) of revenue, if its deals moved on at "
        "the best rate that a team of the company shows (75%)."
    )
    assert exhibit.figure is None
    assert not exhibit.is_text


def test_what_may_be_nothing_is_no_loss() -> None:
    first = stage("Close", 2, best_rate=0.75, revenue_lost=1_250_000.0)
    assert funnel.bottlenecks(stages(first, stage("Qualify", 1))).message == (
        "No stage is shown to cost revenue; in four quarters Close may have cost up to €2M, against the best"
        " rate that a team of the company shows (75%)."
    )


@pytest.mark.parametrize("lost", [0.0, NAN, None, -1.0])
def test_bottlenecks_claim_no_loss_where_there_is_none(lost: float | None) -> None:
    exhibit = funnel.bottlenecks(stages(stage("Close", 2, revenue_lost=lost)))
    assert exhibit == Exhibit(
        "No stage stays behind the best rate that the company's teams show.", is_text=True
    )
    assert funnel.bottlenecks(stages()) == exhibit


def test_times_name_the_slowest_stage() -> None:
    exhibit = funnel.time_in_stage(
        times(("Qualify", 90, 5, 9, 20), ("Close", 40, 30, 60, 95), ("Odd", 0, 99, 99, 99))
    )
    assert exhibit.message == (
        "Deals stay longest in Close: half leave within 30 days, one in ten stays beyond 95 days."
    )
    assert exhibit.alternative.endswith("half runs from 5 days (Qualify) to 30 days (Close).")
    assert exhibit.figure is not None
    assert points(exhibit.figure, 1) == [(5, 0), (30, 1)]


def test_times_that_were_not_reached_are_not_claimed() -> None:
    one = funnel.time_in_stage(times(("Close", 40, 30, NAN, NAN)))
    assert one.message == "Deals stay longest in Close: half leave within 30 days."
    assert one.alternative.endswith("half is 30 days for every one that is known.")
    none = funnel.time_in_stage(times(("Close", 40, NAN, NAN, NAN)))
    assert none.message == "Too few deals have left a stage to say how long they stay."
    assert none.alternative.endswith("half is not known for any.")
    assert funnel.time_in_stage(times()).message == none.message


def test_times_of_several_pipelines_have_headings() -> None:
    both = pd.concat(
        [times(("Close", 40, 30, 60, 95), pipeline="new"), times(("Close", 9, 3, 6, 9), pipeline="old")],
        ignore_index=True,
    )
    exhibit = funnel.time_in_stage(both)
    assert exhibit.figure is not None
    assert row_labels(exhibit.figure) == ["new", "Close", "old", "Close"]


def test_reps_are_ranked_only_on_evidence() -> None:
    rows = (("Ann", 30, 10), ("Bo", 10, 60))
    found = funnel.win_rate_spread(reps(*rows, evidence=True, p_value=0.0004, note="said"))
    assert found.message == (
        "Reps win at different rates: from 32% to 62%, chance allowed for (2 reps on 110 closed deals,"
        " p < 0.001)."
    )
    assert found.figure is not None
    assert row_labels(found.figure) == ["Ann", "Bo"]
    assert found.said == ("said",)
    chance = funnel.win_rate_spread(reps(*rows, evidence=False, p_value=0.3, deals_needed=500.0))
    assert chance.message == (
        "Win rates by rep show no evidence of a difference (p = 0.30). About 500 closed deals in each would "
        "tell. Ranking these 2 reps on 110 closed deals would rank chance."
    )
    assert chance.figure is not None
    assert row_labels(chance.figure) == ["Bo", "Ann"]
    assert chance.said == ()
    assert chance.alternative == (
        "One dot per rep, 2 in all, on the range that chance leaves: the win rate runs from 14% (Bo) to 75% "
        "(Ann). A dashed line at 36% is all together."
    )


def test_one_rep_is_not_compared_and_none_is_said() -> None:
    one = funnel.win_rate_spread(reps(("Ann", 3, 1), ("Idle", 0, 0)))
    assert one.message == "One rep closed deals, so there is nothing to compare (1 rep on 4 closed deals)."
    for frame in (reps(("Idle", 0, 0)), reps(("Idle", NAN, NAN)), reps()):
        assert funnel.win_rate_spread(frame).message == "No deal was closed."


def test_exclusions_count_records_and_flags() -> None:
    frame = pd.DataFrame({"action": ["set aside", "kept", "kept"], "rows": [1, 2, 1000]})
    assert (
        funnel.exclusions(frame).message == "1 record is set aside; 1,002 flags are raised on what is kept."
    )
    assert funnel.exclusions(frame.head(0)).message == (
        "No record is set aside; no flag is raised on what is kept."
    )
    named = funnel.exclusions(frame.assign(column_name=["close_date", "amount", None]))
    assert named.table is not None
    assert named.table["column_name"].tolist()[:2] == ["Close date", "Amount"]


def test_stages_of_one_name_are_told_apart_in_words_and_tables() -> None:
    frame = stages(
        stage("Offer", 2, pipeline="Direct", **SLOW),
        stage("Offer", 2, pipeline="Renewal"),
        stage("Demand", 1, pipeline="Direct", moved_on_rate=0.4),
    )
    names = ["Offer (Direct)", "Offer (Renewal)", "Demand"]
    moving = funnel.stage_conversion(frame)
    assert moving.message.startswith("Offer (Direct) holds deals back: ")
    assert "(Offer (Direct)) to 50% (Offer (Renewal))" in moving.alternative
    lost = funnel.bottlenecks(frame.assign(revenue_lost=[9.0, 0.0, 0.0], revenue_lost_low=[1.0, 0.0, 0.0]))
    assert lost.message.startswith("Offer (Direct) costs most: ")
    for exhibit in (moving, lost):
        assert exhibit.table is not None
        assert exhibit.table["stage"].tolist() == names
    assert moving.figure is not None
    assert row_labels(moving.figure) == ["Direct", "Demand", "Offer", "Renewal", "Offer"]
    both = [times(("Offer", 40, 30, 60, 95), pipeline="new"), times(("Offer", 9, 3, 6, 9), pipeline="old")]
    slow = funnel.time_in_stage(pd.concat(both, ignore_index=True))
    assert slow.message.startswith("Deals stay longest in Offer (new): ")
    assert slow.table is not None
    assert slow.table["stage"].tolist() == ["Offer (new)", "Offer (old)"]


def test_a_gap_of_one_width_is_said_once() -> None:
    row = {**SLOW, "difference_low": -0.2, "difference_high": -0.2}
    assert funnel.stage_conversion(stages(stage("Close", 2, **row))).message.endswith(
        " in the company, a gap of 20 points."
    )


def test_steps_of_the_waterfall_have_labels_and_its_sentence_sums() -> None:
    exhibit = funnel.waterfall(bridge(opening=100, transferred_in=50, transferred_out=-50, closing=100))
    assert exhibit.message == "€100 was open at the start and nothing came in; €100 is left."
    assert exhibit.table is not None
    assert exhibit.table["step"].tolist()[:4] == ["Open at the start", "Created", "Pulled in", "Taken over"]
    team = funnel.waterfall(
        bridge(opening=100, transferred_in=50, transferred_out=-20, down=-10, removed=-30, closing=90)
    )
    assert team.message == (
        "€100 was open at the start and €50 came in; €20 was handed over, €10 was cut from amounts, €30 was "
        "removed, and €90 is left."
    )


def test_the_plain_mean_is_excused_only_where_deals_are_still_there() -> None:
    frame = times(("Close", 40, 30, 60, 95)).assign(left=39, closed_only_mean=20.0)
    there = funnel.time_in_stage(frame.assign(still_open=1)).table
    gone = funnel.time_in_stage(frame.assign(still_open=0)).table
    assert there is not None
    assert gone is not None
    assert there.attrs["notes"] == [
        "The mean over deals that left is shorter than the truth where others are still in the stage."
    ]
    assert gone.attrs["notes"] == []


def test_a_late_end_that_is_the_middle_is_not_told() -> None:
    frame = times(("Close", 2, 35, 35, 35), ("Offer", 1, NAN, NAN, NAN))
    assert funnel.time_in_stage(frame).message == "Deals stay longest in Close: half leave within 35 days."


def test_earlier_quarters_are_said_to_be_as_known_today() -> None:
    rows = [
        {"team": team, "quarter": quarter, "bookings": amount, "bookings_to_day": amount, "target": NAN,
         "is_over": True}
        for team in ("North", "South")
        for quarter, amount in (("2026-Q1", 80.0), ("2026-Q2", 100.0))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.attrs |= {"currency": "EUR", "options": {"by": "team"}}
    exhibit = funnel.bookings(frame)
    assert exhibit.message.endswith("All together: up 25% from 2026-Q1 (€160).")
    assert exhibit.table is not None
    assert exhibit.table.attrs["notes"] == [
        "Earlier quarters are as known today; the headlines compare with what was known at the time."
    ]
    empty = frame.assign(bookings=0.0, bookings_to_day=0.0)
    empty.attrs = dict(frame.attrs)
    assert funnel.bookings(empty).message == "Nothing has been booked in the quarter."
    alone = funnel.bookings(frame[frame["quarter"] == "2026-Q2"])
    assert alone.table is not None
    assert alone.table.attrs["notes"] == []
    frame.attrs["notes"] = ["East is not in the plan."]
    told = funnel.bookings(frame[frame["quarter"] == "2026-Q2"].assign(is_over=False)).table
    assert told is not None
    assert told.attrs["notes"] == [
        "East is not in the plan.",
        "Earlier quarters are shown up to the same day.",
    ]


DRAWN: dict[str, Callable[[], Exhibit]] = {
    "waterfall": lambda: funnel.waterfall(bridge(opening=1000, closing=1000)),
    "stage_conversion": lambda: funnel.stage_conversion(stages(stage("Close", 2))),
    "time_in_stage": lambda: funnel.time_in_stage(times(("Close", 40, 30, 60, 95))),
    "no times": lambda: funnel.time_in_stage(times(("Close", 40, NAN, NAN, NAN))),
    "win_rate_spread": lambda: funnel.win_rate_spread(reps(("Ann", 3, 1), ("Bo", 1, 3))),
}


def test_every_picture_has_words_of_its_own() -> None:
    exhibits = [make() for make in DRAWN.values()]
    told = [exhibit.alternative for exhibit in exhibits]
    assert all(exhibit.figure is not None for exhibit in exhibits)
    assert min(map(len, told)) >= 20
    assert len(set(told)) == len(told)
    assert not set(told) & {exhibit.message for exhibit in exhibits}
