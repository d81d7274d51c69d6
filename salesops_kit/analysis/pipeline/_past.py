"""What became, in past quarters, of the pipeline as it stood on the same day of the quarter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import (
    first_known_day,
    holds_on,
    quarter_number,
    span,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.states import falls_in, is_open, is_true, known_states
from salesops_kit.periods import Period, prior_as_of
from salesops_kit.settings import Settings

CELL = ("pipeline", "stage", "forecast_category")
DUE, BOOKED, LATER = "due", "booked", "later"
# A query over fewer columns takes the engine's translator less time than the engine itself.
_READ = (
    "opportunity_id", *CELL, "is_closed", "is_won", "is_deleted", "amount", "close_date", "valid_from_date",
    "valid_to_date",
)  # fmt: skip
_SUMS = ("amount", "square", "won_amount")
_COUNTS = ("deals", "won", "unknown")


@dataclass(frozen=True)
class Past:
    """Past quarters and the present one as sums.

    ``rows``: per ``quarter`` (position in ``quarters``, whose last one is the present), ``kind`` and cell
    (pipeline, stage, forecast_category; null unless ``due``) ``deals``, those ``won`` by now with a close
    date in the quarter, ``amount`` and ``square`` of what they stood at on the quarter's day,
    ``won_amount``, and ``unknown`` amounts. The kinds, as of the quarter's day: ``due``, open and due in
    the quarter; ``booked``, won with a close date in it; ``later``, won in it in the end but neither of
    the two then. Each group has its own rows, but for past deals that were ``due`` or ``booked``.
    """

    rows: pd.DataFrame
    quarters: tuple[Period, ...]
    days: tuple[dt.date, ...]

    @property
    def here(self) -> int:
        """The position of the present quarter."""
        return len(self.quarters) - 1

    def of(self, kind: str, *, past: bool) -> pd.DataFrame:
        """The rows of one kind, of the past quarters or of the present one."""
        quarter = self.rows["quarter"]
        chosen = quarter < self.here if past else quarter == self.here
        return self.rows[chosen & (self.rows["kind"] == kind)]


def past_quarters(
    states: ir.Table,
    as_of: dt.date,
    here: Period,
    settings: Settings,
    count: int,
    by: Sequence[str] = (),
    *,
    past_too: bool = False,
) -> Past:
    """The ``count`` quarters before ``here``, each as it stood as far into it as ``as_of`` is into ``here``.

    Quarters whose eve the history does not know are left out, since their pipeline was not yet complete.
    ``by`` names columns of the states to group by, with ``past_too`` the past deals as well.
    Raises :class:`InputError` when ``count`` is below 1.
    """
    if count < 1:
        raise InputError(Problem("no past quarter", column="quarters", expected="1 or more", got=str(count)))
    first = first_known_day(states)
    states = states.select(*dict.fromkeys([*_READ, *by]))
    listed = trailing_quarters(here, count + 1, settings)
    quarters = [quarter for quarter in listed[:-1] if first is not None and quarter.start > first]
    quarters = [*quarters, here]
    days = [prior_as_of(as_of, here, quarter) for quarter in quarters[:-1]] + [as_of]
    then = _on_the_day(states, quarters, days, by)
    won = won_in(known_states(states, as_of), span(quarters))
    won = won.select(
        won_id="opportunity_id",
        won_quarter=quarter_number(won.close_date, quarters),
        final_amount="amount",
        **{f"won_{name}": won[name] for name in by},
    )
    joined = then.outer_join(won, [then.opportunity_id == won.won_id, then.quarter == won.won_quarter])
    is_won = joined.won_id.notnull()
    kind = ibis.cases((joined.opportunity_id.isnull(), LATER), (joined.is_due, DUE), else_=BOOKED)
    quarter = ibis.coalesce(joined.quarter, joined.won_quarter)
    shown = (quarter == len(quarters) - 1) | joined.opportunity_id.isnull() | ibis.literal(past_too)
    amount = ibis.coalesce(joined.amount, 0)
    groups = {name: ibis.cases((shown, ibis.coalesce(joined[name], joined[f"won_{name}"]))) for name in by}
    rows = joined.select(
        quarter=quarter,
        kind=kind,
        **{name: ibis.cases((joined.is_due, joined[name])) for name in CELL},
        **{f"by_{name}": value for name, value in groups.items()},
        is_won=is_won.cast("int32"),
        amount=amount,
        won_amount=ibis.cases((is_won, ibis.coalesce(joined.final_amount, 0))),
        is_unknown=(joined.opportunity_id.notnull() & joined.amount.isnull()).cast("int32"),
    )
    keys = ["quarter", "kind", *CELL, *(f"by_{name}" for name in by)]
    sums = rows.group_by(keys).aggregate(
        deals=rows.count(),
        won=rows.is_won.sum(),
        amount=rows.amount.sum(),
        square=(rows.amount.cast("float64") * rows.amount.cast("float64")).sum(),
        won_amount=rows.won_amount.sum(),
        unknown=rows.is_unknown.sum(),
    )
    frame = collect(sums).astype(dict.fromkeys(_SUMS, "float64")).fillna(dict.fromkeys(_SUMS, 0.0))
    frame = frame.astype(dict.fromkeys(["quarter", *_COUNTS], "int64"))
    frame = frame.rename(columns={f"by_{name}": name for name in by})
    frame = frame.sort_values(list(frame.columns[: len(keys)]), ignore_index=True, na_position="first")
    return Past(frame, tuple(quarters), tuple(days))


def _on_the_day(
    states: ir.Table, quarters: Sequence[Period], days: Sequence[dt.date], by: Sequence[str]
) -> ir.Table:
    """Deals open or won whose close date, on the day of the quarter that holds it, was in that quarter."""
    # The close date tells the quarter, and with it the day on which the row has to hold: one pass does.
    whole = span(quarters)
    rows = states.filter(
        ~is_true(states.is_deleted)
        & (is_open(states) | is_true(states.is_won))
        & falls_in(states.close_date, whole)
    )
    day = ibis.cases(
        *(
            (rows.close_date < ibis.literal(q.end), ibis.literal(d))
            for q, d in zip(quarters, days, strict=True)
        )
    )
    rows = rows.filter(holds_on(rows, day))
    rows = rows.mutate(quarter=quarter_number(rows.close_date, quarters))
    columns = dict.fromkeys(["opportunity_id", "quarter", "amount", *CELL, *by])
    return rows.select(*columns, is_due=is_open(rows))
