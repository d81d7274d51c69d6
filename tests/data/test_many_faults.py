"""A thousand faults in a hundred thousand rows: all reported in one pass, grouped, each with its place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from salesops_kit.errors import InputError

ROWS, EACH = 100_000, 100
# Field, what is written there, and what is then said.
FAULTS = {
    "amount": [("twelve", "not readable as money"), ("1.2.3", "not readable as money"), ("NaN",
    "not readable as money")],
    "close_date": [("2026-02-30", "not readable as date"), ("45000", "not readable as date")],
    "created_date": [("soon", "not readable as date")],
    "opportunity_id": [("", "a required value is missing"), ("id000001", "the key is repeated")],
    "stage": [("", "a required value is missing")],
}  # fmt: skip
FIELDS = ("opportunity_id", "stage", "amount", "created_date", "close_date")


def faulty() -> tuple[str, dict[tuple[str, str], list[int]]]:
    """The file, and the rows of each kind of fault by column and word; the tenth kind is a short record."""
    kinds = [(column, word) for column, words in FAULTS.items() for word, _ in words]
    planted: dict[tuple[str, str], list[int]] = {}
    lines = [",".join(FIELDS)]
    for number in range(ROWS):
        row = {"opportunity_id": f"id{number:06d}", "stage": "Won", "amount": str(number),
        "created_date": "2026-01-01",
               "close_date": "2026-03-01"}  # fmt: skip
        place = number - 2
        if place >= 0 and place % 100 == 0 and place // 100 < EACH * 10:
            kind = place // 100 % 10
            if kind == 9:
                planted.setdefault(("", "short"), []).append(number + 2)
                lines.append(f"id{number:06d},Won")
                continue
            column, word = kinds[kind]
            row[column] = word
            planted.setdefault((column, word), []).append(number + 2)
        lines.append(",".join(row.values()))
    return "\n".join(lines) + "\n", planted


def test_every_fault_is_listed_with_file_row_column_expected_and_got(desk: Any) -> None:
    text, planted = faulty()
    assert sum(map(len, planted.values())) == EACH * 10
    before = time.process_time()
    made = desk.load(text)
    listed = made.exclusions("set aside")
    assert time.process_time() - before < 10
    assert {row["source_file"] for row in listed} == {"opportunities.csv"}
    by_place = {(row["column_name"] or "", row["source_row"]): row for row in listed}
    for (column, word), numbers in planted.items():
        for number in numbers:
            row = by_place[column, number]
            assert row["expected"]
            assert row["got"] in (word, None) if column else row["got"].endswith(",Won")
    assert len(listed) == EACH * 10
    assert len(made.column("opportunity_id")) == ROWS - EACH * 10
    kinds = Counter((row["column_name"], row["problem"].split(";")[0]) for row in listed)
    said = Counter((column, problem) for column, words in FAULTS.items() for _, problem in words)
    assert kinds == {**{kind: EACH * times for kind, times in said.items()}, (None, "too few fields"): EACH}


def test_what_refuses_is_grouped_and_says_the_way_out(desk: Any) -> None:
    header = "opportunity_id,stage,amount,created_date,close_date"
    rows = "\n".join(f"a{n},Won,{n}.00 EUR,{n % 12 + 1:02d}/{n % 28 + 1:02d}/2026,x" for n in range(ROWS))
    before = time.process_time()
    with pytest.raises(InputError) as caught:
        desk.load_files({"opportunities.csv": f"{header}\n{rows}\n"})
    assert time.process_time() - before < 10
    problems = caught.value.problems
    assert sorted((p.column, p.row, p.got, p.count) for p in problems) == [
        ("amount", 2, "0.00 EUR", ROWS), ("close_date", 2, "x", ROWS), ("created_date", 2, "01/01/2026",
        ROWS),
    ]  # fmt: skip
    assert all(p.file == "opportunities.csv" and p.expected and p.next_step for p in problems)
