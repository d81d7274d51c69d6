"""The loop of mending: out as a workbook, back with new values, on as an update file."""

from __future__ import annotations

import csv
import datetime as dt
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from salesops_kit.data import engine
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import Rows, open_rows, open_snapshot
from salesops_kit.errors import InputError
from salesops_kit.fixes.applying import Updates, checked_updates
from salesops_kit.fixes.crm import FORMATS, crm_tables
from salesops_kit.fixes.listing import write_fix_list
from salesops_kit.fixes.sheets import COLUMNS, read_workbook, to_workbook
from salesops_kit.fixes.update_files import update_csv, write_updates
from tests.fixes.conftest import Imported

DEALS = """\
opportunity_id,name,account_id,owner_id,type,created_date,close_date,stage,amount,currency,loss_reason
006A,=cmd|'/c calc'!A1,A1,U1,new,2026-01-05,2026-02-01,Proposal,100,EUR,
006B,Plain,A1,U2,new,2026-01-05,2026-09-01,Proposal,0,USD,
006C,Lost,A2,U1,new,2026-01-05,2026-02-01,Closed Lost,50,USD,
006D,Nobody's,A1,,new,2026-01-05,2026-09-01,Proposal,10,USD,
006E,Told,A2,U1,new,2026-01-05,2026-02-01,Closed Lost,50,USD,price
"""
OTHERS = {
    "accounts": "account_id,name\nA1,Harbour Works\nA2,Another Company\n",
    "reps": "owner_id,name\nU1,Ada\nU2,Bo: Lee/1\n",
    "stages": "pipeline,stage,position,is_closed,is_won,default_probability\n"
    ",Proposal,1,false,false,0.5\n,Closed Won,2,true,true,1\n,Closed Lost,3,true,false,0\n",
    "fx_rates": "base,quote,month,kind,rate\nEUR,USD,2026-01-01,plan,1.25\n",
}


@pytest.fixture(scope="module")
def folder(imported: Imported) -> Path:
    return imported("loop", {"opportunities": DEALS, **OTHERS})


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return open_rows(open_snapshot(str(folder)))


@pytest.fixture(scope="module")
def listed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "fixes.xlsx"
    assert write_fix_list(str(folder), out, team="company", quarter="", as_of="", severity="warning") > 0
    return out


def cells(path: Path) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_path(str(path))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


def returned(path: Path, listed: Path, new: dict[tuple[str, str], Any]) -> Path:
    """The workbook as an owner sends it back: the same sheets with new values by record and field."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    for name, lines in cells(listed).items():
        sheet = book.add_worksheet(name)
        for line, values in enumerate(lines):
            record = dict(zip(lines[0], values, strict=False))
            for place, value in enumerate(values):
                given = (
                    new.get((record.get("record_id"), record.get("field")))
                    if lines[0][place] == "new value"
                    else None
                )
                kept = value if given is None or line == 0 else given
                if isinstance(kept, float | int):
                    sheet.write_number(line, place, kept)
                elif isinstance(kept, dt.date):
                    sheet.write_datetime(
                        line,
                        place,
                        dt.datetime.combine(kept, dt.time()),
                        book.add_format({"num_format": "yyyy-mm-dd"}),
                    )
                else:
                    sheet.write_string(line, place, str(kept))
    book.close()
    return path


def test_each_owner_has_a_sheet_and_no_cell_is_a_formula(listed: Path) -> None:
    sheets = cells(listed)
    assert {"Ada", "Bo Lee 1", "(no owner)"} <= set(sheets)
    for lines in list(sheets.values())[1:]:
        assert tuple(lines[0]) == COLUMNS
    names = [line[COLUMNS.index("name")] for line in sheets["Ada"][1:]]
    assert "'=cmd|'/c calc'!A1" in names
    shutil.copy(listed, listed.with_suffix(".zip"))
    shutil.unpack_archive(listed.with_suffix(".zip"), listed.parent / "unpacked")
    xml = "".join(p.read_text(encoding="utf-8") for p in (listed.parent / "unpacked").rglob("*.xml"))
    assert "<f>" not in xml
    assert "hyperlink" not in xml


def test_equal_data_give_an_equal_workbook(folder: Path, listed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.xlsx"
    write_fix_list(str(folder), again, team="company", quarter="", as_of="", severity="warning")
    assert cells(again) == cells(listed)
    assert [p.name for p in tmp_path.iterdir()] == ["again.xlsx"]


NEW = {
    ("006A", "close_date"): dt.date(2026, 5, 31),
    ("006B", "amount"): 1500.5,
    ("006C", "loss_reason"): "price",
    ("006D", "owner_id"): "U1",
}


@pytest.mark.parametrize("format_", FORMATS)
def test_what_comes_back_becomes_an_update_file(
    format_: str, rows: Rows, listed: Path, tmp_path: Path
) -> None:
    tables = crm_tables(format_)
    path = returned(tmp_path / "back.xlsx", listed, NEW)
    updates = checked_updates(read_workbook(path), rows, tables, file=path.name)
    (written,) = write_updates(updates, tables, tmp_path / "update.csv")
    with written.open(encoding="utf-8", newline="") as file:
        found = {record.pop(tables["opportunities"].id): record for record in csv.DictReader(file)}
    fields = tables["opportunities"].fields
    wanted = {"006A": ("close_date", "2026-05-31"), "006B": ("amount", "1500.5"),
              "006C": ("loss_reason", "price"), "006D": ("owner_id", "U1")}  # fmt: skip
    assert {
        key: {name: value for name, value in record.items() if value} for key, record in found.items()
    } == {key: {fields[name]: value} for key, (name, value) in wanted.items()}


def test_rows_that_change_nothing_are_left_out(rows: Rows, listed: Path, tmp_path: Path) -> None:
    path = returned(
        tmp_path / "back.xlsx", listed, {**NEW, ("006A", "close_date"): "2026-02-01", ("006B", "amount"): 0}
    )
    updates = checked_updates(read_workbook(path), rows, crm_tables("salesforce"), file=path.name)
    assert (updates.records, updates.unchanged) == (2, 2)
    empty = checked_updates(read_workbook(listed), rows, crm_tables("salesforce"), file="x")
    assert empty == Updates({}, 0)
    assert write_updates(empty, crm_tables("salesforce"), tmp_path / "u.csv") == []


def book_of(path: Path, lines: Sequence[Sequence[Any]]) -> Path:
    frame = pd.DataFrame(lines, columns=["table", "record_id", "field", "value", "new value"])
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    sheet = book.add_worksheet("Mine")
    for place, column in enumerate(frame):
        sheet.write_string(0, place, column)
        for line, value in enumerate(frame[column], start=1):
            sheet.write_string(line, place, value)
    book.close()
    return path


WRONG = [
    (("opportunities", "006X", "amount", "", "5"), "no such record"),
    (("opportunities", "006A", "amount", "", "five"), "amount such as 1234.56; got 'five'"),
    (("opportunities", "006A", "close_date", "", "31/05/2026"), "a date such as 2026-07-31"),
    (("opportunities", "006A", "stage", "", "Propsal"), "Did you mean Proposal"),
    (("opportunities", "006A", "owner_id", "", "U9"), "Did you mean"),
    (("opportunities", "006A", "currency", "", "Euro"), "three-letter currency code"),
    (("opportunities", "006A", "type", "", "old"), "Choose one of: new, expansion, renewal"),
    (("opportunities", "006A", "stag", "", "Proposal"), "Did you mean stage"),
    (("oportunities", "006A", "stage", "", "Proposal"), "Did you mean opportunities"),
    (("opportunities", "006A", "next_step", "", "=1+1"), "run this as a formula"),
    (("opportunities", "006B", "amount", "0", "7"), ""),
    (("opportunities", "006B", "amount", "0", "8"), "expected 7, as in sheet Mine, row 12; got '8'"),
]


def test_everything_that_is_wrong_is_told_at_once_with_its_place(rows: Rows, tmp_path: Path) -> None:
    path = book_of(tmp_path / "wrong.xlsx", [line for line, _text in WRONG])
    with pytest.raises(InputError) as refused:
        checked_updates(read_workbook(path), rows, crm_tables("salesforce"), file=path.name)
    told = {problem.row: str(problem) for problem in refused.value.problems}
    expected = {row: text for row, (_line, text) in enumerate(WRONG, start=2) if text}
    assert set(told) == set(expected)
    for row, text in expected.items():
        assert text in told[row]
        assert "wrong.xlsx, sheet Mine" in told[row]


def test_a_negative_amount_is_a_number_and_no_formula(rows: Rows, tmp_path: Path) -> None:
    path = book_of(tmp_path / "x.xlsx", [("opportunities", "006A", "amount", "100", "-5")])
    updates = checked_updates(read_workbook(path), rows, crm_tables("hubspot"), file=path.name)
    assert updates.values == {"opportunities": {"006A": {"amount": "-5"}}}


def test_words_are_turned_into_the_crms(rows: Rows, tmp_path: Path) -> None:
    lines = [("opportunities", "006A", "type", "new", "renewal"), ("accounts", "A1", "name", "x", "Harbor")]
    path = book_of(tmp_path / "x.xlsx", lines)
    tables = crm_tables("salesforce")
    updates = checked_updates(read_workbook(path), rows, tables, file=path.name)
    written = write_updates(updates, tables, tmp_path / "u.csv")
    assert [p.name for p in written] == ["u-Opportunity.csv", "u-Account.csv"]
    assert [p.read_text(encoding="utf-8") for p in written] == [
        "Id,Type\n006A,Renewal\n",
        "Id,Name\nA1,Harbor\n",
    ]


@pytest.mark.parametrize("content", [b"", b"not a workbook", b"a,b\n1,2\n"])
def test_what_is_no_fix_list_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.xlsx"):
        read_workbook(tmp_path / "x.xlsx")
    other = xlsxwriter.Workbook(str(tmp_path / "y.xlsx"))
    other.add_worksheet().write_string(0, 0, "record_id")
    other.close()
    with pytest.raises(InputError, match="no sheet has the columns"):
        read_workbook(tmp_path / "y.xlsx")


def test_amounts_stand_in_the_records_own_currency(folder: Path, rows: Rows, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"table": ["opportunities"], "record_id": ["006A"], "field": ["amount"], "value": ["125.0000"]}
    )
    from salesops_kit.fixes.listing import in_own_currency

    assert in_own_currency(frame, rows)["value"].tolist() == ["100"]


@pytest.mark.parametrize("format_", FORMATS)
def test_every_field_of_a_crm_is_a_column_of_the_data(format_: str) -> None:
    for name, table in crm_tables(format_).items():
        assert set(table.fields) <= set(TABLES[name].columns)
        assert len(set(table.fields.values())) == len(table.fields)
        assert set(table.recode) <= set(table.fields)


def test_an_empty_list_is_still_a_workbook(tmp_path: Path) -> None:
    bare = pd.DataFrame(columns=["owner_id", *COLUMNS])
    (tmp_path / "e.xlsx").write_bytes(to_workbook(bare, created=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    assert list(cells(tmp_path / "e.xlsx")) == ["What to do"]
    assert update_csv({}, crm_tables("hubspot")["accounts"]) == "Record ID\n"


def test_the_commands_go_round(folder: Path, rows: Rows, tmp_path: Path) -> None:
    def salesops(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "salesops_kit", *words], capture_output=True, text=True, check=False
        )

    made = salesops("fix-list", str(folder), "--out", str(tmp_path / "f.xlsx"))
    assert made.returncode == 0, made.stderr
    back = returned(tmp_path / "b.xlsx", tmp_path / "f.xlsx", NEW)
    done = salesops(
        "apply-fixes",
        str(back),
        "--data",
        str(folder),
        "--format",
        "salesforce",
        "--out",
        str(tmp_path / "u.csv"),
    )
    assert done.returncode == 0, done.stderr
    assert "4 records to update; 0 rows change nothing." in done.stdout
    deals = engine.collect(rows.table("opportunities").select("opportunity_id"))
    updated = pd.read_csv(tmp_path / "u.csv", dtype=str)
    assert set(updated["Id"]) <= set(deals["opportunity_id"])
