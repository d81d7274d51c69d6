"""How evenly bookings come in over a quarter."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import (
    DAY,
    current_quarter,
    first_known_day,
    floats,
    span,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.states import known_states
from salesops_kit.estimators.working_days import elapsed, working_calendar
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

QUARTERS = 8
MONTHS = ("month_1_share", "month_2_share", "month_3_share")
_RESULT = [
    "quarter", "bookings", "deals", "linearity", "gap", "gap_date", *MONTHS, "last_two_weeks_share",
    "is_complete",
]  # fmt: skip
_CURVE = ["quarter", "day", "working_day", "elapsed", "bookings", "share", "gap"]


@table(
    units={
        "bookings": "money",
        "deals": "deals",
        **dict.fromkeys(["linearity", "gap", *MONTHS, "last_two_weeks_share"], "rate"),
        "gap_date": "date",
    }
)
def linearity(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """How evenly the bookings of each quarter came in: the largest gap to an even pace.

    One row per quarter, for the ``quarters`` that end with the report's, oldest first; those that began
    before the first day known have none. ``bookings`` (base currency) and ``deals``: won with a close date
    in the quarter, as known at the end of ``as_of``. At the end of each day the share of the quarter's
    bookings with a close date up to it is compared with the share of its working days that have passed
    (without the weekends and holidays of the settings): ``gap`` is that difference where it is largest, on
    ``gap_date`` (the first such day), negative where bookings were behind, and ``linearity`` (0-1) its size:
    0 is a perfectly even quarter. ``month_1_share``, ``month_2_share`` and ``month_3_share`` are the shares
    of the fiscal months, which sum to 1, and ``last_two_weeks_share`` that of the last 14 days.

    ``is_complete`` is false while the quarter runs; then, and where bookings are not positive, the shares
    and gaps are missing. Raises :class:`InputError` for fewer than 1 quarter.
    """
    shown, booked = _booked(opportunity_states, as_of, period, settings, quarters)
    rows = []
    for quarter in shown:
        day = booked[(booked["close_date"] >= quarter.start) & (booked["close_date"] < quarter.end)]
        total, deals = float(day["amount"].sum()), int(day["deals"].sum())
        is_complete = as_of >= quarter.last_day
        figures: list[object] = [np.nan, np.nan, None, *[np.nan] * len(MONTHS), np.nan]
        if is_complete and total > 0:
            curve = _curve(day, quarter, settings)
            gap = curve["gap"].to_numpy()
            largest = int(np.argmax(np.round(np.abs(gap), 12)))
            amounts = day.set_index("close_date")["amount"]
            by_month = [
                float(amounts[[month.contains(date) for date in amounts.index]].sum()) / total
                for month in settings.fiscal.months(quarter)
            ]
            late = float(amounts[[date >= quarter.end - 14 * DAY for date in amounts.index]].sum()) / total
            figures = [abs(gap[largest]), gap[largest], quarter.start + largest * DAY, *by_month, late]
        rows.append((quarter.label, total, deals, *figures, is_complete))
    result = pd.DataFrame(rows, columns=_RESULT)
    result.attrs["notes"] = unfinished(shown, as_of)
    return result


@table(units={"bookings": "money", **dict.fromkeys(["elapsed", "share", "gap"], "rate"), "day": "date"})
def linearity_curve(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """Cumulative bookings against elapsed working days, day by day.

    One row per ``quarter`` and ``day``, for the quarters of ``linearity``; of a running quarter only the
    days up to ``as_of``. ``working_day`` is the number of working days that have passed at the end of the
    day and ``elapsed`` (0-1) their share of the quarter's. ``bookings`` (base currency) is cumulative, by
    close date; ``share`` (0-1) is bookings / the quarter's bookings and ``gap`` = share - elapsed: both
    missing in a running quarter and where bookings are not positive.
    """
    shown, booked = _booked(opportunity_states, as_of, period, settings, quarters)
    parts = []
    for quarter in shown:
        curve = _curve(booked, quarter, settings)
        if as_of < quarter.last_day:
            curve = curve[[day <= as_of for day in curve["day"]]]
            curve = curve.assign(share=np.nan, gap=np.nan)
        parts.append(curve.assign(quarter=quarter.label))
    result = pd.concat(parts, ignore_index=True)[_CURVE] if parts else pd.DataFrame([], columns=_CURVE)
    result.attrs["notes"] = unfinished(shown, as_of)
    return result


def unfinished(quarters: list[Period], as_of: dt.date) -> list[str]:
    """The note on a quarter whose bookings are not complete yet; none when all are over."""
    if not quarters or as_of >= quarters[-1].last_day:
        return []
    text = _("{quarter} is not over: what share of its bookings came when is not known yet.")
    return [text.format(quarter=quarters[-1].label)]


def bookings_by_date(states: ir.Table, as_of: dt.date, quarters: list[Period]) -> pd.DataFrame:
    """What was won per close date as known at ``as_of``: ``close_date``, ``deals``, ``amount``."""
    won = won_in(known_states(states, as_of), span(quarters))
    frame = collect(won.group_by("close_date").aggregate(deals=won.count(), amount=won.amount.sum()))
    return floats(frame, ["amount"])


def _booked(
    states: ir.Table, as_of: dt.date, period: Period | None, settings: Settings, quarters: int
) -> tuple[list[Period], pd.DataFrame]:
    shown = trailing_quarters(current_quarter(as_of, period, settings), quarters, settings)
    first = first_known_day(states)
    frame = bookings_by_date(states, as_of, shown)
    return [each for each in shown if first is not None and each.start >= first], frame


def _curve(booked: pd.DataFrame, quarter: Period, settings: Settings) -> pd.DataFrame:
    """Each day of a quarter with the working days and the bookings behind it at its end."""
    days = [quarter.start + DAY * number for number in range(quarter.days)]
    amounts = booked.set_index("close_date")["amount"].reindex(days).fillna(0.0).to_numpy(float)
    passed = elapsed(quarter, working_calendar(settings))
    cumulative = np.cumsum(amounts)
    share = cumulative / cumulative[-1] if cumulative[-1] > 0 else np.full(len(days), np.nan)
    # A quarter of holidays alone has no pace to compare with.
    even = passed / passed[-1] if passed[-1] else np.full(len(days), np.nan)
    return pd.DataFrame(
        {"day": days, "working_day": passed, "elapsed": even, "bookings": cumulative, "share": share,
         "gap": share - even}
    )  # fmt: skip
