"""Bytes that exports really hold: each ends refused, set aside, noted or literal, as promised."""

from __future__ import annotations

import gzip
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.data import importer
from salesops_kit.data.dataset import import_export
from salesops_kit.errors import InputError

ROW = "{},Won,100,2026-01-01,2026-02-01"


def declared(encoding: str) -> str:
    """A mapping of canonical columns that declares an encoding."""
    return (
        f"files: {{'*': {{encoding: {encoding}}}}}\ntables: {{opportunities: {{from: opportunities.csv}}}}\n"
    )


def test_01_a_byte_order_mark_is_not_part_of_the_first_name(desk: Any) -> None:
    made = desk.load("\ufeff" + desk.deals(ROW.format("a1")))
    assert made.column("opportunity_id") == ["a1"]
    irregular = desk.load("\ufeff" + desk.deals(ROW.format("a1"), "", ROW.format("a2")))
    assert irregular.column("opportunity_id") == ["a1", "a2"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "gb18030"])
def test_01_a_byte_order_mark_tells_that_a_file_is_utf_8_whatever_is_declared(
    desk: Any, encoding: str
) -> None:
    rows = "\ufeff" + desk.deals(ROW.format("Müller"))
    problem = desk.refused_once(rows, mapping=declared(encoding))
    assert (problem.file, problem.expected) == ("opportunities.csv", encoding)
    assert "UTF-8" in problem.what
    assert "encoding: utf-8" in problem.next_step
    assert desk.load(rows, mapping=declared("utf-8")).column("opportunity_id") == ["Müller"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_02_utf_16_is_refused_by_name(desk: Any, encoding: str) -> None:
    problem = desk.refused_once(desk.deals(ROW.format("a1")).encode(encoding))
    assert (problem.file, problem.expected) == ("opportunities.csv", "utf-8")
    assert "UTF-16" in problem.what
    assert "encoding: utf-16" in problem.next_step


def test_02_utf_16_is_read_when_declared(desk: Any) -> None:
    mapping = "files: {'*': {encoding: utf-16}}\ntables: {opportunities: {from: opportunities.csv}}\n"
    made = desk.load(desk.deals("한국,Won,1,2026-01-01,").encode("utf-16"), mapping=mapping)
    assert made.column("opportunity_id") == ["한국"]


@pytest.mark.parametrize(
    ("encoding", "word"), [("gb18030", "华东区"), ("big5", "華東區"), ("cp949", "서울팀")]
)
def test_03_04_05_other_encodings_are_refused_unless_declared(desk: Any, encoding: str, word: str) -> None:
    rows = desk.deals(ROW.format("a1"), '"two\nlines",Won,1,2026-01-01,', f"a3,{word},1,2026-01-01,")
    problem = desk.refused_once(rows.encode(encoding))
    assert (problem.file, problem.row, problem.column) == ("opportunities.csv", 4, "stage")
    assert "not utf-8" in problem.what
    assert encoding in problem.next_step
    mapping = (
        f"files: {{'*': {{encoding: {encoding}}}}}\ntables: {{opportunities: {{from: opportunities.csv}}}}\n"
    )
    assert desk.load(rows.encode(encoding), mapping=mapping).column("stage") == ["Won", word, "Won"]


def test_06_a_replacement_character_is_refused_at_its_field(desk: Any) -> None:
    problem = desk.refused_once(desk.deals(ROW.format("a1"), "a2,W\ufffdn,1,2026-01-01,"))
    assert (problem.file, problem.row, problem.column, problem.got) == (
        "opportunities.csv", 3, "stage", "W\ufffdn",
    )  # fmt: skip


def test_06_mojibake_is_kept_and_flagged(desk: Any) -> None:
    broken = "Müller".encode().decode("cp1252")
    made = desk.load("opportunity_id,stage,name\na1,Won,São João Ângela\na2,Won," + broken + "\n")
    assert made.column("name") == ["São João Ângela", broken]
    assert made.found("kept") == [("opportunities.csv", 3, "name", "text as it was entered", broken)]


def test_06_text_read_in_the_declared_encoding_by_mistake_names_the_declaration_first(desk: Any) -> None:
    rows = "opportunity_id,stage,name\na1,Won,Müller\n"
    made = desk.load(rows, mapping=declared("cp1252"))
    (flag,) = made.exclusions("kept")
    assert (flag["column_name"], flag["got"]) == ("name", "Müller".encode().decode("cp1252"))
    here, before = (
        flag["problem"].index(text) for text in ("the mapping's `encoding`", "before this export")
    )
    assert "UTF-8 read as cp1252" in flag["problem"][:here]
    assert here < before
    assert "encoding: utf-8" in flag["expected"]
    assert desk.load(rows, mapping=declared("utf-8")).exclusions() == []


def test_07_a_field_with_nul_sets_its_row_aside(desk: Any) -> None:
    made = desk.load(desk.deals(ROW.format("a1"), "a2,W\x00n,5,2026-01-01,", ROW.format("a3")))
    assert made.column("opportunity_id") == ["a1", "a3"]
    assert made.found("set aside") == [("opportunities.csv", 3, "stage", "text", "W\\x00n")]


def test_08_empty_files_are_refused_all_at_once(desk: Any) -> None:
    problems = desk.refused(b"", stages=b"", reps="\n")
    assert [(p.file, p.row) for p in problems] == [
        ("opportunities.csv", 1),
        ("reps.csv", 1),
        ("stages.csv", 1),
    ]
    assert [p.what for p in problems] == [
        "the file is empty", "the first row holds no column names", "the file is empty",
    ]  # fmt: skip


def test_09_a_header_alone_proceeds_and_is_said(desk: Any) -> None:
    made = desk.load(desk.deals())
    assert made.column("opportunity_id") == []
    assert made.found("kept") == [("opportunities.csv", 1, None, "one row or more", None)]


def test_10_a_last_row_that_is_cut_short_is_refused(desk: Any) -> None:
    problem = desk.refused_once(desk.deals(ROW.format("a1"), "", ROW.format("a2"))[:-20])
    assert (problem.file, problem.row, problem.expected) == ("opportunities.csv", 4, "5 fields")
    assert "cut short" in problem.what


def test_11_a_number_cut_short_is_refused_by_the_mappings_control(desk: Any) -> None:
    mapping = (
        "tables: {opportunities: {from: opportunities.csv}}\n"
        "control: {opportunities: {rows: 2, sum: {amount: '200.50'}}}\n"
    )
    whole = "opportunity_id,stage,amount\na1,Won,100\na2,Won,100.50\n"
    assert desk.load(whole, mapping=mapping).column("opportunity_id") == ["a1", "a2"]
    problem = desk.refused_once(whole[:-4], mapping=mapping)
    assert (problem.column, problem.expected, problem.got) == ("control.opportunities", "200.50", "200")
    problems = desk.refused(whole.replace("a1,Won,100\n", ""), mapping=mapping)
    assert [(p.expected, p.got) for p in problems] == [("2", "1"), ("200.50", "100.5")]


def test_11_control_totals_beside_the_tables_refuse_at_their_row(desk: Any) -> None:
    deals = "opportunity_id,stage,amount\na1,Won,100\na2,Won,oops\n"
    totals = (
        "source,period,measure,value\nopportunities,all,Rows,2\nopportunities.csv,all,sum of amount,300\n"
        "Salesforce dashboard,2026-Q1,bookings,77\n"
    )
    problem = desk.refused_once(deals, control_totals=totals)
    assert (problem.file, problem.row, problem.column) == ("control_totals.csv", 3, "value")
    assert (problem.expected, problem.got) == ("300.0000", "100")
    assert desk.load(deals.replace("oops", "200"), control_totals=totals).column("opportunity_id") == [
        "a1",
        "a2",
    ]


@pytest.mark.parametrize("later", ["", ROW.format("a3")])
def test_12_an_open_quote_is_refused_where_it_opens(desk: Any, later: str) -> None:
    rows = desk.deals('"multi\nline",Won,1,2026-01-01,', "", 'a2,"Won,1,2026-01-01,', later)
    problem = desk.refused_once(rows)
    assert (problem.file, problem.row, problem.column) == ("opportunities.csv", 4, "stage")
    assert "never closed" in problem.what


def test_12_an_open_quote_that_meets_another_quote_is_refused(desk: Any) -> None:
    rows = desk.deals('a1,"Won,1,2026-01-01,', ROW.format("a2"), 'a3,"Won",1,2026-01-01,', 'a4,"Won",1,,')
    problem = desk.refused_once(rows)
    assert (problem.row, problem.column) == (2, "stage")


def test_12_a_quote_inside_plain_text_is_no_open_quote(desk: Any) -> None:
    made = desk.load('opportunity_id,stage,name\na1,Won,5" pipe\na2,Won,"5"" pipe"\n')
    assert made.column("name") == ['5" pipe', '5" pipe']
    odd = desk.load('opportunity_id,stage,name\na1,Won,5" pipe\n')
    assert odd.column("name") == ['5" pipe']


def test_13_rows_that_all_have_one_field_more_are_refused(desk: Any) -> None:
    problem = desk.refused_once(desk.deals("x," + ROW.format("a1"), "y," + ROW.format("a2")))
    assert (problem.file, problem.row, problem.count) == ("opportunities.csv", 2, 2)
    assert (problem.expected, problem.got) == ("5 fields", "x,a1,Won,100,2026-01-01,2026-02-01")


@pytest.mark.parametrize("again", ["stage", "Stage", " stage "])
def test_14_a_name_twice_in_the_header_is_refused(desk: Any, again: str) -> None:
    problem = desk.refused_once(f"opportunity_id,stage,{again}\na1,Won,Lost\n")
    assert (problem.file, problem.row, problem.column) == ("opportunities.csv", 1, again.strip())


def test_15_mixed_line_ends_are_read_as_they_are_meant(desk: Any) -> None:
    text = 'opportunity_id,stage,name\r\na1,Won,"two\nlines"\na2,Won,x\ra3,Won,"two\r\nlines"\r\n'
    made = desk.load(text)
    assert made.column("opportunity_id") == ["a1", "a2", "a3"]
    assert made.column("name") == ["two\nlines", "x", "two\r\nlines"]
    assert made.exclusions() == []


def test_16_compressed_files_and_workbooks_are_refused(desk: Any) -> None:
    rows = desk.deals(ROW.format("a1")).encode()
    assert "gzip" in desk.refused_once(gzip.compress(rows)).what
    assert "Excel" in desk.refused_once(b"PK\x03\x04" + rows).what
    assert "Excel" in desk.refused_once(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + rows).what


def test_17_a_file_that_changes_while_it_is_read_is_refused(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = desk.write({"opportunities.csv": desk.deals(ROW.format("a1"))})
    stage = importer._stage

    def append(*args: Any, **kwargs: Any) -> Any:
        writer = threading.Thread(target=lambda: _append(export / "opportunities.csv", ROW.format("a2")))
        writer.start()
        writer.join()
        return stage(*args, **kwargs)

    monkeypatch.setattr(importer, "_stage", append)
    with pytest.raises(InputError) as caught:
        import_export([export], "", desk.folder / "out")
    (problem,) = caught.value.problems
    assert (problem.file, problem.what) == ("opportunities.csv", "the file changed while it was read")
    assert not (desk.folder / "out").exists()


def _append(path: Path, row: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(row + "\n")
        file.flush()
        os.fsync(file.fileno())


def test_records_are_numbered_as_a_spreadsheet_shows_them(desk: Any) -> None:
    made = desk.load(
        desk.deals(
            '"a\n\nb",Won,bad1,2026-01-01,',  # row 2, four lines
            "",  # row 3
            "short,row",  # row 4
            "   ",  # row 5
            "long,Won,1,2026-01-01,,,",  # row 6
            '"x"y,Won,1,2026-01-01,',  # row 7
            "c,Won,bad8,2026-01-01,",  # row 8
            ROW.format("d"),  # row 9
        )
    )
    assert made.column("opportunity_id") == ["d"]
    assert [(row["source_row"], row["got"]) for row in made.exclusions("set aside")] == [
        (2, "bad1"), (4, "short,row"), (6, "long,Won,1,2026-01-01,,,"),
        (7, '"x"y,Won,1,2026-01-01,'), (8, "bad8"),
    ]  # fmt: skip


def test_records_of_a_regular_file_are_numbered_after_multi_line_fields(desk: Any) -> None:
    made = desk.load(desk.deals('"a\nb\nc",Won,1,2026-01-01,', "c,Won,bad,2026-01-01,"))
    assert made.found("set aside") == [("opportunities.csv", 3, "amount", "an amount such as 1234.56", "bad")]


def test_a_regular_and_an_irregular_copy_of_one_file_give_one_snapshot(desk: Any) -> None:
    rows = [f'd{i},Won,{i}.25,2026-01-{i:02d},"2026-02-{i:02d}"' for i in range(1, 29)]
    regular = desk.load(desk.deals(*rows))
    irregular = desk.load(desk.deals(*rows, "", "").replace("\n", "\r\n", 5))
    tables = [{k: v.sha256 for k, v in one.snapshot.tables.items()} for one in (regular, irregular)]
    assert tables[0] == tables[1]


def test_70_a_pickle_is_refused_and_never_loaded(desk: Any, tmp_path: Path) -> None:
    mark = tmp_path / "loaded"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    bomb = pickle.dumps(Bomb())
    assert desk.refused_once(bomb).file == "opportunities.csv"
    with pytest.raises(InputError, match=r"opportunities\.parquet: not a readable Parquet file"):
        desk.load_files({"opportunities.parquet": bomb})
    with pytest.raises(InputError, match="not a CSV, Parquet, Excel or DuckDB file"):
        import_export([desk.write({"opportunities.pkl": bomb}) / "opportunities.pkl"], "", tmp_path / "out")
    assert not mark.exists()


def test_all_problems_of_all_files_are_raised_at_once(desk: Any) -> None:
    problems = desk.refused(
        "opportunity_id,stage,stage,\na1,Won,x,\n",
        reps=gzip.compress(b"x"),
        accounts='account_id,name\n"a,b\n',
    )
    assert sorted({p.file for p in problems}) == ["accounts.csv", "opportunities.csv", "reps.csv"]
    assert len(problems) == 4
