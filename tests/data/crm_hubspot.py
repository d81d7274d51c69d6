"""The sample as HubSpot would export it: properties under their internal names, every value a string.

Written from the canonical CSV files alone, with the csv module, and without a line of the importer.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.data.crm_salesforce import Row, read, write

_CATEGORIES = {
    "Omitted": "OMIT",
    "Pipeline": "PIPELINE",
    "Best Case": "BEST_CASE",
    "Commit": "COMMIT",
    "Closed": "CLOSED",
}
_TYPES = {"new": "newbusiness", "expansion": "existingbusiness", "renewal": "renewal"}
# The first pipeline's stages have words for ids, stages added later numbers.
_STAGES = {
    "Prospecting": "appointmentscheduled", "Qualification": "qualifiedtobuy", "Solution": "998103411",
    "Proposal": "998103412", "Negotiation": "contractsent", "Closed Won": "closedwon",
    "Closed Lost": "closedlost",
}  # fmt: skip
_PROPERTIES = {
    "stage": "dealstage", "amount": "amount", "currency": "deal_currency_code", "close_date": "closedate",
    "forecast_category": "hs_manual_forecast_category", "owner_id": "hubspot_owner_id",
}  # fmt: skip


class Ids:
    """Record ids: numbers, one series for all objects."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The number of a record; empty for nothing."""
        if not name:
            return ""
        return self.made.setdefault(name, str(9_000_000_000 + 17 * len(self.made)))

    @property
    def back(self) -> dict[str, str]:
        """The records' names by number."""
        return {number: name for name, number in self.made.items()}


def epoch(text: str) -> str:
    """A moment as milliseconds, the form of the properties API."""
    return str(int(dt.datetime.fromisoformat(text).timestamp() * 1000)) if text else ""


def iso(text: str) -> str:
    """A moment as the objects API writes it."""
    return text.replace("Z", ".000Z") if text else ""


def midnight(text: str, zone: str) -> str:
    """A day as the moment at which it begins in the portal's zone; what is no day stays as it is."""
    try:
        day = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return iso(day.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def stage_id(stage: str) -> str:
    """A stage's id; a stage that was deleted from the pipeline keeps only that."""
    return _STAGES.get(stage, stage)


def export(sample: Path, folder: Path, *, zone: str, with_history: bool = True) -> Ids:
    """Write every object; without ``with_history`` the deals alone, with the dates of their stages."""
    ids = Ids()
    folder.mkdir(parents=True, exist_ok=True)
    states: dict[str, list[Row]] = {}
    for row in read(sample, "opportunity_history"):
        states.setdefault(row["opportunity_id"], []).append(row)
    _deals(sample, folder, ids, zone, states)
    if with_history:
        _history(folder, ids, zone, states)
        _people(sample, folder, ids)
        _activities(sample, folder, ids)
        _products(sample, folder, ids)
        _targets(sample, folder, ids, zone)
    return ids


def _deals(sample: Path, folder: Path, ids: Ids, zone: str, states: dict[str, list[Row]]) -> None:
    rows = []
    for row in read(sample, "opportunities"):
        made = {
            "hs_object_id": ids.of(row["opportunity_id"]), "archived": row["is_deleted"],
            "dealname": row["name"],
            "dealstage": stage_id(row["stage"]), "pipeline": "default", "amount": row["amount"],
            "hs_primary_associated_company": ids.of(row["account_id"]),
            "hubspot_owner_id": ids.of(row["owner_id"]),
            "closedate": midnight(row["close_date"], zone), "createdate": epoch(row["created_at"]),
            "dealtype": _TYPES[row["type"]], "deal_currency_code": row["currency"],
            "hs_deal_stage_probability": row["probability"], "hs_acv": row["acv"], "hs_tcv": row["tcv"],
            "hs_manual_forecast_category": _CATEGORIES[row["forecast_category"]],
            "hs_next_step": row["next_step"],
            "hs_is_closed": row["is_closed"], "hs_is_closed_won": row["is_won"],
            "notes_last_contacted": iso(row["last_activity_at"]), "closed_lost_reason": row["loss_reason"],
            "hs_analytics_source": row["lead_source"], "hs_lastmodifieddate": iso(row["last_activity_at"]),
        }  # fmt: skip
        made |= _stage_dates(states.get(row["opportunity_id"], []))
        rows.append(made)
    write(folder, "deals", rows)
    write(folder, "stages", [
        {"pipelineId": "default", "pipelineLabel": row["pipeline"], "stageId": stage_id(row["stage"]),
         "label": row["stage"], "displayOrder": str(int(row["position"]) - 1), "isClosed": row["is_closed"],
         "probability": str(float(row["default_probability"]))}
        for row in read(sample, "stages")
    ])  # fmt: skip


def _stage_dates(states: list[Row]) -> dict[str, str]:
    """When each stage was entered and left, the last time; empty for the first visit to today's stage."""
    dates = {f"hs_v2_date_{word}_{stage}": "" for word in ("entered", "exited") for stage in _STAGES.values()}
    visits = [
        row for before, row in pairwise([None, *states]) if before is None or before["stage"] != row["stage"]
    ]
    if not visits:
        return dates
    for row, after in zip(visits, [*visits[1:], None], strict=True):
        stage = stage_id(row["stage"])
        if after is not None:
            dates[f"hs_v2_date_exited_{stage}"] = iso(after["changed_at"])
        if after is not None or len(visits) == 1 or stage.startswith("closed"):
            dates[f"hs_v2_date_entered_{stage}"] = iso(row["changed_at"])
    return dates


def _history(folder: Path, ids: Ids, zone: str, states: dict[str, list[Row]]) -> None:
    rows = []
    for deal, own in states.items():
        for before, row in pairwise([None, *own]):
            assert row is not None
            for name, prop in _PROPERTIES.items():
                if before is not None and before[name] == row[name]:
                    continue
                value = {
                    "stage": stage_id(row["stage"]), "close_date": midnight(row["close_date"], zone),
                    "forecast_category": _CATEGORIES[row["forecast_category"]],
                    "owner_id": ids.of(row["owner_id"]),
                }.get(name, row[name])  # fmt: skip
                rows.append(
                    {"objectId": ids.of(deal), "property": prop, "value": value,
                     "timestamp": epoch(row["changed_at"]), "sourceType": "CRM_UI"}
                )  # fmt: skip
    write(folder, "property_history", reversed(rows))


def _people(sample: Path, folder: Path, ids: Ids) -> None:
    write(folder, "companies", [
        {"hs_object_id": ids.of(row["account_id"]), "name": row["name"], "industry": row["industry"],
         "country": row["country"], "numberofemployees": row["employees"],
         "createdate": iso(row["created_at"]),
         "hs_parent_company_id": ids.of(row["parent_id"])}
        for row in read(sample, "accounts")
    ])  # fmt: skip
    write(folder, "contacts", [
        {"hs_object_id": ids.of(row["lead_id"]), "firstname": row["name"].partition(" ")[0],
         "lastname": row["name"].partition(" ")[2], "company": row["company"], "email": row["email"],
         "createdate": epoch(row["created_at"]), "lifecyclestage": row["status"],
         "hs_analytics_source": row["source"], "hubspot_owner_id": ids.of(row["owner_id"]),
         "hs_v2_date_entered_marketingqualifiedlead": iso(row["mql_at"]),
         "hs_v2_date_entered_salesqualifiedlead": iso(row["sql_at"]),
         "hs_v2_date_entered_opportunity": iso(row["converted_at"]),
         "associated_deal_id": ids.of(row["opportunity_id"])}
        for row in read(sample, "leads")
    ])  # fmt: skip
    now = {
        row["owner_id"]: row["team"] for row in read(sample, "team_memberships") if not row["valid_to_date"]
    }
    write(folder, "owners", [
        {"id": ids.of(row["owner_id"]), "userId": ids.of(f"user {row['owner_id']}"),
         "email": f"{row['owner_id']}@example.com".lower(), "firstName": row["name"].partition(" ")[0],
         "lastName": row["name"].partition(" ")[2], "archived": str(bool(row["left_date"])).lower(),
         "primaryTeamId": ids.of(now.get(row["owner_id"], ""))}
        for row in read(sample, "reps")
    ])  # fmt: skip
    write(folder, "teams", [
        {"id": ids.of(row["team"]), "name": row["team"], "parentTeamId": ids.of(row["parent_team"])}
        for row in read(sample, "teams")
    ])  # fmt: skip


def _activities(sample: Path, folder: Path, ids: Ids) -> None:
    rows = read(sample, "activities")
    common = [
        {"hs_object_id": ids.of(row["activity_id"]), "hubspot_owner_id": ids.of(row["owner_id"]),
         "hs_timestamp": iso(row["started_at"]), "associated_deal_id": ids.of(row["opportunity_id"]),
         "associated_company_id": ids.of(row["account_id"])}
        for row in rows
    ]  # fmt: skip
    both = list(zip(rows, common, strict=True))
    write(folder, "calls", [
        {**made, "hs_call_direction": row["direction"].upper()} for row, made in both if row["type"] == "call"
    ])  # fmt: skip
    emails = {"inbound": "INCOMING_EMAIL", "outbound": "EMAIL"}
    write(folder, "emails", [
        {**made, "hs_email_direction": emails[row["direction"]]} for row,
        made in both if row["type"] == "email"
    ])  # fmt: skip
    write(folder, "meetings", [
        {**made, "hs_meeting_start_time": iso(row["started_at"]), "hs_meeting_end_time": iso(row["ended_at"])}
        for row, made in both if row["type"] == "meeting"
    ])  # fmt: skip


def _products(sample: Path, folder: Path, ids: Ids) -> None:
    write(folder, "products", [
        {"hs_object_id": ids.of(row["product_id"]), "name": row["name"], "price": row["list_price"],
         "hs_product_type": row["family"]}
        for row in read(sample, "products")
    ])  # fmt: skip
    write(folder, "line_items", [
        {"hs_object_id": ids.of(f"line {number}"), "associated_deal_id": ids.of(row["opportunity_id"]),
         "hs_product_id": ids.of(row["product_id"]), "quantity": row["quantity"], "price": row["list_price"],
         "hs_discount_percentage": f"{Decimal(row['discount']) * 100:f}", "amount": row["amount"]}
        for number, row in enumerate(read(sample, "opportunity_lines"))
    ])  # fmt: skip


def _targets(sample: Path, folder: Path, ids: Ids, zone: str) -> None:
    def last_moment(day: str) -> str:
        end = dt.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) - dt.timedelta(milliseconds=1)
        return str(int(end.timestamp() * 1000))

    write(folder, "goal_targets", [
        {"hs_object_id": ids.of(f"goal {number}"), "hs_assignee_user_id": ids.of(f"user {row['owner_id']}"),
         "hs_target_amount": row["quota"], "hs_start_datetime": midnight(row["period_start_date"], zone),
         "hs_end_datetime": last_moment(row["period_end_date"])}
        for number, row in enumerate(read(sample, "quotas")) if row["owner_id"]
    ])  # fmt: skip
    write(folder, "deal_splits", [
        {"hs_object_id": ids.of(f"split {number}"), "associated_deal_id": ids.of(row["opportunity_id"]),
         "hubspot_owner_id": ids.of(row["owner_id"]), "hs_deal_split_percentage": row["share"]}
        for number, row in enumerate(read(sample, "splits")) if row["kind"] == "revenue"
    ])  # fmt: skip
