"""Artefacts of how deals are recorded: found where they are, and not claimed where they are not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import quarter_rhythm, record_start, win_rate
from salesops_kit.compute import Calculator, resolve_as_of, resolve_quarter
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

EXPORT = Path(__file__).resolve().parents[3] / "shared" / "data" / "maven_crm"
AS_OF = dt.date(2026, 12, 31)
DAY = dt.timedelta(days=1)
DEALS = {"opportunity_id": "string", "created_date": "date", "loss_reason": "string"}


@pytest.fixture(scope="module")
def maven(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    if not EXPORT.is_dir():
        pytest.skip("needs ../shared/data/maven_crm")
    return open_rows(import_export([EXPORT], "maven", tmp_path_factory.mktemp("maven") / "out"))


def show(rows: Rows, table: str, quarter: str, **options: Any) -> pd.DataFrame:
    period = resolve_quarter(rows, quarter)
    return Calculator(rows, resolve_as_of(rows, "", period), period).table(table, **options)


def test_the_maven_export_shows_its_quarter_end(maven: Rows) -> None:
    frame = show(maven, "funnel.quarter_rhythm", "2017-Q4")
    deals = pd.read_csv(EXPORT / "sales_pipeline.csv", parse_dates=["close_date"])
    closed = deals[deals["deal_stage"].isin(["Won", "Lost"])]
    month = (closed["close_date"].dt.month - 1) % 3 + 1
    expected = (closed["deal_stage"] == "Won").groupby(month).mean()
    assert frame["rate"].tolist() == pytest.approx(expected.tolist())
    assert frame["rate"].round(2).tolist() == [0.49, 0.55, 0.81]
    assert frame["n"].sum() == 6711
    assert frame.attrs["evidence"]
    assert frame["difference_low"].iloc[2] > 0.25
    assert "49% in the first month of a quarter and 81% in the third" in frame.attrs["notes"][-1]


def test_the_maven_export_begins_with_survivors(maven: Rows) -> None:
    frame = show(maven, "funnel.record_start", "2017-Q4")
    cut = frame[frame["is_truncated"]]
    assert cut["month"].tolist() == ["2016-M10", "2016-M11", "2016-M12", "2017-M01", "2017-M02"]
    assert cut["closed"].sum() == 0
    assert cut["expected_closed"].sum() > 300
    assert frame["ratio"].iloc[len(cut) :].between(0.8, 1.25).all()
    assert frame.attrs["first_whole_date"] == "2017-03-01"
    assert frame.attrs["notes"][0].startswith("Deals closed before Mar 1, 2017 are missing: 0 are recorded")
    early = show(maven, "funnel.cohorts", "2017-Q4", months=4).groupby("cohort")["lost_share"].first()
    # What the note warns of: nobody of the first cohorts seems to lose early.
    assert early["2016-Q4"] < 0.01 < early["2017-Q3"]


def test_nothing_is_claimed_of_the_sample() -> None:
    rows = open_rows(open_snapshot("sample"))
    for quarter in ("2026-Q4", "2027-Q3"):
        start = show(rows, "funnel.record_start", quarter)
        assert len(start) == 12
        assert not start["is_truncated"].any()
        assert start.attrs["notes"] == []
    rhythm = show(rows, "funnel.quarter_rhythm", "2027-Q3")
    assert not rhythm.attrs["evidence"]
    assert rhythm.attrs["notes"] == []


def closed(
    name: str, day: dt.date, *, is_won: bool, created: dt.date = dt.date(2025, 1, 1)
) -> list[dict[str, Any]]:
    first = Change(created, close_date=day)
    return deal(name, [first, first.then(day, stage="Closed Won" if is_won else "Closed Lost")])


def rhythm_of(walks: list[list[dict[str, Any]]], **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {"as_of": AS_OF, "period": None, "settings": Settings(), **more}
    return quarter_rhythm(states_table(walks), stages_table(), None, **options)


def test_the_rhythm_by_hand_and_equal_to_the_win_rates_of_its_months() -> None:
    walks = []
    for number, (month, won, lost) in enumerate([(1, 2, 6), (2, 4, 4), (3, 7, 1), (4, 1, 7), (6, 6, 2)]):
        for place in range(won + lost):
            day = dt.date(2026, month, 1 + place)
            walks.append(closed(f"{number}-{place}", day, is_won=place < won))
    frame = rhythm_of(walks)
    assert frame[["won", "lost", "n"]].to_numpy().tolist() == [[3, 13, 16], [4, 4, 8], [13, 3, 16]]
    assert frame["closed_share"].tolist() == [0.4, 0.2, 0.4]
    assert frame["rate"].tolist() == [3 / 16, 4 / 8, 13 / 16]
    # Both quarters differ by five eighths between their third month and their first.
    assert frame["difference"].iloc[2] == pytest.approx(5 / 8)
    assert frame["difference"].isna().tolist() == [True, False, False]
    assert frame.attrs["evidence"]
    months = [
        win_rate(
            states_table(walks), stages_table(), None, as_of=AS_OF, settings=Settings(),
            period=Period(dt.date(2026, month, 1), dt.date(2026, month + 1, 1), "m"),
        ).iloc[0]
        for month in (1, 4)
    ]  # fmt: skip
    assert frame["won"].iloc[0] == sum(row["won"] for row in months)
    # The quarter of the cut-off is not over on its last day but one.
    part = rhythm_of(walks, as_of=dt.date(2026, 6, 29))
    assert part["n"].tolist() == [8, 8, 8]
    assert rhythm_of(walks, quarters=2)["n"].tolist() == [0, 0, 0]
    assert rhythm_of(walks, quarters=3)["n"].tolist() == [8, 0, 8]


def test_no_rhythm_where_months_win_alike_and_nothing_to_tell() -> None:
    walks = [
        closed(f"{month}{n}", dt.date(2026, month, 1 + n), is_won=n % 2 == 0)
        for month in range(1, 13)
        for n in range(20)
    ]
    frame = rhythm_of(walks)
    assert frame["difference"].iloc[2] == 0
    assert not frame.attrs["evidence"]
    assert len(frame.attrs["notes"]) == 1
    empty = rhythm_of([])
    assert empty["n"].tolist() == [0, 0, 0]
    assert empty[["rate", "low", "difference", "p_value"]].isna().all(axis=None)
    assert not empty.attrs["evidence"]
    with pytest.raises(InputError, match="quarters"):
        rhythm_of(walks, quarters=0)


def record_of(rng: np.random.Generator, *, record_begins: dt.date | None) -> list[list[dict[str, Any]]]:
    """Two deals a day for a year, open for a mean of 40 days; the record may lack what closed before it."""
    walks = []
    for number in range(720):
        created = dt.date(2026, 1, 1) + (number // 2) * DAY
        day = created + int(rng.exponential(40)) * DAY
        if record_begins is None or day >= record_begins:
            walks.append(closed(f"D{number}", day, is_won=number % 3 == 0, created=created))
    return walks


def start_of(walks: list[list[dict[str, Any]]], **more: Any) -> pd.DataFrame:
    deals = [(states[0]["opportunity_id"], states[0]["valid_from_date"], None) for states in walks]
    options: dict[str, Any] = {"as_of": AS_OF, "period": None, "settings": Settings(), **more}
    return record_start(states_table(walks), table_of(DEALS, deals), **options)


@pytest.mark.parametrize("seed", range(3))
def test_a_record_that_begins_late_is_found_and_a_whole_one_is_not_accused(seed: int) -> None:
    whole = start_of(record_of(np.random.default_rng(seed), record_begins=None))
    assert not whole["is_truncated"].any()
    assert whole["month"].tolist() == [f"2026-M{month:02}" for month in range(1, len(whole) + 1)]
    cut = start_of(record_of(np.random.default_rng(seed), record_begins=dt.date(2026, 4, 1)))
    assert cut.attrs["first_whole_date"] == "2026-04-01"
    assert cut["closed"].tolist()[:2] == [0, 0]


def test_expected_closings_equal_a_slow_walk_over_weeks() -> None:
    walks = record_of(np.random.default_rng(9), record_begins=None)
    frame = start_of(walks)
    monday = dt.date(1970, 1, 5)

    def week(day: dt.date) -> int:
        return (day - monday).days // 7

    spans = [
        (
            week(states[0]["valid_from_date"]),
            week(states[-1]["valid_from_date"]) if states[-1]["valid_from_date"] <= AS_OF else None,
        )
        for states in walks
    ]
    first, last = min(begin for begin, _end in spans), week(AS_OF)
    half = first + (last - first + 1) // 2
    seen, ended = {}, {}
    for begin, end in spans:
        for now in range(max(begin, half), (last if end is None else end) + 1):
            seen[now - begin] = seen.get(now - begin, 0) + 1
            ended[now - begin] = ended.get(now - begin, 0) + (now == end)
    by_month: dict[str, list[float]] = {}
    for now in range(first, half):
        month = Settings().fiscal.month_of(monday + (now * 7 + 3) * DAY).label
        sums = by_month.setdefault(month, [0, 0, 0])
        for begin, end in spans:
            if begin <= now and (end is None or end >= now):
                age = now - begin
                sums[2] += ended.get(age, 0) / seen[age] if age in seen else 0
                sums[1] += end == now
            sums[0] += begin == now
    assert frame["month"].tolist() == list(by_month)
    for row in frame.itertuples():
        assert [row.created, row.closed, row.expected_closed] == pytest.approx(by_month[row.month])
        assert row.low <= row.ratio <= row.high


def test_little_data_or_none_tells_nothing() -> None:
    walks = record_of(np.random.default_rng(1), record_begins=None)
    assert start_of(walks, as_of=dt.date(2026, 5, 1)).empty
    assert start_of([]).empty
    assert start_of([]).attrs["notes"] == []
    with pytest.raises(NotAvailableError):
        record_start(states_table(walks), None, as_of=AS_OF, period=None, settings=Settings())
