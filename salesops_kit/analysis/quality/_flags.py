"""What is set aside and what is kept with a flag, with the money that it touches."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.checks import SET_ASIDE
from salesops_kit.data.engine import collect
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.states import is_open, known_states
from salesops_kit.periods import Period
from salesops_kit.registry import table

COLUMNS = ["problem", "action", "rows", "deals", "amount"]


@table(units={"amount": "money", "rows": "rows", "deals": "deals"})
def flags(
    opportunity_states: ir.Table,
    exclusions: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
) -> pd.DataFrame:
    """Each kind of problem of the scope's rows: how many rows have it, and what it touches.

    One row per ``problem`` and ``action`` (set aside, kept): ``rows``, and the ``deals`` with their
    ``amount`` in base currency among the deals that the page counts, those booked in the period or open
    at the end of ``as_of``. What is set aside has no amount: its row is in no figure. Most rows first.
    ``attrs["touched"]`` is the share (0-1) of the amounts counted, without their signs, that is under any
    flag, each deal once; missing when nothing is counted. ``attrs["touched_amount"]`` is that amount,
    ``attrs["set_aside"]`` counts the rows that are left out, each once whatever is wrong with it.
    """
    known = known_states(opportunity_states, as_of)
    counted = known.filter(is_open(known) | is_booked(known, period)).select(
        counted_id="opportunity_id", counted_amount="amount"
    )
    joined = exclusions.left_join(counted, exclusions.opportunity_id == counted.counted_id)
    kept = joined.action != SET_ASIDE
    grouped = joined.group_by("problem", "action", "source_file", "source_row", "counted_id").aggregate(
        n=joined.count(), amount=ibis.cases((kept, joined.counted_amount)).max()
    )
    listed = collect(grouped)
    total = collect(counted.aggregate(amount=counted.counted_amount.abs().sum()))["amount"].iloc[0]
    if listed.empty:
        return pd.DataFrame(columns=COLUMNS)
    listed["amount"] = listed["amount"].astype("float64")
    deals = listed[listed["action"] != SET_ASIDE].dropna(subset="counted_id")
    once = deals.drop_duplicates(["problem", "action", "counted_id"])
    by_problem = once.groupby(["problem", "action"]).agg(
        deals=("counted_id", "size"), amount=("amount", "sum")
    )
    frame = listed.groupby(["problem", "action"], as_index=False).agg(rows=("n", "sum"))
    frame = frame.join(by_problem, on=["problem", "action"])
    frame = frame.assign(deals=frame["deals"].fillna(0).astype(int), amount=frame["amount"].fillna(0.0))
    frame = frame.sort_values(["rows", "problem"], ascending=[False, True], ignore_index=True)[COLUMNS]
    touched = float(deals.drop_duplicates("counted_id")["amount"].abs().sum())
    counted_amount = 0.0 if pd.isna(total) else float(total)
    aside = listed[listed["action"] == SET_ASIDE]
    frame.attrs["touched_amount"] = touched
    frame.attrs["touched"] = touched / counted_amount if counted_amount > 0 else float("nan")
    frame.attrs["set_aside"] = len(aside.drop_duplicates(["source_file", "source_row"]))
    return frame
