"""The pipeline tables on the sample: the planted drop is found, quiet quarters stay quiet, sums agree."""

from __future__ import annotations

import pytest

from salesops_kit.compute import Calculator, resolve_quarter
from tests.test_planted import PLANTED, calculator, leaf_teams, sample

QUARTER = "2027-Q3"
DROP = PLANTED["truths"]["drop_from"]


def seen_on(day: str, team: str = "company", quarter: str = QUARTER) -> Calculator:
    found = calculator(team, quarter)
    return Calculator(found.rows, type(found.as_of).fromisoformat(day), resolve_quarter(sample(), quarter))


def test_the_planted_drop_is_the_bridges_win_rate() -> None:
    assert resolve_quarter(sample(), "2027-Q2").start.isoformat() == DROP  # type: ignore[union-attr]
    for quarter, against in (("2027-Q2", "previous"), (QUARTER, "year_ago")):
        bridge = calculator("company", quarter).table("pipeline.bridge", against=against).set_index("step")
        assert bridge.loc["win_rate", "is_evidence"], quarter
        assert bridge.loc["win_rate", "high"] < 0
        assert not bridge.loc[["timing", "deal_size"], "is_evidence"].any()


@pytest.mark.parametrize("quarter", ["2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4", "2027-Q1", QUARTER])
def test_where_no_conversion_changed_no_win_rate_is_claimed(quarter: str) -> None:
    bridge = calculator("company", quarter).table("pipeline.bridge").set_index("step")
    assert not bridge.loc[["timing", "win_rate"], "is_evidence"].any()


def test_bridges_of_teams_sum_where_they_should() -> None:
    company = calculator("company").table("pipeline.bridge").set_index("step")
    grouped = calculator("company").table("pipeline.bridge", by="team").set_index(["team", "step"])
    for team in leaf_teams():
        own = calculator(team).table("pipeline.bridge").set_index("step")
        assert own["amount"].tolist() == grouped.loc[team]["amount"].tolist(), team
    for step in ("bookings_before", "bookings_after"):
        assert grouped.xs(step, level="step")["amount"].sum() == pytest.approx(company.loc[step, "amount"])
    volume = grouped.xs("volume", level="step")["factor_after"].sum()
    assert volume == company.loc["volume", "factor_after"]


@pytest.mark.parametrize(
    ("day", "team"),
    [
        *(
            (PLANTED["truths"]["late_transfer"], team)
            for team in ("company", "US East", "US West", "EMEA South")
        ),
        ("2026-08-10", "company"),
        ("2026-10-31", "company"),
    ],
)
def test_changes_sum_to_the_waterfall(day: str, team: str) -> None:
    found = seen_on(day, team)
    changes = found.table("pipeline.changes")
    lines = found.table("pipeline.waterfall", since=changes.attrs["since"]).set_index("step")["amount"]
    effects = changes.groupby("change")["effect"].sum()
    for step in lines.index.drop(["opening", "closing"]):
        assert effects.get(step, 0.0) == pytest.approx(lines[step], abs=0.005), step


def test_landing_headlines_and_parts_agree() -> None:
    found = seen_on("2026-09-20")
    headlines = found.table("pipeline.headlines").set_index("id")
    whole = found.table("pipeline.landing").iloc[0]
    for by in ("team", "owner_id"):
        parts = found.table("pipeline.landing", by=by)
        for name in ("booked", "commit", "best_case", "open_due", "likely"):
            assert parts[name].sum() == pytest.approx(whole[name], abs=0.01), (by, name)
    assert headlines.loc["landing", "value"] == whole["likely"]
    teams = [seen_on("2026-09-20", team).table("pipeline.headlines").set_index("id") for team in leaf_teams()]
    for name in headlines.index[headlines["kind"] == "additive"]:
        total = sum(team.loc[name, "value"] for team in teams)
        assert total == pytest.approx(headlines.loc[name, "value"], abs=0.01), name


@pytest.mark.campaign
def test_most_quarters_landed_within_the_range() -> None:
    """Eight in ten should; of 18 ranges (six quarters, three days of each) at least eleven do."""
    hits = []
    for label in ("2026-Q2", "2026-Q3", "2026-Q4", "2027-Q1", "2027-Q2", QUARTER):
        quarter = resolve_quarter(sample(), label)
        assert quarter is not None
        ended = calculator("company", label).table("pipeline.landing")["booked"].item()
        for week in (4, 8, 11):
            day = quarter.start + (quarter.end - quarter.start) * week / 13
            row = seen_on(day.isoformat(), "company", label).table("pipeline.landing").iloc[0]
            hits.append(row["low"] <= ended <= row["high"])
    assert sum(hits) >= 11


def test_a_teams_questions_are_answered_by_its_own_rows_and_the_companys_rates() -> None:
    found = seen_on("2026-10-01", "EMEA South")
    company = seen_on("2026-10-01")
    found.reference = company.references("pipeline")
    questions = found.table("pipeline.questions", top=5)
    assert set(questions["team"]) == {"EMEA South"}
    assert questions["probability"].between(0, 1).all()
    assert 0 < questions.attrs["listed_share"] < 1
