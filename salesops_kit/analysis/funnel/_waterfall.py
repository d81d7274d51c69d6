"""The pipeline waterfall: what happened to the open pipeline of a period between two dates."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem, SalesOpsError
from salesops_kit.estimators.states import falls_in, is_open, is_true
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

STEPS = (
    "opening",
    "created",
    "pulled_in",
    "transferred_in",
    "up",
    "reopened",
    "won",
    "lost",
    "pushed",
    "transferred_out",
    "down",
    "removed",
    "closing",
)
_NOT_MOVES = ("opening", "closing")
# Steps that change the amount of a deal that stays, not the number of deals.
_REVALUED = ("up", "down")
_LEAVING = ("won", "lost", "pushed", "transferred_out", "removed")


@table(units={"amount": "money", "deals": "deals"})
def waterfall(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    start: str = "",
) -> pd.DataFrame:
    """What moved the open pipeline due in the period from the start of one day to the end of another.

    Thirteen rows, always and in this order, with ``step``, signed ``amount`` in base currency and
    ``deals``: ``opening``; ``created`` (at the amount they had in the end), ``pulled_in`` (due date moved
    into the period) and ``transferred_in`` from another team, both at the amount they came with; ``up``
    (amount raised); ``reopened`` after being closed or deleted; ``won`` and ``lost`` at the amount they
    had in the end; ``pushed`` (due date moved out) and ``removed`` (deleted) at the amount they began
    with; ``transferred_out``; ``down`` (amount lowered); ``closing``. Opening and all steps sum to
    closing exactly, in money and in deals (``up`` and ``down`` move no deals); else
    :class:`SalesOpsError` is raised.

    Opening is the state at the start of the day ``start`` (ISO date; empty: the first day of the
    period, without a period that of the fiscal quarter of ``as_of``), closing the state at the end of
    ``as_of``. Only deals whose close date lies in the period count; without a period all do. A deal's
    stay in one team is what is followed, so that the waterfalls of teams sum to the company's line by
    line. A deal won or lost counts when it was in the pipeline before, or when its close date lies in
    the period. What comes and goes between the two dates unseen by both (created and pushed out, closed
    twice) is no step.

    An unknown amount counts as 0, and the number of such deals is noted. Raises :class:`InputError`
    when ``start`` is no date or comes after ``as_of``.
    """
    first = _first_day(start, as_of, period, settings)
    lines = collect(_lines(_flows(_stays(opportunity_states, first, as_of, period)))).iloc[0]
    amounts = {step: _decimal(lines[f"{step}_amount"]) for step in STEPS}
    deals = {step: 0 if pd.isna(lines[f"{step}_deals"]) else int(lines[f"{step}_deals"]) for step in STEPS}
    _reconcile(amounts, deals, broken=0 if pd.isna(lines["broken"]) else int(lines["broken"]))
    result = pd.DataFrame(
        {
            "step": list(STEPS),
            "amount": [float(amounts[step]) for step in STEPS],
            "deals": [deals[step] for step in STEPS],
        }
    )
    unknown = 0 if pd.isna(lines["unknown_amount"]) else int(lines["unknown_amount"])
    notes = []
    if unknown:
        text = ngettext(
            "{count} deal of the waterfall has no amount and counts as 0.",
            "{count} deals of the waterfall have no amount and count as 0.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    result.attrs.update(notes=notes, start=first.isoformat(), as_of=as_of.isoformat())
    return result


def _first_day(start: str, as_of: dt.date, period: Period | None, settings: Settings) -> dt.date:
    if not start:
        first = (period or settings.fiscal.quarter_of(as_of)).start
    else:
        try:
            first = dt.datetime.strptime(start, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            raise InputError(
                Problem(
                    "the start is no date", column="start", expected="a date such as 2026-07-01", got=start
                )
            ) from None
    if first > as_of:
        raise InputError(
            Problem(
                "the waterfall would end before it starts",
                column="start",
                expected=f"a day up to {as_of.isoformat()}, the as-of date",
                got=first.isoformat(),
            )
        )
    return first


def _stays(states: ir.Table, first: dt.date, as_of: dt.date, period: Period | None) -> ir.Table:
    """One row per deal and stay in a team that touches the window: how it began (``s_``), how it ended
    (``e_``), and whether it was open in between."""
    opens, closes = ibis.literal(first), ibis.literal(as_of)
    was_there = states.valid_from_date < opens
    still_so = states.valid_to_date.isnull() | (states.valid_to_date > closes)
    is_due = falls_in(states.close_date, period)
    # A state that spans the whole window moves nothing; unless open and due it is in no line at all,
    # and most deals of a long history are such: closed long ago.
    spans_unseen = was_there & still_so & ~(is_open(states) & is_due)
    touching = (states.valid_from_date <= closes) & (still_so | (states.valid_to_date >= opens))
    rows = states.filter(touching & ~spans_unseen)
    rows = rows.select(
        "opportunity_id",
        "state_no",
        amount=rows.amount,
        is_open=is_open(rows),
        is_won=is_true(rows.is_closed) & is_true(rows.is_won) & ~is_true(rows.is_deleted),
        is_lost=is_true(rows.is_closed) & ~is_true(rows.is_won) & ~is_true(rows.is_deleted),
        is_due=falls_in(rows.close_date, period),
        kind=ibis.cases(
            (rows.valid_from_date < opens, "opening"),
            (rows.entry == "created", "created"),
            (rows.entry == "transferred", "transferred"),
            else_="continued",
        ),
        is_transferred_out=is_true((rows.exit == "transferred") & (rows.valid_to_date <= closes)),
        is_last=is_true(rows.exit == "transferred")
        | rows.valid_to_date.isnull()
        | (rows.valid_to_date > closes),
    )
    begins = (rows.kind != "continued").cast("int64")
    rows = rows.mutate(
        stay=begins.sum().over(
            ibis.window(group_by=rows.opportunity_id, order_by=rows.state_no, preceding=None, following=0)
        )
    )
    first_row, last_row = rows.kind != "continued", rows.is_last

    def flag(value: ir.BooleanValue) -> ir.BooleanValue:
        return value.cast("int64").max() == 1

    return rows.group_by("opportunity_id", "stay").aggregate(
        kind=rows.kind.max(where=first_row),
        s_amount=ibis.coalesce(rows.amount.max(where=first_row), 0),
        e_amount=ibis.coalesce(rows.amount.max(where=last_row), 0),
        s_unknown=flag(first_row & rows.amount.isnull()),
        e_unknown=flag(last_row & rows.amount.isnull()),
        s_open=flag(first_row & rows.is_open),
        s_due=flag(first_row & rows.is_due),
        e_open=flag(last_row & rows.is_open),
        e_won=flag(last_row & rows.is_won),
        e_lost=flag(last_row & rows.is_lost),
        e_due=flag(last_row & rows.is_due),
        was_open=flag(rows.is_open),
        is_moved=flag(last_row & rows.is_transferred_out),
        is_broken=(first_row.cast("int64").sum() != 1)
        | (last_row.cast("int64").sum() != 1)
        | flag((rows.kind == "opening") & (rows.stay != 1)),
    )


def _flows(stays: ir.Table) -> ir.Table:
    """The signed amount of each stay on each line, null where the stay is not on the line."""
    s, e = stays.s_amount, stays.e_amount
    is_new = stays.kind == "created"
    e_in = stays.e_open & stays.e_due
    e_closed = stays.e_won | stays.e_lost
    was_in = ~is_new & stays.s_open & stays.s_due
    was_elsewhere = ~is_new & stays.s_open & ~stays.s_due
    was_gone = ~is_new & ~stays.s_open
    ends_here = e_in | (e_closed & stays.e_due)

    pulled = was_elsewhere & ends_here
    created = is_new & ends_here
    reopened = was_gone & (e_in | (e_closed & stays.e_due & stays.was_open))
    carried = (was_in & (e_in | e_closed)) | pulled
    in_pipeline = carried | created | reopened
    leaves_unpriced = was_in & ~e_in & ~e_closed
    lines = {
        "opening": (was_in & (stays.kind == "opening"), s),
        "created": (created, e),
        "pulled_in": (pulled, s),
        "transferred_in": (was_in & (stays.kind == "transferred"), s),
        "up": (carried & (e > s), e - s),
        "reopened": (reopened, e),
        "won": (in_pipeline & stays.e_won, -e),
        "lost": (in_pipeline & stays.e_lost, -e),
        "pushed": (leaves_unpriced & stays.e_open, -s),
        "transferred_out": (in_pipeline & e_in & stays.is_moved, -e),
        "down": (carried & (e < s), e - s),
        "removed": (leaves_unpriced & ~stays.e_open, -s),
        "closing": (e_in & ~stays.is_moved, e),
    }
    uses_start = was_in | pulled
    is_unknown = (uses_start & stays.s_unknown) | (in_pipeline & stays.e_unknown)
    return stays.select(
        **{step: ibis.cases((condition, value)) for step, (condition, value) in lines.items()},
        is_unknown=is_unknown,
        is_broken=stays.is_broken,
    )


def _lines(flows: ir.Table) -> ir.Table:
    sums = {f"{step}_amount": flows[step].sum() for step in STEPS}
    counts = {f"{step}_deals": flows[step].count() for step in STEPS}
    return flows.aggregate(
        **sums, **counts, unknown_amount=flows.is_unknown.sum(), broken=flows.is_broken.sum()
    )


def _decimal(value: object) -> Decimal:
    return Decimal(0) if value is None or value != value else Decimal(str(value))


def _reconcile(amounts: dict[str, Decimal], deals: dict[str, int], broken: int) -> None:
    """Raises unless every stay is one unbroken chain of states and the lines add up."""
    advice = "A deal's states overlap or leave a gap; run `salesops check` on the data."
    if broken:
        raise SalesOpsError(f"the waterfall cannot follow {broken} deals from opening to closing. {advice}")
    moved = sum((amounts[step] for step in STEPS if step not in _NOT_MOVES), Decimal(0))
    counted = sum(
        -deals[step] if step in _LEAVING else deals[step]
        for step in STEPS
        if step not in (*_NOT_MOVES, *_REVALUED)
    )
    if amounts["opening"] + moved != amounts["closing"] or deals["opening"] + counted != deals["closing"]:
        raise SalesOpsError(
            f"the waterfall does not reconcile: opening {amounts['opening']} ({deals['opening']} deals) and"
            f" moves {moved} ({counted} deals) do not give closing {amounts['closing']}"
            f" ({deals['closing']} deals). {advice}"
        )
