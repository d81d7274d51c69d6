"""Create-and-close: bookings from deals that the quarter did not begin with."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._linearity import QUARTERS
from salesops_kit.analysis.pipeline._quarters import (
    current_quarter,
    day_of_quarter,
    first_known_day,
    floats,
    quarter_number,
    span,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.intervals import Array, ratio
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.states import days_between, known_states
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_BEFORE = -1
_RESULT = [
    "quarter", "bookings", "deals", "created_in_quarter", "created_in_quarter_deals", "share", "deals_share",
    "unknown_bookings", "is_complete",
]  # fmt: skip
_WEEKS = [
    "week", "share_median", "share_low", "share_high", "rest_share_median", "rest_share_low",
    "rest_share_high", "quarters_observed",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["bookings", "created_in_quarter", "unknown_bookings"], "money"),
        **dict.fromkeys(["deals", "created_in_quarter_deals"], "deals"),
        **dict.fromkeys(["share", "deals_share"], "rate"),
    }
)
def create_and_close(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """The share of each quarter's bookings that came from deals created in that quarter.

    One row per quarter, for the ``quarters`` that end with the report's, oldest first; those that began
    before the first day known have none. ``bookings`` (base currency) and ``deals``: won with a close date
    in the quarter, as known at the end of ``as_of``. ``created_in_quarter`` and ``created_in_quarter_deals``:
    those of them created on the quarter's first day or later. ``share`` (0-1) = created in quarter / bookings
    with a known creation date, ``deals_share`` the same in deals; missing where nothing was booked.
    ``unknown_bookings`` have no creation date. ``is_complete`` is false while the quarter runs: its share is
    that of the bookings so far, and it still rises.

    Raises :class:`NotAvailableError` when the data has no creation dates, :class:`InputError` for fewer
    than 1 quarter.
    """
    shown, frame = _counts(opportunity_states, opportunities, as_of, period, settings, quarters)
    rows = []
    for place, quarter in shown.items():
        own = frame[frame["number"] == place]
        dated, inside = own[own["created_week"].notna()], own[own["created_week"] >= 0]
        bookings, deals = float(own["amount"].sum()), int(own["deals"].sum())
        created, created_deals = float(inside["amount"].sum()), int(inside["deals"].sum())
        rows.append((
            quarter.label, bookings, deals, created, created_deals,
            float(ratio(created, dated["amount"].sum())), float(ratio(created_deals, dated["deals"].sum())),
            bookings - float(dated["amount"].sum()), as_of >= quarter.last_day,
        ))  # fmt: skip
    result = pd.DataFrame(rows, columns=_RESULT)
    result.attrs["notes"] = _notes(frame, shown, as_of)
    return result


@table(
    units=dict.fromkeys([name for name in _WEEKS if "share" in name], "rate"),
)
def create_and_close_by_week(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """How much of a quarter's bookings is not in the pipeline yet, week by week.

    One row per ``week`` of the quarter, over the quarters of ``create_and_close`` that are complete
    (``quarters_observed`` have that week and a figure for it). At the end of week w (week 0: when the
    quarter opens), ``share`` (0-1) is what deals created after it bring in the quarter / all bookings of the
    quarter, and ``rest_share`` the same / the bookings with a close date after it: create-and-close's part
    of what is still to come. Of both the median, the smallest (``_low``) and the largest (``_high``)
    over the quarters. A quarter in which the denominator is 0 has no figure; bookings without a creation
    date are left out.
    """
    shown, frame = _counts(opportunity_states, opportunities, as_of, period, settings, quarters)
    frame = frame[frame["created_week"].notna()]
    rows = []
    complete = {place: quarter for place, quarter in shown.items() if as_of >= quarter.last_day}
    lengths = {place: len(settings.fiscal.weeks(quarter)) for place, quarter in complete.items()}
    for week in range(max(lengths.values(), default=0) + 1):
        has_week = [place for place, length in lengths.items() if week <= length]
        later = _sums(frame[frame["created_week"] >= week], has_week)
        of_all = ratio(later, _sums(frame, has_week))
        of_rest = ratio(later, _sums(frame[frame["close_week"] >= week], has_week))
        rows.append((week, *_spread(of_all), *_spread(of_rest), int(np.isfinite(of_all).sum())))
    result = pd.DataFrame(rows, columns=_WEEKS)
    result.attrs["notes"] = _notes(frame, complete, as_of)
    return result


def _sums(frame: pd.DataFrame, quarters: list[int]) -> Array:
    """The amount of each of the quarters."""
    numbers = frame["number"].to_numpy(int)
    amounts = np.bincount(numbers, frame["amount"], minlength=max(quarters, default=0) + 1)
    return np.asarray(amounts[quarters], dtype=float) if quarters else np.array([])


def _spread(values: Array) -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    return float(np.median(known)), float(known.min()), float(known.max())


def _counts(
    states: ir.Table,
    opportunities: ir.Table | None,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int,
) -> tuple[dict[int, Period], pd.DataFrame]:
    """Deals and amounts won per quarter, week of creation (-1: before the quarter) and week of closing, the
    quarter's first week being 0; and the quarters that were observed, by their number."""
    if opportunities is None or "created_date" not in opportunities.columns:
        raise NotAvailableError(_("Create-and-close needs the date on which each deal was created."))
    shown = trailing_quarters(current_quarter(as_of, period, settings), quarters, settings)
    won = won_in(known_states(states, as_of), span(shown))
    tables = {"opportunity_states": states, "opportunities": opportunities}
    rows = join_dimensions(won, (), tables, ["created_date"])
    rows = rows.mutate(number=quarter_number(rows.close_date, shown))
    opens = day_of_quarter(rows.number, [quarter.start for quarter in shown])
    # Fiscal weeks are seven days from the quarter's first day, in either calendar.
    created = days_between(rows.created_date, opens)
    rows = rows.mutate(
        created_week=ibis.cases((created < 0, _BEFORE), (created >= 0, (created // 7).cast("int64"))),
        close_week=(days_between(rows.close_date, opens) // 7).cast("int64"),
    )
    grouped = rows.group_by(["number", "created_week", "close_week"])
    frame = floats(collect(grouped.aggregate(deals=rows.count(), amount=rows.amount.sum())), ["amount"])
    first = first_known_day(states)
    observed = {n: quarter for n, quarter in enumerate(shown) if first is not None and quarter.start >= first}
    return observed, frame[frame["number"].isin(observed)]


def _notes(frame: pd.DataFrame, shown: dict[int, Period], as_of: dt.date) -> list[str]:
    notes = []
    unknown = int(frame.loc[frame["created_week"].isna(), "deals"].sum())
    if unknown:
        text = ngettext(
            "{count} won deal has no creation date and is in no share.",
            "{count} won deals have no creation date and are in no share.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    last = max(shown, default=None)
    if last is not None and as_of < shown[last].last_day:
        text = _("{quarter} is not over: the share is that of its bookings so far.")
        notes.append(text.format(quarter=shown[last].label))
    return notes
