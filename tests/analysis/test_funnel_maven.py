"""A public CRM export through the reports' first numbers: equal to plain recomputation from its file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit import workbook
from salesops_kit.compute import Calculator, resolve_choice
from salesops_kit.data import scope
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot
from salesops_kit.display.stories import cohorts

EXPORT = Path(__file__).resolve().parents[3] / "shared" / "data" / "maven_crm"
pytestmark = pytest.mark.skipif(not EXPORT.is_dir(), reason="needs ../shared/data/maven_crm")
QUARTERS = ["2017-Q1", "2017-Q2", "2017-Q3", "2017-Q4"]
COMPANY = "company"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("maven") / "out"
    import_export([EXPORT], "maven", made)
    return made


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return open_rows(open_snapshot(str(folder)))


@functools.cache
def raw() -> pd.DataFrame:
    """The deals straight from the files, with their agent's manager and the days from engaged to closed."""
    deals = pd.read_csv(EXPORT / "sales_pipeline.csv", parse_dates=["engage_date", "close_date"])
    deals = deals.merge(pd.read_csv(EXPORT / "sales_teams.csv"), on="sales_agent", validate="many_to_one")
    deals["days"] = (deals["close_date"] - deals["engage_date"]).dt.days
    return deals.assign(quarter=deals["close_date"].dt.to_period("Q").astype(str).str.replace("Q", "-Q"))


def show(rows: Rows, table: str, quarter: str, **options: Any) -> pd.DataFrame:
    chosen = resolve_choice(rows, team=COMPANY, quarter=quarter, as_of="")
    return Calculator(rows, chosen.as_of, chosen.period).table(table, **options)


def closed_in(quarter: str, team: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The won and the lost deals of a manager's agents, or of all, that were closed in a quarter."""
    deals = raw()
    chosen = deals[(deals["quarter"] == quarter) & ((team == COMPANY) | (deals["manager"] == team))]
    return chosen[chosen["deal_stage"] == "Won"], chosen[chosen["deal_stage"] == "Lost"]


def managers() -> list[str]:
    names = (
        pd.read_csv(EXPORT / "sales_teams.csv")["manager"] if EXPORT.is_dir() else pd.Series([], dtype=str)
    )
    return sorted(set(names))


@pytest.mark.parametrize("team", [COMPANY, *managers()])
def test_the_first_numbers_of_every_quarter(rows: Rows, team: str) -> None:
    slice_ = rows if team == COMPANY else scope.cut(rows, (team,))
    for place, quarter in enumerate(QUARTERS):
        frame = show(slice_, "funnel.headlines", quarter).set_index("id")
        won, lost = closed_in(quarter, team)
        expected = {
            "bookings_won": won["close_value"].sum(),
            "deals_won": len(won),
            "win_rate": len(won) / (len(won) + len(lost)),
            "won_cycle_median": won["days"].median(),
        }
        assert frame["value"].drop("open_pipeline").to_dict() == pytest.approx(expected), quarter
        assert frame.loc["win_rate", "n"] == len(won) + len(lost)
        before = closed_in(QUARTERS[place - 1], team)[0]["close_value"].sum() if place else 0
        # In the last quarter of 2016 deals were there, but none was closed.
        assert frame.loc["bookings_won", "prior"] == pytest.approx(before)
        # The export begins in that quarter: of the others of 2016 nothing is known, not even nothing.
        assert frame["year_ago"].isna().all() == (quarter != "2017-Q4")
        assert frame["target"].isna().all()


@pytest.mark.parametrize("quarter", QUARTERS)
def test_every_agents_bookings(rows: Rows, quarter: str) -> None:
    frame = show(rows, "funnel.bookings", quarter, by="owner_id", quarters=1)
    ours = frame[frame["deals_won"] > 0].set_index("owner_id")[["deals_won", "bookings"]]
    won, _lost = closed_in(quarter, COMPANY)
    expected = won.groupby("sales_agent")["close_value"].agg(["size", "sum"])
    assert ours.sort_index().to_numpy().tolist() == expected.sort_index().to_numpy(float).tolist()


def test_the_page_says_where_the_record_misleads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(workbook, "publish_display_data", lambda data: shown.append(data["text/html"]))
    book = workbook.open_workbook(quarter="2017-Q4", data=str(folder))
    book.show(book.table("funnel.quarter_rhythm"), cohorts.quarter_rhythm)
    book.show(book.table("funnel.record_start"), cohorts.record_start)
    rhythm, start = shown
    assert "49%" in rhythm
    assert "81%" in rhythm
    assert "compare whole quarters only" in rhythm
    assert "The record begins late: until Mar 1, 2017 0 deals are recorded as closed" in start
    assert "Older cohorts hold only their slow deals" in start


@pytest.mark.parametrize("quarter", QUARTERS)
def test_a_record_that_begins_late_is_said_of_every_quarter(rows: Rows, quarter: str) -> None:
    frame = show(rows, "funnel.record_start", quarter)
    if frame.empty:
        assert quarter == "2017-Q1"
        return
    # Nobody closed a deal before March 2017, although deals were there since October.
    assert cohorts.record_start(frame).message.startswith("The record begins late: until Mar 1, 2017 0 deals")
