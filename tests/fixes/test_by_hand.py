"""Rows that no update file can mend: they are listed in grey, and filled ones are told and left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from salesops_kit.data.dataset import Rows, open_rows, open_snapshot
from salesops_kit.errors import InputError
from salesops_kit.fixes.applying import Updates, checked_updates
from salesops_kit.fixes.crm import FORMATS, crm_tables
from salesops_kit.fixes.listing import write_fix_list
from salesops_kit.fixes.sheets import BY_HAND, read_workbook
from tests.fixes.conftest import Imported

# 006B cannot be read; the second 006A repeats a key, and its amount is not that of the first; one deal has
# no id; 006D is in a stage that the list lacks; A1 and A2 are one account.
DEALS = """\
opportunity_id,name,account_id,owner_id,type,created_date,close_date,stage,amount,currency
006A,First,A1,U1,new,2026-01-05,2026-09-01,Proposal,0,EUR
006B,Unread,A1,U1,new,2026-01-05,2026-02-30,Proposal,10,USD
006A,Again,A1,U1,new,2026-01-05,2026-09-01,Proposal,77,EUR
,Nameless,A1,U1,new,2026-01-05,2026-09-01,Proposal,5,USD
006D,Strange,A3,U1,new,2026-01-05,2026-09-01,Verbal Yes,30,USD
006E,Overdue,A3,U1,new,2026-01-05,2026-02-01,Proposal,40,USD
"""
OTHERS = {
    "accounts": "account_id,name,country,created_at\nA1,Harbour Works,US,2025-01-01T00:00:00Z\n"
    "A2,Harbour Works Inc.,US,2025-01-02T00:00:00Z\nA3,Another,US,2025-01-03T00:00:00Z\n",
    "reps": "owner_id,name\nU1,Ada\n",
    "stages": "pipeline,stage,position,is_closed,is_won,default_probability\n"
    ",Proposal,1,false,false,0.5\n,Verbal Commit,2,false,false,0.8\n"
    ",Closed Won,3,true,true,1\n,Closed Lost,4,true,false,0\n",
    "opportunity_history": "opportunity_id,changed_at,stage\n006B,2026-01-06T10:00:00Z,Proposal\n",
    "fx_rates": "base,quote,month,kind,rate\nEUR,USD,2026-01-01,plan,1.25\n",
}


@pytest.fixture(scope="module")
def folder(imported: Imported) -> Path:
    return imported("hand", {"opportunities": DEALS, **OTHERS})


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return open_rows(open_snapshot(str(folder)))


@pytest.fixture(scope="module")
def book(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "fixes.xlsx"
    write_fix_list(str(folder), out, team="company", quarter="", as_of="", severity="info")
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    book = CalamineWorkbook.from_path(str(path))
    sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names[1:]]
    return [dict(zip(sheet[0], line, strict=True)) for sheet in sheets for line in sheet[1:]]


def filled(path: Path, given: Sequence[dict[str, Any]]) -> Path:
    """One sheet of such lines, as a list comes back."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    sheet = book.add_worksheet("Mine")
    for place, column in enumerate(given[0]):
        sheet.write_string(0, place, column)
        for line, values in enumerate(given, start=1):
            sheet.write_string(line, place, str(values[column]))
    book.close()
    return path


def applied(path: Path, rows: Rows, format_: str = "salesforce") -> Updates:
    return checked_updates(read_workbook(path), rows, crm_tables(format_), file=path.name)


def test_what_no_update_file_can_mend_is_listed_without_a_cell_for_a_new_value(book: Path) -> None:
    listed = lines(book)
    grey = {(line["table"], line["record_id"], line["field"]) for line in listed if line["new value"]}
    assert {line["new value"] for line in listed} == {"", BY_HAND}
    assert {
        ("opportunities", "006B", "close_date"),
        ("opportunities", "006A", "opportunity_id"),
        ("opportunities", "opportunities.csv, 5", "opportunity_id"),
        ("opportunity_history", "006B 2026-01-06 10:00:00+00", "opportunity_id"),
    } <= {(table, record.replace("Z", "+00"), name) for table, record, name in grey}
    merges = [line for line in listed if str(line["suggested"]).startswith("merge into")]
    assert [(line["record_id"], line["field"], line["new value"]) for line in merges] == [
        (merges[0]["record_id"], "", BY_HAND)
    ]
    white = {(line["record_id"], line["field"]) for line in listed if not line["new value"]}
    assert {("006A", "amount"), ("006D", "stage"), ("006E", "close_date")} <= white


@pytest.mark.parametrize("format_", FORMATS)
def test_filled_by_hand_rows_are_told_and_the_others_applied(
    format_: str, book: Path, rows: Rows, tmp_path: Path
) -> None:
    given = lines(book)
    good = {("006A", "amount"): "12", ("006E", "close_date"): "2026-09-30"}
    by_hand = [line for line in given if line["new value"]]
    for line in given:
        if line["new value"]:
            line["new value"] = line["suggested"] or "2026-02-28"
        else:
            line["new value"] = good.get((line["record_id"], line["field"]), "")
    path = filled(tmp_path / "back.xlsx", given)
    updates = applied(path, rows, format_)
    assert updates.values == {
        "opportunities": {"006A": {"amount": "12"}, "006E": {"close_date": "2026-09-30"}}
    }
    told = {note.row: str(note) for note in updates.notes}
    assert set(told) == {row for row, line in enumerate(given, start=2) if line in by_hand}
    for row, line in enumerate(given, start=2):
        if line in by_hand:
            assert f"back.xlsx, sheet Mine, row {row}, column new value: left out" in told[row]
            why = "merged in the CRM" if line["suggested"] else "set this record aside"
            assert why in told[row]


def test_an_untouched_list_says_nothing_of_what_is_mended_by_hand(book: Path, rows: Rows) -> None:
    assert applied(book, rows) == Updates({}, 0)


def line(record: str, name: str, new: str, **more: str) -> dict[str, Any]:
    given = {"table": "opportunities", "record_id": record, "field": name, "value": "", "suggested": ""}
    return {**given, "new value": new, **more}


def test_a_merge_never_renames_an_account(rows: Rows, tmp_path: Path) -> None:
    merge = {"table": "accounts", "value": "Harbour Works"}
    path = filled(
        tmp_path / "x.xlsx",
        [
            line("A2", "name", "merge into A1", **merge),
            line("A2", "name", "Harbour", suggested="merge into A1", **merge),
            line("A3", "name", "Another One", table="accounts"),
        ],
    )
    updates = applied(path, rows)
    assert updates.values == {"accounts": {"A3": {"name": "Another One"}}}
    assert ["merged in the CRM" in str(note) for note in updates.notes] == [True, True]


def test_a_repeated_key_does_not_close_the_record_that_was_kept(rows: Rows, tmp_path: Path) -> None:
    path = filled(
        tmp_path / "x.xlsx",
        [line("006A", "opportunity_id", "006Z", value="006A"), line("006A", "amount", "9", value="0")],
    )
    updates = applied(path, rows)
    assert updates.values == {"opportunities": {"006A": {"amount": "9"}}}
    assert [note.row for note in updates.notes] == [2]


def test_what_no_crm_imports_is_told_and_what_is_mistyped_refused(rows: Rows, tmp_path: Path) -> None:
    told = [
        line("006A", "created_date", "2026-01-01"),
        line("x", "owner_id", "U1", table="activities"),
        line("006A", "", "something"),
    ]
    updates = applied(filled(tmp_path / "x.xlsx", told), rows)
    assert (updates.records, [note.row for note in updates.notes]) == (0, [2, 3, 4])
    for name in ("stag", "record"):
        with pytest.raises(InputError, match="has no field"):
            applied(filled(tmp_path / "y.xlsx", [line("006A", name, "1")]), rows)


def test_a_contradiction_refuses_the_file_and_says_the_notes_too(rows: Rows, tmp_path: Path) -> None:
    given = [
        line("006A", "amount", "1"),
        line("006A", "amount", "2"),
        line("006B", "close_date", "2026-02-28", value="2026-02-30"),
    ]
    with pytest.raises(InputError) as refused:
        applied(filled(tmp_path / "x.xlsx", given), rows)
    assert [problem.row for problem in refused.value.problems] == [3, 4]


@pytest.mark.parametrize("stage", ["Verbal", "Verbal Yess"])
def test_only_stages_of_the_list_are_suggested(stage: str, rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        applied(filled(tmp_path / "x.xlsx", [line("006D", "stage", stage, value="Verbal Yes")]), rows)
    assert "Did you mean Verbal Commit" in str(refused.value)
    assert "Yes?" not in str(refused.value)
    assert "or Verbal Yes" not in str(refused.value)


def test_a_stage_that_the_list_lacks_is_refused_but_may_stay(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown stage 'Verbal Yes'"):
        applied(filled(tmp_path / "x.xlsx", [line("006A", "stage", "Verbal Yes", value="Proposal")]), rows)
    same = line("006D", "stage", "Verbal Yes", value="Verbal Yes")
    assert applied(filled(tmp_path / "y.xlsx", [same]), rows) == Updates({}, 1)


def test_the_command_counts_in_the_singular_and_prints_notes(folder: Path, tmp_path: Path) -> None:
    given = [
        line("006A", "amount", "1", value="0"),
        line("006E", "amount", "40", value="40"),
        line("006B", "close_date", "2026-02-28", value="2026-02-30"),
    ]
    back = filled(tmp_path / "b.xlsx", given)
    command = [sys.executable, "-m", "salesops_kit", "apply-fixes", str(back), "--data", str(folder)]
    done = subprocess.run(
        [*command, "--format", "hubspot", "--out", str(tmp_path / "u.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = "1 record to update; 1 row changes nothing; 1 row is to be mended by hand."
    assert done.stdout.splitlines()[-1] == said
    assert "Note: b.xlsx, sheet Mine, row 4, column new value: left out" in done.stderr
