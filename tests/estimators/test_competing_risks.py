"""Survival against known answers, statsmodels and a slow version that loops over ages and records."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

from salesops_kit.estimators import competing_risks
from salesops_kit.estimators.competing_risks import (
    aalen_johansen,
    add_counts,
    at_age,
    count_table,
    kaplan_meier,
    log_log_interval,
    quantile,
    quantiles,
)
from salesops_kit.estimators.intervals import wilson

CAUSES = ("won", "lost")


def records(*rows: tuple[int, int, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["entry", "exit", "cause"])


def known(text: str) -> pd.DataFrame:
    """Records from words such as ``20L`` (lost at 20) and ``20+`` (censored)."""
    causes = {"W": "won", "L": "lost", "x": "won"}
    return records(*((-1, int(word[:-1]), causes.get(word[-1])) for word in text.split()))


def test_kaplan_meier_known_answer() -> None:
    curve = kaplan_meier(count_table(known("1x 2x 2+ 3x 4+ 5x 5x 6+"), ["won"]))
    survival = curve.set_index("age")["survival"]
    assert survival.round(10).to_dict() == {1: 0.875, 2: 0.75, 3: 0.6, 4: 0.6, 5: 0.2, 6: 0.2}
    assert quantile(curve, 0.5).tolist() == [5]
    assert curve["at_risk"].tolist() == [8, 7, 5, 4, 3, 1]


def test_competing_risks_known_answer() -> None:
    curve = aalen_johansen(count_table(known("10W 20L 20+ 30W 40L 50W 60+ 70L"), CAUSES), CAUSES)
    last = curve.iloc[-1]
    assert (last["won"], last["lost"]) == pytest.approx((0.425, 0.575))


samples = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([*CAUSES, None])), min_size=2, max_size=40
).filter(lambda rows: any(cause for _, cause in rows))


@given(samples)
def test_survival_is_that_of_statsmodels(rows: list[tuple[int, str | None]]) -> None:
    frame = records(*((-1, age, cause) for age, cause in rows))
    curve = kaplan_meier(count_table(frame, CAUSES)).set_index("age")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # It divides by zero where all fail; its variance there is not compared.
        warnings.simplefilter("ignore")
        other = SurvfuncRight(frame["exit"] + 1, frame["cause"].notna().astype(int))
        spread = np.asarray(other.surv_prob_se)
    ages = np.asarray(other.surv_times).astype(int) - 1
    assert curve.loc[ages, "survival"].to_numpy() == pytest.approx(np.asarray(other.surv_prob), abs=1e-12)
    inner = np.isfinite(spread) & (np.asarray(other.surv_prob) > 1e-9)
    ours = np.sqrt(curve.loc[ages, "survival_variance"].to_numpy())
    assert ours[inner] == pytest.approx(spread[inner], abs=1e-12)


@given(samples)
def test_incidence_is_that_of_statsmodels(rows: list[tuple[int, str | None]]) -> None:
    frame = records(*((-1, age, cause) for age, cause in rows))
    curve = aalen_johansen(count_table(frame, CAUSES), CAUSES).set_index("age")
    codes = frame["cause"].map({"won": 1, "lost": 2}).fillna(0).astype(int)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = CumIncidenceRight(frame["exit"] + 1, codes)
    ages = np.asarray(other.times).astype(int) - 1
    for cause, incidence in zip(CAUSES, other.cinc, strict=False):
        assert curve.loc[ages, cause].to_numpy() == pytest.approx(np.asarray(incidence), abs=1e-12)


def slow_aalen_johansen(frame: pd.DataFrame, cause: str, until: int) -> tuple[float, float, float]:
    """Survival, incidence and its delta-method variance at one age, by loops over ages and records."""
    survival, incidence, steps = 1.0, 0.0, []
    for age in range(until + 1):
        at_risk = sum(row.entry < age <= row.exit for row in frame.itertuples())
        events = [row.cause for row in frame.itertuples() if row.exit == age and isinstance(row.cause, str)]
        if at_risk and events:
            own = events.count(cause)
            incidence += survival * own / at_risk
            steps.append((survival, incidence, at_risk, len(events), own))
            survival *= 1 - len(events) / at_risk
    variance = 0.0
    for before, so_far, n, events_now, own in steps:
        rest = incidence - so_far
        if n > events_now:
            variance += rest**2 * events_now / (n * (n - events_now))
        variance += before**2 * (n - own) * own / n**3 - 2 * rest * before * own / n**2
    return survival, incidence, max(variance, 0)


truncated = st.lists(
    st.tuples(st.integers(-1, 6), st.integers(1, 6), st.sampled_from([*CAUSES, None])),
    min_size=1,
    max_size=25,
)


@given(truncated, st.integers(0, 14))
@settings(max_examples=150)
def test_agrees_with_the_slow_version_with_late_entries(
    rows: list[tuple[int, int, str | None]], until: int
) -> None:
    frame = records(*((entry, entry + length, cause) for entry, length, cause in rows))
    curve = aalen_johansen(count_table(frame, CAUSES), CAUSES)
    reached = at_age(curve, until)
    survival, incidence, variance = slow_aalen_johansen(frame, "won", until)
    if reached.empty:
        assert (survival, incidence) == (1, 0)
        return
    row = reached.iloc[0]
    assert row["survival"] == pytest.approx(survival, abs=1e-12)
    assert row["won"] == pytest.approx(incidence, abs=1e-12)
    assert row["won_variance"] == pytest.approx(variance, abs=1e-12)
    assert row["won"] + row["lost"] + row["survival"] == pytest.approx(1)


@given(truncated, st.randoms())
def test_splitting_and_shuffling_records_changes_nothing(
    rows: list[tuple[int, int, str | None]], random: Any
) -> None:
    whole = [(entry, entry + length, cause) for entry, length, cause in rows]
    split: list[tuple[int, int, str | None]] = []
    for entry, leaves, cause in whole:
        cut = random.randint(entry + 1, leaves)
        split += (
            [(entry, cut, None), (cut, leaves, cause)] if entry < cut < leaves else [(entry, leaves, cause)]
        )
    random.shuffle(split)
    one = aalen_johansen(count_table(records(*whole), CAUSES), CAUSES)
    two = aalen_johansen(count_table(records(*split), CAUSES), CAUSES).set_index("age").loc[one["age"]]
    pd.testing.assert_frame_equal(one, two.reset_index()[one.columns])


def test_an_end_on_the_day_of_a_split_counts() -> None:
    frame = records((-1, 4, None), (4, 4, "won"), (-1, 9, None))
    curve = aalen_johansen(count_table(frame, CAUSES), CAUSES)
    assert curve.set_index("age").loc[4, ["at_risk", "won"]].tolist() == [2, 0.5]


def test_ends_on_the_first_day_count_at_age_0() -> None:
    curve = aalen_johansen(count_table(records((-1, 0, "won"), (-1, 0, None), (-1, 3, None)), CAUSES), CAUSES)
    assert curve["age"].tolist() == [0, 3]
    assert curve["won"].tolist() == pytest.approx([1 / 3, 1 / 3])


def test_without_censoring_the_variance_is_binomial() -> None:
    frame = records(*((-1, age % 7, "won" if age % 3 else "lost") for age in range(60)))
    last = aalen_johansen(count_table(frame, CAUSES), CAUSES).iloc[-1]
    assert last["won"] == pytest.approx(40 / 60)
    assert last["won_variance"] == pytest.approx(40 / 60 * 20 / 60 / 60)


def test_groups_are_apart_and_a_union_of_causes_is_a_cause() -> None:
    one, two = known("10W 20L 20+ 30W"), known("5L 10W 40+")
    both = pd.concat([one.assign(team="A"), two.assign(team="B")])
    counts = count_table(both, CAUSES, ["team"]).assign(any_end=lambda t: t["won"] + t["lost"])
    curve = aalen_johansen(counts, [*CAUSES, "any_end"], ["team"])
    for name, alone in (("A", one), ("B", two)):
        single = aalen_johansen(count_table(alone, CAUSES), CAUSES)
        part = curve[curve["team"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[single.columns], single)
    assert curve["any_end"].to_numpy() == pytest.approx(1 - curve["survival"].to_numpy())
    assert curve["any_end_variance"].to_numpy() == pytest.approx(curve["survival_variance"].to_numpy())


def test_counts_add_up() -> None:
    frame = known("10W 20L 20+ 30W 40L")
    parts = [count_table(frame[:2], CAUSES), count_table(frame[2:], CAUSES)]
    pd.testing.assert_frame_equal(add_counts(parts, CAUSES), count_table(frame, CAUSES))


def test_no_record_gives_an_empty_curve() -> None:
    assert aalen_johansen(count_table(records(), CAUSES), CAUSES).empty
    assert np.isnan(quantile(kaplan_meier(count_table(records(), CAUSES)), 0.5).iloc[0])


def test_quantiles_and_their_limits_per_group() -> None:
    frame = pd.concat([known("1x 2x 3x 4x").assign(team="A"), known("1x 9+ 9+ 9+").assign(team="B")])
    curve = kaplan_meier(count_table(frame, ["won"], ["team"]), ["team"])
    assert quantile(curve, 0.5, by=["team"]).to_dict() == {"A": 2, "B": pytest.approx(np.nan, nan_ok=True)}
    low, high = quantile(curve, 0.5, "low", ["team"]), quantile(curve, 0.5, "high", ["team"])
    assert low["A"] <= 2 <= high["A"]


def test_several_quantiles_at_once_are_each_the_first_age_that_reaches_its_share() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"team": rng.choice(["A", "B", "C"], 400), "entry": -1, "exit": rng.integers(0, 40, 400),
         "cause": rng.choice(["won", None], 400)}
    )  # fmt: skip
    curve = kaplan_meier(count_table(frame, ["won"], ["team"]), ["team"])
    wanted = {"p50": (0.5, "survival"), "p50_low": (0.5, "low"), "p90": (0.9, "survival")}
    found = quantiles(curve, wanted, ["team"]).set_index("team")
    assert list(found.columns) == list(wanted)
    for team, part in curve.groupby("team"):
        for name, (share, column) in wanted.items():
            reached = [row.age for _at, row in part.iterrows() if row[column] <= 1 - share + 1e-12]
            assert found.loc[team, name] == (min(reached) if reached else pytest.approx(np.nan, nan_ok=True))


def test_running_sums_start_anew_in_each_group() -> None:
    values, group = np.array([1.0, 2, 3, 4, 5]), np.array([0, 0, 1, 2, 2])
    assert competing_risks._running_sum(values, group).tolist() == [1, 3, 3, 4, 9]
    assert competing_risks._running_product(values, group).tolist() == [1, 2, 3, 4, 20]
    assert competing_risks._shifted(values, group, 9.0).tolist() == [9, 1, 9, 9, 4]
    none = np.array([])
    for empty in (competing_risks._running_sum(none, none), competing_risks._shifted(none, none, 1.0)):
        assert empty.size == 0


def test_limits_on_the_log_log_scale() -> None:
    with np.errstate(all="ignore"):
        other = SurvfuncRight(np.array([1, 2, 2, 3, 4, 5, 5, 6]), np.array([1, 1, 0, 1, 0, 1, 1, 0]))
    frame = kaplan_meier(count_table(known("1x 2x 2+ 3x 4+ 5x 5x 6+"), ["won"])).set_index("age")
    low, high = (float(other.quantile_ci(0.5)[side]) for side in (0, 1))
    ours = [float(quantile(frame.reset_index(), 0.5, side).iloc[0]) for side in ("low", "high")]
    assert ours[0] == low
    assert np.isnan(ours[1]) or ours[1] == high
    assert (frame["low"] <= frame["survival"]).all()
    assert (frame["survival"] <= frame["high"]).all()


def test_limits_of_all_or_nothing_are_wilsons() -> None:
    low, high = log_log_interval([0.0, 1.0, 0.0], 0.0, n=[10, 10, np.nan])
    assert [low[0], high[0]] == pytest.approx([float(limit) for limit in wilson(0, 10)])
    assert [low[1], high[1]] == pytest.approx([float(limit) for limit in wilson(10, 10)])
    assert (low[2], high[2]) == (0, 0)


def test_the_effective_number_is_that_of_the_records_seen_from_the_start() -> None:
    whole = aalen_johansen(count_table(known("1x 2x 3x 4x 5x"), ["won"]), ["won"])
    assert whole["effective_n"].to_numpy() == pytest.approx(5)
    # A censored record counts no more once the curve falls after it: 3 at risk of a share of .8.
    part = aalen_johansen(count_table(known("1x 2+ 3x 4x 5x"), ["won"]), ["won"])
    assert part["effective_n"].to_numpy() == pytest.approx([5, 5, 3.75, 3.75, 3.75])
    late = pd.DataFrame({"entry": [-1, 42, 42], "exit": [11, 189, 190], "cause": ["won"] * 3})
    curve = aalen_johansen(count_table(late, ["won"]), ["won"])
    assert curve["effective_n"].to_numpy() == pytest.approx(1)
    none = aalen_johansen(count_table(known("3+ 4+"), ["won"]), ["won"])
    assert np.isinf(none["effective_n"]).all()


def test_a_quantile_may_ask_for_enough_records() -> None:
    for size, known_shares in ((4, []), (5, [0.5, 0.75]), (9, [0.5, 0.75]), (10, [0.5, 0.75, 0.9])):
        curve = kaplan_meier(count_table(known(" ".join(f"{n}x" for n in range(1, size + 1))), ["won"]))
        wanted = {str(share): (share, "survival") for share in (0.5, 0.75, 0.9)}
        row = quantiles(curve, wanted, only_if_known=True).iloc[0]
        assert row.index[row.notna()].tolist() == [str(share) for share in known_shares]
        assert quantiles(curve, wanted).notna().all(axis=None)
