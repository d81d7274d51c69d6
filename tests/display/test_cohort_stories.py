"""Stories of cohorts and artefacts: facts as facts, a claim only where an interval leaves out zero."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from salesops_kit.display.stories import cohorts as story


def cohort_rows(name: str, deals: int, *shares: float, mature: int, away: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "cohort": name, "deals": deals, "deals_seen": deals + away, "age_months": month,
            "won_share": share,
            "won_low": share - 0.05, "won_high": share + 0.05, "is_mature": month <= mature,
        }
        for month, share in enumerate(shares, start=1)
    ]  # fmt: skip


def cohort_frame(*cohorts: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame([row for rows in cohorts for row in rows])
    frame.attrs = {"notes": ["a note"]}
    return frame


OLD = cohort_rows("2026-Q1", 400, 0.1, 0.2, 0.4, 0.5, mature=4)
YOUNG = cohort_rows("2026-Q3", 90, 0.05, 0.9, mature=1)


def test_the_newest_mature_cohort_is_told_beside_the_one_before() -> None:
    less = cohort_rows("2026-Q2", 400, 0.1, 0.15, 0.25, 0.3, mature=3)
    exhibit = story.deal_cohorts(cohort_frame(OLD, less, YOUNG))
    assert exhibit.message == (
        "Of the 400 deals created in 2026-Q2, 25% (20% to 30%) were won within 3 months; 2026-Q1 had more,"
        " 40%."
    )
    same = cohort_rows("2026-Q2", 400, 0.1, 0.15, 0.38, mature=3)
    assert (
        "2026-Q1 shows no evidence of a difference (40%)."
        in story.deal_cohorts(cohort_frame(OLD, same)).message
    )
    assert story.deal_cohorts(cohort_frame(OLD)).message.endswith("won within 4 months.")
    assert (
        "old enough yet"
        in story.deal_cohorts(cohort_frame(cohort_rows("x", 9, 0.1, 0.2, 0.3, mature=2))).message
    )


def test_the_number_told_is_the_one_that_the_share_rests_on() -> None:
    exhibit = story.deal_cohorts(cohort_frame(cohort_rows("2026-Q3", 3, 0.04, 0.07, 0.09, mature=3, away=22)))
    assert exhibit.message == (
        "Of the 25 deals created in 2026-Q3, 9% (4% to 14%) were won within 3 months (22 of them count until"
        " another team took them over)."
    )
    assert exhibit.table is not None
    assert exhibit.table["cohort"].tolist() == ["2026-Q3, 25 deals"]


def test_the_heat_shows_each_age_and_how_far_it_is_mature() -> None:
    exhibit = story.deal_cohorts(cohort_frame(OLD, YOUNG))
    assert exhibit.table is not None
    assert exhibit.shaded_by == "cohort"
    assert exhibit.columns == ("1 mo", "2 mo", "3 mo", "4 mo")
    assert exhibit.table["cohort"].tolist()[0].startswith("2026-Q1, ")
    assert exhibit.table["mature_months"].tolist() == [4, 1]
    assert exhibit.table["3 mo"].isna().tolist() == [False, True]
    assert exhibit.table.attrs["notes"][0] == "a note"
    grouped = cohort_frame(OLD, YOUNG)
    grouped.insert(0, "team", "<b>")
    shown = story.deal_cohorts(grouped)
    assert shown.table is not None
    assert shown.table["cohort"].tolist()[0].startswith("<b>, 2026-Q1")
    assert "by group" in shown.message


def lead_frame(**test: Any) -> pd.DataFrame:
    rows = [
        ("Web", "2026-Q1", 100, 60, 91, 60, 0.6, True),
        ("Event", "2026-Q1", 50, 10, 91, 10, 0.2, True),
        ("Event", "2026-Q2", 50, 40, 91, 40, 0.8, False),
    ]
    names = [
        "source",
        "cohort",
        "leads",
        "converted",
        "age_days",
        "converted_by_age",
        "conversion_rate",
        "is_mature",
    ]
    frame = pd.DataFrame(rows, columns=names)
    frame.attrs = {
        "notes": ["none seen"],
        "test": {"age_days": 91, "p_value": 0.4, "evidence": False, **test},
    }
    return frame


def test_sources_differ_only_with_evidence_and_by_mature_cohorts() -> None:
    exhibit = story.lead_conversion(lead_frame(p_value=0.0001, evidence=True))
    assert exhibit.message == (
        "Leads convert differently by source: within 91 days from 60% (Web) to 20% (Event), p < 0.001."
    )
    exhibit = story.lead_conversion(lead_frame(note="none seen"))
    assert exhibit.message == "Conversions of leads by source show no evidence of a difference (p = 0.40)."
    assert exhibit.said == ("none seen",)
    plain = lead_frame()
    plain.attrs = {}
    assert "by the age of the leads" in story.lead_conversion(plain).message


def touched(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["channel", "pipeline_first", "pipeline_last", "pipeline_linear"])
    for model in ("first", "last", "linear"):
        frame[f"won_{model}"] = 0.0
        frame[f"leads_{model}"] = float("nan")
    return frame


def test_attribution_says_where_models_agree_and_how_much_is_known() -> None:
    none = ("(unattributed)", 600.0, 600.0, 600.0)
    agree = story.attribution(touched(("Web", 300, 200, 250), ("Event", 100, 200 - 1, 150), none))
    assert agree.message == (
        "Touches are known for 40% of $1K new pipeline. Web brought most of it by every model: $300 first,"
        " $200 last, $250 linear."
    )
    assert not any(name.startswith("leads") for name in agree.columns)
    differ = story.attribution(touched(("Web", 300, 100, 190), ("Event", 100, 300, 210), none))
    assert (
        "Models disagree: most came first by Web ($300), last by Event ($300), and by Event ($210)"
        in differ.message
    )
    assert "No touch is known" in story.attribution(touched(none)).message
    assert "No touch is known" in story.attribution(touched()).message


def moves(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["from_stage", "to_stage", "kind", "moves"])
    return frame.assign(n=10, share=0.1, low=0.05, high=0.2)


def test_skips_and_steps_back_are_counted_over_all_moves() -> None:
    frame = moves(("A", "B", "next", 70), ("A", "C", "skipped", 20), ("C", "B", "regressed", 6),
                  ("B", "A", "regressed", 4), ("A", "(still there)", "open", 500))  # fmt: skip
    assert story.transitions(frame).message == (
        "20% of 100 moves skip a stage and 10% go back; most of these from C to B (10% of what leaves it,"
        " 5% to 20%)."
    )
    assert story.transitions(frame.iloc[:2]).message == "22% of 90 moves skip a stage and 0% go back."
    assert story.transitions(frame.iloc[4:]).message == "No deal moved between stages."


def months(*, evidence: bool, p_value: float) -> pd.DataFrame:
    frame = pd.DataFrame({"month_of_quarter": [1, 2, 3], "won": [5, 5, 8], "lost": [5, 5, 2],
                          "n": [10, 10, 10],
                          "rate": [0.5, 0.5, 0.8], "low": [0.2, 0.2, 0.5], "high": [0.8, 0.8, 0.95],
                          "difference_low": [None, -0.4, 0.1], "difference_high": [None, 0.4, 0.5],
                          "p_value": [None, 1.0, p_value]})  # fmt: skip
    frame.attrs = {"evidence": evidence, "notes": ["reasons", "said"]}
    return frame


def test_a_rhythm_is_claimed_with_evidence_only() -> None:
    exhibit = story.quarter_rhythm(months(evidence=True, p_value=0.001))
    assert (
        "won at 50% in the first month of a quarter and at 80% in the third, 10 to 50 points"
        in exhibit.message
    )
    assert exhibit.figure is not None
    assert exhibit.said == ("said",)
    quiet = story.quarter_rhythm(months(evidence=False, p_value=0.31))
    who = "The first and the last month of a quarter"
    assert quiet.message == f"{who} show no evidence of a difference (p = 0.31)."
    assert quiet.figure is None


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_late_record_is_said_with_its_numbers(is_cut: bool) -> None:
    frame = pd.DataFrame({"month": ["m1", "m2"], "created": [9, 9], "closed": [1, 30],
                          "expected_closed": [40.4, 30.0], "is_truncated": [is_cut, False]})  # fmt: skip
    frame.attrs = {"first_whole_date": "2026-02-01", "notes": ["missing"]} if is_cut else {"notes": []}
    exhibit = story.record_start(frame)
    if is_cut:
        assert (
            "until Feb 1, 2026 1 deal is recorded as closed where 40 were to be expected" in exhibit.message
        )
        assert exhibit.said == ("missing",)
    else:
        assert "no sign of deals missing" in exhibit.message
