"""Rung 4: exponential smoothing of monthly bookings, with a range from its own past misses."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from salesops_kit.analysis.forecast._history import Floats, Ints
from salesops_kit.analysis.forecast._view import View
from salesops_kit.periods import Period

# Months that must be known for a season of the year, for one of the quarter, and for any fit.
YEAR_MONTHS, QUARTER_MONTHS, FEWEST_MONTHS = 28, 16, 12


def smoothed(months: Floats, ahead: int) -> Floats:
    """The next ``ahead`` months by exponential smoothing, at least 0 each.

    Of a level alone and, once they have been seen often enough, with a season of the quarter (period 3) or
    of the year (period 12), additive errors, the one with the least AICc. Fewer than twelve months, or
    months that are all alike, give their mean.
    """
    return np.array(_smoothed(tuple(float(value) for value in months), ahead))


@lru_cache(maxsize=4096)
def _smoothed(months: tuple[float, ...], ahead: int) -> tuple[float, ...]:
    values = np.array(months)
    scale = float(np.abs(values).mean()) if len(values) else 0.0
    if len(values) < FEWEST_MONTHS or np.ptp(values) == 0 or not scale > 0:
        return (float(values.mean()) if len(values) else 0.0,) * ahead
    options: list[dict[str, object]] = [{}]
    if len(values) >= QUARTER_MONTHS:
        options += [{"seasonal": "add", "seasonal_periods": 3}]
    if len(values) >= YEAR_MONTHS:
        options += [{"seasonal": "add", "seasonal_periods": 12}]
    best, score = None, np.inf
    for option in options:
        with warnings.catch_warnings():
            # A fit that stops early is compared by its AICc like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            fitted = ETSModel(values / scale, error="add", **option).fit(disp=False, maxiter=60)
        if np.isfinite(fitted.aicc) and fitted.aicc < score:
            best, score = fitted, float(fitted.aicc)
    if best is None:
        return (float(values.mean()),) * ahead
    return tuple(float(value) for value in np.maximum(best.forecast(ahead), 0) * scale)


def smoothed_total(view: View, day: int, target: Period) -> float:
    """The quarter's total: its months that were over on a day, and the forecast of its others, each at least
    what was booked of it then."""
    starts, ends = _months(view)
    first = np.searchsorted(starts, view.history.first)
    over = int(np.searchsorted(ends - 1, day, side="right"))
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
    guess = smoothed(np.asarray(sums[first:over], float), ahead) if ahead > 0 else np.zeros(0)
    done = float(sums[begin : max(min(over, stop), begin)].sum())
    coming = guess[max(begin - over, 0) :].copy()
    if begin <= over < stop and len(coming):
        begun = (rows.close_day >= starts[over]) & (rows.close_day <= day)
        coming[0] = max(coming[0], float(rows.amount[begun].sum()))
    return done + float(coming.sum())


def _months(view: View) -> tuple[Ints, Ints]:
    """The bounds of the months of the view's quarters, as ordinals: thirds of a quarter by its weeks."""
    starts: list[int] = []
    for quarter in view.quarters:
        length = (quarter.end - quarter.start).days
        # A fiscal month of 4-4-5 weeks or a calendar month: both begin near these days.
        starts += [quarter.start.toordinal() + round(length * third / 3) for third in range(3)]
    ends = [*starts[1:], view.quarters[-1].end.toordinal()]
    return np.array(starts), np.array(ends)
