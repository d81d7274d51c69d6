"""Every problem that the checks find: one row per check, record and field, and what each check judged."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.quality._deal_checks import DealCheck, deal_checks, thresholds
from salesops_kit.analysis.quality._pairs import account_pairs, lead_pairs
from salesops_kit.analysis.quality._sources import Sources
from salesops_kit.data.as_of import midnight
from salesops_kit.data.checks import SET_ASIDE
from salesops_kit.data.engine import collect
from salesops_kit.data.predicates import holds
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import days_between, is_true
from salesops_kit.language import _
from salesops_kit.policy.model import ANY_TABLE, Check, ServiceLevel

MOST_KEPT = 2
DEALS = "opportunities"
RESPELT = "another spelling of a value; read as the one expected"
KEYS = {"accounts": "account_id", "leads": "lead_id", "reps": "owner_id"}
COLUMNS = [
    "check_id", "table", "record_id", "name", "owner_id", "team", "field", "value", "suggested", "amount",
    "is_counted", "is_judged",
]  # fmt: skip


@dataclass
class Findings:
    """``records``: one row per check, record and field (columns ``COLUMNS``; ``amount`` in base currency,
    0 where the record is in no figure). ``checks`` in their order; ``judged``: how many records each
    judged (missing where that cannot be said); ``skipped``: why a check was not made. ``flagged``: what the
    import flagged, read once."""

    records: pd.DataFrame
    checks: list[Check] = field(default_factory=list)
    judged: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    flagged: pd.DataFrame | None = None


def find(data: Sources) -> Findings:
    """Every check of the policy made on the sources; several tables of a page share what is found."""
    parts = (data.deals, data.states, data.stages, data.exclusions, data.accounts, data.leads, data.reps)
    key = (
        *(None if part is None else part.op() for part in parts),
        data.as_of,
        data.period,
        data.policy.digest,
        data.settings.model_dump_json(),
        json.dumps(data.reference, sort_keys=True, default=str),
    )
    if key not in _KEPT:
        while len(_KEPT) >= MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[key] = _find(data)
    return _KEPT[key]


def _find(data: Sources) -> Findings:
    found = Findings(
        pd.DataFrame(columns=COLUMNS),
        [*data.policy.checks, *map(_as_check, data.policy.process.service_levels)],
    )
    parts = [_deals(data, found)]
    for check in data.policy.checks:
        if check.builtin in _OTHERS:
            parts.append(_OTHERS[check.builtin](check, data, found))
        elif not check.builtin and check.table in KEYS:
            parts.append(_rows(check, data, found))
    parts += [_late(level, data, found) for level in data.policy.process.service_levels]
    full = [part for part in parts if len(part)]
    if full:
        records = pd.concat(full, ignore_index=True)[COLUMNS]
        for name in ("owner_id", "team"):
            records[name] = records[name].astype(object).where(records[name].notna(), None)
        found.records = records
    return found


def with_owners(frame: pd.DataFrame, reps: ir.Table | None) -> pd.DataFrame:
    """The frame with ``rep_name`` after ``owner_id``; what has no owner is nobody's."""
    named = with_rep_names(frame, reps)
    if "rep_name" in named:
        named["rep_name"] = named["rep_name"].where(named["owner_id"].notna(), _("(no owner)"))
    return named


_KEPT: dict[tuple[object, ...], Findings] = {}


def _as_check(level: ServiceLevel) -> Check:
    return Check(id=level.id, title=level.title, severity=level.severity, table=level.table, field=level.end)


def find_in_deals(data: Sources) -> Findings:
    """The checks of deals alone, for sources that have nothing else."""
    found = Findings(pd.DataFrame(columns=COLUMNS), list(data.policy.checks))
    found.records = _deals(data, found)
    return found


def _deals(data: Sources, found: Findings) -> pd.DataFrame:
    made = deal_checks(data)
    for item in made:
        if item.fails is None:
            found.skipped[item.check.id] = item.reason
    live = [item for item in made if item.fails is not None]
    for item in live:
        found.skipped.pop(item.check.id, None)
    if not live:
        return pd.DataFrame(columns=COLUMNS)
    counts = (
        collect(
            data.deals.aggregate(
                all=data.deals.count(),
                open=data.deals.is_open.cast("int32").sum(),
                lost=data.deals.is_lost.cast("int32").sum(),
            )
        )
        .iloc[0]
        .fillna(0)
    )
    sizes = {"all": counts["all"], "open": counts["open"], "lost": counts["lost"]}
    sizes |= {"closed": sizes["all"] - sizes["open"]}
    sizes |= {"won": sizes["closed"] - sizes["lost"]}
    for item in live:
        found.judged[item.check.id] = float(sizes[item.judged])
    return _failing_deals(data, live)


def _failing_deals(data: Sources, live: list[DealCheck]) -> pd.DataFrame:
    deals = data.deals
    flags = {f"fails_{number}": item.fails for number, item in enumerate(live)}
    fields = sorted({item.field for item in live if item.field in deals.columns})
    rows = deals.select(
        "opportunity_id",
        "owner_id",
        "team",
        name=_name(deals),
        amount=_exposed(deals),
        is_counted=deals.is_counted,
        is_judged=deals.is_judged,
        **{f"value_{column}": deals[column].cast("string") for column in fields},
        **flags,
    )
    failing = rows.filter(ibis.or_(*(rows[name] for name in flags)))
    frame = collect(failing)
    parts = []
    for number, item in enumerate(live):
        mine = frame[frame[f"fails_{number}"].astype(bool)]
        if mine.empty:
            continue
        value = mine[f"value_{item.field}"] if item.field in fields else None
        parts.append(
            pd.DataFrame(
                {
                    "check_id": item.check.id,
                    "table": DEALS,
                    "record_id": mine["opportunity_id"],
                    "name": mine["name"],
                    "owner_id": mine["owner_id"],
                    "team": mine["team"],
                    "field": item.field,
                    "value": value,
                    "suggested": None,
                    "amount": mine["amount"].astype(float),
                    "is_counted": mine["is_counted"].astype(bool),
                    "is_judged": mine["is_judged"].astype(bool),
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _frame(check: Check, **columns: object) -> pd.DataFrame:
    table = check.table if check.table != ANY_TABLE else DEALS
    given = {"table": table, "name": None, "owner_id": None, "team": None, "value": None, "suggested": None,
             "amount": 0.0, "is_counted": False, "is_judged": False, "field": check.field}  # fmt: skip
    frame = pd.DataFrame({**columns})
    for name, value in given.items():
        if name not in frame:
            frame[name] = value
    return frame.assign(check_id=check.id)[COLUMNS]


def known_by(table: ir.Table, data: Sources) -> ir.Table:
    """The rows that were created by the end of the day."""
    if "created_at" not in table.columns:
        return table
    end = ibis.timestamp(midnight(data.as_of + dt.timedelta(days=1), data.settings.zone))
    return table.filter(table.created_at.isnull() | (table.created_at < end))


def _source(name: str, data: Sources) -> ir.Table | None:
    table: ir.Table | None = {"accounts": data.accounts, "leads": data.leads, "reps": data.reps}.get(name)
    return None if table is None else known_by(table, data)


def _rows(check: Check, data: Sources, found: Findings) -> pd.DataFrame:
    """A check of accounts, leads or reps by conditions."""
    rows = _source(check.table, data)
    wanted = {condition.column for condition in check.where}
    if rows is None or not wanted <= set(rows.columns):
        found.skipped[check.id] = _("The data has no {columns}.").format(columns=check.table)
        return pd.DataFrame(columns=COLUMNS)
    hidden = [
        c.column
        for c in check.where
        if c.operator == "empty" and f"{check.table}.{c.column}" in data.policy.unfilled
    ]
    if hidden:
        text = _("No record has a {column}, so it is taken as not exported.")
        found.skipped[check.id] = text.format(column=hidden[0])
        return pd.DataFrame(columns=COLUMNS)
    found.judged[check.id] = float(collect(rows.aggregate(n=rows.count()))["n"].iloc[0])
    return _listed(check, rows.filter(holds(rows, check.where, data.as_of)))


def _listed(check: Check, rows: ir.Table) -> pd.DataFrame:
    key = KEYS.get(check.table, "opportunity_id")
    columns = {"record_id": rows[key]}
    columns |= {name: rows[name] for name in ("name", "owner_id", "team") if name in rows.columns}
    if check.field in rows.columns:
        columns["value"] = rows[check.field].cast("string")
    frame = collect(rows.select(**columns))
    return _frame(check, **{name: frame[name] for name in frame})


def _late(level: ServiceLevel, data: Sources, found: Findings) -> pd.DataFrame:
    """Records that wait for longer than the service level promises."""
    check = _as_check(level)
    rows = data.deals if level.table == DEALS else _source(level.table, data)
    columns = {level.start, level.end, *(condition.column for condition in level.where)}
    if rows is None or not columns <= set(rows.columns):
        found.skipped[check.id] = _("The data has no {columns}.").format(columns=level.table)
        return pd.DataFrame(columns=COLUMNS)
    rows = rows.filter(holds(rows, level.where, data.as_of) & rows[level.start].notnull())
    found.judged[check.id] = float(collect(rows.aggregate(n=rows.count()))["n"].iloc[0])
    waited = days_between(ibis.literal(data.as_of), rows[level.start].date())
    return _listed(check, rows.filter(rows[level.end].isnull() & is_true(waited > level.within_days)))


def _duplicates(check: Check, data: Sources, found: Findings) -> pd.DataFrame:
    table = "accounts" if check.builtin == "duplicate_accounts" else "leads"
    rows, limit = _source(table, data), thresholds(check)
    if rows is None or "name" not in rows.columns:
        found.skipped[check.id] = _("The data has no {columns}.").format(columns=table)
        return pd.DataFrame(columns=COLUMNS)
    size = int(collect(rows.aggregate(n=rows.count()))["n"].iloc[0])
    if size > limit["most_records"]:
        text = _("{n} records are too many to compare on every page; quality.duplicates compares them.")
        found.skipped[check.id] = text.format(n=f"{size:,}")
        return pd.DataFrame(columns=COLUMNS)
    found.judged[check.id] = float(size)
    if table == "accounts":
        pairs = with_deals(account_pairs(rows, limit["similarity"]), data)
    else:
        pairs = lead_pairs(rows, limit["similarity"], email_decides=bool(limit["email_decides"]))
        owners = (
            collect(rows.select("lead_id", "owner_id")) if "owner_id" in rows.columns and len(pairs) else None
        )
        if owners is not None:
            pairs["owner_id"] = pairs["record_id"].map(owners.set_index("lead_id")["owner_id"])
    text = _("merge into {record_id}")
    suggested = [text.format(record_id=record) for record in pairs["keep_id"]]
    kept = {name: pairs[name] for name in ("owner_id", "amount", "is_counted") if name in pairs}
    return _frame(
        check.model_copy(update={"table": table}), record_id=pairs["record_id"], name=pairs["name"],
        value=pairs["keep_name"], suggested=suggested, **kept,
    )  # fmt: skip


def with_deals(pairs: pd.DataFrame, data: Sources) -> pd.DataFrame:
    """The pairs of accounts with the ``amount`` of the record's own deals that are in the figures."""
    pairs = pairs.copy()
    pairs["amount"], pairs["is_counted"] = 0.0, False
    deals = data.deals
    if pairs.empty or "account_id" not in deals.columns:
        return pairs
    mine = deals.filter(deals.is_counted & deals.account_id.isin(list(pairs["record_id"])))
    sums = mine.group_by("account_id").aggregate(amount=mine.shown_amount.sum().cast("float64"))
    amounts = collect(sums).set_index("account_id")["amount"]
    pairs["amount"] = pairs["record_id"].map(amounts).fillna(0.0).astype(float)
    pairs["is_counted"] = pairs["record_id"].isin(amounts.index)
    return pairs


def _imported(check: Check, data: Sources, found: Findings) -> pd.DataFrame:
    """What the import flagged or set aside."""
    if data.exclusions is None:
        found.skipped[check.id] = _("The import left no list of flags.")
        return pd.DataFrame(columns=COLUMNS)
    aside = check.builtin == "set_aside"
    if found.flagged is None:
        found.flagged = _flagged(data.exclusions, data.deals)
    frame = found.flagged
    frame = frame[(frame["action"] == SET_ASIDE) == aside]
    if check.problems:
        frame = frame[frame["problem"].isin(check.problems)]
    if check.table != ANY_TABLE:
        frame = frame[frame["table_name"] == check.table]
    elif aside:
        # What has a check of its own is not found twice.
        own = {one.table for one in data.policy.checks if one.builtin == check.builtin} | {DEALS}
        frame = frame[~frame["table_name"].isin(own)]
    # A deal that is not known by the day, or was deleted, has no problem yet or any more.
    if not aside:
        frame = frame[frame["deal_id"].notna() | (frame["table_name"] != DEALS)]
    frame = frame.drop_duplicates(["source_file", "source_row", *([] if aside else ["column_name"])])
    if check.table == DEALS:
        total = float(collect(data.deals.aggregate(n=data.deals.count()))["n"].iloc[0])
        found.judged[check.id] = total + (len(frame) if aside else 0)
    file_row = [f"{file}, {row}" for file, row in zip(frame["source_file"], frame["source_row"], strict=True)]
    is_deal = (frame["table_name"] == DEALS) & (not aside)
    is_spelling = frame["problem"] == RESPELT
    return _frame(
        check,
        table=frame["table_name"],
        record_id=frame["key"].astype(object).where(frame["key"].fillna("").str.strip() != "", file_row),
        name=frame["name"],
        owner_id=frame["deal_owner"].where(frame["deal_owner"].notna(), frame["owner_id"]),
        team=frame["team"],
        field=frame["column_name"],
        value=frame["got"],
        suggested=frame["expected"].astype(object).where(is_spelling, None),
        amount=np.where(is_deal, frame["amount"].astype(float).fillna(0.0), 0.0),
        is_counted=is_deal & frame["is_counted"].eq(other=True),
        is_judged=is_deal & frame["is_judged"].eq(other=True),
    )


def _flagged(exclusions: ir.Table, deals: ir.Table) -> pd.DataFrame:
    """Every row that the import flagged or set aside, with the deal that it is of."""
    rows = collect(
        exclusions.select(
            "table_name", "source_file", "source_row", "key", "column_name", "problem", "expected", "got",
            "action", "opportunity_id", "owner_id",
        )
    )  # fmt: skip
    touched = deals.semi_join(exclusions, "opportunity_id")
    known = collect(
        touched.select(
            "team",
            "is_counted",
            "is_judged",
            deal_id=touched.opportunity_id,
            deal_owner=touched.owner_id,
            name=_name(touched),
            amount=_exposed(touched),
        )
    )
    return rows.merge(known, left_on="opportunity_id", right_on="deal_id", how="left", validate="many_to_one")


def _name(deals: ir.Table) -> ir.StringValue:
    return deals.name if "name" in deals.columns else ibis.null("string")


def _exposed(deals: ir.Table) -> ir.FloatingValue:
    """The amount that a deal puts into the figures."""
    return ibis.cases((deals.is_counted, deals.shown_amount), else_=0).cast("float64")


_OTHERS: dict[str, Callable[[Check, Sources, Findings], pd.DataFrame]] = {
    "duplicate_accounts": _duplicates,
    "duplicate_leads": _duplicates,
    "import_flag": _imported,
    "set_aside": _imported,
}
