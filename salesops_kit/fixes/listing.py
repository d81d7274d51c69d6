"""The fix list of a dataset written as a workbook."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import ibis
import pandas as pd

from salesops_kit.compute import Calculator, reference_for, resolve_choice
from salesops_kit.data import engine, scope
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import Rows, open_rows, open_snapshot
from salesops_kit.fixes.by_hand import marked
from salesops_kit.fixes.sheets import to_workbook
from salesops_kit.language import _
from salesops_kit.publishing.files import replace_file

EVERYTHING = 1_000_000


def write_fix_list(data: str, out: Path, *, team: str, quarter: str, as_of: str, severity: str) -> int:
    """Write the fix list of a scope to ``out``, whole or not at all; returns how many rows it has.

    The list is ``quality.fix_list`` without a limit; amounts that are to be mended stand in the record's
    own currency, and rows that no update file can mend are marked. Raises
    :class:`~salesops_kit.errors.InputError` with what is wrong with the choice.
    """
    whole = open_rows(open_snapshot(data))
    chosen = resolve_choice(whole, team=team, quarter=quarter, as_of=as_of)
    company = Calculator(whole, chosen.as_of, chosen.period)
    figures = reference_for(company.references("quality"), len(chosen.members or ()))
    rows = whole if chosen.members is None else scope.cut(whole, chosen.members)
    calculator = Calculator(rows, chosen.as_of, chosen.period, figures)
    listed = calculator.table("quality.fix_list", severity=severity, top=EVERYTHING)
    frame = in_own_currency(marked(listed, whole), rows)
    about = [_("As of {day}, snapshot {digest}.").format(day=chosen.as_of, digest=rows.digest[:12])]
    # The day of the data, not of the clock: equal data give equal bytes.
    made = dt.datetime.combine(chosen.as_of, dt.time(), dt.UTC)
    replace_file(out, to_workbook(frame, created=made, about=about), private=None)
    return len(frame)


def in_own_currency(frame: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """The fix list with money fields of deals as the records hold them, not in base currency."""
    money = [c.name for c in TABLES["opportunities"].columns.values() if c.type == "money"]
    mine = (frame["table"] == "opportunities") & frame["field"].isin(money) & frame["value"].notna()
    if "by_hand" in frame:
        # What was set aside is shown as its file has it, even where a record of the same key was kept.
        mine &= ~frame["by_hand"]
    if not mine.any() or "opportunities" not in rows.tables:
        return frame
    ids = sorted(set(frame.loc[mine, "record_id"]))
    deals = rows.table("opportunities")
    listed = ibis.memtable({"wanted": ids}, schema={"wanted": "string"})
    held = engine.collect(
        deals.semi_join(listed, deals.opportunity_id == listed.wanted).select("opportunity_id", *money)
    ).set_index("opportunity_id")
    result = frame.copy()
    for place in frame.index[mine]:
        record, name = frame.loc[place, "record_id"], frame.loc[place, "field"]
        value = held[name].get(record)
        if value is not None and value == value:
            result.loc[place, "value"] = f"{value.normalize():f}"
    return result
