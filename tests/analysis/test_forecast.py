"""The forecast's rungs: known answers, nothing of the future, teams that sum to the company."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from salesops_kit.analysis.forecast import accuracy, backtest, changes, commit_bias, deals, outlook, scenario
from salesops_kit.analysis.forecast._calls import _bounded
from salesops_kit.analysis.forecast._company import company_figures
from salesops_kit.analysis.forecast._ladder import RUNGS, SHIPPED, SIMULATION, deal_chances
from salesops_kit.analysis.forecast._naive import seasonal_naive, spread_around
from salesops_kit.analysis.forecast._scope_outlook import reconciled_team
from salesops_kit.analysis.forecast._scores import choices, choose, score
from salesops_kit.analysis.forecast._simulation import later_draws, open_draws, shifted_chance, shocks
from salesops_kit.analysis.forecast._view import View
from salesops_kit.errors import InputError
from salesops_kit.estimators.predictive import Predictive, wape
from salesops_kit.settings import Settings
from tests.analysis.forecast_world import LAST, LOST, WON, known_by, source_of, world, world_states
from tests.states import Change, deal, states_table

AS_OF = dt.date(2026, 8, 14)
FAST = tuple(rung for rung in RUNGS if rung.name != "boosted")


def arguments(**more: Any) -> dict[str, Any]:
    return {"as_of": AS_OF, "period": None, "settings": Settings(), **more}


def test_sixty_deals_alone_and_with_a_common_shock() -> None:
    chance, amount = np.full(60, 0.3), np.full(60, 50.0)
    alone = Predictive.of(open_draws(chance, amount, 0.0, shocks(40_000)))
    assert (alone.quantile(0.1), alone.quantile(0.9)) in {(650, 1150), (700, 1150)}
    together = Predictive.of(open_draws(chance, amount, 0.05, shocks(40_000)))
    assert (together.quantile(0.1), together.quantile(0.9)) == (550, 1300)
    assert together.mean == pytest.approx(900, rel=0.01)


def test_three_deals_drawn() -> None:
    total = Predictive.of(
        open_draws(np.array([0.5, 0.8, 0.1]), np.array([100.0, 50, 200]), 0.0, shocks(40_000))
    )
    assert total.mean == pytest.approx(110, abs=1.5)
    assert total.deviation == pytest.approx(80.62, abs=1.5)
    assert total.at_least(150) == pytest.approx(0.46, abs=0.01)
    assert total.crps(150) == pytest.approx(26.22, abs=0.5)


def test_the_shock_leaves_the_mean_chance() -> None:
    chance = np.array([0.02, 0.3, 0.9])
    given = shifted_chance(chance, 0.2, shocks(20_000))
    assert given.mean(axis=0) == pytest.approx(chance, abs=2e-3)
    independent = stats.norm.cdf((stats.norm.ppf(0.3) + np.sqrt(0.2) * 1.5) / np.sqrt(0.8))
    assert shifted_chance(np.array([0.3]), 0.2, np.array([1.5]))[0, 0] == pytest.approx(independent)


def test_many_small_deals_are_drawn_as_well_as_single_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(3)
    chance, amount = dice.uniform(0.05, 0.9, 600), dice.lognormal(3, 0.7, 600)
    fast = Predictive.of(open_draws(chance, amount, 0.04, shocks(20_000)))
    monkeypatch.setattr("salesops_kit.analysis.forecast._simulation.SINGLE", 600)
    slow = Predictive.of(open_draws(chance, amount, 0.04, shocks(20_000)))
    assert fast.mean == pytest.approx(slow.mean, rel=0.005)
    for share in (0.1, 0.9):
        assert fast.quantile(share) == pytest.approx(slow.quantile(share), rel=0.01)


def test_later_wins_have_their_mean() -> None:
    drawn = later_draws(6.0, 0.3, np.array([10.0, 30.0]), shocks(40_000), 0.5)
    assert drawn.mean() == pytest.approx(120, rel=0.02)
    # Poisson of a rate that varies by 30 %: (mean + (.3 mean)^2) x E(amount)^2 + mean x Var(amount).
    assert drawn.var() == pytest.approx((6 + 1.8**2) * 400 + 6 * 100, rel=0.05)
    assert not later_draws(0.0, 0.3, np.array([10.0]), shocks(100), 0.5).any()


def test_seasonal_naive() -> None:
    totals = np.array([100.0, 200, 150, 120, 110])
    assert seasonal_naive(totals).mean == pytest.approx(200)
    assert seasonal_naive(np.array([np.nan, np.nan, 80.0])).mean == pytest.approx(80)
    assert not seasonal_naive(np.array([np.nan])).draws.size
    wide, narrow = spread_around(100, [0.5, -0.5], 0.3, 1), spread_around(100, [0.01, -0.01], 0.3, 1)
    assert wide.deviation > 2 * narrow.deviation
    # Without any miss the variance is a guess, and the range wide; its middle is not far below the mean.
    guessed = spread_around(100, [], 0.3, 2)
    assert guessed.mean == pytest.approx(100)
    assert guessed.quantile(0.5) > 85
    assert guessed.quantile(1) / guessed.quantile(0) == pytest.approx(np.exp(3))


@pytest.mark.parametrize("origin", [dt.date(2026, 2, 4), dt.date(2026, 3, 4), dt.date(2026, 6, 23)])
def test_the_future_changes_no_past_forecast(origin: dt.date) -> None:
    later = source_of(world_states())
    then = source_of(known_by(origin), origin)
    label = then.quarters[then.here].label
    place = [quarter.label for quarter in later.quarters].index(label)
    for rung in FAST:
        told, known = (
            rung.forecast(then.models(then.here, origin)),
            rung.forecast(later.models(place, origin)),
        )
        assert told is not None
        assert known is not None
        assert known.total.draws == pytest.approx(told.total.draws, abs=0.005), rung.name


def test_shuffled_outcomes_cannot_be_forecast() -> None:
    auc = {"real": [], "shuffled": []}  # type: ignore[var-annotated]
    for seed in (1, 2, 3):
        source = source_of(world_states(1_800, seed))
        dice = np.random.default_rng(seed)
        closed = source.history.closed
        mixed = replace(closed, deal=dice.permutation(closed.deal))
        for name, history in (("real", source.history), ("shuffled", replace(source.history, closed=mixed))):
            chances, labels = [], []
            for place in range(5, 10):
                quarter = source.quarters[place]
                origin = quarter.start + dt.timedelta(days=34)
                models = replace(source, history=history).models(place, origin)
                final = View(history, source.quarters, place, LAST).as_it_stood(
                    origin.toordinal(), quarter, 1
                )
                chances.append(deal_chances(models))
                labels.append(final.deals.won)
            auc[name].append(roc_auc_score(np.concatenate(labels), np.concatenate(chances)))
    assert 0.45 <= np.mean(auc["shuffled"]) <= 0.55
    assert np.mean(auc["real"]) > 0.65


def test_backtest_rows() -> None:
    frame = backtest(world_states(), **arguments())
    assert frame["quarter"].nunique() == 8
    assert set(frame["week"]) == {1, 5, 9, 12}
    shipped = frame[frame["method"] == SHIPPED]
    assert len(shipped) == 32
    assert (frame["mean"] >= frame["booked"] - 1e-6)[frame["method"] != "seasonal_naive"].all()
    assert (frame["p10"] <= frame["p90"]).all()
    for row in shipped.itertuples():
        same = frame[(frame["origin"] == row.origin) & (frame["method"] == row.chosen)].iloc[0]
        assert same["mean"] == row.mean
    # What every quarter booked, counted from the rows.
    won = [rows[-1] for rows in world() if rows[-1]["stage"] == WON and rows[-1]["valid_from_date"] <= AS_OF]
    total = sum(
        row["amount"] for row in won if dt.date(2026, 4, 1) <= row["close_date"] < dt.date(2026, 7, 1)
    )
    assert Decimal(str(frame.loc[frame["quarter"] == "2026-Q2", "actual"].iloc[0])) == total
    with pytest.raises(InputError, match="no past quarter"):
        backtest(world_states(), **arguments(), quarters=0)


def test_accuracy_summarises_the_backtest() -> None:
    rows, found = backtest(world_states(), **arguments()), accuracy(world_states(), **arguments())
    part = rows[(rows["method"] == SIMULATION) & (rows["week"] == 5)]
    row = found[(found["method"] == SIMULATION) & (found["week"] == 5)].iloc[0]
    assert row["origins"] == 8
    assert row["wape"] == pytest.approx(wape(part["actual"], part["mean"]))
    assert row["wape_low"] <= row["wape"] <= row["wape_high"]
    assert row["coverage_80"] == ((part["p10"] <= part["actual"]) & (part["actual"] <= part["p90"])).mean()
    assert (found.loc[found["method"] == "seasonal_naive", "mase"] == 1).all()


def test_the_choice_looks_at_the_past_alone() -> None:
    def rows(values: dict[str, list[float]]) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {
                    "quarter": f"Q{place}",
                    "week": 1,
                    "method": name,
                    "rung": rung,
                    "actual": 100.0,
                    "crps": value,
                }
                for rung, (name, listed) in enumerate(values.items(), start=1)
                for place, value in enumerate(listed)
            ]
        )

    assert choose(rows({"simple": [9, 9], SIMULATION: [5, 5]})) == SIMULATION
    assert (
        choose(rows({"simple": [9, 9, 9, 8], "middle": [5.1, 4.9, 5.05, 5.1], SIMULATION: [5, 5, 5, 5]}))
        == "middle"
    )
    assert choose(rows({"simple": [5.2, 5, 5, 5.1], SIMULATION: [5, 5.1, 5, 5]})) == "simple"


def test_a_correction_after_the_fact_changes_no_choice_before_it() -> None:
    corrected = dt.date(2026, 6, 15)
    moment = dt.datetime(2026, 6, 15, 9, tzinfo=dt.UTC)
    first, last = dt.date(2025, 7, 1), dt.date(2025, 9, 30)
    rows = []
    for states in world():
        final = states[-1]
        if final["stage"] == WON and first <= final["close_date"] <= last:
            then = {"valid_to_date": corrected, "valid_to_at": moment}
            now = {"valid_from_date": corrected, "valid_from_at": moment}
            states = [*states[:-1], final | then, final | now | {"amount": 9 * final["amount"]}]
        rows.append(states)
    before, after = (source_of(states, AS_OF) for states in (world_states(), states_table(rows)))
    chosen = choices(after)
    early = [quarter.label for quarter in after.quarters if quarter.start < corrected]
    assert {label: chosen[label] for label in early} == {label: choices(before)[label] for label in early}
    # With what is known today it would be another.
    scored = score(after)
    assert choose(scored[scored["quarter"] < "2026-Q2"]) != chosen["2026-Q2"]
    restated = scored["quarter"] == "2025-Q3"
    assert (scored["actual"] != score(before)["actual"]).equals(restated)


def test_teams_sum_to_the_company_to_the_cent() -> None:
    frame = outlook(world_states(), **arguments(), by="team")
    for _period, part in frame.groupby("period"):
        whole = part[part["team"] == "company"].iloc[0]
        teams = part[part["team"] != "company"]
        assert sum((Decimal(f"{v:.2f}") for v in teams["mean"]), Decimal(0)) == Decimal(
            f"{whole['mean']:.2f}"
        )
        for name in ("open_deals", "create_and_close", "commit", "best_case", "pipeline", "booked"):
            assert teams[name].sum() == pytest.approx(whole[name], abs=0.05)
        assert (part["booked"] + part["open_deals"] + part["create_and_close"]).to_numpy() == pytest.approx(
            part["mean"].to_numpy(), abs=0.02
        )
        assert (part["p10"] >= part["booked"] - 0.01).all()
    assert frame["period"].unique().tolist() == ["2026-Q3", "2026-Q4"]


def test_a_team_page_shows_what_the_company_page_shows() -> None:
    source = source_of(world_states(), AS_OF)
    figures = company_figures(source)
    slice_ = source_of(states_table([[r for r in rows if r["team"] == "South"] for rows in world()]), AS_OF)
    inside, alone = (reconciled_team(one, figures, 0) for one in (source.of_team("South"), slice_))
    assert alone.total.draws == pytest.approx(inside.total.draws, rel=1e-9)
    assert (alone.open_deals, alone.create_and_close) == pytest.approx(
        (inside.open_deals, inside.create_and_close)
    )


def closed(name: str, day: dt.date, stage: str) -> list[dict[str, Any]]:
    first = Change(day, close_date=day + dt.timedelta(days=20))
    return deal(
        name,
        [first, first.then(day + dt.timedelta(days=20), stage=stage, close_date=day + dt.timedelta(days=20))],
    )


def test_teams_with_next_to_nothing() -> None:
    empty = outlook(states_table([]), **arguments())
    assert empty["mean"].isna().all()
    assert empty["reason"].str.contains("nothing can be forecast").all()
    assert backtest(states_table([]), **arguments()).empty
    one = outlook(states_table([deal("A", [Change(AS_OF, close_date=LAST)])]), **arguments()).iloc[0]
    assert one["p10"] == 0 < one["mean"] < one["p90"]
    assert "wide" in one["reason"]
    days = [dt.date(2025, 1, 5) + dt.timedelta(days=19 * n) for n in range(28)]
    lost = [closed(f"L{n}", day, LOST) for n, day in enumerate(days)]
    row = outlook(states_table([*lost, deal("open", [Change(AS_OF, close_date=LAST)])]), **arguments()).iloc[
        0
    ]
    assert 0 < row["mean"] < 100
    assert row["p10"] == 0
    assert row["reason"].startswith("No win after this day of a past quarter is known, ")


def test_a_quarter_that_is_over_is_what_it_booked() -> None:
    frame = outlook(world_states(), **arguments(as_of=LAST))
    row = frame.iloc[0]
    assert (row["period"], row["p10"], row["p90"]) == ("2026-Q3", row["booked"], row["booked"])
    assert (row["open_deals"], row["create_and_close"], row["reason"]) == (0, 0, "The quarter is over.")


def test_deals_are_listed_by_their_share_of_the_variance() -> None:
    frame = deals(world_states(), **arguments(), top=0)
    assert frame["variance_share"].sum() == pytest.approx(1)
    assert frame["variance_share"].is_monotonic_decreasing
    assert frame["chance"].between(0, 1).all()
    last = [[row for row in rows if row["valid_from_date"] <= AS_OF] for rows in world()]
    assert len(frame) == sum(bool(rows) and not rows[-1]["is_closed"] for rows in last)


def test_scenario() -> None:
    listed = deals(world_states(), **arguments(), top=2)
    first, second = listed["opportunity_id"]
    same = scenario(world_states(), **arguments())
    assert same.loc[2, "mean"] == 0
    frame = scenario(world_states(), **arguments(), won=first, lost=second).set_index("case")
    gain = float(listed["amount"][0]) - float(listed["expected"].sum())
    assert frame.loc["difference", "open_deals"] == pytest.approx(gain)
    more = scenario(world_states(), **arguments(), hires=2, win_rate_factor=1.1).set_index("case")
    assert more.loc["difference", "create_and_close"] > 0 < more.loc["difference", "open_deals"]
    late = scenario(world_states(), **arguments(), delay_days=21).set_index("case")
    assert late.loc["difference", "mean"] < 0
    with pytest.raises(InputError) as caught:
        scenario(world_states(), **arguments(), won="nobody", lost=first, hires=-1)
    assert {problem.column for problem in caught.value.problems} == {"won", "hires"}


def test_changes_sum_to_the_difference_of_two_forecasts() -> None:
    frame = changes(world_states(), **arguments(), since="2026-07-20", top=5)
    total = frame.iloc[-1]
    assert total["kind"] == "all"
    assert frame["change"].iloc[:-1].sum() == pytest.approx(total["change"], abs=1e-6)
    now = scenario(world_states(), **arguments()).iloc[0]
    then = scenario(known_by(dt.date(2026, 7, 20)), **arguments(as_of=dt.date(2026, 7, 20))).iloc[0]
    for name, row in (("after", now), ("before", then)):
        expected = row["booked"] + row["open_deals"] + row["create_and_close"]
        assert total[name] == pytest.approx(expected, abs=0.005)
    for wrong in ("2026-06-30", AS_OF.isoformat(), "soon"):
        with pytest.raises(InputError, match="no earlier day of the quarter"):
            changes(world_states(), **arguments(), since=wrong)


def test_changes_since_a_week_ago_need_no_reference() -> None:
    """A company of few teams has none: what its teams share is its own."""
    alone = changes(world_states(), **arguments())
    figures = company_figures(source_of(world_states(), AS_OF))
    pd.testing.assert_frame_equal(alone, changes(world_states(), **arguments(), reference=figures))
    assert alone["change"].iloc[:-1].sum() == pytest.approx(alone.iloc[-1]["change"], abs=1e-6)


def test_commit_bias_is_pulled_to_all_reps() -> None:
    frame = commit_bias(world_states(1_800), **arguments())
    assert len(frame) > 3
    assert (frame["corrected"] - frame["committed"] * frame["factor"]).abs().max() < 1e-6
    assert (frame["factor"] - frame["team_factor"]).abs().max() > 0
    assert (frame["factor"] > 0).all()


def test_bookings_without_a_pipeline() -> None:
    days = [dt.date(2024, 1, 9) + dt.timedelta(days=9 * n) for n in range(105)]
    sold = states_table(
        [deal(f"S{n}", [Change(day, stage=WON, close_date=day)]) for n, day in enumerate(days)]
    )
    rows = backtest(sold, **arguments())
    assert {"seasonal_naive", "smoothing", SHIPPED} <= set(rows["method"])
    found = rows[(rows["method"] == "smoothing") & (rows["week"] == 9)]
    assert wape(found["actual"], found["mean"]) < 0.15
    assert outlook(sold, **arguments())["mean"].between(600, 1400).all()


def test_many_later_deals_are_drawn_as_their_sum() -> None:
    amounts = np.random.default_rng(3).lognormal(10, 1, 5_000)
    few, many = (later_draws(each, 0.2, amounts, shocks(20_000), 0.5) for each in (1_990.0, 2_010.0))
    assert many.mean() / few.mean() == pytest.approx(2_010 / 1_990, rel=0.01)
    assert many.std() / few.std() == pytest.approx(2_010 / 1_990, rel=0.03)


def test_a_new_team_counts_with_what_it_has_booked() -> None:
    """It has no open deal and no past, so that nothing of it can be forecast; the sums hold all the same."""
    day = dt.date(2026, 8, 3)
    sold = deal("NEW", [Change(day, stage=WON, close_date=day, amount=90_000.0, team="Nova")])
    frame = outlook(states_table([*world(), sold]), **arguments(), by="team")
    now = frame[frame["period"] == "2026-Q3"].set_index("team")
    assert now.loc["Nova", "mean"] == now.loc["Nova", "booked"] == 90_000
    assert "what is booked is all that can be told" in now.loc["Nova", "reason"]
    assert now.drop("company")["mean"].sum() == pytest.approx(now.loc["company", "mean"], abs=0.05)
    parts = now.loc["company", ["booked", "open_deals", "create_and_close"]].sum()
    assert parts == pytest.approx(now.loc["company", "mean"], abs=0.02)
    without = outlook(world_states(), **arguments(), by="team")
    others = without[(without["period"] == "2026-Q3") & (without["team"] == "company")]["mean"].iloc[0]
    assert now.loc["company", "mean"] == pytest.approx(others + 90_000, rel=0.01)
    assert set(accuracy(states_table([*world(), sold]), **arguments(), by="team")["team"]) >= {
        "company",
        "North",
    }


def test_a_quarter_that_was_over_long_ago() -> None:
    """Also the one after it, and the one after that, are over."""
    period = Settings().fiscal.quarter("2025-Q4")
    frame = outlook(world_states(), **arguments(as_of=LAST, period=period))
    assert frame["period"].tolist() == ["2025-Q4", "2026-Q1"]
    assert (frame["p10"] == frame["p90"]).all()
    assert frame["reason"].eq("The quarter is over.").all()
    assert frame["mean"].to_numpy() == pytest.approx(frame["booked"].to_numpy(), abs=0.01)


def test_no_deal_is_expected_to_bring_more_than_it_is_worth() -> None:
    frame = deals(world_states(1_800), **arguments(), top=0)
    assert (frame["expected"] <= frame["amount"] * 1.0001 + 0.01).all()
    whole = outlook(world_states(1_800), **arguments()).iloc[0]
    assert frame["expected"].sum() == pytest.approx(whole["open_deals"], rel=1e-6)


def test_a_factor_learnt_from_little_is_none_for_a_whale() -> None:
    """A rep who commits 10 and brings 200 has the factor 20; of 1,000 committed not 20,000 are expected."""
    pasts = [({"ann": 10.0}, {"ann": 200.0}), ({"ann": 10.0}, {"ann": 160.0})]
    factor = {"ann": 18.0}
    assert _bounded({"ann": 1_000.0}, factor, 18.0, pasts) == {"ann": 1.0}
    assert _bounded({"ann": 100.0}, factor, 18.0, pasts) == {"ann": 2.0}
    assert _bounded({"ann": 10.0}, factor, 18.0, pasts) == {"ann": 18.0}
    assert _bounded({"new": 50.0, "none": 0.0}, factor, 3.0, pasts) == {"new": 1.0}
    assert _bounded({"ann": 10.0}, {"ann": 0.4}, 1.0, pasts) == {"ann": 0.4}
