"""What an export tells of the past, and what is left unsaid where it does not."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import numpy as np
import pytest

from salesops_kit.compute import Calculator
from salesops_kit.data.record import ALWAYS, NEVER, Record, record_from
from salesops_kit.errors import NotAvailableError

D = dt.date
STAGES = (
    "pipeline,stage,position,is_closed,is_won\n,Talk,1,,\n,Offer,2,,\n,Lost,3,true,false\n,Won,4,true,true\n"
)
UNTIL = "observed_until: 2026-06-30\n"
DEALS = (
    "opportunity_id,stage,amount,created_date,close_date,owner_id\n"
    "a,Won,9,2026-01-05,2026-05-10,r1\nb,Offer,5,2026-04-06,2026-06-20,r2\nc,Lost,4,2026-02-06,2026-05-20,r2\n"
)
BARE = (
    "opportunity_id,stage,amount,close_date\na,Won,9,2026-05-10\nb,Offer,5,2026-06-20\nc,Won,5,2026-02-20\n"
)
HISTORY = (
    "opportunity_id,changed_at,stage,amount,close_date,owner_id\n"
    "a,2026-01-05T09:00:00Z,Talk,9,2026-05-01,r1\na,2026-05-10T09:00:00Z,Won,9,2026-05-10,r1\n"
    "b,2026-04-06T09:00:00Z,Offer,5,2026-06-20,r2\nc,2026-02-06T09:00:00Z,Talk,4,2026-05-01,r2\n"
    "c,2026-05-20T09:00:00Z,Lost,4,2026-05-20,r2\n"
)
MOVES = ("funnel.waterfall", "pipeline.waterfall", "pipeline.changes", "pipeline.slippage", "pipeline.bridge")
STAGED = ("funnel.conversion", "funnel.time_in_stage", "funnel.bottlenecks", "funnel.transitions",
          "pipeline.ageing", "pipeline.aged_deals")  # fmt: skip


def calculator(made: Any) -> Calculator:
    rows = made.rows
    return Calculator(rows, D(2026, 6, 30), rows.settings.fiscal.quarter("2026-Q2"))


def available(of: Calculator, *names: str) -> set[str]:
    found = set()
    for name in names:
        with contextlib.suppress(NotAvailableError):
            of.table(name)
            found.add(name)
    return found


def test_an_export_without_history_says_nothing_of_moves(desk: Any) -> None:
    made = desk.load(DEALS, stages=STAGES, settings=UNTIL)
    assert made.rows.record == Record(NEVER, NEVER, ALWAYS)
    assert available(calculator(made), *MOVES, *STAGED) == set()
    assert available(
        calculator(made), "funnel.headlines", "funnel.bookings", "funnel.win_rate", "funnel.cohorts"
    )


def test_a_recorded_history_tells_everything(desk: Any) -> None:
    made = desk.load(DEALS, stages=STAGES, settings=UNTIL, opportunity_history=HISTORY)
    assert made.rows.record == Record()
    assert available(calculator(made), *MOVES, *STAGED) == {*MOVES, *STAGED}


def test_without_creation_dates_nobody_knows_what_was_open(desk: Any) -> None:
    made = desk.load(BARE, stages=STAGES, settings=UNTIL)
    assert made.rows.record == Record(NEVER, NEVER, D(2026, 6, 30))
    heads = calculator(made).table("funnel.headlines").set_index("id")
    assert heads.loc["bookings_won", "prior"] == 5
    assert np.isnan(heads.loc["open_pipeline", "prior"])
    assert heads.loc["open_pipeline", "value"] == 5
    assert any("since when a deal has been open is not known" in note for note in made.rows.notes)


def test_a_history_that_begins_later_is_enough_for_what_is_later() -> None:
    record = Record(D(2026, 4, 1), D(2026, 4, 1))
    record.need_changes(D(2026, 4, 1))
    record.need_stages(D(2026, 4, 1))
    with pytest.raises(NotAvailableError, match="history of stages from"):
        record.need_stages(None)
    with pytest.raises(NotAvailableError, match=r"from Apr 1, 2026 on, which is too short"):
        record.need_changes(D(2026, 3, 31))
    with pytest.raises(NotAvailableError):
        record.need_changes(None)
    assert record_from(record.to_values()) == record
