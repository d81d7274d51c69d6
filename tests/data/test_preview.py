"""salesops import --preview: what each column becomes, what is lost, and what it may be; nothing is "
"written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.data.preview import preview_import

MAPPING = """\
tables:
  opportunities:
    from: deals
    drop: [Junk*]
    columns:
      opportunity_id: Id
      stage: {column: Phase, recode: {W: Won}}
      amount: {column: Value, null_when: ['-']}
      owner_id: {column: Seller, lookup: {file: people, key: Name, value: Id}}
  leads: {from: leads, optional: true}
"""
DEALS = (
    "Id,Phase,Value,Seller,Main_Competitor__c,NextStep,Junk,Colour\n"
    "1,W,10,Ann,Acme,call,x,red\n2,W,twelve,Bob,,,x,blue\n3,Lost,-,Ann,,,,\n1,W,10,Ann,,,,\n"
)


@pytest.fixture
def export(desk: Any) -> tuple[Path, str]:
    folder = desk.write(
        {"deals.csv": DEALS, "people.csv": "Id,Name\nr1,Ann\nr2,Bob\n", "notes.csv": "a\n1\n"}
    )
    file = desk.folder / "own.yml"
    file.write_text(MAPPING)
    return folder, str(file)


def test_every_column_says_what_becomes_of_it(export: tuple[Path, str]) -> None:
    folder, mapping = export
    found = preview_import([folder], mapping)
    assert found.rows == {"deals.csv": (4, 2), "people.csv": (2, 0)}
    assert (found.absent, found.unused, found.problems) == (("leads",), ("notes.csv",), ())
    text = {column.column: str(column) for column in found.columns if column.file == "deals.csv"}
    assert text == {
        "Id": "Id -> opportunities.opportunity_id: 4 values",
        "Phase": "Phase -> opportunities.stage: 4 values, 3 recoded",
        "Value": "Value -> opportunities.amount: 4 values, 1 recoded, 1 not readable",
        "Seller": "Seller -> opportunities.owner_id: 4 values",
        "Main_Competitor__c": (
            "Main_Competitor__c: passes through (1 values); perhaps opportunities.competitor?"
        ),
        "NextStep": "NextStep: passes through (1 values); perhaps opportunities.next_step or "
        "opportunities.next_step_date?",
        "Junk": "Junk: is dropped (2 values)",
        "Colour": "Colour: passes through (2 values)",
    }
    people = {column.column: column.becomes for column in found.columns if column.file == "people.csv"}
    assert people == {
        "Id": ("opportunities.owner_id (looked up)",), "Name": ("opportunities.owner_id (looked up)",)
    }  # fmt: skip


def test_refusals_are_shown_and_nothing_is_written(export: tuple[Path, str]) -> None:
    folder, mapping = export
    (folder / "people.csv").write_text("Id,Nam\nr1,Ann\n")
    before = sorted(path for path in folder.parent.rglob("*"))
    ran = subprocess.run(
        [sys.executable, "-m", "salesops_kit", "import", str(folder), "--mapping", mapping, "--preview"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 3, ran.stderr
    assert "Would be refused: people.csv, row 1, column Name: the file has no column 'Name'" in ran.stdout
    assert ran.stdout.endswith("Nothing was written.\n")
    assert sorted(path for path in folder.parent.rglob("*")) == before
