"""Tables of two imports made comparable: ids called alike, rows in one order, values as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows

Table = list[tuple[str, ...]]


def comparable(
    rows: Rows, table: str, columns: Sequence[str], back: Mapping[str, str] | None = None
) -> Table:
    """A table's rows, sorted, every value written out and every id called as in the sample."""
    frame = engine.collect(rows.table(table).select(*columns))
    return sorted(_written(frame, back or {}))


def _written(frame: pd.DataFrame, back: Mapping[str, str]) -> Table:
    return [tuple(back.get(text, text) for text in map(_text, row)) for row in frame.itertuples(index=False)]


def _text(value: Any) -> str:
    if value is None or value is pd.NaT or value != value:
        return "-"
    if isinstance(value, Decimal | float):
        return f"{value:.4f}"
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").isoformat()
    return str(value)


def collapsed(rows: Rows, columns: Sequence[str], back: Mapping[str, str]) -> Table:
    """The history of the deals that are not deleted, without rows that repeat the state before."""
    history = rows.table("opportunity_history")
    deals = rows.table("opportunities")
    gone = deals.filter(deals.is_deleted).select("opportunity_id")
    frame = engine.collect(history.anti_join(gone, "opportunity_id").select(*columns))
    made: Table = []
    for row in sorted(_written(frame, back)):
        # The state follows the deal, the moment and the day.
        if not made or made[-1][0] != row[0] or made[-1][3:] != row[3:]:
            made.append(row)
    return made


def business_day(frame: pd.DataFrame, column: str, zone: str) -> pd.Series:
    """The days of moments in a zone."""
    return frame[column].dt.tz_convert(ZoneInfo(zone)).dt.date


def differences(expected: Table, got: Table, shown: int = 8) -> list[tuple[str, tuple[str, ...]]]:
    """Rows that only one side has; none when both hold the same rows as often."""
    from collections import Counter

    left, right = Counter(expected), Counter(got)
    missing = [("missing", row) for row in sorted((left - right).elements())]
    added = [("added", row) for row in sorted((right - left).elements())]
    return sorted(missing[:shown] + added[:shown], key=lambda item: item[1])
