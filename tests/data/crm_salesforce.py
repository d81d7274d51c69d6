"""The sample as Salesforce would export it: objects, field names and values as its documentation has them.

Written from the canonical CSV files alone, with the csv module, and without a line of the importer.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

Row = dict[str, str]
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CATEGORIES = {"Best Case": "BestCase", "Commit": "Forecast"}
_TYPES = {"new": "New Business", "expansion": "Existing Business", "renewal": "Renewal"}
NO = "false"


def read(folder: Path, name: str) -> list[Row]:
    """The rows of one canonical CSV file."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, name: str, rows: Iterable[Row]) -> None:
    """One object's file, every field quoted as Data Loader does."""
    held = list(rows)
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(held[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(held)


class Ids:
    """Record ids: 15 characters, of which many differ only by case, and their forms of 18."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], str] = {}
        self.back: dict[str, str] = {}

    def short(self, prefix: str, name: str) -> str:
        """The id of 15 characters; empty for nothing."""
        if not name:
            return ""
        if (prefix, name) not in self.made:
            number = len(self.made)
            letters = "".join(c.upper() if number >> place & 1 else c for place, c in enumerate("abcdefghk"))
            high = number // 512
            body = f"{letters}{_BASE62[high // 3844]}{_BASE62[high // 62 % 62]}{_BASE62[high % 62]}"
            self.made[prefix, name] = prefix + body
            self.back[prefix + body] = name
        return self.made[prefix, name]

    def long(self, prefix: str, name: str) -> str:
        """The same id with its three check characters."""
        short = self.short(prefix, name)
        chunks = [short[place : place + 5] for place in range(0, len(short), 5)]
        return short + "".join(
            _CHECK[sum(character.isupper() << place for place, character in enumerate(chunk))]
            for chunk in chunks
        )


def percent(share: str) -> str:
    """A share as the percentage that Salesforce holds: 0.35 is 35."""
    from decimal import Decimal

    return f"{(Decimal(share) * 100).normalize():f}" if share else ""


def moment(text: str) -> str:
    """A moment as the API writes it."""
    return text.replace("Z", ".000Z") if text else ""


def day(text: str, zone: str) -> str:
    """The business day of a moment."""
    if not text:
        return ""
    return dt.datetime.fromisoformat(text).astimezone(ZoneInfo(zone)).date().isoformat()


def export(sample: Path, folder: Path, *, zone: str, with_history: bool = True) -> Ids:
    """Write every object; without ``with_history`` the deals, with field history as all their history."""
    ids = Ids()
    folder.mkdir(parents=True, exist_ok=True)
    _deals(sample, folder, ids, zone)
    _history(sample, folder, ids, with_history=with_history)
    if with_history:
        _products(sample, folder, ids)
        _people(sample, folder, ids, zone)
        _activities(sample, folder, ids)
    _targets(sample, folder, ids)
    return ids


def _deals(sample: Path, folder: Path, ids: Ids, zone: str) -> None:
    write(
        folder,
        "RecordType",
        [{"Id": ids.long("012", "Sales"), "Name": "Sales", "SobjectType": "Opportunity"}],
    )
    write(folder, "Opportunity", [
        {
            "Id": ids.long("006", row["opportunity_id"]), "IsDeleted": row["is_deleted"],
            "AccountId": ids.long("001", row["account_id"]), "RecordTypeId": ids.long("012", row["pipeline"]),
            "Name": row["name"], "StageName": row["stage"], "Amount": row["amount"],
            "Probability": percent(row["probability"]), "CloseDate": row["close_date"],
            "Type": _TYPES[row["type"]], "NextStep": row["next_step"], "LeadSource": row["lead_source"],
            "IsClosed": row["is_closed"], "IsWon": row["is_won"],
            "ForecastCategory": _CATEGORIES.get(row["forecast_category"], row["forecast_category"]),
            "ForecastCategoryName": row["forecast_category"], "CurrencyIsoCode": row["currency"],
            "OwnerId": ids.long("005", row["owner_id"]), "CreatedDate": moment(row["created_at"]),
            "LastActivityDate": day(row["last_activity_at"], zone), "PushCount": "0",
            "Loss_Reason__c": row["loss_reason"], "Main_Competitor__c": row["competitor"],
            "Product__c": ids.long("01t", row["product_id"]), "Partner__c": row["partner"],
            "ACV__c": row["acv"],
            "TCV__c": row["tcv"], "Term__c": row["term_months"], "Sales_Motion__c": row["sales_motion"],
        }
        for row in read(sample, "opportunities")
    ])  # fmt: skip
    write(folder, "OpportunityStage", [
        {
            "Id": ids.long("01J", row["stage"]), "MasterLabel": row["stage"], "ApiName": row["stage"],
            "IsActive": "true", "SortOrder": row["position"], "IsClosed": row["is_closed"],
            "IsWon": row["is_won"], "DefaultProbability": percent(row["default_probability"]),
            "ForecastCategoryName": row["forecast_category"],
        }
        for row in read(sample, "stages")
    ])  # fmt: skip


def _history(sample: Path, folder: Path, ids: Ids, *, with_history: bool) -> None:
    states: dict[str, list[Row]] = {}
    for row in read(sample, "opportunity_history"):
        states.setdefault(row["opportunity_id"], []).append(row)
    kept = ("stage", "amount", "currency", "close_date", "forecast_category")
    changes: list[Row] = []
    fields: list[Row] = []
    names = {"StageName": "stage", "Amount": "amount", "CloseDate": "close_date", "Owner": "owner_id",
             "ForecastCategoryName": "forecast_category"}  # fmt: skip
    for deal, rows in states.items():
        for before, row in pairwise([None, *rows]):
            assert row is not None
            if before is None or any(before[name] != row[name] for name in kept):
                changes.append(
                    {
                        "Id": ids.long("008", f"{deal} {row['changed_at']}"),
                        "OpportunityId": ids.long("006", deal),
                        "CreatedDate": moment(row["changed_at"]), "StageName": row["stage"],
                        "Amount": row["amount"],
                        "CloseDate": row["close_date"], "CurrencyIsoCode": row["currency"],
                        "ForecastCategory": _CATEGORIES.get(row["forecast_category"],
                        row["forecast_category"]),
                        "IsDeleted": row["is_deleted"],
                    }
                )  # fmt: skip
            for field, name in names.items() if before else ():
                assert before is not None
                if before[name] == row[name]:
                    continue
                pairs = [(before[name], row[name])]
                if field == "Owner":
                    # Names come first, ids second, as two records of one moment.
                    pairs = [(f"Name of {a}", f"Name of {b}") for a, b in pairs] + [
                        (ids.long("005", a), ids.long("005", b)) for a, b in pairs
                    ]
                fields += [
                    {
                        "Id": f"017{len(fields):012d}", "IsDeleted": NO, "OpportunityId": ids.short("006",
                        deal),
                        "CreatedDate": moment(row["changed_at"]), "Field": field, "OldValue": old,
                        "NewValue": new,
                    }
                    for old, new in pairs
                ]  # fmt: skip
    if with_history:
        write(folder, "OpportunityHistory", reversed(changes))
    write(folder, "OpportunityFieldHistory", reversed(fields))


def _products(sample: Path, folder: Path, ids: Ids) -> None:
    products = read(sample, "products")
    write(folder, "Product2", [
        {"Id": ids.long("01t", row["product_id"]), "Name": row["name"], "Family": row["family"],
         "IsActive": "true", "IsDeleted": NO}
        for row in products
    ])  # fmt: skip
    write(folder, "PricebookEntry", [
        {"Id": ids.long("01u", row["product_id"] + book), "Product2Id": ids.long("01t", row["product_id"]),
         "Pricebook2Id": ids.long("01s", book), "UnitPrice": row["list_price"], "IsActive": active,
         "CurrencyIsoCode": row["currency"]}
        for row in products for book, active in (("Standard", "true"), ("Old", NO))
    ])  # fmt: skip
    write(folder, "OpportunityLineItem", [
        {"Id": f"00k{number:012d}", "OpportunityId": ids.short("006", row["opportunity_id"]),
         "Product2Id": ids.long("01t", row["product_id"]), "Quantity": row["quantity"],
         "ListPrice": row["list_price"], "Discount": percent(row["discount"]), "TotalPrice": row["amount"],
         "IsDeleted": NO}
        for number, row in enumerate(read(sample, "opportunity_lines"))
    ])  # fmt: skip


def _people(sample: Path, folder: Path, ids: Ids, zone: str) -> None:
    write(folder, "Account", [
        {"Id": ids.long("001", row["account_id"]), "Name": row["name"], "Industry": row["industry"],
         "BillingCountry": row["country"], "NumberOfEmployees": row["employees"],
         "ParentId": ids.long("001", row["parent_id"]), "CreatedDate": moment(row["created_at"]),
         "IsPersonAccount": str(row["business_model"] == "B2C").lower(), "IsDeleted": NO,
         "Segment__c": row["segment"], "Region__c": row["region"]}
        for row in read(sample, "accounts")
    ])  # fmt: skip
    write(folder, "Lead", [
        {"Id": ids.long("00Q", row["lead_id"]), "FirstName": row["name"].partition(" ")[0],
         "LastName": row["name"].partition(" ")[2], "Company": row["company"], "Email": row["email"],
         "CreatedDate": moment(row["created_at"]), "LeadSource": row["source"],
         "OwnerId": ids.long("005", row["owner_id"]), "Status": row["status"],
         "IsConverted": str(bool(row["converted_at"])).lower(), "ConvertedDate": day(row["converted_at"],
         zone),
         "ConvertedOpportunityId": ids.long("006", row["opportunity_id"]), "IsDeleted": NO,
         "MQL_Date__c": moment(row["mql_at"])}
        for row in read(sample, "leads")
    ])  # fmt: skip
    stays = read(sample, "team_memberships")
    now = {row["owner_id"]: row["team"] for row in stays if not row["valid_to_date"]}
    write(folder, "UserRole", [
        {"Id": ids.long("00E", row["team"]), "Name": row["team"], "ParentRoleId": ids.long("00E",
        row["parent_team"])}
        for row in read(sample, "teams")
    ])  # fmt: skip
    write(folder, "User", [
        {"Id": ids.long("005", row["owner_id"]), "Username": f"{row['owner_id']}@example.com".lower(),
         "FirstName": row["name"].partition(" ")[0], "LastName": row["name"].partition(" ")[2],
         "EmployeeNumber": row["employee_id"], "Title": row["role"],
         "ManagerId": ids.long("005", row["manager_id"]),
         "UserRoleId": ids.long("00E", now.get(row["owner_id"], "")),
         "IsActive": str(not row["left_date"]).lower()}
        for row in read(sample, "reps")
    ])  # fmt: skip
    touches = read(sample, "touches")
    kinds = sorted({(row["campaign"], row["channel"]) for row in touches})
    write(folder, "Campaign", [
        {"Id": ids.long("701", f"{campaign}/{channel}"), "Name": campaign, "Type": channel}
        for campaign, channel in kinds
    ])  # fmt: skip
    write(folder, "CampaignMember", [
        {"Id": f"00v{number:012d}", "CampaignId": ids.long("701", f"{row['campaign']}/{row['channel']}"),
         "LeadId": ids.long("00Q", row["lead_id"]), "AccountId": ids.long("001", row["account_id"]),
         "Status": "Responded", "CreatedDate": moment(row["occurred_at"]), "IsDeleted": NO}
        for number, row in enumerate(touches)
    ])  # fmt: skip


def _activities(sample: Path, folder: Path, ids: Ids) -> None:
    rows = read(sample, "activities")
    write(folder, "Task", [
        {"Id": ids.long("00T", row["activity_id"]), "OwnerId": ids.long("005", row["owner_id"]),
         "WhatId": ids.long("006", row["opportunity_id"]) or ids.long("001", row["account_id"]),
         "AccountId": ids.long("001", row["account_id"]), "WhoId": ids.long("00Q", row["lead_id"]),
         "TaskSubtype": row["type"].title(), "CallType": row["direction"].title(),
         "ActivityDate": row["started_at"][:10],
         "CompletedDateTime": moment(row["started_at"]), "CreatedDate": moment(row["started_at"]),
         "Status": "Completed", "IsClosed": "true", "IsDeleted": NO}
        for row in rows if row["type"] != "meeting"
    ])  # fmt: skip
    write(folder, "Event", [
        {"Id": ids.long("00U", row["activity_id"]), "OwnerId": ids.long("005", row["owner_id"]),
         "WhatId": ids.long("006", row["opportunity_id"]) or ids.long("001", row["account_id"]),
         "AccountId": ids.long("001", row["account_id"]), "WhoId": ids.long("00Q", row["lead_id"]),
         "StartDateTime": moment(row["started_at"]), "EndDateTime": moment(row["ended_at"]), "IsDeleted": NO}
        for row in rows if row["type"] == "meeting"
    ])  # fmt: skip


def _targets(sample: Path, folder: Path, ids: Ids) -> None:
    write(folder, "OpportunitySplitType", [
        {"Id": ids.long("149", kind), "MasterLabel": kind.title(),
        "IsTotalValidated": str(kind == "revenue").lower()}
        for kind in ("revenue", "overlay")
    ])  # fmt: skip
    write(folder, "OpportunitySplit", [
        {"Id": f"0Ty{number:012d}", "OpportunityId": ids.long("006", row["opportunity_id"]),
         "SplitOwnerId": ids.long("005", row["owner_id"]), "SplitPercentage": percent(row["share"]),
         "SplitTypeId": ids.long("149", row["kind"]), "IsDeleted": NO}
        for number, row in enumerate(read(sample, "splits"))
    ])  # fmt: skip
    quotas = [row for row in read(sample, "quotas") if row["owner_id"]]
    _periods(folder, ids)
    _forecasts(sample, folder, ids)
    write(folder, "ForecastingQuota", [
        {"Id": f"0J9{number:012d}", "QuotaOwnerId": ids.long("005", row["owner_id"]),
         "StartDate": row["period_start_date"], "PeriodId": ids.long("026", row["period_start_date"]),
         "QuotaAmount": row["quota"], "IsAmount": "true", "IsQuantity": NO,
         "CurrencyIsoCode": row["currency"]}
        for number, row in enumerate(quotas)
    ])  # fmt: skip
    write(folder, "DatedConversionRate", [
        {"Id": f"04w{number:012d}", "IsoCode": row["base"], "StartDate": row["month"],
         "ConversionRate": f"{1 / float(row['rate']):.6f}"}
        for number, row in enumerate(read(sample, "fx_rates")) if row["kind"] == "actual"
    ])  # fmt: skip


# The company's fiscal year begins in February and is named by the year it ends in.
FIRST_YEAR, LAST_YEAR, FIRST_MONTH = 2024, 2027, 2


def _fiscal_months() -> list[tuple[int, int, dt.date]]:
    """Fiscal year, month in it (from 0) and first day."""
    return [
        (
            year,
            month,
            dt.date(year - 1 + (FIRST_MONTH - 1 + month) // 12, (FIRST_MONTH - 1 + month) % 12 + 1, 1),
        )
        for year in range(FIRST_YEAR, LAST_YEAR + 1)
        for month in range(12)
    ]


def _periods(folder: Path, ids: Ids) -> None:
    """Months, quarters and years, as a CRM with fiscal years holds them side by side."""
    starts = [day for _, _, day in _fiscal_months()]
    starts.append(dt.date(LAST_YEAR, FIRST_MONTH, 1))
    rows = []
    for type_, months in (("Year", 12), ("Quarter", 3), ("Month", 1)):
        for place in range(0, len(starts) - 1, months):
            first, after = starts[place], starts[place + months]
            name = first.isoformat() if type_ == "Quarter" else f"{type_} {first}"
            rows.append(
                {"Id": ids.long("026", name), "FiscalYearSettingsId": ids.long("022", str(after.year)),
                 "Type": type_, "StartDate": first.isoformat(),
                 "EndDate": (after - dt.timedelta(days=1)).isoformat(), "IsForecastPeriod": "false",
                 "SystemModstamp": "2023-01-01T00:00:00.000Z"}
            )  # fmt: skip
    write(folder, "Period", rows)


def standing_calls(sample: Path) -> list[Row]:
    """The last call of each person for each period and category: what the CRM still shows."""
    last: dict[tuple[str, str, str, str], Row] = {}
    for row in read(sample, "forecast_calls"):
        key = (row["owner_id"], row["level"], row["period"], row["category"])
        if key not in last or last[key]["submitted_at"] < row["submitted_at"]:
            last[key] = row
    return list(last.values())


def _team(stays: list[Row], call: Row) -> str:
    """The team of a call's owner on its day; none for the company's."""
    if call["level"] == "executive":
        return ""
    on = call["submitted_at"][:10]
    return next(
        row["team"]
        for row in stays
        if row["owner_id"] == call["owner_id"]
        and row["valid_from_date"] <= on
        and (not row["valid_to_date"] or on < row["valid_to_date"])
    )


def _forecasts(sample: Path, folder: Path, ids: Ids) -> None:
    starts = {f"{year}-Q{month // 3 + 1}": day for year, month, day in _fiscal_months() if month % 3 == 0}
    categories = {"Commit": "CommitForecast", "Best Case": "BestCaseForecast"}
    calls = standing_calls(sample)
    stays = read(sample, "team_memberships")
    above = {"rep": "manager", "manager": "executive"}
    places: dict[tuple[str, ...], str] = {}
    for row in calls:
        place = (row["level"], row["period"], row["category"], _team(stays, row))
        places[place] = row["owner_id"]
    items = []
    for row in calls:
        level = above.get(row["level"], "")
        team = _team(stays, row) if level == "manager" else ""
        boss = places.get((level, row["period"], row["category"], team), "")
        of = f"{row['period']} {row['category']}"
        items.append(
            {"Id": ids.long("0G3", f"{row['owner_id']} {of}"), "OwnerId": ids.long("005", row["owner_id"]),
             "PeriodId": ids.long("026", starts[row["period"]].isoformat()),
             "ForecastingTypeId": ids.long("0Db", "Opportunity Revenue"), "ForecastCategoryName": "",
             "ForecastingItemCategory": categories[row["category"]],
             "ForecastAmount": f"{float(row['amount']) * 0.9:.2f}",
             "AmountWithoutManagerAdjustment": row["amount"], "AmountWithoutAdjustments": row["amount"],
             "OwnerOnlyAmount": "0", "IsAmount": "true", "IsQuantity": NO, "HasAdjustment": "true",
             "ParentForecastingItemId": ids.long("0G3", boss and f"{boss} {of}"), "IsUpToDate": "true",
             "CurrencyIsoCode": row["currency"], "SystemModstamp": moment(row["submitted_at"])}
        )  # fmt: skip
    # The same forecast in pieces sold, which is no money.
    items += [
        {**item, "Id": item["Id"].replace("0G3", "0G4"), "IsAmount": NO, "IsQuantity": "true",
         "ForecastingTypeId": ids.long("0Db", "Opportunity Quantity")}
        for item in items[:40]
    ]  # fmt: skip
    write(folder, "ForecastingItem", items)
