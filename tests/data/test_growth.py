"""A CRM that keeps no history is given one by its imports, and no later import changes what was known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.compute import Calculator
from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot
from salesops_kit.errors import InputError

HEADER = "opportunity_id,stage,amount,owner_id,created_date,close_date"
FIRST = (
    "moved,Talk,100,ann,2026-01-05,2026-06-30",
    "won,Talk,200,ann,2026-01-06,2026-05-31",
    "still,Talk,300,bob,2026-01-07,2026-07-31",
    "gone,Talk,400,bob,2026-01-08,2026-07-31",
    "past,Won,500,bob,2026-01-09,2026-02-10",
)
# In between: another stage and amount, a deal won, one that is not there any more (and one of the past that
# this export leaves out), a new deal, and one that was entered late.
SECOND = (
    "moved,Offer,150,ann,2026-01-05,2026-08-31",
    "won,Won,210,ann,2026-01-06,2026-04-15",
    "still,Talk,300,bob,2026-01-07,2026-07-31",
    "new,Talk,600,bob,2026-04-20,2026-09-30",
    "late,Talk,700,bob,2026-02-01,2026-09-30",
)
SETTINGS = """\
name: grows
stages: [{stage: Talk}, {stage: Offer}, {stage: Won, is_closed: true, is_won: true}]
observed_until: UNTIL
"""
MARCH, APRIL, MAY = dt.date(2026, 3, 31), dt.date(2026, 4, 30), dt.date(2026, 5, 31)


def imported(folder: Path, rows: tuple[str, ...], until: dt.date, *, out: str = "out") -> Rows:
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    (raw / "opportunities.csv").write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    (raw / "dataset.yml").write_text(SETTINGS.replace("UNTIL", until.isoformat()), encoding="utf-8")
    import_export([raw], "", folder / out)
    return open_rows(open_snapshot(str(folder / out)))


def history(rows: Rows) -> pd.DataFrame:
    frame = engine.collect(rows.table("opportunity_history"))
    return frame.sort_values(["opportunity_id", "changed_at"], ignore_index=True)


def last(rows: Rows, deal: str) -> Any:
    return history(rows).query("opportunity_id == @deal").iloc[-1]


def known(rows: Rows, day: dt.date) -> list[tuple[str, str, float]]:
    """Deals with stage and amount at the end of a day."""
    states = engine.collect(rows.table("opportunity_states"))
    begun = states["valid_from_date"].map(lambda value: value <= day)
    over = states["valid_to_date"].map(lambda value: pd.notna(value) and value <= day)
    mine = states[begun & ~over & ~states["is_deleted"].fillna(value=False).astype(bool)]
    return sorted((row.opportunity_id, row.stage, float(row.amount)) for row in mine.itertuples())


def test_differences_between_two_imports_become_events(tmp_path: Path) -> None:
    imported(tmp_path, FIRST, MARCH)
    rows = imported(tmp_path, SECOND, APRIL)
    moved, won, new, late, gone = (last(rows, deal) for deal in ("moved", "won", "new", "late", "gone"))
    assert (moved.stage, float(moved.amount), moved.changed_date) == ("Offer", 150, APRIL)
    # A deal that closed is dated by its close date; what began before was seen after the last import.
    assert (won.stage, float(won.amount), won.changed_date) == ("Won", 210, dt.date(2026, 4, 15))
    assert min(history(rows).query("opportunity_id == 'new'")["changed_date"]) == dt.date(2026, 4, 20)
    assert min(history(rows).query("opportunity_id == 'late'")["changed_date"]) == MARCH + dt.timedelta(
        days=1
    )
    assert (gone.is_deleted, gone.changed_date) == (True, APRIL)
    assert {row.source for row in (moved, won, new, late, gone)} == {"snapshot"}
    assert moved.observed_at == pd.Timestamp("2026-05-01", tz="UTC")
    assert len(history(rows).query("opportunity_id == 'still'")) == 2
    assert known(rows, APRIL) == [
        ("late", "Talk", 700), ("moved", "Offer", 150), ("new", "Talk", 600), ("past", "Won", 500),
        ("still", "Talk", 300), ("won", "Won", 210),
    ]  # fmt: skip
    assert any("grows from import to import" in note for note in rows.notes)
    assert any("Not in this export: 2 deals" in note for note in rows.notes)


def test_no_later_import_changes_what_was_known_of_a_day(tmp_path: Path) -> None:
    first = imported(tmp_path, FIRST, MARCH, out="alone")
    days = [dt.date(2026, 1, 6), dt.date(2026, 2, 10), MARCH]
    told = {day: known(first, day) for day in days}
    before = history(first)
    imported(tmp_path, FIRST, MARCH)
    second = imported(tmp_path, SECOND, APRIL)
    assert {day: known(second, day) for day in days} == told
    told[APRIL] = known(second, APRIL)
    third = imported(tmp_path, (*SECOND[:2], "late,Won,900,bob,2026-02-01,2026-03-15"), MAY)
    assert {day: known(third, day) for day in [*days, APRIL]} == told
    # A close date that an import before should have known is dated by the day on which it was learnt.
    assert last(third, "late").changed_date == MAY
    kept = history(third).merge(before, how="inner", on=list(before.columns))
    assert len(kept) == len(before)


def test_a_report_of_the_past_is_reproduced(tmp_path: Path) -> None:
    first = imported(tmp_path, FIRST, MARCH)
    tables = ("pipeline.composition", "pipeline.coverage", "funnel.bookings", "funnel.win_rate")

    def report(rows: Rows) -> dict[str, str]:
        calculator = Calculator(rows, MARCH, rows.settings.fiscal.quarter("2026-Q1"))
        return {name: calculator.table(name).to_csv() for name in tables}

    told = report(first)
    assert report(imported(tmp_path, SECOND, APRIL)) == told


def test_the_same_export_again_adds_nothing(tmp_path: Path) -> None:
    first = history(imported(tmp_path, FIRST, MARCH))
    again = history(imported(tmp_path, FIRST, APRIL))
    # But that open deals are still as they were is no event.
    pd.testing.assert_frame_equal(again, first)


def test_an_older_export_is_refused_and_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    later = imported(tmp_path, SECOND, APRIL)
    with pytest.raises(InputError, match="older than the import in this folder") as caught:
        imported(tmp_path, FIRST, MARCH)
    assert caught.value.problems[0].got == "2026-03-31"
    assert open_snapshot(str(tmp_path / "out")).digest == later.digest


def test_an_export_with_a_history_of_its_own_starts_anew(tmp_path: Path) -> None:
    imported(tmp_path, FIRST, MARCH)
    text = (
        "opportunity_id,changed_at,stage,amount,close_date,owner_id\nnew,2026-04-20T08:00:00Z,Talk,600,,bob\n"
    )
    (tmp_path / "raw" / "opportunity_history.csv").write_text(text, encoding="utf-8")
    rows = imported(tmp_path, SECOND[3:4], APRIL)
    assert {row[0] for row in known(rows, APRIL)} == {"new"}


def test_what_the_export_says_is_deleted_is_believed(tmp_path: Path) -> None:
    imported(tmp_path, FIRST, MARCH)
    raw = tmp_path / "raw"
    (raw / "opportunities.csv").write_text(
        f"{HEADER},is_deleted\nmoved,Talk,100,ann,2026-01-05,2026-06-30,true\n", encoding="utf-8"
    )
    (raw / "dataset.yml").write_text(SETTINGS.replace("UNTIL", APRIL.isoformat()), encoding="utf-8")
    import_export([raw], "", tmp_path / "out")
    rows = open_rows(open_snapshot(str(tmp_path / "out")))
    assert [deal for deal, *_ in known(rows, APRIL)] == ["gone", "past", "still", "won"]
