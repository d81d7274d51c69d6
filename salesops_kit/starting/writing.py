"""The answers about a file as a mapping and as a dataset's settings, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from salesops_kit.data import guesses
from salesops_kit.data.recognise import FOOTER_LINES, Recognised
from salesops_kit.data.sources import stem_of
from salesops_kit.starting.proposals import StageSeen

TYPES = {
    "New Business": "new", "New Customer": "new", "New": "new", "newbusiness": "new", "新业务": "new",
    "新業務": "new",
    "신규": "new", "신규 비즈니스": "new", "Existing Business": "expansion", "existingbusiness": "expansion",
    "Existing Customer - Upgrade": "expansion", "现有业务": "expansion", "現有業務": "expansion",
    "기존 비즈니스": "expansion", "Renewal": "renewal", "续约": "renewal", "續約": "renewal",
    "갱신": "renewal",
}  # fmt: skip
# The file of deals in the presets.
PRESET_FILES = {"salesforce": "Opportunity", "hubspot": "deals"}
# The columns that say when a deal closes, what happened before what was expected.
CLOSINGS = ("closed_at", "won_at", "lost_at", "close_date")
_SAME = ("pipeline", "lead_source", "forecast_category", "next_step", "loss_reason")


@dataclass(frozen=True)
class Answers:
    """What is decided about one file. ``dates`` gives each role's date format; ``currency`` is the base;
    ``endings`` are values of the status that stand for the stage."""

    name: str
    amount: str
    stages: tuple[StageSeen, ...]
    fiscal_start: int
    currency: str
    zone: str
    dates: Mapping[str, str]
    numbers: guesses.Numbers
    probability_scale: str = ""
    one_currency: bool = True
    types: Mapping[str, str] = field(default_factory=dict)
    endings: tuple[str, ...] = ()


def settings_of(answers: Answers) -> dict[str, Any]:
    """The dataset's settings."""
    return {
        "name": answers.name,
        "zone": answers.zone,
        "fiscal_start_month": answers.fiscal_start,
        "base_currency": answers.currency,
        "stages": [_stage(one) for one in answers.stages],
    }


def _stage(one: StageSeen) -> dict[str, Any]:
    made: dict[str, Any] = {"stage": one.stage}
    if one.is_won or one.is_lost:
        made["is_closed"] = True
    if one.is_won:
        made["is_won"] = True
    return made


def mapping_of(found: Recognised, answers: Answers) -> dict[str, Any]:
    """The mapping of the file: over the CRM's preset for its objects, whole for a report.

    The next download may have another name: a single file is taken whatever it is called.
    """
    named: dict[str, Any] = {"name": answers.name, "settings": "../dataset.yml"}
    name = PRESET_FILES[found.crm] if found.form == "objects" else stem_of(found.source.name)
    read = {"files": {"*": _format(found, answers)}, "aliases": {name: ["*"]}}
    if found.form == "objects":
        rule: dict[str, Any] = {"from": name}
        if answers.amount != found.roles.get("amount"):
            rule["columns"] = {"amount": answers.amount}
        return {**named, "extends": found.crm, **read, "tables": {"opportunities": rule}}
    return {**named, **read, "tables": _tables(found, answers, name)}


def _format(found: Recognised, answers: Answers) -> dict[str, Any]:
    fmt, numbers = found.source.format, answers.numbers
    made: dict[str, Any] = {}
    if fmt.encoding != "utf-8":
        made["encoding"] = fmt.encoding
    if fmt.delimiter != ",":
        made["delimiter"] = fmt.delimiter
    if numbers.decimal != ".":
        made["decimal"] = numbers.decimal
    if numbers.thousands:
        made["thousands"] = numbers.thousands
    if numbers.symbols:
        made["currency_symbols"] = list(numbers.symbols)
    if numbers.parentheses:
        made["parentheses_are_negative"] = True
    if found.source.flagged:
        made["footer_lines"] = list(FOOTER_LINES)
    if found.crm == "salesforce":
        made["short_ids"] = {18: 15}
    return made


def _tables(found: Recognised, answers: Answers, file: str) -> dict[str, Any]:
    roles = found.roles
    columns: dict[str, Any] = {
        "opportunity_id": roles.get("opportunity_id", {"row": True}),
        "stage": _staged(roles, answers.endings),
        "amount": _amount(roles, answers.amount),
        "close_date": _closed(roles, answers.dates),
    }
    if "name" in roles:
        columns["name"] = roles["name"]
    if "created_at" in answers.dates:
        form = answers.dates["created_at"]
        has_time = any(part in form for part in ("%H", "%I", "epoch"))
        columns["created_at" if has_time else "created_date"] = _dated(roles["created_at"], form)
    if "owner" in roles:
        columns["owner_id"] = roles["owner"]
    if "account" in roles:
        columns["account_id"] = roles["account"]
    if "currency" in roles and answers.one_currency:
        columns["currency"] = roles["currency"]
    else:
        columns["currency"] = {"value": answers.currency}
    if "type" in roles and answers.types:
        columns["type"] = {"column": roles["type"], "recode": dict(answers.types)}
    if "probability" in roles:
        columns["probability"] = {"column": roles["probability"]}
        if answers.probability_scale:
            columns["probability"]["scale"] = answers.probability_scale
    columns |= {role: roles[role] for role in _SAME if role in roles}
    tables: dict[str, Any] = {"opportunities": {"from": file, "columns": columns}}
    shared = {"from": file, "keep": "none", "distinct": True}
    if "account" in roles:
        account = roles["account"]
        tables["accounts"] = {
            **shared,
            "needs": [account],
            "columns": {"account_id": account, "name": account},
        }
    if "owner" in roles:
        owner = roles["owner"]
        tables["reps"] = {**shared, "needs": [owner], "columns": {"owner_id": owner, "name": owner}}
        if "team" in roles:
            team = roles["team"]
            tables["team_memberships"] = {
                **shared, "needs": [owner, team], "columns": {"owner_id": owner, "team": team}
            }  # fmt: skip
            tables["teams"] = {**shared, "needs": [team], "columns": {"team": team}}
    return tables


def _staged(roles: Mapping[str, str], endings: tuple[str, ...]) -> Any:
    if not endings:
        return roles["stage"]
    status = roles["status"]
    return {"first": [{"column": status, "when": {status: list(endings)}}, roles["stage"]]}


def _amount(roles: Mapping[str, str], amount: str) -> Any:
    """What a deal brought, else the amount that was chosen."""
    brought = roles.get("won_amount")
    return amount if brought is None or amount != roles.get("amount") else {"first": [brought, amount]}


def _closed(roles: Mapping[str, str], dates: Mapping[str, str]) -> Any:
    """When a deal ended, else when it is expected to."""
    known = {roles[role]: dates[role] for role in CLOSINGS if role in dates}
    if len(known) < 2:
        return _dated(roles["close_date"], dates.get("close_date", "iso"))
    forms = list(dict.fromkeys(known.values()))
    made: dict[str, Any] = {"first": list(known)}
    if forms != ["iso"]:
        made["dates"] = forms
    return made


def _dated(column: str, form: str) -> Any:
    return column if form == "iso" else {"column": column, "dates": form}
