"""HubSpot in: the sample exported as HubSpot writes it comes back as it was, column by column."""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter
from pathlib import Path

import pytest

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows, import_export, open_rows
from tests.data import crm_hubspot
from tests.data.round_trip import collapsed, comparable, differences

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
ZONE = "America/New_York"
# HubSpot has no exchange rates to export: they come from a file of the company's own.
OWN = """\
extends: hubspot
settings: {zone: America/New_York, fiscal_start_month: 2, base_currency: USD, observed_until: 2026-10-31}
tables: {fx_rates: {from: fx_rates}}
"""
CARRIED = {
    "opportunities": (
        "opportunity_id account_id owner_id name type pipeline lead_source created_at created_date "
        "close_date stage "
        "amount acv tcv currency probability forecast_category next_step last_activity_at is_closed "
        "is_won is_deleted "
        "loss_reason"
    ),
    "opportunity_lines": "opportunity_id product_id quantity list_price discount amount",
    "products": "product_id name family list_price",
    "accounts": "account_id name industry country employees parent_id created_at",
    "leads": (
        "lead_id name company email created_at source owner_id mql_at sql_at converted_at opportunity_id "
        "status"
    ),
    "activities": "activity_id owner_id type direction started_at opportunity_id account_id",
    "reps": "owner_id name",
    "teams": "team parent_team",
}
HISTORY = "opportunity_id changed_at changed_date stage amount currency close_date forecast_category owner_id"


def load(folder: Path, *, with_history: bool) -> tuple[Rows, dict[str, str]]:
    ids = crm_hubspot.export(SAMPLE, folder / "export", zone=ZONE, with_history=with_history)
    shutil.copy(SAMPLE / "fx_rates.csv", folder / "export")
    (folder / "own.yml").write_text(OWN, encoding="utf-8")
    return open_rows(import_export([folder / "export"], str(folder / "own.yml"), folder / "out")), ids.back


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, dict[str, str]]:
    return load(tmp_path_factory.mktemp("hubspot"), with_history=True)


@pytest.mark.parametrize("table", CARRIED)
def test_a_table_comes_back_as_it_was(
    original: Rows, loaded: tuple[Rows, dict[str, str]], table: str
) -> None:
    rows, back = loaded
    columns = CARRIED[table].split()
    assert differences(comparable(original, table, columns), comparable(rows, table, columns, back)) == []


def test_stages_get_their_labels_and_won_is_the_certain_one(
    original: Rows, loaded: tuple[Rows, dict[str, str]]
) -> None:
    columns = ["pipeline", "stage", "position", "is_closed", "is_won", "default_probability"]
    assert comparable(loaded[0], "stages", columns) == comparable(original, "stages", columns)


def test_property_history_gives_every_state(original: Rows, loaded: tuple[Rows, dict[str, str]]) -> None:
    rows, back = loaded
    expected, got = (collapsed(one, HISTORY.split(), ids) for one, ids in ((original, {}), (rows, back)))
    assert len(expected) > 20_000
    assert differences(expected, got) == []


def test_quotas_and_splits_come_back(original: Rows, loaded: tuple[Rows, dict[str, str]]) -> None:
    rows, back = loaded
    columns = ["owner_id", "period_start_date", "period_end_date", "measure", "quota"]
    expected = [row for row in comparable(original, "quotas", columns) if row[0] != "-"]
    assert differences(expected, comparable(rows, "quotas", columns, back)) == []
    columns = ["opportunity_id", "owner_id", "share", "kind"]
    expected = [row for row in comparable(original, "splits", columns) if row[3] == "revenue"]
    assert differences(expected, comparable(rows, "splits", columns, back)) == []


def test_stage_dates_alone_give_the_path_of_deals_that_visit_each_stage_once(
    original: Rows, tmp_path: Path
) -> None:
    rows, back = load(tmp_path, with_history=False)
    columns = ["opportunity_id", "changed_at", "changed_date", "stage"]
    expected, got = (collapsed(one, columns, ids) for one, ids in ((original, {}), (rows, back)))
    visits = Counter((deal, stage) for deal, _, _, stage in expected)
    again = {deal for (deal, _), times in visits.items() if times > 1}
    unlisted = {deal for deal, _, _, stage in expected if stage == "Verbal Yes"}
    once = [row for row in expected if row[0] not in again | unlisted]
    assert len(once) > 10_000
    assert differences(once, [row for row in got if row[0] not in again | unlisted]) == []
    # What was expected of a deal before it closed is not in the columns, so it is not made up.
    notes = " ".join(rows.notes)
    assert "does not record amount" in notes
    history = engine.collect(rows.table("opportunity_history"))
    ended = set(engine.collect(rows.table("opportunities").filter(lambda t: t.is_closed))["opportunity_id"])
    before = history[history["opportunity_id"].isin(ended) & ~history["stage"].str.startswith("Closed")]
    assert before["close_date"].isna().all()


def test_a_stage_without_its_date_began_when_the_one_before_it_ended(desk) -> None:
    deals = (
        "hs_object_id,dealstage,createdate,closedate,hs_v2_date_entered_qualifiedtobuy,"
        "hs_v2_date_exited_qualifiedtobuy,hs_v2_date_entered_contractsent\n"
        "1,contractsent,1767225600000,,2026-01-05T10:00:00Z,2026-02-03T09:00:00Z,\n"
        "2,contractsent,2026-01-01T00:00:00Z,,2026-01-05T10:00:00Z,2026-02-03T09:00:00Z,2026-02-03T09:00:00Z\n"
        "3,qualifiedtobuy,1767225600000,,2026-01-05T10:00:00Z,,\n"
    )
    made = desk.load_files(
        {"deals.csv": deals}, mapping="extends: hubspot\nsettings: {observed_until: 2026-03-01}\n"
    )
    history = made.table("opportunity_history")
    got = [(r.opportunity_id, r.changed_date, r.stage) for r in history.itertuples()]
    assert got == [
        ("1", dt.date(2026, 1, 5), "Qualified To Buy"), ("1", dt.date(2026, 2, 3), "Contract Sent"),
        ("2", dt.date(2026, 1, 5), "Qualified To Buy"), ("2", dt.date(2026, 2, 3), "Contract Sent"),
        ("3", dt.date(2026, 1, 5), "Qualified To Buy"),
    ]  # fmt: skip
    assert made.column("created_date") == [dt.date(2026, 1, 1)] * 3


def test_stage_dates_of_older_portals_count_where_the_newer_lack_a_stage(desk) -> None:
    deals = (
        "hs_object_id,dealstage,createdate,closedate,hs_date_entered_qualifiedtobuy,"
        "hs_v2_date_entered_contractsent,hs_date_entered_contractsent\n"
        "1,contractsent,2026-01-01T00:00:00Z,,2026-01-05T10:00:00Z,2026-02-03T09:00:00Z,2026-02-20T09:00:00Z\n"
    )
    made = desk.load_files(
        {"deals.csv": deals}, mapping="extends: hubspot\nsettings: {observed_until: 2026-03-01}\n"
    )
    got = [(r.changed_date, r.stage) for r in made.table("opportunity_history").itertuples()]
    assert got == [(dt.date(2026, 1, 5), "Qualified To Buy"), (dt.date(2026, 2, 3), "Contract Sent")]
