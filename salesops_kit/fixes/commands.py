"""The commands of the loop: `salesops fix-list` writes the workbook, `salesops apply-fixes` takes it back."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from salesops_kit.language import ngettext


class Severity(StrEnum):
    """The least severity that a fix list holds."""

    error = "error"
    warning = "warning"
    info = "info"


class CrmFormat(StrEnum):
    """Whose import reads the update file."""

    salesforce = "salesforce"
    hubspot = "hubspot"


def fix_list(
    data: Annotated[str, typer.Argument(help="A dataset's name or folder.")],
    out: Annotated[Path, typer.Option("--out", help="The workbook to write.")] = Path("fixes.xlsx"),
    team: Annotated[str, typer.Option("--team", help="A team; default all.")] = "company",
    quarter: Annotated[str, typer.Option("--quarter", help="Whose bookings count as exposed.")] = "",
    as_of: Annotated[str, typer.Option("--as-of", help="A date such as 2026-07-31.")] = "",
    severity: Annotated[
        Severity, typer.Option("--severity", help="The least that is listed.")
    ] = Severity.warning,
) -> None:
    """Write what is to be mended as .xlsx: a sheet per owner, with a column for the new value."""
    from salesops_kit.fixes.listing import write_fix_list

    listed = write_fix_list(data, out, team=team, quarter=quarter, as_of=as_of, severity=severity.value)
    print(f"Wrote {out}: {listed:,} to mend." if listed else f"Wrote {out}: nothing is to be mended.")


def apply_fixes(
    fixes: Annotated[Path, typer.Argument(help="The workbook that came back.")],
    data: Annotated[str, typer.Option("--data", help="The dataset that the list was made of.")],
    format_: Annotated[CrmFormat, typer.Option("--format", help="Whose import reads the file.")],
    out: Annotated[Path, typer.Option("--out", help="The update file to write.")] = Path("update.csv"),
) -> None:
    """Check a returned fix list and write the update file for Data Loader or HubSpot's import."""
    from salesops_kit.data.dataset import open_rows, open_snapshot
    from salesops_kit.fixes.applying import checked_updates
    from salesops_kit.fixes.crm import crm_tables
    from salesops_kit.fixes.sheets import read_workbook
    from salesops_kit.fixes.update_files import write_updates

    tables = crm_tables(format_.value)
    updates = checked_updates(read_workbook(fixes), open_rows(open_snapshot(data)), tables, file=fixes.name)
    for path in write_updates(updates, tables, out):
        print(f"Wrote {path}")
    for note in updates.notes:
        print(f"Note: {note}", file=sys.stderr)
    said = [
        ngettext("{n} record to update", "{n} records to update", updates.records).format(
            n=f"{updates.records:,}"
        ),
        ngettext("{n} row changes nothing", "{n} rows change nothing", updates.unchanged).format(
            n=f"{updates.unchanged:,}"
        ),
    ]
    if left := len(updates.notes):
        said.append(
            ngettext("{n} row is to be mended by hand", "{n} rows are to be mended by hand", left).format(
                n=f"{left:,}"
            )
        )
    print(f"{'; '.join(said)}.")
