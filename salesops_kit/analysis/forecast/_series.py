"""Rung 4: exponential smoothing, Theta and ARIMA of monthly bookings, combined."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from scipy import special
from statsmodels.tools.sm_exceptions import ConvergenceWarning, EstimationWarning
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.statespace.sarimax import SARIMAX

from salesops_kit.analysis.forecast._conformal import miss
from salesops_kit.analysis.forecast._history import Floats, Ints
from salesops_kit.analysis.forecast._view import View
from salesops_kit.periods import Period

# Months that must be known for any fit, and for a season of so many months.
FEWEST_MONTHS = 12
SEASONS = {3: 16, 12: 28}
# A season is taken for real when chance alone would show it this rarely.
LEVEL = 0.01
# Months that differ by less, as a share of their mean, are all alike.
ALIKE = 1e-9
# Steps of the search for the autoregression's two numbers.
STEPS = 20
# Past quarters whose misses make the range.
QUARTERS = 8


def monthly(months: Floats, ahead: int) -> Floats:
    """The next ``ahead`` months, at least 0 each: the mean of what three methods expect.

    These are exponential smoothing of the level, the Theta method and a first-order autoregression around
    a mean, each of the months less the season that :func:`season_of` finds, which is added again. Fewer
    than twelve months, or months that are all alike, give their mean.
    """
    return np.array(_monthly(tuple(float(value) for value in months), ahead))


@lru_cache(maxsize=4096)
def _monthly(months: tuple[float, ...], ahead: int) -> tuple[float, ...]:
    values = np.array(months)
    scale = float(np.abs(values).mean()) if len(values) else 0.0
    if len(values) < FEWEST_MONTHS or np.ptp(values) <= ALIKE * scale:
        return (max(float(values.mean()), 0.0) if len(values) else 0.0,) * ahead
    season = season_of(values / scale)
    place = np.arange(len(values) + ahead) % len(season)
    rest = values / scale - season[place[: len(values)]]
    if np.ptp(rest) <= ALIKE:
        found = np.full((1, ahead), rest.mean())
    else:
        with warnings.catch_warnings():
            # A search that stops early, or begins from a guess, is as good as any in a mean of three.
            for ignored in (ConvergenceWarning, EstimationWarning, RuntimeWarning):
                warnings.simplefilter("ignore", ignored)
            found = np.array([method(rest, ahead) for method in (smoothing, theta, autoregression)])
    coming = np.maximum(found + season[place[len(values) :]], 0).mean(axis=0) * scale
    return tuple(float(value) for value in coming)


def smoothing(values: Floats, ahead: int) -> Floats:
    """Simple exponential smoothing, by the likelihood of additive errors (ETS A, N, N)."""
    fitted = ETSModel(values, error="add").fit(disp=False, maxiter=60)
    return np.asarray(fitted.forecast(ahead), float)


def theta(values: Floats, ahead: int) -> Floats:
    """The Theta method: simple exponential smoothing and half the slope of a straight line."""
    fitted = ThetaModel(values, deseasonalize=False).fit()
    return np.asarray(fitted.forecast(ahead), float)


def autoregression(values: Floats, ahead: int) -> Floats:
    """ARIMA (1, 0, 0) around a mean, stationary, by maximum likelihood."""
    model = SARIMAX(values, order=(1, 0, 0), trend="c", concentrate_scale=True)
    fitted = model.fit(disp=False, maxiter=STEPS, cov_type="none", low_memory=True)
    return np.asarray(fitted.forecast(ahead), float)


def season_of(values: Floats) -> Floats:
    """How far each month of the season lies above its mean: 3 months, 12 months, or a single 0 for none.

    By the F test of a mean for each month of the season beside a straight trend: that of the quarter
    against none, then that of the year against what was found. Too few months have no season.

    >>> season_of(np.array([1.0, 2, 6] * 6)).round(9).tolist()
    [-2.0, -1.0, 3.0]
    """
    found, left = _profile(values, 1)
    for season, fewest in SEASONS.items():
        if len(values) < fewest:
            continue
        profile, rest = _profile(values, season)
        more, free = season - len(found), len(values) - season - 1
        ratio = (left - rest) / more / max(rest / free, np.finfo(float).tiny)
        if special.fdtrc(more, free, max(ratio, 0.0)) < LEVEL:
            found, left = profile, rest
    return found


def _profile(values: Floats, season: int) -> tuple[Floats, float]:
    """The months of a season beside a straight trend, around 0, and the sum of squares they leave."""
    place = np.arange(len(values))
    terms = np.column_stack([place, place[:, None] % season == np.arange(season)])
    fitted = np.linalg.lstsq(terms, values, rcond=None)[0]
    rest = values - terms @ fitted
    return fitted[1:] - fitted[1:].mean(), float(rest @ rest)


def past_misses(view: View) -> list[float]:
    """How far off the rung was on the same day of earlier quarters.

    What it missed before it knew twelve months, when it is but their mean, says nothing of it afterwards.
    """
    enough = min(_months_known(view, view.today), FEWEST_MONTHS)
    found = []
    for past in view.past[-QUARTERS:]:
        expected = quarter_total(view, past.day, past.quarter) - past.booked
        if expected > 0 and _months_known(view, past.day) >= enough:
            found.append(miss(past.total - past.booked, expected))
    return found


def quarter_total(view: View, day: int, target: Period) -> float:
    """The quarter's total: its months that were over on a day, and the forecast of its others.

    Of the month that has begun it is what was booked by then, and of its forecast the share of the days
    to come.
    """
    starts, ends = _months(view)
    first, over = _whole_months(view, day)
    rows = view.bookings
    inside = (rows.close_day >= starts[0]) & (rows.close_day < ends[-1])
    sums = np.bincount(
        np.searchsorted(starts, rows.close_day[inside], side="right") - 1,
        weights=rows.amount[inside],
        minlength=len(starts),
    )
    stop = int(np.searchsorted(starts, target.end.toordinal()))
    begin = int(np.searchsorted(starts, target.start.toordinal()))
    ahead = stop - over
    guess = monthly(np.asarray(sums[first:over], float), ahead) if ahead > 0 else np.zeros(0)
    done = float(sums[begin : max(min(over, stop), begin)].sum())
    coming = guess[max(begin - over, 0) :].copy()
    if begin <= over < stop:
        begun = (rows.close_day >= starts[over]) & (rows.close_day <= day)
        done += float(rows.amount[begun].sum())
        coming[0] *= (ends[over] - 1 - day) / (ends[over] - starts[over])
    return done + float(coming.sum())


def _months_known(view: View, day: int) -> int:
    first, over = _whole_months(view, day)
    return max(over - first, 0)


def _whole_months(view: View, day: int) -> tuple[int, int]:
    """The first month that the data holds from its beginning, and the first that was not over on a day."""
    starts, ends = _months(view)
    first = int(np.searchsorted(starts, view.history.first))
    return first, int(np.searchsorted(ends - 1, day, side="right"))


def _months(view: View) -> tuple[Ints, Ints]:
    """The bounds of the months of the view's quarters, as ordinals: thirds of a quarter by its weeks."""
    starts: list[int] = []
    for quarter in view.quarters:
        length = (quarter.end - quarter.start).days
        # A fiscal month of 4-4-5 weeks or a calendar month: both begin near these days.
        starts += [quarter.start.toordinal() + round(length * third / 3) for third in range(3)]
    ends = [*starts[1:], view.quarters[-1].end.toordinal()]
    return np.array(starts), np.array(ends)
