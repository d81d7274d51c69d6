"""Spreadsheets run nothing, and numbers in them are numbers."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from salesops_kit.publishing.spreadsheets import file_names, neutralised, to_csv, to_xlsx

STARTS = ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\u200b=", "\uff1d"]
BODIES = ["1+1", "cmd|'/C calc'!A0", 'HYPERLINK("https://x.example","y")', "SUM(A1:A9)"]
PAYLOADS = [start + body for start in STARTS for body in BODIES]
CREATED = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def table(rows: list[list[Any]], *, id_: str = "deals", title: str = "Deals") -> dict[str, Any]:
    columns = [
        {"name": "name", "label": "Name", "unit": None},
        {"name": "won", "label": "Won", "unit": "USD"},
    ]
    return {
        "id": id_,
        "title": title,
        "columns": columns,
        "rows": rows,
        "truncated": True,
        "notes": ["=note"],
    }


def sheets(content: bytes) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


def test_forty_payloads_are_text_in_both_formats() -> None:
    made = table([[payload, 1.0] for payload in PAYLOADS], title="=Deals")
    made["columns"][0]["label"] = "=Name"
    rows = list(csv.reader(io.StringIO(to_csv(made).decode("utf-8-sig"))))
    assert [row[0] for row in rows] == ["'=Name", *(f"'{payload}" for payload in PAYLOADS)]
    content = to_xlsx([made], [{"id": "=1+1", "value": 1}], [("a", "=b")], created=CREATED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {
            name: archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith((".xml", ".rels"))
        }
    for name, text in parts.items():
        assert not re.search(r"<f[ >]|<hyperlink", text), name
        assert 'TargetMode="External"' not in text
    found = sheets(content)
    assert [row[0] for row in found["=Deals"]][1:5] == [f"'{payload}" for payload in PAYLOADS[:4]]
    assert found["Headlines"][1][0] == "'=1+1"
    assert ["a", "'=b"] in found["About"]
    assert ["'=Deals", "'=note"] in found["About"]


def test_numbers_stay_numbers_and_missing_stays_empty() -> None:
    made = table([["a", -1.5], ["007", 12], [None, None], ["b", float("nan")], ["c", True]])
    text = to_csv(made)
    assert text.startswith(b"\xef\xbb\xbf")
    assert text.decode("utf-8-sig") == "Name,Won (USD)\r\na,-1.5\r\n007,12\r\n,\r\nb,\r\nc,True\r\n"
    found = sheets(to_xlsx([made], [], [], created=CREATED))["Deals"]
    assert found[0] == ["Name", "Won (USD)"]
    assert found[1:3] == [["a", -1.5], ["007", 12]]
    assert found[4] == ["b", ""]


def test_the_same_tables_make_the_same_file() -> None:
    made = table([["a", 1]])
    first = to_xlsx([made], [], [], created=CREATED)
    assert first == to_xlsx([made], [], [], created=CREATED)


def test_sheet_and_file_names_are_valid_and_distinct() -> None:
    titles = ["A/B: [x]?*", "a b   x", "T" * 40, "T" * 40 + "!", "", "'q'", "History", "Headlines", "About"]
    made = [table([], id_=f"t{n}", title=title) for n, title in enumerate(titles)]
    names = list(sheets(to_xlsx(made, [], [], created=CREATED)))
    assert len(names) == len(titles) + 2
    assert len({name.casefold() for name in names}) == len(names)
    assert all(0 < len(name) <= 31 and not set("[]:*?/\\") & set(name) for name in names)
    ids = ["deals", "deals", "../x", "funnel.stages", "CON", ".hidden", "x" * 200]
    assert file_names([{"id": name} for name in ids]) == [
        "deals.csv",
        "table-2.csv",
        "table-3.csv",
        "funnel.stages.csv",
        "table-5.csv",
        "table-6.csv",
        "table-7.csv",
    ]


@pytest.mark.parametrize("text", ["a=b", "EMEA", "007", "", "a-b", "(100)"])
def test_harmless_text_is_untouched(text: str) -> None:
    assert neutralised(text) == text
