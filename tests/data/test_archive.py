"""What a named dataset once knew stays known, whatever is imported later or again or killed in the middle."""

from __future__ import annotations

import csv
import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from salesops_kit import registry
from salesops_kit.compute import Calculator
from salesops_kit.data.dataset import (
    Rows,
    archive_root,
    import_export,
    known_datasets,
    open_rows,
    open_snapshot,
)
from salesops_kit.data.earlier import EARLIER, earlier_snapshots
from salesops_kit.data.snapshot import Snapshot
from salesops_kit.data.storing import last_archived
from salesops_kit.errors import NotAvailableError
from salesops_kit.project import ROOT_VARIABLE
from tests.canary import SETTINGS, write_company

NAME = "canary"
CHEAP = ("funnel.bookings", "pipeline.composition")
FEW = (*CHEAP, "pipeline.questions")
MAY, JUNE, JULY = dt.date(2026, 5, 31), dt.date(2026, 6, 30), dt.date(2026, 7, 31)
# People have the names of today, and what no history holds is told of the last known day alone.
# What an export with neither history nor leads cannot tell.
UNTOLD = {
    "funnel.attribution", "funnel.leads",
    "funnel.bottlenecks", "funnel.conversion", "funnel.time_in_stage", "funnel.transitions",
    "funnel.waterfall",
    "pipeline.aged_deals", "pipeline.ageing", "pipeline.bridge", "pipeline.changes", "pipeline.slippage",
    "pipeline.waterfall",
}  # fmt: skip
PRESENT = ["rep_name", "has_next_step"]

Row = dict[str, str]


class Desk:
    """A project with one dataset, whose export is changed and imported again."""

    def __init__(self, root: Path) -> None:
        self.root, self.raw, self.out = root, root / "raw", root / "data" / "mine"
        write_company(self.raw, deals_per_team=8)

    def edit(self, table: str, change: Callable[[list[Row]], Iterable[Row]]) -> None:
        path = self.raw / f"{table}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(change(list(csv.DictReader(file))))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def declare(self, until: dt.date) -> None:
        text = SETTINGS.replace("2026-06-30", until.isoformat())
        (self.raw / "dataset.yml").write_text(text, encoding="utf-8")

    def load(self, until: dt.date) -> Snapshot:
        self.declare(until)
        return import_export([self.raw], "", self.out)

    def restate(self) -> None:
        """Past figures restated, an open and a closed deal deleted, an owner renamed, two deals moved on."""

        def change(deals: list[Row]) -> list[Row]:
            won = [deal for deal in deals if deal["stage"] == "Won"]
            still = [deal for deal in deals if deal["stage"] in ("Qualify", "Propose")]
            won[0]["amount"], won[1]["close_date"] = "777777", "2026-02-02"
            still[0]["amount"], still[1]["close_date"] = "888888", "2026-12-31"
            return [deal for deal in deals if deal not in (won[2], still[2])]

        self.edit("opportunities", change)
        self.edit("reps", lambda reps: [{**rep, "name": f"New {rep['name']}"} for rep in reps])

    @property
    def archived(self) -> list[str]:
        return sorted(path.name for path in (archive_root() / "snapshots").iterdir())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return Desk(tmp_path)


@pytest.fixture
def plain(desk: Desk) -> Desk:
    """The same from a CRM that keeps no history."""
    (desk.raw / "opportunity_history.csv").unlink()
    return desk


def bytes_of(
    rows: Rows, day: dt.date, tables: Iterable[str], *, without: Iterable[str] = ()
) -> dict[str, bytes]:
    """Analysis tables of a day as the bytes that are written, without those that the data cannot give."""
    calculator = Calculator(rows, day, rows.settings.fiscal.quarter_of(day))
    made = {}
    for name in tables:
        try:
            frame = calculator.table(name)
        except NotAvailableError:
            continue
        made[name] = frame.drop(columns=list(without), errors="ignore").to_csv().encode()
    return made


def opened() -> Rows:
    return open_rows(open_snapshot("mine"))


def test_every_table_of_a_past_day_is_the_same_before_and_after_an_import_that_restates(plain: Desk) -> None:
    tables = [
        name for name in registry.tables() if name.startswith(("funnel.", "pipeline.", "quality.flags"))
    ]
    plain.load(MAY)
    told = bytes_of(opened(), MAY, tables, without=PRESENT)
    assert len(tables) > 30
    assert set(tables) - set(told) == UNTOLD
    plain.restate()
    plain.load(JUNE)
    now = opened()
    assert bytes_of(now, MAY, tables, without=PRESENT) == told
    # It is not that nothing was read: the new day knows it.
    assert bytes_of(now, JUNE, FEW) != bytes_of(now, MAY, FEW)
    assert b"New Name of" in bytes_of(now, MAY, FEW)["pipeline.questions"]


def test_the_archive_has_what_was_known_by_name_and_day_also_of_a_history_that_is_restated(
    desk: Desk,
) -> None:
    desk.load(MAY)
    told = bytes_of(opened(), MAY, FEW)
    desk.restate()
    gone = open_snapshot("mine").tables["opportunities"].rows - 2
    kept = {row["opportunity_id"] for row in _read(desk.raw / "opportunities.csv")}
    desk.edit(
        "opportunity_history",
        lambda rows: [
            {**row, "amount": str(int(row["amount"]) + 9)} for row in rows if row["opportunity_id"] in kept
        ],
    )
    latest = desk.load(JUNE)
    assert latest.tables["opportunities"].rows == gone
    assert bytes_of(opened(), MAY, FEW) != told
    (before,) = earlier_snapshots(open_snapshot("mine"), archive_root())
    assert (before.settings.name, before.observed_until, before.seq) == (NAME, MAY, 1)
    assert bytes_of(open_rows(before), MAY, FEW) == told
    days = opened().table(EARLIER).known_date.to_pyarrow().to_pylist()
    assert set(days) == {MAY}
    assert len(days) == before.tables["opportunities"].rows
    assert last_archived(archive_root(), NAME) == replace(before, **vars(last_archived(archive_root(), NAME)))


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("has_history", [True, False])
def test_the_same_files_again_archive_nothing_and_change_no_byte(desk: Desk, has_history: bool) -> None:
    if not has_history:
        (desk.raw / "opportunity_history.csv").unlink()
    first = desk.load(MAY)
    held = {path.name: path.read_bytes() for path in desk.out.iterdir()}
    for _again in range(2):
        assert desk.load(MAY).digest == first.digest
    assert {path.name: path.read_bytes() for path in desk.out.iterdir()} == held
    assert desk.archived == ["000001.json"]
    objects = {path.stem for path in (archive_root() / "objects").iterdir()}
    assert objects == {stored.sha256 for stored in first.tables.values()}
    # Another day without a change is news: the deals were still as they were.
    desk.load(JUNE)
    assert desk.archived == ["000001.json", "000002.json"]


def test_of_two_imports_on_one_day_the_second_tells_the_day_and_none_before(plain: Desk) -> None:
    plain.load(MAY)
    first = plain.load(JUNE)
    told, of_day = (bytes_of(open_rows(first), day, CHEAP, without=PRESENT) for day in (MAY, JUNE))
    plain.restate()
    second = plain.load(JUNE)
    assert second.digest != first.digest
    assert bytes_of(opened(), MAY, CHEAP, without=PRESENT) == told
    assert (
        bytes_of(opened(), JUNE, CHEAP, without=PRESENT)["pipeline.composition"]
        != of_day["pipeline.composition"]
    )
    assert plain.archived == ["000001.json", "000002.json", "000003.json"]
    # The first of that day is no earlier knowledge than the second.
    assert [one.seq for one in earlier_snapshots(open_snapshot("mine"), archive_root())] == [1]
    plain.load(JULY)
    assert [one.seq for one in earlier_snapshots(open_snapshot("mine"), archive_root())] == [1, 3]


KILLED = """\
import os, signal, sys
from pathlib import Path
from salesops_kit.data.dataset import import_export

event, word, raw, out = sys.argv[1:]

def hook(name, args):
    if name == event and word in str(args[1]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
import_export([Path(raw)], "", Path(out))
"""


@pytest.mark.parametrize(
    ("event", "word", "is_known"),
    [
        # While the history grows; the old folder put away and the new not there; the archive's objects
        # there and not named.
        ("os.rename", "opportunity_history.parquet", False),
        ("os.rename", "/mine", False),
        ("os.link", "snapshots", True),
    ],
)
def test_an_import_killed_in_the_middle_leaves_the_old_or_the_new_and_the_next_one_completes_it(
    plain: Desk, event: str, word: str, is_known: bool
) -> None:
    first = plain.load(MAY)
    told = bytes_of(opened(), MAY, CHEAP, without=PRESENT)
    plain.restate()
    plain.declare(JUNE)
    arguments = [event, word, str(plain.raw), str(plain.out)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    found = open_snapshot("mine")
    assert (found.digest != first.digest) is is_known
    assert found.observed_until == (JUNE if is_known else MAY)
    assert bytes_of(open_rows(found), MAY, CHEAP, without=PRESENT) == told
    assert list(known_datasets()) == ["mine"]
    assert [name for name in plain.archived if name.endswith(".json")] == ["000001.json"]
    again = plain.load(JUNE)
    assert plain.archived == ["000001.json", "000002.json"]
    assert last_archived(archive_root(), NAME).digest == again.digest == open_snapshot("mine").digest
    assert bytes_of(opened(), MAY, CHEAP, without=PRESENT) == told
    assert [path.name for path in plain.out.parent.iterdir() if path.name.startswith(".")] == []
