"""Win rate: what counts, by hand; dimensions; what cannot be told; the Maven data's known answer."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import company_reference, cycle, headlines, win_rate
from salesops_kit.analysis.funnel._headlines import prior_as_of
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

MAVEN = Path(__file__).parents[3] / "shared" / "data" / "maven_crm"
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = dt.date(2026, 3, 31)
START = dt.date(2025, 12, 1)
DEALS = {
    "opportunity_id": "string",
    "account_id": "string",
    "name": "string",
    "segment": "string",
    "created_date": "date",
    "loss_reason": "string",
}


def closed(
    name: str, stage: str, day: dt.date, *, via: str = "Proposal", created: dt.date = START, **more: Any
) -> list[dict[str, Any]]:
    first = Change(created, close_date=dt.date(2026, 6, 1), **more)
    middle = [first.then(created + dt.timedelta(days=5), stage=via)] if via != "Discovery" else []
    return deal(name, [first, *middle, first.then(day, stage=stage, close_date=day)])


def history() -> list[list[dict[str, Any]]]:
    day = dt.date(2026, 2, 10)
    return [
        closed("W1", "Closed Won", day, amount=300),
        closed("W2", "Closed Won", Q1.start, amount=100, team="South", owner_id="rep-2"),
        closed("L1", "Closed Lost", AS_OF, amount=50, owner_id=None),
        closed("L2", "Closed Lost", day, via="Discovery"),
        closed("D1", "Closed Lost", day),
        closed("early", "Closed Won", dt.date(2025, 12, 31)),
        closed("late", "Closed Won", dt.date(2026, 4, 1)),
        deal("O1", [Change(START, close_date=AS_OF), Change(day, stage="Proposal", close_date=AS_OF)]),
        deal("O2", [Change(START, close_date=dt.date(2026, 5, 1), stage="Proposal")]),
        deal("gone", [Change(day), Change(day, stage="Closed Won", close_date=day, is_deleted=True)]),
    ]


def deals_table(reasons: dict[str, str] | None = None) -> ibis.Table:
    reasons = {"D1": " DUPLICATE", "L1": "price", "W1": "duplicate"} if reasons is None else reasons
    segments = {"W1": "SMB", "L1": "SMB", "W2": "Enterprise"}
    rows = [
        (states[0]["opportunity_id"], f"A{place}", "", segments.get(states[0]["opportunity_id"]), START, None)
        for place, states in enumerate(history())
    ]
    return table_of(DEALS, [(*row[:5], reasons.get(row[0])) for row in rows])


def run(by: str = "", opportunities: ibis.Table | None = None, **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {
        "as_of": AS_OF,
        "period": Q1,
        "settings": Settings(first_qualified_stage="Proposal"),
        **more,
    }
    tables = {name: options.pop(name) for name in ("accounts", "reps", "teams") if name in options}
    states = options.pop("states", None)
    if states is None:
        states = states_table(history())
    return win_rate(states, stages_table(), opportunities, **tables, by=by, **options)


def counts(frame: pd.DataFrame) -> list[list[Any]]:
    return frame[
        [*frame.columns[: list(frame.columns).index("won")], "won", "lost", "excluded", "open"]
    ].values.tolist()


def test_what_counts() -> None:
    frame = run(opportunities=deals_table())
    # L2 never reached the qualified stage; D1 is a duplicate; a won deal is never excluded.
    assert counts(frame) == [[2, 1, 1, 1]]
    row = frame.iloc[0]
    assert (row["n"], row["rate"]) == (3, pytest.approx(2 / 3))
    assert (row["won_amount"], row["lost_amount"], row["mean_won_amount"]) == (400, 50, 200)
    assert frame.attrs["notes"] == ["1 deal closed as duplicate or entered in error is in no rate."]


def test_without_a_qualified_stage_or_loss_reasons_all_closed_deals_count() -> None:
    frame = run(settings=Settings())
    assert counts(frame) == [[2, 3, 0, 1]]
    assert "Loss reasons are not known" in frame.attrs["notes"][0]


def test_the_past_is_seen_as_it_was() -> None:
    assert counts(run(as_of=dt.date(2026, 2, 9), opportunities=deals_table())) == [[1, 0, 0, 0]]
    assert counts(run(as_of=dt.date(2026, 2, 10), opportunities=deals_table())) == [[2, 0, 1, 1]]


def test_all_history_without_a_period() -> None:
    frame = run(period=None, as_of=dt.date(2026, 4, 1), opportunities=deals_table())
    assert counts(frame) == [[4, 1, 1, 2]]


def test_by_dimensions_of_every_table() -> None:
    deals = deals_table()
    assert counts(run("team", deals)) == [["North", 1, 1, 1, 1], ["South", 1, 0, 0, 0]]
    assert counts(run("rep", deals)) == [["(none)", 0, 1, 0, 0], ["rep-1", 1, 0, 1, 1], ["rep-2", 1, 0, 0, 0]]
    assert counts(run("segment", deals)) == [
        ["(none)", 0, 0, 1, 1],
        ["Enterprise", 1, 0, 0, 0],
        ["SMB", 1, 1, 0, 0],
    ]
    assert counts(run("close_month, team", deals))[0] == ["2026-M01", "South", 1, 0, 0, 0]
    assert counts(run("created_quarter", deals)) == [["2025-Q4", 2, 1, 1, 1]]
    accounts = table_of({"account_id": "string", "region": "string"}, [("A0", "East"), ("A1", "West")])
    assert counts(run("account.region", deals, accounts=accounts))[1] == ["East", 1, 0, 0, 0]
    reps = table_of({"owner_id": "string", "segment": "string"}, [("rep-1", "core")])
    assert counts(run("rep.segment", deals, reps=reps)) == [["(none)", 1, 1, 0, 0], ["core", 1, 0, 1, 1]]
    assert run("segment", deals, reps=reps)["segment"].tolist() == ["(none)", "Enterprise", "SMB"]
    teams = table_of({"team": "string", "parent_team": "string"}, [("North", "EMEA"), ("South", None)])
    assert counts(run("parent_team", deals, teams=teams)) == [["(none)", 1, 0, 0, 0], ["EMEA", 1, 1, 1, 1]]


def test_wrong_dimensions_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        run("segmnt, team, team, ,rep.name", deals_table())
    texts = [str(problem) for problem in caught.value.problems]
    assert len(texts) == 4
    assert "unknown dimension 'segmnt'. Did you mean segment" in texts[0]
    assert "'team' is named twice" in texts[1]


def test_a_key_that_occurs_twice_is_refused() -> None:
    accounts = table_of({"account_id": "string", "region": "string"}, [("A0", "East"), ("A0", "West")])
    with pytest.raises(InputError) as caught:
        run("region", deals_table(), accounts=accounts)
    problem = caught.value.problems[0]
    assert (problem.file, problem.column, problem.count) == ("accounts", "account_id", 1)


def test_unknown_qualified_stage_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown stage 'Propsal'. Did you mean Proposal"):
        run(settings=Settings(first_qualified_stage="Propsal"))


def test_value_and_cohort() -> None:
    value = run(variant="value", opportunities=deals_table())
    assert value["rate"].tolist() == [pytest.approx(400 / 450)]
    assert value["low"].iloc[0] < 400 / 450 < value["high"].iloc[0]
    # Three deals of unlike size say less than three: the interval is wider than that of 3 equal deals.
    cohort = run(variant="cohort", period=None, opportunities=deals_table())
    assert counts(cohort) == [[3, 1, 1, 3]]
    assert cohort["n"].tolist() == [7]
    assert cohort["rate"].tolist() == [pytest.approx(3 / 7)]
    assert "3 deals of the cohort are still open" in cohort.attrs["notes"][1]
    assert run(variant="cohort", opportunities=deals_table())["n"].tolist() == [0]
    with pytest.raises(NotAvailableError, match="date on which each deal was created"):
        run(variant="cohort")


def test_nothing_closed_is_missing_never_zero() -> None:
    frame = run(states=states_table([]))
    assert counts(frame) == [[0, 0, 0, 0]]
    assert frame[["rate", "low", "high", "shrunk_rate", "mean_won_amount"]].isna().all(axis=None)
    assert run("team", states=states_table([])).empty


def test_unknown_amounts_are_noted_and_add_nothing() -> None:
    rows = [closed("W1", "Closed Won", AS_OF, amount=None), closed("W2", "Closed Won", AS_OF, amount=10)]
    frame = run(states=states_table(rows), opportunities=deals_table({}))
    assert frame["won_amount"].tolist() == [10]
    assert frame.attrs["notes"] == ["1 closed deal has no amount and adds nothing to the money."]


def test_shrinks_towards_the_reference_but_not_the_company_towards_itself() -> None:
    reference = {"win_rate": {"won": 300, "lost": 700, "rate": 0.30, "prior_strength": 20.0}}
    rows = [closed(f"W{i}", "Closed Won" if i < 6 else "Closed Lost", AS_OF) for i in range(8)]
    frame = run(states=states_table(rows), reference=reference)
    assert frame["shrunk_rate"].round(4).tolist() == [0.4286]
    own = {"win_rate": {"won": 6, "lost": 2, "rate": 0.75, "prior_strength": 20.0}}
    assert run(states=states_table(rows), reference=own)["shrunk_rate"].isna().all()


def test_no_evidence_is_said_with_what_would_tell() -> None:
    rows = [
        closed(f"{team}{i}", "Closed Won" if i < won else "Closed Lost", AS_OF, team=team)
        for team, won in (("North", 6), ("South", 3))
        for i in range(10)
    ]
    frame = run("team", states=states_table(rows), opportunities=deals_table({}))
    test = frame.attrs["test"]
    assert (test["method"], round(test["p_value"], 3), test["evidence"]) == ("fisher", 0.370, False)
    assert "No evidence of a difference in win rate by team (p = 0.37)" in frame.attrs["notes"][-1]
    assert f"about {test['deals_needed']:.0f} closed deals in each" in frame.attrs["notes"][-1]


def test_a_deal_counts_for_the_team_that_has_it() -> None:
    first = Change(START, stage="Proposal")
    rows = deal(
        "T", [first, first.then(Q1.start, team="South"), first.then(AS_OF, team="South", stage="Closed Won")]
    )
    assert counts(run("team", states=states_table([rows]))) == [["South", 1, 0, 0, 0]]
    north = states_table([[row for row in rows if row["team"] == "North"]])
    assert counts(run(states=north)) == [[0, 0, 0, 0]]


def test_groups_sum_to_the_whole() -> None:
    whole, parts = run(opportunities=deals_table()), run("rep,segment,close_month", deals_table())
    for column in ("won", "lost", "excluded", "open", "won_amount", "lost_amount"):
        assert parts[column].sum() == whole[column].iloc[0]


def test_headlines_and_the_quarter_before() -> None:
    frame = headlines(
        states_table(history()),
        stages_table(),
        deals_table(),
        as_of=AS_OF,
        period=Q1,
        settings=Settings(first_qualified_stage="Proposal"),
    ).set_index("id")
    assert frame["value"].to_dict() == pytest.approx(
        {
            "bookings_won": 400,
            "deals_won": 2,
            "win_rate": 2 / 3,
            "won_cycle_median": ((dt.date(2026, 2, 10) - START).days + (Q1.start - START).days) / 2,
            "open_pipeline": 300,
        }
    )
    assert frame["n"].to_dict() == {
        "bookings_won": 2,
        "deals_won": 2,
        "win_rate": 3,
        "won_cycle_median": 2,
        "open_pipeline": 3,
    }
    assert frame.loc["bookings_won", "prior"] == 100
    assert frame.loc["deals_won", "prior"] == 1
    assert frame["kind"].tolist() == ["additive", "additive", "rate", "other", "additive"]
    assert frame.loc["win_rate", ["low", "high"]].notna().all()
    assert frame.loc["bookings_won", "reason"] == ""
    assert frame.attrs["prior_label"] == "2025-Q4"


def test_headlines_beside_the_plan_and_a_year_ago() -> None:
    last_year = dt.date(2025, 2, 10)
    long_ago = closed("then", "Closed Won", last_year, amount=70, created=dt.date(2025, 1, 5))
    plan = table_of(
        {"team": "string", "period_start_date": "date", "measure": "string", "amount": "float64"},
        [("West", Q1.start, "bookings", 900.0), ("North", Q1.start, "bookings", 100.0)],
    )
    for as_of, label in ((AS_OF, "2025-Q1"), (dt.date(2026, 2, 10), "the same point of 2025-Q1")):
        frame = headlines(
            states_table([*history(), long_ago]), stages_table(), deals_table(), plan,
            as_of=as_of, period=Q1, settings=Settings(),
        ).set_index("id")  # fmt: skip
        assert frame["target"].dropna().to_dict() == {"bookings_won": 1000}
        assert frame.loc["bookings_won", "year_ago"] == 70
        assert frame.loc["deals_won", "year_ago"] == 1
        assert frame.attrs["year_ago_label"] == label
    # On the eve of the first deal nothing was known: that is no zero.
    unknown = headlines(
        states_table(history()), stages_table(), deals_table(), as_of=AS_OF, period=Q1, settings=Settings()
    )
    assert unknown["year_ago"].isna().all()
    assert unknown["prior"].notna().any()


def test_headlines_of_nothing() -> None:
    frame = headlines(
        states_table([]), stages_table(), as_of=AS_OF, period=None, settings=Settings()
    ).set_index("id")
    assert frame["value"].dropna().to_dict() == {"bookings_won": 0, "deals_won": 0, "open_pipeline": 0}
    assert frame.loc["win_rate", "reason"] == "No deal to measure it by."
    assert frame["prior"].isna().all()


def test_prior_is_seen_from_the_same_distance() -> None:
    q4 = Period(dt.date(2025, 10, 1), dt.date(2026, 1, 1), "2025-Q4")
    q1 = Q1
    assert prior_as_of(q1.start, q1, q4) == q4.start
    assert prior_as_of(q1.last_day, q1, q4) == q4.last_day
    # A shorter quarter before: the day does not run past its end.
    assert prior_as_of(dt.date(2025, 12, 30), q4, Q1) == AS_OF


def maven() -> dict[str, ibis.Table]:
    """Deals with an engage and a close date only, as one state per deal plus the closed one."""
    frame = pd.read_csv(MAVEN / "sales_pipeline.csv", parse_dates=["engage_date", "close_date"])
    frame = frame[frame["deal_stage"].isin(["Won", "Lost"])]
    rows, deals = [], []
    for item in frame.itertuples():
        opened, ended = item.engage_date.date(), item.close_date.date()
        first = Change(opened, amount=float(item.close_value), close_date=ended, owner_id=item.sales_agent)
        rows.append(deal(item.opportunity_id, [first, first.then(ended, stage=f"Closed {item.deal_stage}")]))
        deals.append((item.opportunity_id, None, None, item.product, opened, None))
    return {"states": states_table(rows), "opportunities": table_of(DEALS, deals)}


@pytest.mark.skipif(not MAVEN.is_dir(), reason="../shared/data is absent")
def test_maven_known_answers() -> None:
    tables = maven()
    options: dict[str, Any] = {"as_of": dt.date(2017, 12, 31), "period": None, "settings": Settings()}
    whole = run(**tables, **options).iloc[0]
    assert (whole["won"], whole["lost"], whole["won_amount"]) == (4238, 2473, 10_005_534)
    assert round(whole["rate"], 4) == 0.6315
    agents = run("rep", **tables, **options)
    assert (len(agents), round(agents.attrs["test"]["p_value"], 2)) == (30, 0.26)
    assert not agents.attrs["test"]["evidence"]
    assert any("No evidence of a difference in win rate by rep" in note for note in agents.attrs["notes"])
    length = cycle(tables["states"], tables["opportunities"], **options).set_index("outcome")
    assert length.loc["won", ["closed", "closed_only_median"]].tolist() == [4238, 57]
    assert length["incidence"].sum() == pytest.approx(1)
    assert length.loc["won", "p50"] == 57


def test_reference_is_plain_numbers_without_ids_and_says_how_many_teams() -> None:
    reference = company_reference(
        states_table(history()),
        stages_table(),
        deals_table(),
        as_of=AS_OF,
        period=Q1,
        settings=Settings(first_qualified_stage="Proposal"),
    )
    assert reference["teams"] == 2
    assert (reference["win_rate"]["won"], reference["win_rate"]["lost"]) == (2, 1)
    assert reference["mean_won_amount"] == 200

    def leaves(value: Any) -> list[Any]:
        return (
            [leaf for part in value.values() for leaf in leaves(part)] if isinstance(value, dict) else [value]
        )

    assert all(leaf is None or type(leaf) in (int, float) for leaf in leaves(reference))
    assert not any(isinstance(leaf, float) and np.isnan(leaf) for leaf in leaves(reference))
    assert "North" not in repr(reference)
