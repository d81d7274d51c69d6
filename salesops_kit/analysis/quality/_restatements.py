"""Past figures that have changed since they were told, with the deals that changed them."""

from __future__ import annotations

import datetime as dt
import functools

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import known_states
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "quarter", "told_on", "source", "opportunity_id", "name", "owner_id", "told", "now", "difference", "why",
]  # fmt: skip
HALF_CENT = 0.005
EXACT = "decimal(18, 4)"
HISTORY, SNAPSHOT = "history", "snapshot"


@table(units={**dict.fromkeys(["told", "now", "difference"], "money"), "told_on": "date"})
def restatements(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    reps: ir.Table | None = None,
    earlier_deals: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = 4,
    top: int = 200,
) -> pd.DataFrame:
    """Bookings of past quarters as they were told then and as they are now, deal by deal.

    One row per quarter and deal whose amount booked in the quarter (won, with its close date in it, base
    currency) differs, for the ``quarters`` fiscal quarters that ended by ``as_of``, the report's own
    included: ``told`` is what was known at the end of ``told_on``, ``now`` what is known at the end of
    ``as_of``, ``difference`` = now - told. ``source`` says who told it: ``history``, the deal's own
    changes, with the quarter's last day as ``told_on``; or ``snapshot``, the first archived snapshot that
    knew the whole quarter, which shows also what a CRM changes without a trace. ``why``: booked later,
    no longer booked, or another amount. Largest difference first; at most ``top`` rows, a note counting
    the others. ``attrs["quarters"]`` holds the sums of each quarter and source with a difference:
    quarter, told_on, source, told, now. Raises :class:`InputError` when ``quarters`` or ``top`` is below 1.
    """
    wrong = [
        Problem("a number below 1", column=name, expected="1 or more", got=str(value))
        for name, value in (("quarters", quarters), ("top", top))
        if value < 1
    ]
    if wrong:
        raise InputError(wrong)
    past = _past(as_of, period, settings, quarters)
    now = known_states(opportunity_states, as_of)
    told: list[ir.Table] = []
    days: list[tuple[str, str, dt.date]] = []
    for quarter in past:
        then = known_states(opportunity_states, quarter.last_day)
        told.append(_told(then, quarter, quarter.last_day, HISTORY))
        days.append((quarter.label, HISTORY, quarter.last_day))
        day = _first_snapshot(earlier_deals, quarter, as_of)
        if earlier_deals is not None and day is not None:
            known = earlier_deals.filter(earlier_deals.known_date == ibis.literal(day))
            told.append(_told(known, quarter, day, SNAPSHOT))
            days.append((quarter.label, SNAPSHOT, day))
    rows = _compared(told, now, past, days)
    rows = rows.filter(rows.told != rows.now)
    owned = now.select(known_id="opportunity_id", owner_id="owner_id")
    rows = rows.left_join(owned, rows.opportunity_id == owned.known_id)
    if opportunities is not None and "name" in opportunities.columns:
        named = opportunities.select(named_id="opportunity_id", name="name")
        rows = rows.left_join(named, rows.opportunity_id == named.named_id)
    else:
        rows = rows.mutate(name=ibis.null("string"))
    return _frame(with_rep_names(_listed(collect(rows.select(*COLUMNS[:8])), top), reps))


def _past(as_of: dt.date, period: Period | None, settings: Settings, quarters: int) -> list[Period]:
    """The last quarters that have ended, the newest first."""
    fiscal = settings.fiscal
    last = period or fiscal.quarter_of(as_of)
    if last.last_day >= as_of:
        last = fiscal.previous(last)
    found = [last]
    while len(found) < quarters:
        found.append(fiscal.previous(found[-1]))
    return found


def _first_snapshot(earlier: ir.Table | None, quarter: Period, as_of: dt.date) -> dt.date | None:
    if earlier is None:
        return None
    days = [pd.Timestamp(d).date() for d in collect(earlier.select("known_date").distinct())["known_date"]]
    return min((day for day in days if quarter.last_day <= day < as_of), default=None)


def _told(rows: ir.Table, quarter: Period, day: dt.date, source: str) -> ir.Table:
    """What was booked in the quarter by what was known on a day."""
    mine = rows.filter(is_booked(rows, quarter))
    return mine.select(
        opportunity_id=mine.opportunity_id.cast("string"),
        quarter=ibis.literal(quarter.label),
        source=ibis.literal(source),
        told_on=ibis.literal(day),
        told=_exact(mine.amount),
        now=ibis.literal(0).cast(EXACT),
    )


def _exact(amount: ir.Value) -> ir.Value:
    return ibis.coalesce(amount, 0).cast(EXACT)


def _compared(
    told: list[ir.Table], now: ir.Table, past: list[Period], days: list[tuple[str, str, dt.date]]
) -> ir.Table:
    """Each deal and quarter that anybody told of, or that is booked now, with both amounts."""
    parts = functools.reduce(lambda above, below: above.union(below), map(_same_nulls, told))
    schema = {"quarter": "string", "source": "string", "told_on": "date"}
    tellers = ibis.memtable([dict(zip(schema, item, strict=True)) for item in days], schema=schema)
    label = ibis.cases(*((is_booked(now, quarter), quarter.label) for quarter in past))
    booked = now.mutate(now_quarter=label)
    booked = booked.filter(booked.now_quarter.notnull())
    # What is booked now stands beside what each source told of the quarter.
    beside = booked.inner_join(tellers, booked.now_quarter == tellers.quarter)
    beside = beside.select(
        opportunity_id=beside.opportunity_id.cast("string"),
        quarter=beside.quarter,
        source=beside.source,
        told_on=beside.told_on,
        told=ibis.literal(0).cast(EXACT),
        now=_exact(beside.amount),
    )
    both = _same_nulls(parts).union(_same_nulls(beside))
    return both.group_by("opportunity_id", "quarter", "source", "told_on").aggregate(
        told=both.told.sum(), now=both.now.sum()
    )


def _same_nulls(rows: ir.Table) -> ir.Table:
    """The rows with columns that may all be missing, as a union of such tables asks for."""
    return rows.cast({name: type_(nullable=True) for name, type_ in rows.schema().items()})


def _listed(frame: pd.DataFrame, top: int) -> pd.DataFrame:
    frame = frame.astype({"told": float, "now": float})
    frame["difference"] = frame["now"] - frame["told"]
    # What the history tells needs no snapshot to tell it again.
    told = frame[frame["source"] == HISTORY].set_index(["quarter", "opportunity_id"])["difference"]
    again = [
        row.source == SNAPSHOT
        and abs(told.get((row.quarter, row.opportunity_id), float("inf")) - row.difference) < HALF_CENT
        for row in frame.itertuples()
    ]
    frame = frame[~pd.Series(again, index=frame.index, dtype=bool)]
    frame["why"] = [_why(row.told, row.now) for row in frame.itertuples()]
    sums = frame.groupby(["quarter", "told_on", "source"], as_index=False)[
        ["told", "now", "difference"]
    ].sum()
    order = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
    shown = (
        frame.loc[order]
        .head(top)
        .sort_values(
            ["quarter", "difference", "opportunity_id"],
            ascending=[False, False, True],
            key=lambda column: column.abs() if column.name == "difference" else column,
            ignore_index=True,
        )
    )
    shown.attrs["quarters"] = sums.to_dict("records")
    hidden = len(frame) - len(shown)
    if hidden > 0:
        text = ngettext("{count} more deal is not listed.", "{count} more deals are not listed.", hidden)
        shown.attrs["notes"] = [text.format(count=hidden)]
    return shown


def _why(told: float, now: float) -> str:
    if told == 0:
        return _("booked later")
    return _("no longer booked") if now == 0 else _("another amount")


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    attrs = {"quarters": [], **frame.attrs}
    order = [*COLUMNS]
    if "rep_name" in frame:
        order.insert(order.index("owner_id") + 1, "rep_name")
    frame = frame[order].astype(dict.fromkeys(["told", "now", "difference"], float))
    frame.attrs = attrs | {"empty": _("Bookings of the past quarters are what they were told as.")}
    return frame
