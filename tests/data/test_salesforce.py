"""Salesforce in: the sample exported as Salesforce writes it comes back as it was, column by column."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.errors import InputError
from tests.data import crm_salesforce
from tests.data.round_trip import business_day, collapsed, comparable, differences

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
ZONE = "America/New_York"
OWN = """\
extends: salesforce
settings: {zone: America/New_York, fiscal_start_month: 2, base_currency: USD, observed_until: 2026-10-31}
tables:
  opportunities:
    columns:
      loss_reason: Loss_Reason__c
      competitor: Main_Competitor__c
      product_id: Product__c
      partner: Partner__c
      acv: ACV__c
      tcv: TCV__c
      term_months: Term__c
  accounts: {columns: {segment: Segment__c, region: Region__c}}
  leads: {columns: {mql_at: MQL_Date__c}}
"""
CARRIED = {
    "opportunities": (
        "opportunity_id account_id owner_id name type pipeline lead_source product_id partner created_at "
        "created_date "
        "close_date stage amount acv tcv term_months currency probability forecast_category next_step "
        "is_closed is_won "
        "is_deleted loss_reason competitor"
    ),
    "opportunity_lines": "opportunity_id product_id quantity list_price discount amount",
    "products": "product_id name family list_price currency",
    "stages": "pipeline stage position is_closed is_won default_probability forecast_category",
    "accounts": (
        "account_id name segment industry region country employees parent_id created_at business_model"
    ),
    "leads": "lead_id name company email created_at source owner_id mql_at opportunity_id status",
    "touches": "lead_id account_id occurred_at channel campaign",
    "activities": "activity_id owner_id type direction started_at opportunity_id account_id lead_id",
    "reps": "owner_id employee_id name role manager_id",
    "teams": "team parent_team",
    "splits": "opportunity_id owner_id share kind",
}
HISTORY = "opportunity_id changed_at changed_date stage amount currency close_date forecast_category owner_id"


def load(folder: Path, *, with_history: bool) -> tuple[Rows, dict[str, str]]:
    ids = crm_salesforce.export(SAMPLE, folder / "export", zone=ZONE, with_history=with_history)
    (folder / "own.yml").write_text(OWN, encoding="utf-8")
    return open_rows(import_export([folder / "export"], str(folder / "own.yml"), folder / "out")), ids.back


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, dict[str, str]]:
    return load(tmp_path_factory.mktemp("salesforce"), with_history=True)


@pytest.mark.parametrize("table", CARRIED)
def test_a_table_comes_back_as_it_was(
    original: Rows, loaded: tuple[Rows, dict[str, str]], table: str
) -> None:
    rows, back = loaded
    columns = CARRIED[table].split()
    assert differences(comparable(original, table, columns), comparable(rows, table, columns, back)) == []


def test_the_history_comes_back_with_the_owners_of_field_history(
    original: Rows, loaded: tuple[Rows, dict[str, str]]
) -> None:
    rows, back = loaded
    expected, got = (collapsed(one, HISTORY.split(), ids) for one, ids in ((original, {}), (rows, back)))
    assert len(expected) > 20_000
    assert differences(expected, got) == []


def test_field_history_alone_gives_the_same_states(original: Rows, tmp_path: Path) -> None:
    rows, back = load(tmp_path, with_history=False)
    # The currency of a deal is not tracked; that it never changes is then an assumption, which is said.
    columns = [name for name in HISTORY.split() if name != "currency"]
    expected, got = (collapsed(one, columns, ids) for one, ids in ((original, {}), (rows, back)))
    assert differences(expected, got) == []
    assert any("does not record currency" in note for note in rows.notes)


def test_ids_that_differ_only_by_case_stay_apart(loaded: tuple[Rows, dict[str, str]]) -> None:
    rows, back = loaded
    deals = engine.collect(rows.table("opportunities").select("opportunity_id"))["opportunity_id"]
    assert deals.str.len().eq(15).all()
    assert deals.str.casefold().nunique() < deals.nunique() / 100
    assert set(deals) <= set(back)


def test_days_without_a_time_are_the_business_days(
    original: Rows, loaded: tuple[Rows, dict[str, str]]
) -> None:
    rows, back = loaded
    for table, key, column in (
        ("leads", "lead_id", "converted_at"), ("opportunities", "opportunity_id", "last_activity_at"),
    ):  # fmt: skip
        before, after = (engine.collect(one.table(table).select(key, column)) for one in (original, rows))
        expected = dict(zip(before[key], business_day(before, column, ZONE), strict=True))
        got = dict(zip(after[key].map(back), business_day(after, column, ZONE), strict=True))
        assert pd.Series(expected).equals(pd.Series(got).reindex(list(expected)))
        assert sum(day is not pd.NaT for day in got.values()) > 1000


def test_the_calls_that_stand_come_back(original: Rows, loaded: tuple[Rows, dict[str, str]]) -> None:
    rows, back = loaded
    columns = ["owner_id", "level", "submitted_at", "period", "category", "deal_type", "amount", "currency"]
    last: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in sorted(comparable(original, "forecast_calls", columns), key=lambda row: row[2]):
        last[row[0], row[1], row[3], row[4]] = row
    assert {row[1] for row in last.values()} == {"rep", "manager", "executive"}
    assert len(last) > 800
    assert differences(sorted(last.values()), comparable(rows, "forecast_calls", columns, back)) == []


def test_quotas_end_on_the_day_after_their_periods_last(
    original: Rows, loaded: tuple[Rows, dict[str, str]]
) -> None:
    rows, back = loaded
    columns = ["owner_id", "period_start_date", "period_end_date", "measure", "quota", "currency"]
    expected = [row for row in comparable(original, "quotas", columns) if row[0] != "-"]
    assert differences(expected, comparable(rows, "quotas", columns, back)) == []


def test_todays_roles_are_the_teams(original: Rows, loaded: tuple[Rows, dict[str, str]]) -> None:
    rows, back = loaded
    stays = comparable(original, "team_memberships", ["owner_id", "team", "valid_to_date"])
    now = {(owner, team) for owner, team, end in stays if end == "-"}
    assert set(comparable(rows, "team_memberships", ["owner_id", "team"], back)) == now


def test_conversion_rates_are_turned_round(original: Rows, loaded: tuple[Rows, dict[str, str]]) -> None:
    rates = engine.collect(loaded[0].table("fx_rates"))
    assert set(rates["base"]) == {"USD"}
    known = engine.collect(original.table("fx_rates"))
    known = known[known["kind"] == "actual"].set_index(["base", "month"])["rate"]
    got = rates.set_index(["quote", "month"])["rate"]
    assert len(got) == len(known)
    assert ((got * known - 1).abs() < 1e-4).all()


# Calls

OPPORTUNITY = "Id,StageName,Amount,CloseDate,CreatedDate\n006A,Open,10,2026-09-30,2026-08-01T00:00:00Z\n"
ITEMS = (
    "Id,OwnerId,PeriodId,ForecastingTypeId,ForecastingItemCategory,ForecastAmount,IsAmount,"
    "ParentForecastingItemId,SystemModstamp\n"
)
PERIODS = (
    "Id,Type,StartDate,EndDate\n026Q,Quarter,2026-08-01,2026-10-31\n026A,Month,2026-08-01,2026-08-31\n"
    "026B,Month,2026-09-01,2026-09-30\n026C,Month,2026-11-01,2026-11-30\n026Y,Year,2026-02-01,2027-01-31\n"
)
FISCAL = "extends: salesforce\nsettings: {fiscal_start_month: 2, observed_until: 2026-09-30}\n"


def files(items: str, periods: str | None = PERIODS) -> dict[str, str]:
    """One deal, forecast items and the periods."""
    made = {"Opportunity.csv": OPPORTUNITY, "ForecastingItem.csv": ITEMS + items}
    return made if periods is None else {**made, "Period.csv": periods}


def calls(made: Any) -> list[tuple[str, ...]]:
    rows = made.table("forecast_calls").to_dict("records")
    names = ("owner_id", "level", "period", "category", "amount")
    return sorted(
        tuple(f"{float(row[name]):g}" if name == "amount" else row[name] for name in names) for row in rows
    )


def test_months_add_up_to_the_quarter_that_a_call_is_for(desk: Any) -> None:
    items = (
        "0G31,005A,026A,0DbX,CommitForecast,100.5,true,,2026-08-31T10:00:00Z\n"
        "0G32,005A,026B,0DbX,CommitForecast,200,true,,2026-09-15T10:00:00Z\n"
        "0G33,005A,026C,0DbX,CommitForecast,400,true,,2026-09-15T10:00:00Z\n"
        "0G34,005A,026A,0DbX,BestCaseForecast,800,true,,2026-08-31T10:00:00Z\n"
        "0G35,005B,026Q,0DbX,CommitForecast,,true,,2026-08-31T10:00:00Z\n"
        "0G36,005B,026A,0DbX,OpenPipeline,7,true,,2026-08-31T10:00:00Z\n"
        "0G37,005B,026B,0DbX,OpenPipeline,many,true,,2026-08-31T10:00:00Z\n"
    )
    made = desk.load_files(files(items), mapping=FISCAL)
    assert calls(made) == [
        ("005A", "rep", "2027-Q3", "Best Case", "800"), ("005A", "rep", "2027-Q3", "Commit", "300.5"),
        ("005A", "rep", "2027-Q4", "Commit", "400"),
    ]  # fmt: skip
    latest = made.table("forecast_calls").set_index(["period", "category"])["submitted_at"]
    assert latest["2027-Q3", "Commit"] == pd.Timestamp("2026-09-15T10:00:00Z")
    # Where one month has no amount there is no sum.
    assert [row[1] for row in made.found("set aside")] == [6, 7]


def test_columns_that_stand_apart_make_up_a_call_by_a_mapping_on_top(desk: Any) -> None:
    items = (
        "0G31,005A,026Q,0DbX,CommitOnly,100,true,,2026-09-15T10:00:00Z\n"
        "0G32,005A,026Q,0DbX,ClosedOnly,20,true,,2026-09-15T10:00:00Z\n"
        "0G33,005A,026Q,0DbX,PipelineOnly,400,true,,2026-09-15T10:00:00Z\n"
    )
    parts = [("Closed", "20"), ("Commit only", "100"), ("Pipeline only", "400")]
    assert [row[3:] for row in calls(desk.load_files(files(items), mapping=FISCAL))] == parts
    own = (
        "tables: {forecast_calls: {where: {ForecastingItemCategory: [CommitOnly, ClosedOnly]}, "
        "columns: {category: {value: Commit}}}}\n"
    )
    (call,) = calls(desk.load_files(files(items), mapping=FISCAL + own))
    assert call == ("005A", "rep", "2027-Q3", "Commit", "120")


def test_a_period_that_is_not_there_is_refused_with_the_export_to_add(desk: Any) -> None:
    item = "0G31,005A,026Q,0DbX,CommitForecast,1,true,,2026-09-15T10:00:00Z\n"
    more = "0G32,005A,026ZZZ,0DbX,CommitForecast,1,true,,2026-09-15T10:00:00Z\n"
    with pytest.raises(InputError) as caught:
        desk.load_files(files(item + more + more), mapping=FISCAL)
    assert [str(problem) for problem in caught.value.problems] == [
        "ForecastingItem.csv, row 3, column PeriodId: the period is not in Period.csv; expected a value of "
        "the column Id of Period.csv; got '026ZZZ' (2 rows). Export Period.csv again with every period, also "
        "those that are over."
    ]
    with pytest.raises(InputError) as caught:
        desk.load_files(files(item, None), mapping=FISCAL)
    assert [str(problem) for problem in caught.value.problems] == [
        "ForecastingItem.csv, row 1, column PeriodId: the export holds no file 'Period'; expected Period "
        "with the columns Id, StartDate, EndDate; got 'no such file'. Add the export of Period, or leave "
        "ForecastingItem.csv out."
    ]


@pytest.mark.parametrize(("period", "month", "got"), [
    ("026Q", 1, "2026-08-01 to 2026-10-31"), ("026Y", 2, "2026-02-01 to 2027-01-31"),
])  # fmt: skip
def test_a_period_that_is_no_part_of_one_quarter_is_refused(
    desk: Any, period: str, month: int, got: str
) -> None:
    item = f"0G31,005A,{period},0DbX,CommitForecast,1,true,,2026-09-15T10:00:00Z\n"
    with pytest.raises(InputError) as caught:
        desk.load_files(files(item), mapping=FISCAL.replace("month: 2", f"month: {month}"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.column, problem.got) == ("Period.csv", "StartDate", got)
    assert "fiscal_start_month" in str(problem.next_step)


def test_several_forecast_types_are_refused_until_one_is_chosen(desk: Any) -> None:
    items = (
        "0G31,005A,026Q,0DbX,CommitForecast,100,true,,2026-09-15T10:00:00Z\n"
        "0G32,005A,026Q,0DbY,CommitForecast,100,true,,2026-09-15T10:00:00Z\n"
        "0G33,005A,026Q,0DbZ,CommitForecast,5,false,,2026-09-15T10:00:00Z\n"
    )
    with pytest.raises(InputError) as caught:
        desk.load_files(files(items), mapping=FISCAL)
    (problem,) = caught.value.problems
    assert (problem.file, problem.row, problem.column) == ("ForecastingItem.csv", 3, "ForecastingTypeId")
    assert problem.got == "0DbX (1 rows), 0DbY (1 rows)"
    own = "tables: {forecast_calls: {where: {IsAmount: ['true'], ForecastingTypeId: [0DbX]}}}\n"
    assert len(calls(desk.load_files(files(items), mapping=FISCAL + own))) == 1


# What an export may lack


def test_an_organisation_with_one_currency_has_price_books_without_currencies(desk: Any) -> None:
    made = desk.load_files(
        {
            "Opportunity.csv": OPPORTUNITY,
            "Product2.csv": "Id,Name,Family\n01tA,Kit,Tools\n",
            "PricebookEntry.csv": "Id,Product2Id,UnitPrice,IsActive\n01uA,01tA,12.5,true\n",
        },
        mapping=FISCAL,
    )
    assert made.column("list_price", "products")[0] == Decimal("12.5")


def test_a_task_that_is_still_open_is_no_activity(desk: Any) -> None:
    tasks = (
        "Id,OwnerId,TaskSubtype,Status,IsClosed,CompletedDateTime,CreatedDate,IsDeleted\n"
        "00TA,005A,Call,Completed,true,2026-08-03T10:00:00Z,2026-08-01T10:00:00Z,false\n"
        "00TB,005A,Call,Not Started,false,,2026-08-02T10:00:00Z,false\n"
    )
    made = desk.load_files({"Opportunity.csv": OPPORTUNITY, "Task.csv": tasks}, mapping=FISCAL)
    assert made.column("activity_id", "activities") == ["00TA"]


def test_a_contact_in_a_campaign_is_a_touch_of_its_account(desk: Any) -> None:
    made = desk.load_files(
        {
            "Opportunity.csv": OPPORTUNITY,
            "Contact.csv": "Id,AccountId,Name\n003A,001A,Ann\n",
            "CampaignMember.csv": "Id,CampaignId,LeadId,ContactId,CreatedDate,FirstRespondedDate,IsDeleted\n"
            "00vA,701A,,003A,2026-08-01T10:00:00Z,2026-08-05,false\n",
        },
        mapping=FISCAL,
    )
    assert made.column("account_id", "touches") == ["001A"]


def test_users_without_their_roles_leave_the_teams_out(desk) -> None:
    made = desk.load_files(
        {
            "Opportunity.csv": "Id,StageName,CloseDate,CreatedDate,IsClosed,IsWon\n"
            "006A,Closed Won,2026-01-31,2026-01-01T00:00:00.000Z,true,true\n",
            "User.csv": "Id,Name\n005A,Ann\n",
            "UserRole.csv": "Id,Name,ParentRoleId\n00EA,North,\n",
        },
        mapping="extends: salesforce\n",
    )
    assert "team_memberships" not in made.snapshot.tables
    assert "User.csv has no column UserRoleId: no team_memberships are read from it." in made.snapshot.notes
