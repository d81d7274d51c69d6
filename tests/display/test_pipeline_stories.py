"""The pipeline review's exhibits on hand-made frames: what is said follows from the figures."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pandas as pd
import pytest

from salesops_kit.display.stories import pipeline
from salesops_kit.display.tables import frame_html

NAN = float("nan")


def framed(rows: list[dict[str, Any]], **attrs: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame.attrs |= {"currency": "EUR", **attrs}
    return frame


def part(name: str, likely: float, high: float, target: float, key: str = "team") -> dict[str, Any]:
    return {
        key: name, "booked": 10.0, "commit": 20.0, "best_case": 30.0, "likely": likely,
        "low": likely / 2, "high": high, "target": target, "gap": likely - target,
    }  # fmt: skip


def test_the_landing_adds_up_and_says_where_even_the_upper_end_falls_short() -> None:
    frame = framed([part("North", 100, 150, 120), part("South", 50, 70, 200)], options={"by": "team"})
    exhibit = pipeline.landing(frame)
    assert exhibit.message == (
        "The parts add up to €150; commit is €40. Likely is 47% of plan (€320). For 1 of 2 teams even the "
        "upper end of the range falls short of the plan."
    )
    assert exhibit.table is not None
    assert exhibit.table["team"].tolist() == ["North", "South"]
    assert exhibit.table["between"].tolist() == ["€50 to €150", "€25 to €70"]


def test_a_landing_without_a_past_is_what_is_booked() -> None:
    frame = framed([part("North", NAN, NAN, NAN)], options={"by": "team"})
    exhibit = pipeline.landing(frame)
    assert exhibit.message == "€10 is booked; no past quarter says what follows."
    assert exhibit.table is not None
    assert exhibit.table["between"].tolist() == [""]


def cover(name: str, have: float, low: float, key: str = "team") -> dict[str, Any]:
    return {
        key: name, "gap": 100.0, "open_deals": 3, "open_due": have * 100, "coverage": have,
        "required_coverage": low + 1, "low": low, "high": low + 2, "reason": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [cover("North", 1.5, 2.0), cover("South", 3.0, 2.0)],
            "North has too little: €150 due covers the gap 1.5 times, and past quarters needed 3.0 "
            "(2.0 to 4.0).",
        ),
        ([cover("North", 2.0, 2.0)], "No coverage is below what past quarters needed, as far as they tell."),
        (
            [cover("North", NAN, NAN)],
            "Nowhere is there a plan, an open gap and a past that says what coverage it takes.",
        ),
        (
            [cover("Ann", 1.0, 2.0, "rep_name"), cover("Bo", 9.0, 2.0, "rep_name")],
            "For 1 of 2 reps less is due than past quarters needed.",
        ),
        (
            [cover("North", 0.0, 2.0)],
            "North has too little: nothing is due, and past quarters needed 3.0 (2.0 to 4.0) times the gap.",
        ),
        ([cover("Ann", 1.0, 2.0, "rep_name")], "For 1 rep less is due than past quarters needed."),
    ],
)
def test_coverage_is_short_only_below_the_lower_limit(rows: list[dict[str, Any]], message: str) -> None:
    assert pipeline.coverage(framed(rows, options={"by": "team"})).message == message


def change(deal: str, what: str, effect: float, **after: Any) -> dict[str, Any]:
    day = dt.date(2026, 3, 31)
    usual = {"name": f"Deal {deal}", "stage_before": "Proposal", "stage_after": "Proposal"}
    usual |= {
        "amount_before": 100.0,
        "amount_after": 100.0,
        "close_date_before": day,
        "close_date_after": day,
    }
    return {"opportunity_id": deal, "change": what, "effect": effect, **usual, **after}


def test_changes_are_one_row_a_deal_and_their_effects_sum() -> None:
    frame = framed(
        [
            change("A", "pulled_in", 100.0, close_date_before=dt.date(2026, 5, 1)),
            change("A", "won", -100.0, stage_after="Closed Won", close_date_before=dt.date(2026, 5, 1)),
            change("B", "lost", -40.0),
            change("C", "created", 25.0, stage_before=None),
        ]
    )
    exhibit = pipeline.changes(frame)
    assert exhibit.message == (
        "Since the week before: 1 won (−€100), 1 lost (−€40), 1 new (+€25), and 1 pulled in (+€100). The "
        "pipeline due in the quarter is €15 smaller."
    )
    assert exhibit.table is not None
    assert exhibit.table["change"].tolist() == ["pulled in and won", "lost", "new"]
    assert exhibit.table["pipeline_effect"].tolist() == [0.0, -40.0, 25.0]
    assert exhibit.table["stage"].tolist()[0] == "Proposal → Closed Won"
    assert exhibit.table["close_date"].tolist()[0] == "May 1, 2026 → Mar 31, 2026"


def test_what_is_told_of_the_changes_sums_to_the_change() -> None:
    from salesops_kit.estimators.waterfall import MOVES

    effects = {name: float(10 ** (place % 4) + place) for place, name in enumerate(MOVES)}
    exhibit = pipeline.changes(framed([change(name, name, effect) for name, effect in effects.items()]))
    parts = [float(text.replace("K", "")) * (1000 if "K" in text else 1)
             for text in re.findall(r"[+]€([0-9.]+K?)", exhibit.message)]  # fmt: skip
    assert len(parts) == len(MOVES)
    assert sum(parts) == pytest.approx(sum(effects.values()), rel=0.01)
    for words in ("reopened", "removed", "handed over", "taken over"):
        assert f"1 {words} (+" in exhibit.message


def test_changes_that_cancel_leave_the_pipeline_as_it_was() -> None:
    frame = framed(
        [
            change("A", "pushed", -25.0),
            change("A", "stage_moved", 0.0, stage_before="Demand"),
            change("B", "created", 25.0),
        ]
    )
    exhibit = pipeline.changes(frame)
    assert exhibit.message == (
        "Since the week before: 1 new (+€25) and 1 pushed out (−€25). The pipeline due in the quarter is as "
        "large as before."
    )
    assert exhibit.table is not None
    assert exhibit.table["change"].tolist() == ["pushed out and in another stage", "new"]


def aged(stage: str, pipeline_name: str, deals: int, old: int, unjudged: int = 0) -> dict[str, Any]:
    bands = {"up_to_p50": deals - old - unjudged, "p50_to_p75": 0, "p75_to_p90": 0, "over_p90": old}
    return {
        "stage": stage, "pipeline": pipeline_name, "deals": deals, "amount": 10.0, **bands, "no_benchmark":
        unjudged, "over_p90_amount": 5.0 * old, "p90": 30.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("deals", "old", "unjudged", "message"),
    [
        (20, 3, 0, "3 of 20 open deals are in their stage longer than nine in ten stayed, €15 in all; one in "
                   "ten, 2.0, would be usual."),
        (3, 1, 0, "1 of 3 open deals is in its stage longer than nine in ten stayed, €5 in all."),
        (3, 0, 0, "None of the 3 open deals that can be judged is in its stage longer than nine in ten "
                  "stayed."),
        (1, 0, 0, "The one open deal that can be judged is no longer in its stage than nine in ten stayed."),
        (2, 0, 2, "No stage has a past that says which open deals are old."),
    ],
)  # fmt: skip
def test_ageing_counts_what_can_be_judged(deals: int, old: int, unjudged: int, message: str) -> None:
    assert pipeline.ageing(framed([aged("Offer", "", deals, old, unjudged)])).message == message


def test_ageing_tells_stages_of_one_name_apart() -> None:
    rows = [aged("Offer", "Direct", 1, 0), aged("Offer", "Renewal", 1, 0), aged("Demand", "Direct", 1, 0)]
    exhibit = pipeline.ageing(framed(rows))
    assert exhibit.table is not None
    assert exhibit.table["stage"].tolist() == ["Offer (Direct)", "Offer (Renewal)", "Demand"]


def test_one_part_and_parts_of_nothing_are_no_sum() -> None:
    one = framed([part("North", 100, 110, 120)], options={"by": "team"})
    assert pipeline.landing(one).message == (
        "North is likely to land at €100; commit is €20. Likely is 83% of plan (€120). For 1 team even the "
        "upper end of the range falls short of the plan."
    )
    empty = {"booked": 0.0, "commit": 0.0, "low": 0.0, "high": 0.0}
    reps = [{**part(name, 0, 0, 9, "rep_name"), **empty} for name in ("Ann", "Bo")]
    exhibit = pipeline.landing(framed(reps))
    assert exhibit.message == (
        "Nothing is booked or in commit, and nothing is likely to come. For all 2 reps even the upper end of "
        "the range falls short of quota."
    )
    assert exhibit.table is not None
    assert exhibit.table["between"].tolist() == ["", ""]
    unknown = framed([{**part("North", NAN, NAN, NAN), "booked": 0.0}], options={"by": "team"})
    assert pipeline.landing(unknown).message == "Nothing is booked yet; no past quarter says what follows."


def test_the_only_deal_is_not_one_of_one() -> None:
    deal = {"opportunity_id": "A", "name": "Alpha", "owner_id": "r", "stage": "Proposal", "amount": 100.0}
    deal |= {"close_date": dt.date(2026, 3, 1), "forecast_category": "Commit", "days_past_due": 3.0}
    deal |= {"days_past_next_step": NAN, "days_without_activity": 20.0, "stage_age_days": 40.0}
    deal |= {"stage_p90_days": 30.0, "amount_30_days_ago": 80.0, "pushes": 1, "probability": 0.4}
    deal |= {"share": 1.0, "reasons": "no_activity", "question": "why_this_time"}
    attrs = {"amount": 100.0, "amount_at_risk": 100.0}
    assert pipeline.commit_risks(framed([deal], deals=1, **attrs)).message == (
        "Something speaks against the one deal in commit and best case: €100."
    )
    assert pipeline.commit_risks(framed([deal, deal], deals=2, **attrs)).message == (
        "Something speaks against all 2 deals in commit and best case: €100."
    )
    unknown = framed([deal], deals=1, amount=0.0, amount_at_risk=0.0)
    assert pipeline.commit_risks(unknown).message.endswith("the one deal in commit and best case: no amount.")
    asked = pipeline.questions(framed([deal]))
    assert asked.message == ("An answer on Alpha (€100) narrows the landing most: 100% of what is uncertain.")
    assert asked.table is not None
    assert asked.table["ask"].tolist() == ["Pushed 1 time: why does it close this time?"]


def test_risks_and_questions_name_the_fact_behind_them() -> None:
    deal = {"opportunity_id": "A", "name": None, "owner_id": "rep-1", "stage": "Proposal", "amount": 100.0}
    deal |= {"close_date": dt.date(2026, 3, 1), "forecast_category": "Commit", "days_past_due": 3.0}
    deal |= {"days_past_next_step": NAN, "days_without_activity": 20.0, "stage_age_days": 40.0}
    deal |= {
        "stage_p90_days": 30.0,
        "amount_30_days_ago": 80.0,
        "pushes": 2,
        "probability": 0.4,
        "share": 0.25,
    }
    risks = framed(
        [{**deal, "reasons": "past_close_date,no_activity"}], deals=4, amount=400.0, amount_at_risk=100.0
    )
    exhibit = pipeline.commit_risks(risks)
    assert (
        exhibit.message == "Something speaks against 1 of the 4 deals in commit and best case: €100 of €400."
    )
    assert exhibit.table is not None
    assert exhibit.table["why"].tolist() == ["its close date was 3 days ago; no activity for 20 days"]
    assert exhibit.table["name"].tolist() == ["A"], "a deal without a name goes by its id"
    asked = pipeline.questions(framed([{**deal, "question": "why_this_time"}], listed_share=0.25))
    assert asked.table is not None
    assert asked.table["ask"].tolist() == ["Pushed 2 times: why does it close this time?"]
    assert asked.message.startswith(
        "An answer on A (€100) narrows the landing most: 25% of what is uncertain"
    )
    html = frame_html(asked.table, caption="c", units=asked.units, currency="EUR")
    assert '<td class="day">Mar 1, 2026</td>' in html
    assert '<td class="words">Pushed 2 times' in html


def test_every_question_and_every_reason_has_its_words() -> None:
    from salesops_kit.analysis.pipeline import _commit_risks, _questions

    row: dict[str, Any] = {"days_past_due": 1, "days_past_next_step": 1, "days_without_activity": 1}
    row |= {"stage_age_days": 1, "stage_p90_days": 1, "pushes": 1, "amount_30_days_ago": 1.0}
    named = set(
        re.findall(r"``((?:has_it|why|what_is|is_the|is_it)_\w+)``", _questions.questions.__doc__ or "")
    )
    assert len(named) == 9
    for code in named:
        assert pipeline._question({**row, "question": code}, str) != code, code
    reasons = _commit_risks.commit_risks.__doc__ or ""
    for code in ("past_close_date", "no_next_step", "next_step_overdue", "no_activity", "over_stage_p90"):
        assert f"``{code}``" in reasons
        assert pipeline._risk_text({**row, "reasons": code}) != code


@pytest.mark.parametrize(
    ("evident", "said"),
    [
        (False, "No part of the change is more than chance."),
        (True, "More than chance: Win rate −€30 (−€50 to −€10)."),
    ],
)
def test_the_bridge_claims_a_part_only_with_evidence(evident: bool, said: str) -> None:
    steps = ["bookings_before", "volume", "timing", "win_rate", "deal_size", "bookings_after"]
    amounts = [100.0, 5.0, 0.0, -30.0, 5.0, 80.0]
    usual = {"low": -50.0, "high": -10.0, "is_evidence": False}
    frame = framed([{"step": s, "amount": a, **usual} for s, a in zip(steps, amounts, strict=True)])
    frame.loc[3, "is_evidence"] = evident
    exhibit = pipeline.bridge(frame)
    assert exhibit.message == f"Bookings are €20 down. {said}"
    assert exhibit.figure is not None
    labels = [text.get_text() for text in exhibit.figure.axes[0].get_yticklabels()]
    assert labels == ["Before", "Deals in play", "Win rate", "Deal size", "Now"]
    assert exhibit.table is not None
    assert exhibit.table["step"].tolist()[3:] == ["Win rate", "Deal size", "Now"]
    widths = [bar.get_width() for bar in exhibit.figure.axes[0].patches]
    assert widths == pytest.approx([100, 5, -30, 5, 80])


def test_a_bridge_without_a_change_claims_none() -> None:
    steps = ["bookings_before", "volume", "timing", "win_rate", "deal_size", "bookings_after"]
    usual = {"low": 0.0, "high": 0.0, "is_evidence": False}
    nothing = framed([{"step": step, "amount": 0.0, **usual} for step in steps])
    assert pipeline.bridge(nothing).message == "Nothing is booked, as before."
    same = framed(
        [{"step": s, "amount": a, **usual} for s, a in zip(steps, [9.0, 4.0, 0, -4.0, 0, 9.0], strict=True)]
    )
    assert pipeline.bridge(same).message == (
        "Bookings are what they were, €9. No part of the change is more than chance."
    )


def test_slippage_of_nothing_due_and_of_one_quarter_before() -> None:
    usual = {"due_deals": 1, "won_amount": 0.0, "lost_amount": 0.0, "moved_out_amount": 0.0}

    def told(*quarters: tuple[float, float]) -> str:
        rows = [{"quarter": str(n), "due_amount": due, "slippage": share, **usual}
                for n, (due, share) in enumerate(quarters)]  # fmt: skip
        return pipeline.slippage(framed(rows)).message

    assert told((200, 0.1), (0, NAN)) == (
        "Nothing was due when the quarter opened; of what was due in the quarter before, 10% moved out."
    )
    assert told((200, 0.0), (200, 0.0), (200, 0.0)) == (
        "Nothing of the €200 that was due when the quarter opened has moved out of it; of what was due in "
        "the 2 quarters before, nothing moved out."
    )
    assert told((0, NAN)) == "Nothing was due when the quarter opened."


def test_slippage_stands_beside_the_quarters_before() -> None:
    usual = {"due_deals": 4, "won_amount": 1.0, "lost_amount": 1.0, "moved_out_amount": 1.0}
    rows = [
        {"quarter": f"2026-Q{place + 1}", "due_amount": 200.0, "slippage": share, **usual}
        for place, share in enumerate([0.5, 0.1, 0.25])
    ]
    exhibit = pipeline.slippage(framed(rows))
    assert exhibit.message == (
        "25% of the €200 that was due when the quarter opened has moved out of it; of what was due in the 2 "
        "quarters before, 10% to 50% moved out."
    )
    assert exhibit.table is not None
    assert exhibit.table["quarter"].tolist() == ["2026-Q3", "2026-Q2", "2026-Q1"]
