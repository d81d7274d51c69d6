"""Update files for Data Loader and for HubSpot's import: one row per record, one file per object."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from salesops_kit.fixes.applying import Updates
from salesops_kit.fixes.crm import CrmTable
from salesops_kit.publishing.files import replace_file


def update_csv(records: Mapping[str, Mapping[str, str]], table: CrmTable) -> str:
    """The updates of one table as CSV: the record's id, and a column per field that any record changes.

    A field that a record does not change is empty, which both imports leave as it is.

    >>> print(update_csv({"006A": {"amount": "10"}}, CrmTable("Deal", "Id", {"amount": "Amount"})), end="")
    Id,Amount
    006A,10
    """
    columns = [name for name in table.fields if any(name in values for values in records.values())]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([table.id, *(table.fields[name] for name in columns)])
    for record, values in sorted(records.items()):
        writer.writerow([record, *(values.get(name, "") for name in columns)])
    return text.getvalue()


def write_updates(updates: Updates, tables: Mapping[str, CrmTable], out: Path) -> list[Path]:
    """Write one file per object and return them: ``out`` itself where there is one, else ``out`` with the
    object's name before its suffix. Each file is whole or absent."""
    written = []
    for name, records in updates.values.items():
        table = tables[name]
        path = out if len(updates.values) == 1 else out.with_name(f"{out.stem}-{table.object}{out.suffix}")
        replace_file(path, update_csv(records, table).encode("utf-8"), private=None)
        written.append(path)
    return written
