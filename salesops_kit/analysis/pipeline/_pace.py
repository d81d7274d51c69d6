"""Bookings to date against what past quarters had booked by the same working day."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._linearity import QUARTERS, bookings_by_date
from salesops_kit.analysis.pipeline._quarters import (
    DAY,
    current_quarter,
    day_of_quarter,
    first_known_day,
    floats,
    holds_on,
    quarter_number,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.intervals import ratio
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.states import is_true
from salesops_kit.estimators.working_days import same_working_day, working_calendar, working_days
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_DETAIL = [
    "quarter", "day", "working_day", "working_days", "booked_by_day", "booked", "share", "implied_bookings",
]  # fmt: skip
_RESULT = [
    "quarter", "day", "working_day", "working_days", "booked_to_date", "share_median", "share_low",
    "share_high", "quarters_observed", "pace", "pace_low", "pace_high", "reason",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["booked_to_date", "pace", "pace_low", "pace_high"], "money"),
        **dict.fromkeys(["share_median", "share_low", "share_high"], "rate"),
        "day": "date",
    }
)
def pace(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """Bookings to date, and what they would come to if the quarter went on as past quarters did.

    One row. ``booked_to_date`` (base currency): won by the end of ``as_of`` with a close date in the
    report's quarter, ``working_day`` of ``working_days`` of which have passed. ``share_median``,
    ``share_low`` and ``share_high`` (0-1) are the median, the smallest and the largest share that the
    ``quarters`` before it had booked by the same working day (``pace_by_quarter`` lists them);
    ``quarters_observed`` says how many there are. ``pace`` = booked to date / median share, ``pace_low`` and
    ``pace_high`` the same at the largest and the smallest share: the range of what was seen, no interval and
    no forecast, as it looks at no open deal.

    Without a past quarter, or where the share is 0, the pace is missing and ``reason`` says why. Raises
    :class:`InputError` for fewer than 1 past quarter.
    """
    detail = _detail(opportunity_states, as_of, period, settings, quarters)
    now, past = detail.iloc[0], detail.iloc[1:]
    shares = past["share"].dropna().to_numpy(float)
    middle, low, high = (
        (float(np.median(shares)), shares.min(), shares.max()) if len(shares) else (np.nan, np.nan, np.nan)
    )
    booked = now["booked_by_day"]
    reason = ""
    if not len(shares):
        reason = _("There is no past quarter to learn from.")
    elif middle <= 0:
        reason = _("By this working day past quarters had booked nothing.")
    figures = [booked, middle, low, high, len(shares)]
    figures += [float(ratio(booked, share)) if share > 0 else np.nan for share in (middle, high, low)]
    row = [*now[["quarter", "day", "working_day", "working_days"]], *figures, reason]
    return pd.DataFrame([row], columns=_RESULT)


@table(
    units={
        **dict.fromkeys(["booked_by_day", "booked", "implied_bookings"], "money"),
        "share": "rate",
        "day": "date",
    }
)
def pace_by_quarter(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """What each past quarter had booked by the working day on which this one is.

    The report's quarter first, then the ``quarters`` before it, latest first; those that began before the
    first day known have no row. ``day`` is ``as_of``, and in a past quarter the day with the same number of
    working days behind it (``working_day`` of ``working_days``); once the quarter is over it is the last day.
    ``booked_by_day`` (base currency): won with a close date in the quarter as known at the end of that day;
    ``booked``: the same as known at ``as_of``, missing for the running quarter. ``share`` = booked by day /
    booked (0-1; more than 1 where a deal was later undone), missing where that is 0 or not known.
    ``implied_bookings`` = this quarter's bookings to date / share.
    """
    return _detail(opportunity_states, as_of, period, settings, quarters)


def _detail(
    states: ir.Table, as_of: dt.date, period: Period | None, settings: Settings, past: int
) -> pd.DataFrame:
    if past < 1:
        raise InputError(Problem("no past quarter", column="quarters", expected="1 or more", got=str(past)))
    this = current_quarter(as_of, period, settings)
    shown = trailing_quarters(this, past + 1, settings)
    calendar = working_calendar(settings)
    days = [same_working_day(as_of, this, quarter, calendar) for quarter in shown[:-1]] + [as_of]
    first = first_known_day(states)
    by_day = _booked_by_day(states, shown, days)
    final = bookings_by_date(states, as_of, shown)
    rows = []
    for place, quarter in reversed(list(enumerate(shown))):
        if quarter != this and (first is None or quarter.start < first):
            continue
        seen = min(days[place], quarter.last_day)
        inside = (final["close_date"] >= quarter.start) & (final["close_date"] < quarter.end)
        booked = float(final.loc[inside, "amount"].sum()) if as_of >= quarter.last_day else np.nan
        amount = float(by_day.get(place, 0.0))
        is_past = quarter != this
        share = float(ratio(amount, booked)) if is_past and booked > 0 else np.nan
        passed = working_days(quarter.start, seen + DAY, calendar)
        total = working_days(quarter.start, quarter.end, calendar)
        rows.append((quarter.label, days[place], passed, total, amount, booked, share))
    frame = pd.DataFrame(rows, columns=_DETAIL[:-1])
    to_date = frame["booked_by_day"].iloc[0]
    frame["implied_bookings"] = to_date / frame["share"].where(frame["share"] > 0)
    return frame


def _booked_by_day(states: ir.Table, quarters: list[Period], days: list[dt.date]) -> dict[int, float]:
    """What was won in each quarter as known at the end of its day. A close date lies in one quarter only, so
    that one scan of the history looks at each quarter on a day of its own."""
    rows = won_in(states.filter(~is_true(states.is_deleted)), None)
    rows = rows.mutate(number=quarter_number(rows.close_date, quarters))
    rows = rows.filter(rows.number.notnull())
    rows = rows.filter(holds_on(rows, day_of_quarter(rows.number, days)))
    frame = floats(collect(rows.group_by("number").aggregate(amount=rows.amount.sum())), ["amount"])
    return {int(row.number): float(row.amount) for row in frame.itertuples()}
