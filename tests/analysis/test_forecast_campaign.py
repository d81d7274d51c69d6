"""The forecast over the sample and five other seeds: better than what teams use, honest about its error."""

from __future__ import annotations

import datetime as dt
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.forecast import backtest, outlook
from salesops_kit.analysis.forecast._backtest import summarised
from salesops_kit.analysis.forecast._ladder import SEASONAL_NAIVE, SHIPPED, STAGE_WEIGHTED
from salesops_kit.compute import Calculator, reference_for
from salesops_kit.data import scope
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot
from salesops_kit.data.sample import write_sample
from salesops_kit.estimators.predictive import bias
from salesops_kit.settings import NO_TEAM, Settings
from tests.analysis.forecast_world import LAST, world_states

# The sample, and five that no choice of the ladder was made on.
SEEDS = (7, 201, 202, 203, 204, 205)
DEALS = 6_000
READ = {
    "accounts", "forecast_calls", "fx_rates", "opportunities", "opportunity_history", "plan", "quotas",
    "reps", "stages", "team_memberships", "teams",
}  # fmt: skip
pytestmark = pytest.mark.campaign


def sample_of(seed: int, folder: Path, *, calls: bool = True) -> Rows:
    write_sample(folder / "csv", opportunities=DEALS, seed=seed)
    for file in (folder / "csv").glob("*.csv"):
        if file.stem not in READ or (file.stem == "forecast_calls" and not calls):
            file.unlink()
    import_export([folder / "csv"], "", folder / "data")
    return open_rows(open_snapshot(str(folder / "data")))


def backtested(rows: Rows) -> tuple[pd.DataFrame, float]:
    """Company and teams, and the processor seconds of the company's backtest."""
    calculator = Calculator(rows, rows.observed_until, rows.quarters()[-1])
    began = time.process_time()
    calculator.table("forecast.backtest")
    spent = time.process_time() - began
    frame = calculator.table("forecast.backtest", by="team")
    return frame[frame["team"] != NO_TEAM], spent


@pytest.mark.parametrize("calls", [True, False], ids=["with-calls", "without-calls"])
def test_the_shipped_forecast_is_better_and_honest(calls: bool, tmp_path: Path) -> None:
    """The table of the README: over the sample and five other seeds, by week of the quarter."""
    found, biases, held = [], [], []
    for seed in SEEDS:
        frame, spent = backtested(sample_of(seed, tmp_path / str(seed), calls=calls))
        company, shipped = frame[frame["team"] == "company"], frame[frame["method"] == SHIPPED]
        own = company[company["method"] == SHIPPED]
        found.append(summarised(company, ["week"]).assign(seed=seed))
        biases.append(bias(own["actual"], own["mean"]))
        inside = (shipped["p10"] <= shipped["actual"]) & (shipped["actual"] <= shipped["p90"])
        held.append(float(inside.mean()))
        sys.stdout.write(
            f"\nseed {seed}, calls {calls}: cpu {spent:.1f} s, bias {biases[-1]:+.3f}, 80 % range holds"
            f" {held[-1]:.3f}, chosen {own['chosen'].value_counts().to_dict()}"
        )
        assert spent <= 60
    means = pd.concat(found).groupby(["method", "week"])[["wape", "relative_crps"]].mean()
    sys.stdout.write(f"\nbias {np.mean(biases):+.3f}, 80 % range holds {np.mean(held):.3f}")
    sys.stdout.write(f"\n{means.unstack().round(3).to_string()}\n")
    for week in (1, 5, 9, 12):
        for other in (STAGE_WEIGHTED, SEASONAL_NAIVE):
            for measure in ("relative_crps", "wape"):
                assert means.loc[(SHIPPED, week), measure] < means.loc[(other, week), measure]
    assert max(map(abs, biases)) <= 0.05
    assert 0.72 <= np.mean(held) <= 0.88
    # One seed's eight quarters hold so few independent outcomes that its own share varies by 0.07.
    assert all(0.68 <= share <= 0.88 for share in held)


def test_a_team_costs_little(tmp_path: Path) -> None:
    rows = sample_of(7, tmp_path)
    period = rows.quarters()[-1]
    day = period.start.replace(day=15)
    company = Calculator(rows, day, period)
    reference = reference_for(company.references("forecast", "pipeline"), 1)
    company.reference = reference
    own = Calculator(scope.cut(rows, ("EMEA South",)), day, period, reference)
    began = time.process_time()
    for name in ("headlines", "quarters", "weeks", "accuracy", "changes", "deals", "calls", "scenario"):
        own.table(f"forecast.{name}")
    spent = time.process_time() - began
    sys.stdout.write(f"\none team's tables: {spent:.1f} s of processor time\n")
    assert spent <= 4
    shown = company.table("forecast.outlook", by="team").set_index(["team", "period"])["mean"]
    assert own.table("forecast.outlook")["mean"].iloc[0] == shown[("EMEA South", period.label)]


def test_the_same_rows_give_the_same_forecast() -> None:
    first = outlook(world_states(), as_of=LAST, period=None, settings=Settings())
    again = backtest(world_states(), as_of=LAST, period=None, settings=Settings())
    assert first.equals(outlook(world_states(), as_of=LAST, period=None, settings=Settings()))
    assert again.equals(backtest(world_states(), as_of=LAST, period=None, settings=Settings()))


def test_maven(tmp_path: Path) -> None:
    """Deals carry no signal there, and half of the next quarter's revenue is not created yet."""
    source = Path(__file__).parents[3] / "shared" / "data" / "maven_crm"
    if not source.is_dir():
        pytest.skip("the Maven CRM data are not here")
    import_export([source], "maven", tmp_path / "maven")
    rows = open_rows(open_snapshot(str(tmp_path / "maven")))
    errors: dict[str, list[float]] = {"forecast": [], "list value x win rate": []}
    later = []
    for day in (dt.date(2017, 6, 30), dt.date(2017, 9, 30)):
        period = rows.settings.fiscal.quarter_of(day)
        following = rows.settings.fiscal.next(period)
        found = (
            Calculator(rows, day, period).table("forecast.outlook").set_index("period").loc[following.label]
        )
        known = rows.in_base("opportunity_states", 2017)
        states = known.to_pyarrow().to_pandas()
        at = states[
            (states["valid_from_date"] <= day)
            & (states["valid_to_date"].isna() | (states["valid_to_date"] > day))
        ]
        closed = at[at["is_closed"].fillna(False).astype(bool)]
        won = closed["is_won"].astype(bool)
        value = float(at.loc[~at["is_closed"].fillna(False).astype(bool), "amount"].astype(float).sum())
        final = states[states["valid_to_date"].isna() & states["is_won"].fillna(False).astype(bool)]
        inside = (final["close_date"] >= following.start) & (final["close_date"] < following.end)
        actual = float(final.loc[inside, "amount"].astype(float).sum())
        errors["forecast"].append(abs(found["mean"] - actual))
        errors["list value x win rate"].append(abs(value * won.mean() - actual))
        later.append(found["create_and_close"] / found["mean"])
        sys.stdout.write(
            f"\n{day}: forecast {found['mean']:,.0f}, came {actual:,.0f}, list value x win rate"
            f" {value * won.mean():,.0f}, create-and-close {later[-1]:.0%}\n"
        )
    assert np.mean(errors["forecast"]) < np.mean(errors["list value x win rate"])
    assert 0.3 < np.mean(later) < 0.7
