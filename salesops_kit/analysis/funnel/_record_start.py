"""Whether the record begins with survivors: deals that were closed before it began are missing."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy import special

from salesops_kit import formats
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.intervals import CONFIDENCE, SIGNIFICANCE, ratio
from salesops_kit.estimators.states import days_between, is_true, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

WEEK_DAYS = 7
LEAST_WEEKS = 26
MOST_MONTHS = 12
# A start counts as cut off where fewer than half of the expected closings were recorded, chance allowed for.
LEAST_RATIO = 0.5
_MONDAY = dt.date(1970, 1, 5)
_NOTHING = pd.DataFrame({"week": [], "created": [], "closed": [], "expected_closed": []}, dtype=float)


@table(
    units={
        **dict.fromkeys(["created", "closed", "expected_closed"], "deals"),
        **dict.fromkeys(["ratio", "low", "high"], "rate"),
    }
)
def record_start(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> pd.DataFrame:
    """The first months of the data: deals closed against what later deals of the same age lead to expect.

    An export that begins with the deals closed since some day lacks those that were created and closed
    before it: the oldest cohorts hold only their slow deals, and their win rates and cycles are those of
    survivors. It shows as months in which deals were open, and none was closed.

    One row per fiscal month from the first creation date, at most 12 and not beyond the first half of the
    weeks known. ``month``; ``created`` and ``closed`` deals by week; ``expected_closed``: the open deals of
    each week times the share that deals of the same age in weeks were closed with, a week, in the second half
    of the data; ``ratio`` = closed / expected, with exact 95 % Poisson limits ``low`` and ``high``;
    ``p_value`` of so few or fewer; ``is_truncated``: this month, or a later one, and all months up to it
    together, have fewer than half of the expected closings (upper limit below one half, p below 0.05).
    ``attrs["first_whole_date"]`` is then the day after the last such month, and a note says so. Duplicates
    count as closed; deleted deals are left out.

    Without 26 weeks of data nothing can be expected: no row. Raises :class:`NotAvailableError` where the
    data has no creation dates.
    """
    if opportunities is None or "created_date" not in opportunities.columns:
        raise NotAvailableError(_("When deals were created is not known."))
    known = known_states(opportunity_states, as_of)
    read = ["is_closed", "stage_since_date"]
    rows = join_dimensions(known, (), {"opportunities": opportunities}, ["created_date"], only=read)
    monday = ibis.literal(_MONDAY)
    weeks = rows.select(
        created=days_between(rows.created_date, monday) // WEEK_DAYS,
        ended=ibis.cases((is_true(rows.is_closed), days_between(rows.stage_since_date, monday) // WEEK_DAYS)),
    )
    weeks = weeks.filter(weeks.created.notnull())
    found = collect(weeks.group_by("created", "ended").aggregate(deals=lambda t: t.count()))
    last = (as_of - _MONDAY).days // WEEK_DAYS
    first = int(found["created"].min()) if len(found) else last
    half = first + (last - first + 1) // 2
    expected = _expected(found, first, half, last) if last - first + 1 >= LEAST_WEEKS else _NOTHING
    result, begin = _by_month(expected, settings)
    result.attrs["notes"] = []
    if begin is not None:
        cut = result[result["is_truncated"]]
        text = _(
            "Deals closed before {day} are missing: {closed} are recorded where deals of that age lead to"
            " expect {expected}. Cohorts created before that day hold only their slow deals."
        )
        result.attrs["first_whole_date"] = begin.isoformat()
        result.attrs["notes"] = [
            text.format(
                day=formats.date(begin),
                closed=int(cut["closed"].sum()),
                expected=round(float(cut["expected_closed"].sum())),
            )
        ]
    return result


def _expected(found: pd.DataFrame, first: int, half: int, last: int) -> pd.DataFrame:
    """Per week of the first half: deals created and closed in it, and the closings that the open ones lead
    to expect by the weekly rates of the second half."""
    size = last - first + 1
    ended = found[found["ended"].notna()]
    created = np.zeros(size)
    np.add.at(created, found["created"].to_numpy(int) - first, found["deals"].to_numpy(float))
    # Closings dated before the creation count in the week of the creation.
    week = np.maximum(ended["ended"].to_numpy(int), ended["created"].to_numpy(int)) - first
    closings = np.zeros((size, size))
    np.add.at(closings, (ended["created"].to_numpy(int) - first, week), ended["deals"].to_numpy(float))
    at_risk = np.triu(np.repeat(created[:, None], size, axis=1))
    at_risk[:, 1:] -= np.triu(closings.cumsum(axis=1))[:, :-1]
    at_risk = np.triu(at_risk)
    age = np.arange(size)[None, :] - np.arange(size)[:, None]
    late = (age >= 0) & (np.arange(size)[None, :] >= half - first)
    exposed = np.bincount(age[late], weights=at_risk[late], minlength=size)
    rate = np.nan_to_num(ratio(np.bincount(age[late], weights=closings[late], minlength=size), exposed))
    early = slice(0, half - first)
    expected = (at_risk * rate[np.maximum(age, 0)])[:, early].sum(axis=0)
    return pd.DataFrame(
        {
            "week": np.arange(first, half),
            "created": created[early],
            "closed": closings[:, early].sum(axis=0),
            "expected_closed": expected,
        }
    )


def _by_month(weeks: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, dt.date | None]:
    """The weeks summed by the fiscal month that holds their Thursday, and when the record is whole."""
    thursdays = [_MONDAY + dt.timedelta(weeks=int(week), days=3) for week in weeks["week"]]
    months = [settings.fiscal.month_of(day) for day in thursdays]
    listed = sorted(set(months))[:MOST_MONTHS]
    result = weeks.drop(columns="week").assign(month=[month.label for month in months])
    result = result.groupby("month", sort=False).sum().reindex([month.label for month in listed])
    closed, expected = result["closed"].to_numpy(float), result["expected_closed"].to_numpy(float)
    result["ratio"] = ratio(closed, expected)
    tail = (1 - CONFIDENCE) / 2
    low = np.where(closed > 0, special.gammaincinv(np.maximum(closed, 1), tail), 0.0)
    result["low"] = ratio(low, expected)
    result["high"] = ratio(special.gammaincinv(closed + 1, 1 - tail), expected)
    result["p_value"] = np.where(expected > 0, special.pdtr(closed, expected), np.nan)
    is_short = (result["high"] < LEAST_RATIO) & (result["p_value"] < SIGNIFICANCE)
    # The very first month has few deals that are old enough to tell; a later short one speaks for it too.
    short = np.flatnonzero(is_short & (closed.cumsum() < LEAST_RATIO * expected.cumsum()))
    end = int(short[-1]) + 1 if len(short) else 0
    result["is_truncated"] = np.arange(len(result)) < end
    begin = listed[end - 1].end if end else None
    counts = ["created", "closed"]
    return result.reset_index().astype(dict.fromkeys(counts, "int64")), begin
