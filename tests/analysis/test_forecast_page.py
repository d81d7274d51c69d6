"""The tables behind the forecast report: they agree with each other, with the outlook and with the rows."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.forecast import company_reference
from salesops_kit.data.sealing import sealed_forecasts
from salesops_kit.errors import InputError
from salesops_kit.estimators.intervals import wilson
from salesops_kit.settings import Settings
from tests.analysis.forecast_world import LAST, WON, world, world_states
from tests.needing import run_table
from tests.states import Change, deal, stages_table, states_table, table_of

AS_OF = dt.date(2026, 8, 14)
WEEK = dt.timedelta(days=7)
CALLS = {
    "owner_id": "string", "level": "string", "submitted_at": "timestamp('UTC')", "period": "string",
    "category": "string", "deal_type": "string", "amount": "decimal(18, 4)",
}  # fmt: skip
SEALS = {"seal": "string", "period": "string", "sealed_on": "date", "team": "string", "caller": "string",
         "call": "float64", "low": "float64", "high": "float64", "is_backdated": "boolean"}  # fmt: skip


@lru_cache
def reference() -> dict[str, Any]:
    """The company's figures as a kernel gets them: through JSON."""
    figures = company_reference(
        world_states(), None, stages_table(), None, None, as_of=AS_OF, period=None, settings=Settings()
    )
    return dict(json.loads(json.dumps(figures)))


@lru_cache
def team_states(team: str) -> ir.Table:
    return states_table([[row for row in rows if row["team"] == team] for rows in world()])


def shown(
    name: str,
    states: ir.Table | None = None,
    tables: dict[str, ir.Table] | None = None,
    as_of: dt.date = AS_OF,
    pooled: bool = True,
    **options: Any,
) -> pd.DataFrame:
    given = {"opportunity_states": world_states() if states is None else states, "stages": stages_table()}
    context = {"as_of": as_of, "period": None, "settings": Settings()}
    if pooled:
        context["reference"] = reference()
    return run_table(f"forecast.{name}", given | (tables or {}), context, **options)


def cents(values: pd.Series) -> Decimal:
    return sum((Decimal(f"{value:.2f}") for value in values), Decimal(0))


def test_the_companys_figures_say_what_its_own_backtest_says() -> None:
    told, own = shown("backtest"), shown("backtest", pooled=False)
    pd.testing.assert_frame_equal(told, own)
    pd.testing.assert_frame_equal(shown("calibration"), shown("calibration", pooled=False))


def test_teams_and_reps_sum_to_the_landing() -> None:
    frame = shown("landing")
    whole = frame[frame["by"] == ""].iloc[0]
    assert whole["mean"] == shown("outlook")["mean"].iloc[0]
    for by in ("team", "owner_id"):
        part = frame[frame["by"] == by]
        assert cents(part["mean"]) == Decimal(f"{whole['mean']:.2f}")
        for name in ("booked", "open_deals", "create_and_close"):
            assert part[name].sum() == pytest.approx(whole[name], abs=0.2)
        assert (part["p10"] >= part["booked"] - 0.01).all()
        assert (part["p10"] <= part["p90"]).all()


@pytest.mark.parametrize("team", ["North", "Centre"])
def test_a_teams_page_has_the_value_of_its_row(team: str) -> None:
    frame = shown("landing").set_index(["by", "part"])
    own = shown("landing", team_states(team)).iloc[0]
    for name in ("mean", "p10", "p90", "booked"):
        assert own[name] == pytest.approx(frame.loc[("team", team), name], abs=0.005)
    before = shown("changes", team_states(team), by="kind").set_index("kind")
    assert before.loc["all", "after"] == pytest.approx(own["mean"], abs=0.005)


def test_quarters_and_weeks_end_in_the_outlook() -> None:
    outlook, quarters, weeks = shown("outlook"), shown("quarters", past=4), shown("weeks")
    assert quarters["period"].tolist()[-2:] == outlook["period"].tolist() == ["2026-Q3", "2026-Q4"]
    assert quarters["actual"].notna().tolist() == [True] * 4 + [False] * 2
    for name, other in {"likely": "mean", "low": "p10", "median": "p50", "high": "p90"}.items():
        assert quarters[name].tolist()[-2:] == pytest.approx(outlook[other].tolist(), abs=0.01)
        assert weeks[name].iloc[-1] == pytest.approx(outlook[other].iloc[0], abs=0.01)
    won = [rows[-1] for rows in world() if rows[-1]["stage"] == WON and rows[-1]["valid_from_date"] <= AS_OF]
    for week, day in ((0, dt.date(2026, 7, 7)), (3, dt.date(2026, 7, 28))):
        by_then = [row["amount"] for row in won if dt.date(2026, 7, 1) <= row["close_date"] <= day]
        assert weeks["actual"].iloc[week] == pytest.approx(float(sum(by_then)))
    assert weeks["actual"].dropna().is_monotonic_increasing
    assert weeks["likely"].dropna().is_monotonic_increasing
    assert (weeks["actual"].isna() == weeks["likely"].notna()).all()
    with pytest.raises(InputError, match="0 to 40"):
        shown("quarters", past=41)


def test_changes_lead_from_one_forecast_to_the_other() -> None:
    deals, kinds = shown("changes", top=0), shown("changes", by="kind").set_index("kind")
    whole = deals[deals["kind"] == "all"].iloc[0]
    assert whole["after"] == pytest.approx(shown("outlook")["mean"].iloc[0], abs=0.005)
    assert deals.attrs["since"] == (AS_OF - WEEK).isoformat()
    for name in ("before", "after", "change"):
        assert deals.loc[deals["kind"] != "all", name].sum() == pytest.approx(whole[name], abs=0.005)
        assert kinds[name].drop("all").sum() == pytest.approx(whole[name], abs=0.005)
    open_ = deals[deals["kind"] == "reassessed"]
    assert kinds.loc["rose", "change"] == pytest.approx(open_["change"].clip(lower=0).sum())
    assert kinds.loc["lost", "deals"] == (deals["kind"] == "lost").sum() > 0
    first_day = shown("changes", as_of=dt.date(2026, 7, 1), pooled=False)
    assert first_day.empty
    assert "only begun" in first_day.attrs["empty"]


def test_chances_are_held_against_what_came() -> None:
    frame = shown("calibration", pooled=False)
    assert frame["forecasts"].sum() > 300
    assert (frame["deals"] <= frame["forecasts"]).all()
    assert frame["predicted"].between(frame["chance_from"], frame["chance_to"]).all()
    low, high = wilson(frame["observed"] * frame["deals"], frame["deals"])
    assert frame["low"].to_numpy() == pytest.approx(low)
    assert frame["high"].to_numpy() == pytest.approx(high)
    # What is given a higher chance is won more often.
    assert np.corrcoef(frame["predicted"], frame["observed"])[0, 1] > 0.8
    empty = shown("calibration", states_table([]), pooled=False)
    assert empty.empty
    assert "too short" in empty.attrs["empty"]


def test_deals_sum_to_what_the_outlook_expects_of_them() -> None:
    every = shown("chances")
    assert every["expected"].sum() == pytest.approx(shown("outlook")["open_deals"].iloc[0])
    assert every["variance_share"].sum() == pytest.approx(1)
    first = shown("deals", top=1).iloc[0]
    row = every.set_index("opportunity_id").loc[first["opportunity_id"]]
    assert row["variance_share"] == every["variance_share"].max() == first["variance_share"]


def test_a_scenario_begins_where_the_outlook_stands() -> None:
    frame, outlook = shown("scenario", win_rate_factor=1.2).set_index("case"), shown("outlook").iloc[0]
    for name in ("mean", "p10", "p90", "open_deals"):
        assert frame.loc["current", name] == pytest.approx(outlook[name], abs=0.01)
        assert frame.loc["scenario", name] > frame.loc["current", name]


def test_headlines() -> None:
    plan = table_of(
        {"team": "string", "period_start_date": "date", "measure": "string", "amount": "decimal(18, 4)"},
        [("North", dt.date(2026, 7, 1), "bookings", Decimal(900_000))],
    )
    frame = shown("headlines", tables={"plan": plan}).set_index("id")
    outlook = shown("outlook", tables={"plan": plan}).iloc[0]
    assert frame.loc["landing", ["value", "low", "high"]].tolist() == outlook[["mean", "p10", "p90"]].tolist()
    assert frame.loc["target_gap", "value"] == pytest.approx(outlook["gap"])
    assert frame.loc["target_chance", "value"] == outlook["chance_of_target"]
    assert frame.loc["median", "value"] == outlook["p50"]
    assert (frame["reason"] == "").all()
    bare = shown("headlines", states_table([]), pooled=False).set_index("id")
    assert bare["value"].drop("target_chance").isna().all()
    assert (bare["reason"] != "").all()


def test_a_quarter_that_is_over() -> None:
    end = dt.date(2026, 9, 30)
    frame = shown("headlines", as_of=end, pooled=False).set_index("id")
    assert frame.loc["landing", "value"] == shown("outlook", as_of=end, pooled=False)["booked"].iloc[0]
    assert frame.loc[["open_deals", "create_and_close"], "value"].tolist() == [0, 0]
    weeks = shown("weeks", as_of=end, pooled=False)
    assert weeks["actual"].notna().all()
    reps = shown("outlook", as_of=end, pooled=False, by="owner_id")
    assert reps["mean"].tolist() == pytest.approx(reps["booked"].tolist())


def test_what_it_rests_on() -> None:
    whole, team = (
        shown("basis", states).set_index("fact")["value"] for states in (None, team_states("East"))
    )
    assert (whole["is_pooled"], team["is_pooled"]) == (0, 1)
    assert 0 < team["open_deals"] < whole["open_deals"]
    assert whole["past_quarters"] >= 8


def called(day: dt.date, level: str, owner: str, amount: int) -> tuple[Any, ...]:
    moment = dt.datetime.combine(day, dt.time(15), tzinfo=dt.UTC)
    return (owner, level, moment, "2026-Q3", "Commit", None, Decimal(amount))


def test_what_everybody_says_is_put_down() -> None:
    early, late = dt.date(2026, 8, 3), dt.date(2026, 8, 20)
    rows = [
        called(early, "rep", "rep-1", 10), called(early, "rep", "rep-2", 20),
        called(late, "rep", "rep-1", 99), called(early, "manager", "boss", 25),
        called(early, "executive", "chief", 28),
    ]  # fmt: skip
    members = table_of(
        {"owner_id": "string", "team": "string", "valid_from_date": "date", "valid_to_date": "date"},
        [("rep-1", "North", None, None), ("rep-2", "South", None, None), ("boss", "North", None, None)],
    )
    tables = {"forecast_calls": table_of(CALLS, rows), "team_memberships": members}
    frame = shown("standing", tables=tables, pooled=False).set_index(["team", "caller"])["call"]
    assert frame.loc["company"].drop("model").to_dict() == {"rep": 30, "manager": 25, "executive": 28}
    assert frame.loc["North"].drop("model").to_dict() == {"rep": 10, "manager": 25}
    models = frame.xs("model", level="caller")
    assert cents(models.drop("company")) == Decimal(f"{models['company']:.2f}")
    # A part of the company does not show what executives call of all of it.
    own = table_of(CALLS, [row for row in rows if row[1] != "manager"])
    part = shown("calls", team_states("North"), tables={"forecast_calls": own})
    assert part["caller"].tolist() == ["rep", "manager", "model"]


def sealed(team: str, caller: str, call: float, day: dt.date, period: str = "2026-Q2") -> tuple[Any, ...]:
    limits = (call - 100_000, call + 100_000) if caller == "model" else (None, None)
    return ("ab" * 32, period, day, team, caller, call, *limits, False)


def test_seals_are_scored_when_their_quarter_is_over() -> None:
    actual = shown("quarters", past=1)["actual"].iloc[0]
    then, later = dt.date(2026, 5, 4), dt.date(2026, 9, 1)
    rows = [
        sealed("company", "model", actual * 1.1, then), sealed("company", "rep", actual * 0.8, then),
        sealed("North", "rep", 5.0, then), sealed("company", "rep", 7.0, AS_OF, "2026-Q3"),
        sealed("company", "rep", 9.0, later, "2026-Q3"),
    ]  # fmt: skip
    frame = shown("scoreboard", tables={"sealed_forecasts": table_of(SEALS, rows)})
    assert frame[["period", "caller"]].to_numpy().tolist() == [
        ["2026-Q3", "rep"], ["2026-Q2", "model"], ["2026-Q2", "rep"],
    ]  # fmt: skip
    assert frame["off"].tolist()[1:] == pytest.approx([0.1, -0.2])
    assert pd.isna(frame["actual"].iloc[0])
    assert frame["is_inside"].iloc[1] == (actual * 0.1 <= 100_000)
    parts = table_of(SEALS, [sealed("North", "rep", 5.0, then), sealed("South", "rep", 8.0, then)])
    assert shown("scoreboard", tables={"sealed_forecasts": parts})["call"].tolist() == [13]
    assert "salesops seal" in shown("scoreboard").attrs["empty"]


def test_sealed_rows_become_a_table(tmp_path: Any) -> None:
    assert sealed_forecasts(tmp_path).schema() == table_of(SEALS, []).schema()


def test_one_deal_and_no_deal() -> None:
    alone = states_table([deal("A", [Change(AS_OF, close_date=LAST)])])
    for name in ("landing", "quarters", "weeks", "basis", "scenario", "chances", "standing", "calls"):
        for states in (alone, states_table([])):
            assert isinstance(shown(name, states, pooled=False), pd.DataFrame)
    assert shown("landing", alone, pooled=False)["mean"].gt(0).all()
