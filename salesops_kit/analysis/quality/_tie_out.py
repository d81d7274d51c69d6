"""Declared control totals of a period beside what the rows come to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.states import known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import COMPANY, Settings

COLUMNS = ["source", "measure", "declared", "computed", "difference", "is_tied"]
BOOKINGS = "bookings"
HALF_CENT = 0.005


@table(units={"declared": "money", "computed": "money", "difference": "money"})
def tie_out(
    opportunity_states: ir.Table,
    control_totals: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None,
) -> pd.DataFrame:
    """Bookings as a dashboard or the finance department declares them against those of the rows.

    One row per control total whose period is the quarter's label and whose measure is ``bookings``:
    ``source``, ``measure``, ``declared``, ``computed`` (amount won with a close date in the quarter, in
    base currency), ``difference`` (computed less declared) and ``is_tied`` (less than half a cent apart).

    Control totals are the company's: in a team's rows one row tells, without amounts, whether all the
    company's totals tie (source ``company``), where other teams make that no secret of one. No row
    without a period, before the period has ended, or where nothing is declared; a declared value that
    is missing ties with nothing.
    """
    if period is None or as_of < period.last_day:
        return _frame([])
    if control_totals is None:
        checked = (reference or {}).get("declared", 0)
        rows = [(COMPANY, BOOKINGS, None, None, None, reference["tied"] == checked)] if checked else []  # type: ignore[index]
        return _frame(rows)
    declared = declared_bookings(control_totals, period)
    if declared.empty:
        return _frame([])
    won = won_in(known_states(opportunity_states, as_of), period)
    total = collect(won.aggregate(amount=won.amount.sum()))["amount"].iloc[0]
    computed = 0.0 if pd.isna(total) else float(total)
    return _frame(
        [
            (source, BOOKINGS, value, computed, computed - value, abs(computed - value) < HALF_CENT)
            for source, value in declared.itertuples(index=False)
        ]
    )


def declared_bookings(control_totals: ir.Table, period: Period) -> pd.DataFrame:
    """The bookings that are declared for a period: ``source`` and ``value`` as float, by source."""
    mine = control_totals.filter(
        control_totals.period == period.label, control_totals.measure.lower() == BOOKINGS
    )
    frame = collect(mine.select("source", "value")).astype({"value": "float64"})
    frame["source"] = frame["source"].fillna(_("a total without a source"))
    return frame.sort_values(["source", "value"], ignore_index=True)


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs["empty"] = _("No total is declared for a quarter that has ended.")
    return frame.astype({"declared": float, "computed": float, "difference": float, "is_tied": bool})
