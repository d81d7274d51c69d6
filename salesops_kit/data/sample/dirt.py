"""The few dirty rows of the sample: each kind put into known rows, none into a won deal."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_kit.data.sample.deals import Deals, account_keys, opportunity_keys
from salesops_kit.data.sample.lifecycle import NEW
from salesops_kit.data.sample.planted import DirtyRow, Ledger
from salesops_kit.data.sample.timeline import day_from_ticks, day_of
from salesops_kit.data.sample.world import LOST, OPEN_STAGES, World
from salesops_kit.data.sample.write import Format, as_text

QUARANTINED, NOTED = "quarantined", "noted"
ROWS_NEEDED = 60
OVERDUE_DAYS = (45, 90, 200)
STRANGE_STAGE = "Verbal Yes"
UNKNOWN_OWNER, UNKNOWN_ACCOUNT = "U99999", "AC9999999"


class _Columns:
    """A table whose columns are edited as text and turned back into their types."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._edits: dict[str, dict[int, str | None]] = {}

    def put(self, column: str, row: int, value: str | None) -> None:
        self._edits.setdefault(column, {})[row] = value

    def finish(self, format: Format) -> pa.Table:  # noqa: A002
        table = self.table
        for column, edits in self._edits.items():
            whole = table[column].combine_chunks()
            values = as_text(whole).to_pylist()
            for row, value in edits.items():
                values[row] = value
            edited = pa.array(values, type=pa.string())
            if format == "parquet":
                edited = edited.cast(whole.type)
            table = table.set_column(table.column_names.index(column), column, edited)
        return table


def soil_accounts(table: pa.Table, first: int, format: Format, ledger: Ledger) -> pa.Table:  # noqa: A002
    """Variants of a region, and two accounts that are entered again under nearly the same name."""
    rows = np.flatnonzero(pc.equal(table["region"], "EMEA").to_numpy())[3:5]
    if len(table) < ROWS_NEEDED or len(rows) < 2:
        return table
    columns = _Columns(table)
    for row, variant in zip(rows, ("EMEA ", "emea"), strict=True):
        columns.put("region", int(row), variant)
        key = table["account_id"][int(row)].as_py()
        ledger.dirty.append(DirtyRow("accounts", key, "region", "variant of a category", NOTED, variant))
    twins = table.take(pa.array([7, 11]))
    names = [f"{twins['name'][0].as_py()} Inc.", twins["name"][1].as_py().upper() + " "]
    ids = account_keys(first + len(table) + np.arange(2))
    for place, name in enumerate(names):
        of = twins["account_id"][place].as_py()
        key = ids[place].as_py()
        ledger.dirty.append(DirtyRow("accounts", key, "name", f"near duplicate of {of}", NOTED, name))
    twins = twins.set_column(0, "account_id", ids).set_column(1, "name", pa.array(names, type=pa.string()))
    return pa.concat_tables([columns.finish(format), twins.cast(table.schema)]).combine_chunks()


def soil_deals(
    table: pa.Table, history: pa.Table, deals: Deals, world: World, format: Format, ledger: Ledger  # noqa: A002
) -> tuple[pa.Table, pa.Table]:  # fmt: skip
    """Every kind of dirty deal row; what a change log would show too is also put into the history."""
    start = day_from_ticks(deals.start)
    clean = ~deals.is_deleted & (deals.type == NEW) & (deals.amount > 0)
    recent = start < world.end_day - 30
    lost = np.flatnonzero(clean & (deals.stage == LOST) & (start > world.end_day - 700) & recent)
    opened = np.flatnonzero(clean & (deals.stage < OPEN_STAGES) & (start < world.end_day - 60))
    if len(lost) < ROWS_NEEDED or len(opened) < 12:
        return table, history
    spread = iter(lost[np.linspace(2, len(lost) - 3, 30).astype(np.int64)].tolist())
    waiting = iter(opened[np.linspace(0, len(opened) - 1, 8).astype(np.int64)].tolist())
    now, past = _Columns(table), _Columns(history)
    ids = opportunity_keys(deals.number)

    def soil(row: int, column: str, value: str | None, kind: str, effect: str = NOTED) -> None:
        now.put(column, row, value)
        ledger.dirty.append(DirtyRow("opportunities", ids[row].as_py(), column, kind, effect, value))

    def rewrite(row: int, column: str, value: str | None, *, only: int | None = None) -> None:
        for place in np.flatnonzero(deals.changes.deal == row):
            stage = int(deals.changes.stage[place])
            closing = column == "close_date" and stage >= OPEN_STAGES  # keeps the day on which it closed
            if not closing and only in (None, stage):
                past.put(column, int(place), value)

    if format == "csv":
        for value in ("n/a", "1,234.5x"):
            soil(next(spread), "amount", value, "amount is not a number", QUARANTINED)
        soil(next(spread), "close_date", "2026-02-30", "impossible date", QUARANTINED)
    soil(next(spread), "close_date", "9999-12-31", "impossible date", QUARANTINED)
    for _ in range(2):
        row = next(spread)
        soil(row, "close_date", day_of(start[row] - 10).isoformat(), "closed before it was created")
    for _ in range(2):
        row = next(spread)
        soil(row, "owner_id", UNKNOWN_OWNER, "unknown owner")
        rewrite(row, "owner_id", UNKNOWN_OWNER)
    soil(next(spread), "account_id", UNKNOWN_ACCOUNT, "account that does not exist")
    row = next(waiting)
    soil(row, "stage", STRANGE_STAGE, "stage that is not in stages")
    rewrite(row, "stage", STRANGE_STAGE, only=int(deals.stage[row]))
    for source, amount, kind in ((spread, "-4200.00", "negative amount"), (waiting, "0.00", "zero amount")):
        row = next(source)
        soil(row, "amount", amount, kind)
        rewrite(row, "amount", amount)
    row = next(spread)
    soil(row, "currency", None, "missing currency")
    rewrite(row, "currency", None)
    for days in OVERDUE_DAYS:
        row = next(waiting)
        value = day_of(max(world.end_day - days, int(start[row]) + 5)).isoformat()
        soil(row, "close_date", value, "open with a close date in the past")
        rewrite(row, "close_date", value)
    for _ in range(3):
        soil(next(spread), "loss_reason", None, "closed without a loss reason")
    for variant in ("referral ", "WEBSITE"):
        soil(next(spread), "lead_source", variant, "variant of a category")
    return _repeat(now.finish(format), next(spread), next(spread), ledger), past.finish(format)


def _repeat(table: pa.Table, twin: int, nameless: int, ledger: Ledger) -> pa.Table:
    """One row twice, and one more row without an id at the end."""
    key = table["opportunity_id"][twin].as_py()
    ledger.dirty.append(DirtyRow("opportunities", key, "opportunity_id", "duplicate key", QUARANTINED, key))
    ledger.dirty.append(DirtyRow("opportunities", None, "opportunity_id", "missing key", QUARANTINED))
    row = table.slice(nameless, 1)
    row = row.set_column(0, "opportunity_id", pa.array([None], type=pa.string()))
    parts = [table.slice(0, twin + 1), table.slice(twin, len(table) - twin), row]
    return pa.concat_tables(parts).combine_chunks()
