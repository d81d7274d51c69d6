"""The flows of a pipeline between two dates: what came, what changed, what went, to the cent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.errors import SalesOpsError
from salesops_kit.estimators.states import falls_in, is_open, is_true
from salesops_kit.language import ngettext
from salesops_kit.periods import Period

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
MOVES = STEPS[1:-1]
# Steps that change the amount of a deal that stays, not the number of deals.
_REVALUED = ("up", "down")
_ADVICE = "A deal's states overlap or leave a gap; run `salesops check` on the data."
_LEAVING = ("won", "lost", "pushed", "transferred_out", "removed")


def waterfall_between(states: ir.Table, first: dt.date, last: dt.date, period: Period | None) -> pd.DataFrame:
    """The thirteen lines of the waterfall from the start of ``first`` to the end of ``last``.

    Columns ``step``, ``amount`` (signed) and ``deals``; ``attrs["notes"]`` says how many deals have no
    amount. Raises :class:`SalesOpsError` unless opening and all moves give closing exactly.
    """
    found = collect(_lines(flows(stays(states, first, last, period)))).iloc[0]
    amounts = {step: exact(found[f"{step}_amount"]) for step in STEPS}
    deals = {step: 0 if pd.isna(found[f"{step}_deals"]) else int(found[f"{step}_deals"]) for step in STEPS}
    _reconcile(amounts, deals, broken=0 if pd.isna(found["broken"]) else int(found["broken"]))
    result = pd.DataFrame(
        {
            "step": list(STEPS),
            "amount": [float(amounts[step]) for step in STEPS],
            "deals": [deals[step] for step in STEPS],
        }
    )
    unknown = 0 if pd.isna(found["unknown_amount"]) else int(found["unknown_amount"])
    notes = []
    if unknown:
        text = ngettext(
            "{count} deal of the waterfall has no amount and counts as 0.",
            "{count} deals of the waterfall have no amount and count as 0.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    result.attrs["notes"] = notes
    return result


def stays(
    states: ir.Table, first: dt.date, last: dt.date, period: Period | None, also: Sequence[str] = ()
) -> ir.Table:
    """One row per deal and stay in a team that touches the window: how it began (``s_``), how it ended
    (``e_``), and whether it was open in between. ``also`` names further columns to be told so."""
    opens, closes = ibis.literal(first), ibis.literal(last)
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
        *also,
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
    begins = (rows.kind != "continued").cast("int32")
    rows = rows.mutate(
        stay=begins.sum().over(
            ibis.window(group_by=rows.opportunity_id, order_by=rows.state_no, preceding=None, following=0)
        )
    )
    first_row, last_row = rows.kind != "continued", rows.is_last

    def flag(value: ir.BooleanValue) -> ir.BooleanValue:
        return value.cast("int32").max() == 1

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
        **{f"s_{name}": rows[name].max(where=first_row) for name in also},
        **{f"e_{name}": rows[name].max(where=last_row) for name in also},
        is_broken=(first_row.cast("int32").sum() != 1)
        | (last_row.cast("int32").sum() != 1)
        | flag((rows.kind == "opening") & (rows.stay != 1)),
    )


def flows(stays: ir.Table, also: Sequence[str] = ()) -> ir.Table:
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
        *also,
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


def exact(value: object) -> Decimal:
    """An amount as the engine gives it, with nothing for a missing one."""
    return Decimal(0) if value is None or value != value else Decimal(str(value))


def refuse_broken(stays_broken: int) -> None:
    """Raises :class:`SalesOpsError` when stays cannot be followed from their first state to their last."""
    if stays_broken:
        raise SalesOpsError(
            f"the waterfall cannot follow {stays_broken} deals from opening to closing. {_ADVICE}"
        )


def _reconcile(amounts: dict[str, Decimal], deals: dict[str, int], broken: int) -> None:
    """Raises unless every stay is one unbroken chain of states and the lines add up."""
    refuse_broken(broken)
    moved = sum((amounts[step] for step in MOVES), Decimal(0))
    counted = sum(
        -deals[step] if step in _LEAVING else deals[step] for step in MOVES if step not in _REVALUED
    )
    if amounts["opening"] + moved != amounts["closing"] or deals["opening"] + counted != deals["closing"]:
        raise SalesOpsError(
            f"the waterfall does not reconcile: opening {amounts['opening']} ({deals['opening']} deals) and"
            f" moves {moved} ({counted} deals) do not give closing {amounts['closing']}"
            f" ({deals['closing']} deals). {_ADVICE}"
        )
