"""Rung 4: three methods of the months against formulas by hand, and a range from past misses alone."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from salesops_kit.analysis.forecast import backtest
from salesops_kit.analysis.forecast._conformal import conformal, miss, spread
from salesops_kit.analysis.forecast._ladder import RUNGS, SERIES
from salesops_kit.analysis.forecast._naive import LIMIT, MIDDLES, log_t
from salesops_kit.analysis.forecast._series import (
    autoregression,
    monthly,
    past_misses,
    quarter_total,
    season_of,
    smoothing,
    theta,
)
from salesops_kit.settings import Settings
from tests.analysis.forecast_world import LOST, WON, source_of
from tests.states import Change, deal, states_table

RUNG = next(rung for rung in RUNGS if rung.name == SERIES)
PRIOR, STRENGTH = 0.3, 2.0


def noise(count: int, seed: int = 1, deviation: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0, deviation, count)


def smoothed(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """The level after the last value, and the sum of squared errors, from a level of the first value."""
    level, squares = values[0], 0.0
    for value in values:
        squares += (value - level) ** 2
        level += alpha * (value - level)
    return level, squares


def test_theta_is_smoothing_and_half_the_drift() -> None:
    values = noise(30) + 0.03 * np.arange(30)
    best = optimize.minimize_scalar(lambda a: smoothed(values, a)[1], bounds=(0, 1), method="bounded")
    alpha, slope = float(best.x), float(np.polyfit(np.arange(30), values, 1)[0])
    ahead = np.arange(3) + (1 - (1 - alpha) ** 30) / alpha
    expected = smoothed(values, alpha)[0] + slope / 2 * ahead
    assert theta(values, 3) == pytest.approx(expected, rel=2e-3)


def test_smoothing_forecasts_a_level() -> None:
    values = np.cumsum(np.random.default_rng(3).normal(0, 1, 60)) + 40
    best = optimize.minimize_scalar(lambda a: smoothed(values, a)[1], bounds=(0, 1), method="bounded")
    found = smoothing(values, 3)
    assert found == pytest.approx([found[0]] * 3)
    assert found[0] == pytest.approx(smoothed(values, float(best.x))[0], rel=0.01)


def test_the_autoregression_returns_to_the_mean() -> None:
    dice = np.random.default_rng(5)
    values = np.zeros(240)
    for place in range(1, 240):
        values[place] = 0.6 * values[place - 1] + dice.normal(0, 1)
    values += 20
    middle = values.mean()
    share = np.corrcoef(values[1:], values[:-1])[0, 1]
    expected = middle + (values[-1] - middle) * share ** np.arange(1, 5)
    assert autoregression(values, 4) == pytest.approx(expected, abs=0.1)


def test_the_months_ahead_are_the_mean_of_the_three() -> None:
    values = noise(26)
    each = [method(values / values.mean(), 3) for method in (smoothing, theta, autoregression)]
    assert monthly(values, 3) == pytest.approx(np.mean(each, axis=0) * values.mean())


@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_few_months_give_their_mean(count: int) -> None:
    values = noise(count)
    assert monthly(values, 2) == pytest.approx([values.mean() if count else 0] * 2)


@pytest.mark.parametrize("count", [5, 12, 40])
def test_months_all_alike(count: int) -> None:
    assert monthly(np.full(count, 7.0), 3) == pytest.approx([7] * 3)
    assert monthly(np.full(count, 1e6) + 1e-5 * noise(count), 3) == pytest.approx([1e6] * 3)
    assert not monthly(np.zeros(count), 3).any()
    assert not monthly(np.full(count, -2.0), 3).any()


@pytest.mark.parametrize("count", [12, 30])
def test_awkward_months(count: int) -> None:
    place, usual = np.arange(count), noise(count)
    for values in (
        np.where(place == count // 3, -2.0, usual),
        np.where(place == count // 2, 5e5, 0.0),
        np.where(place == count - 1, 1.0, 0.0),
        place * 100.0,
        1000.0 - 20 * place,
        noise(count, deviation=2.5),
        np.random.default_rng(2).normal(0, 1, count),
    ):
        found = monthly(values, 6)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert found.max() <= 3 * np.abs(values).max()


@pytest.mark.parametrize("count", [5, 14, 38])
def test_cents_and_dollars_give_one_forecast(count: int) -> None:
    values = noise(count) * 1000
    assert monthly(values * 100, 3) == pytest.approx(monthly(values, 3) * 100, rel=1e-6)


def test_seasons() -> None:
    quarter, year = np.array([1.0, 2, 6]), 3 + np.sin(np.arange(12))
    assert season_of(np.resize(quarter, 18)) == pytest.approx(quarter - 3)
    assert season_of(np.resize(year, 36) + 0.5 * np.arange(36)) == pytest.approx(year - year.mean())
    assert season_of(np.resize(quarter, 15)).tolist() == [0]
    assert season_of(np.resize(year, 27)).tolist() == [0]
    assert monthly(np.resize(quarter, 19), 3) == pytest.approx([2, 6, 1])
    assert monthly(np.resize(year, 31), 3) == pytest.approx(year[7:10])
    # Both at once: the year's months hold those of the quarter.
    both = np.resize(quarter, 36) * np.resize(year, 36)
    assert len(season_of(both)) == 12


def test_noise_seldom_has_a_season() -> None:
    found = [len(season_of(noise(36, seed))) for seed in range(300)]
    # Two tests at 1 %: six of 300 on average.
    assert sum(length > 1 for length in found) <= 13


def test_a_season_is_forecast_better_than_a_level() -> None:
    off: dict[str, list[float]] = {"season": [], "level": []}
    for seed in range(10):
        values = (1 + 0.5 * np.sin(2 * np.pi * np.arange(39) / 12)) * noise(39, seed)
        for name, guess in (("season", monthly(values[:36], 3)), ("level", np.full(3, values[:36].mean()))):
            off[name].append(abs(float(guess.sum() - values[36:].sum())))
    assert np.mean(off["season"]) < 0.7 * np.mean(off["level"])


def test_quantiles_of_given_misses() -> None:
    misses = [0.4, -0.1, 0.2, -0.3]
    # Sizes .1 .2 .3 .4 at 1/5 .. 4/5: of the middle 20, 40, 60 and 80 %, straight lines between.
    shares = np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9])
    expected = [-0.4, -0.35, -0.3, -0.2, -0.1, 0, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4]
    assert spread(misses, shares, PRIOR, STRENGTH) == pytest.approx(expected)
    # Beyond the largest they rise as the log-t: of 6 degrees, its variance (.3 + 2 x .09) / 6.
    tail = np.sqrt(0.08) * (stats.t.ppf(0.97, 6) - stats.t.ppf(0.9, 6))
    beyond = spread(misses, np.array([0.03, 0.97]), PRIOR, STRENGTH)
    assert beyond == pytest.approx([-0.4 - tail, 0.4 + tail])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 8, 20])
def test_ranges_rise_without_a_jump(count: int) -> None:
    misses = np.random.default_rng(count).normal(0, 0.4, count).tolist()
    shares = np.linspace(0.001, 0.999, 4_001)
    found = spread(misses, shares, PRIOR, STRENGTH)
    steps = np.diff(found)
    assert (steps >= -1e-12).all()
    assert steps.max() < 0.05
    assert found == pytest.approx(-found[::-1], abs=1e-12)
    assert np.abs(found).max() <= LIMIT
    if count < 4:
        alone = np.clip(log_t(misses, PRIOR, STRENGTH, shares), -LIMIT, LIMIT)
        assert found == pytest.approx(alone, abs=1e-12)


def test_one_miss_gives_a_wide_range() -> None:
    found = conformal(100, [0.05], PRIOR, STRENGTH)
    assert found.quantile(0.5) == pytest.approx(100, rel=0.01)
    assert found.quantile(0.1) < 75
    assert 130 < found.quantile(0.9) < 250
    assert found.quantile(0.9) > conformal(100, [0.05] * 8, PRIOR, STRENGTH).quantile(0.9)
    assert not conformal(-5, [], PRIOR, STRENGTH).draws.any()
    assert (miss(0, 10), miss(1e9, 10), miss(20, 10)) == (-LIMIT, LIMIT, pytest.approx(np.log(2)))


@pytest.mark.parametrize("count", [8, 20])
def test_the_range_holds_as_often_as_it_says(count: int) -> None:
    dice = np.random.default_rng(count)
    held = {0.5: 0, 0.8: 0}
    rounds = 4_000
    for _ in range(rounds):
        # Not log-t at all, and shifted: only that all are alike matters.
        *misses, new = dice.gumbel(0.1, 0.25, count + 1)
        for share in held:
            low, high = spread(misses, np.array([0.5 - share / 2, 0.5 + share / 2]), PRIOR, STRENGTH)
            held[share] += low <= new <= high
    for share, times in held.items():
        assert times / rounds == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / rounds))


def sold(days: list[dt.date], amount: float = 100.0, stage: str = WON) -> list[list[dict[str, Any]]]:
    return [
        deal(f"S{place}", [Change(day, stage=stage, close_date=day, amount=amount)])
        for place, day in enumerate(days)
    ]


WEEKLY = [dt.date(2024, 1, 1) + dt.timedelta(days=7 * place) for place in range(137)]
AS_OF = dt.date(2026, 8, 14)


def test_the_running_month_is_what_it_has_and_its_days_to_come() -> None:
    source = source_of(states_table(sold(WEEKLY)), AS_OF)
    view = source.models(source.here, AS_OF).view
    july, august = (
        sum((day.year, day.month) == (2026, m) and day <= AS_OF for day in WEEKLY) for m in (7, 8)
    )
    whole = [
        sum((day.year, day.month) == (2024 + place // 12, 1 + place % 12) for day in WEEKLY)
        for place in range(1, 31)
    ]
    coming = monthly(np.array(whole) * 100.0, 2)
    expected = 100.0 * (july + august) + coming[0] * 17 / 31 + coming[1]
    assert quarter_total(view, view.today, view.target) == pytest.approx(expected, rel=0.02)
    misses = past_misses(view)
    # Of ten quarters eight are looked back at; the first of these knew fewer than twelve months.
    assert 4 <= len(misses) <= 8
    assert np.abs(misses).max() < 0.35


def test_dollars_and_cents_give_one_range() -> None:
    totals = []
    for amount in (100.0, 10_000.0):
        source = source_of(states_table(sold(WEEKLY, amount)), AS_OF)
        found = RUNG.forecast(source.models(source.here, AS_OF))
        assert found is not None
        totals.append(found.total.draws / amount)
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_bookings_alone_in_a_backtest() -> None:
    rows = backtest(states_table(sold(WEEKLY)), as_of=AS_OF, period=None, settings=Settings())
    mine = rows[rows["method"] == SERIES]
    assert len(mine) == 32
    assert (mine["p10"] >= mine["booked"] - 1e-9).all()
    for low, high in pairwise(["p2_5", "p10", "p25", "p50", "p75", "p90", "p97_5"]):
        assert (mine[low] <= mine[high]).all()
    late = mine[mine["quarter"] >= "2025-Q3"]
    assert (late["p10"] <= late["actual"]).mean() > 0.8
    assert (np.abs(late["mean"] - late["actual"]) / late["actual"]).mean() < 0.1


@pytest.mark.parametrize("days", [WEEKLY[:1], WEEKLY[:20], []])
def test_next_to_nothing(days: list[dt.date]) -> None:
    for stage in (WON, LOST):
        source = source_of(states_table(sold(days, stage=stage)), AS_OF)
        found = RUNG.forecast(source.models(source.here, AS_OF))
        assert found is None or (np.isfinite(found.total.draws).all() and found.total.draws.min() >= 0)


def test_later_bookings_change_nothing() -> None:
    early, late = (
        source_of(states_table(sold([day for day in WEEKLY if day <= until])), until)
        for until in (dt.date(2026, 2, 4), AS_OF)
    )
    place = early.here
    assert late.quarters[place] == early.quarters[place]
    told, known = (RUNG.forecast(each.models(place, dt.date(2026, 2, 4))) for each in (early, late))
    assert told is not None
    assert known is not None
    assert known.total.draws == pytest.approx(told.total.draws)


def test_draws_are_at_the_middles_of_equal_parts() -> None:
    assert MIDDLES[[0, -1]] == pytest.approx([1 / 800, 799 / 800])
    assert np.diff(MIDDLES) == pytest.approx(1 / 400)
