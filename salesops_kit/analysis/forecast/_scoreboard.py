"""What was sealed before quarters ended, scored against what came."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.estimators.states import falls_in, is_true, known_states
from salesops_kit.language import _
from salesops_kit.registry import table
from salesops_kit.settings import COMPANY, Settings

_COLUMNS = [
    "period", "sealed_on", "caller", "call", "low", "high", "actual", "off", "is_inside", "is_backdated",
    "seal",
]  # fmt: skip


@table(
    units={**dict.fromkeys(["call", "low", "high", "actual"], "money"), "off": "rate", "sealed_on": "date"}
)
def scoreboard(
    opportunity_states: ir.Table,
    sealed_forecasts: ir.Table | None = None,
    *,
    as_of: dt.date,
    settings: Settings,
) -> pd.DataFrame:
    """What was put down under a seal before quarters ended, and what came.

    One row per ``period``, day ``sealed_on`` and ``caller`` (rep, manager, executive, model), of the seals
    up to ``as_of``, newest quarter first: ``call`` (for the model the expected value with ``low`` and
    ``high``), ``actual``, what the quarter booked as known at ``as_of``, missing until its last day,
    ``off`` = call / actual
    - 1 (missing where nothing was booked), ``is_inside``, whether the actual lies within the model's range,
    ``is_backdated``, whether the data already knew later days when it was sealed, and ``seal``, the
    beginning of the seal's hash. A scope of several teams without a seal of its own has the sum of theirs,
    without a range. Empty when nothing was sealed.
    """
    if sealed_forecasts is None:
        return _empty()
    frame = collect(sealed_forecasts.filter(sealed_forecasts.sealed_on <= ibis.literal(as_of)))
    frame = frame.astype(dict.fromkeys(["call", "low", "high"], "float64"))
    if frame.empty:
        return _empty()
    if (frame["team"] == COMPANY).any():
        frame = frame[frame["team"] == COMPANY]
    keys = ["period", "sealed_on", "seal", "caller"]
    is_one = frame["team"].nunique() == 1
    rules = {"call": "sum", "low": "first" if is_one else _none, "high": "first" if is_one else _none}
    rows = frame.groupby(keys, as_index=False, sort=False).agg({**rules, "is_backdated": "max"})
    actual = {label: _booked(opportunity_states, label, as_of, settings) for label in rows["period"].unique()}
    rows["actual"] = rows["period"].map(actual).astype("float64")
    rows["off"] = rows["call"] / rows["actual"].where(rows["actual"] > 0) - 1
    inside = (rows["low"] <= rows["actual"]) & (rows["actual"] <= rows["high"])
    rows["is_inside"] = inside.astype(object).where(rows["low"].notna() & rows["actual"].notna(), None)
    rows["seal"] = rows["seal"].str.slice(0, 12)
    order = rows.sort_values(
        ["period", "sealed_on", "caller"], ascending=[False, False, True], ignore_index=True
    )
    return order[_COLUMNS]


def _none(_column: pd.Series) -> float:
    return float("nan")


def _empty() -> pd.DataFrame:
    result = pd.DataFrame([], columns=_COLUMNS)
    result.attrs["empty"] = _("Nothing is sealed yet; salesops seal puts down what is forecast today.")
    return result


def _booked(states: ir.Table, label: str, as_of: dt.date, settings: Settings) -> float:
    """What a quarter booked; missing until its last day."""
    quarter = settings.fiscal.quarter(label)
    if as_of < quarter.last_day:
        return float("nan")
    known = known_states(states, as_of)
    won = known.filter(is_true(known.is_won) & falls_in(known.close_date, quarter))
    amount = collect(won.aggregate(amount=won.amount.sum().cast("float64")))["amount"].iloc[0]
    return 0.0 if pd.isna(amount) else float(amount)
