"""What every list of single deals shows: the deal's name beside its id, dates and money as plain values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.estimators.dimensions import join_dimensions


def with_columns(rows: ir.Table, opportunities: ir.Table | None, columns: Sequence[str]) -> ir.Table:
    """The rows with columns of their deals; one that the data lacks is added as missing text."""
    present = [name for name in columns if opportunities is not None and name in opportunities.columns]
    if present:
        rows = join_dimensions(rows, (), {"opportunities": opportunities}, present)
    return rows.mutate(**{name: ibis.null("string") for name in columns if name not in present})


def as_shown(frame: pd.DataFrame, *, money: Sequence[str], dates: Sequence[str]) -> pd.DataFrame:
    """Money as float64 and dates as date objects or None, whatever the engine gave."""
    result = frame.copy()
    for name in money:
        result[name] = [float("nan") if value is None else float(value) for value in frame[name]]
    for name in dates:
        values = [None if pd.isna(value) else _day(value) for value in frame[name]]
        result[name] = pd.Series(values, index=frame.index, dtype=object)
    return result


def _day(value: object) -> dt.date:
    return pd.Timestamp(value).date()  # type: ignore[arg-type]
