"""Stage history where an export has none: derived from dates, and said so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import duckdb

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.stages import OPEN
from salesops_kit.data.values import SQL_TYPES
from salesops_kit.errors import InputError, Problem, did_you_mean

HISTORY = "opportunity_history"
DERIVED = "derived"
LIST_PRICE = "list_price"
_STAGES = "JOIN read_stages s ON s.pipeline = coalesce(d.pipeline, '') AND s.stage = {}.stage"
# What a deal closed at was not known before: an open deal is worth its product's list price.
_LIST_AMOUNT = "CASE WHEN s.is_closed THEN d.amount ELSE coalesce(p.list_price, d.amount) END AS amount"
_LIST_PRICES = "; open deals count at the list price of their product"
# When a deal would close was not known before either; what is open today may keep today's expectation.
_NOW = " JOIN read_stages now ON now.pipeline = coalesce(d.pipeline, '') AND now.stage = d.stage"
_KNOWN_CLOSE = "CASE WHEN s.is_closed OR NOT now.is_closed THEN d.close_date END AS close_date"
_CREATED = "d.created_date"
_UNDATED = f"{_CREATED} IS NULL AND d.close_date IS NULL"
_COLUMNS = TABLES[HISTORY].columns
_STATE = ("amount", "currency", "close_date", "forecast_category", "owner_id", "is_deleted")


def complete_history(
    con: duckdb.DuckDBPyConnection,
    cleaned: dict[str, Path],
    *,
    stage_dates: dict[str, str],
    open_amount: str,
    absent: tuple[str, ...],
    zone: str,
    observed_until: dt.date,
    folder: Path,
) -> list[str]:
    """Write ``opportunity_history.parquet`` with at least one event per deal; returns notes.

    A deal without recorded events gets one per stage date that it has, one at its close when it is
    closed, and, where the current stage is still unexplained, one at the day of observation: nothing
    is said to have been so earlier than a date shows. A deal that stands in another stage than its last
    event says (or is deleted without an event) gets one more. Values that no event records (``absent``
    columns, derived events) are the deal's current ones, but for the amount of an open deal with
    ``open_amount`` ``list_price``: that is its product's list price, since the value at closing was not
    known before. Nor was the day of closing: a closed deal has no close date while it was open.
    """
    deals = parquet(cleaned["opportunities"])
    recorded = parquet(cleaned[HISTORY]) if HISTORY in cleaned else ""
    missing = [name for name in _STATE if name in absent and name != "is_deleted"] if recorded else []
    at_list = open_amount == LIST_PRICE and "products" in cleaned
    prices = f" LEFT JOIN {parquet(cleaned['products'])} p USING (product_id)" if at_list else ""
    parts: list[str] = []
    later, changed, without = "", 0, deals
    if recorded:
        parts.append(_recorded_events(recorded, deals, missing, prices))
        later = _later_changes(deals, parts[0], observed_until)
        changed = count(con, f"SELECT count(*) FROM ({later})")
        without = (
            f"(SELECT * FROM {deals} WHERE opportunity_id NOT IN (SELECT opportunity_id FROM {recorded}))"
        )
    derived = count(con, f"SELECT count(*) FROM {without}")
    if recorded and not (missing or changed or derived):
        return []
    notes: list[str] = []
    if missing:
        notes.append(_missing_note(missing, at_list=at_list))
    if changed:
        parts.append(_later_events(later, deals, zone))
        notes.append(_later_note(changed))
    if derived:
        dated = _derived_dates(con, without, stage_dates, observed_until)
        parts.append(_derived_events(dated, without, prices, zone))
        if undated := count(con, f"SELECT count(*) FROM {without} d WHERE {_UNDATED}"):
            notes.append(_undated_note(undated, observed_until))
        has_created = bool(count(con, f"SELECT count(*) FROM {without} d WHERE {_CREATED} IS NOT NULL"))
        notes.append(
            _derived_note(derived, stage_dates, whole=not recorded, at_list=at_list, has_created=has_created)
        )
    _write(con, parts or [_no_events()], cleaned, folder)
    return notes


def _recorded_events(recorded: str, deals: str, missing: Sequence[str], prices: str) -> str:
    picks = ", ".join(_recorded_column(name, missing, at_list=bool(prices)) for name in _COLUMNS)
    joins = f" JOIN {deals} d USING (opportunity_id) {_STAGES.format('h')}{_NOW}{prices}" if missing else ""
    return f"SELECT {picks} FROM {recorded} h{joins}"


def _later_events(later: str, deals: str, zone: str) -> str:
    picks = ", ".join(_later_column(name, zone) for name in _COLUMNS)
    return f"SELECT {picks} FROM ({later}) e JOIN {deals} d USING (opportunity_id)"


def _derived_events(dated: str, deals: str, prices: str, zone: str) -> str:
    picks = ", ".join(_derived_column(name, zone, at_list=bool(prices)) for name in _COLUMNS)
    return (
        f"SELECT {picks} FROM ({dated}) e JOIN {deals} d USING (opportunity_id) "
        f"{_STAGES.format('e')}{_NOW}{prices}"
    )


def _no_events() -> str:
    casts = (f"NULL::{SQL_TYPES[column.type]} AS {name}" for name, column in _COLUMNS.items())
    return f"SELECT {', '.join(casts)} WHERE false"


def _write(
    con: duckdb.DuckDBPyConnection, parts: Sequence[str], cleaned: dict[str, Path], folder: Path
) -> None:
    """Put the events of all parts in the place of the history, which may be one of them."""
    target = folder / f"complete_{HISTORY}.parquet"
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    write_parquet(con, f"{union} ORDER BY opportunity_id, changed_at", target)
    cleaned[HISTORY] = folder / f"{HISTORY}.parquet"
    target.replace(cleaned[HISTORY])


def _recorded_column(name: str, missing: Sequence[str], *, at_list: bool) -> str:
    if name == "close_date" and name in missing:
        return _KNOWN_CLOSE
    if name == "amount" and name in missing and at_list:
        return _LIST_AMOUNT
    return f"{'d' if name in missing else 'h'}.{name} AS {name}"


def _later_changes(deals: str, recorded: str, observed_until: dt.date) -> str:
    """SQL of (opportunity_id, on_date, after): deals that stand elsewhere than their last event says.

    A change without an event is dated by the close date where the deal is closed and that lies after
    the last event, else by the day of observation: that is when it is known to have happened.
    """
    last = (
        "SELECT opportunity_id, max(changed_at) AS after, max_by(changed_date, changed_at) AS last_date, "
        "max_by(stage, changed_at) AS last_stage, "
        f"max_by(coalesce(is_deleted, false), changed_at) AS was_deleted FROM ({recorded}) GROUP BY 1"
    )
    observed = f"DATE '{observed_until}'"
    return (
        f"SELECT d.opportunity_id, l.after, CASE WHEN s.is_closed AND d.close_date > l.last_date AND "
        f"d.close_date <= {observed} THEN d.close_date ELSE greatest({observed}, l.last_date) END AS on_date "
        f"FROM {deals} d JOIN ({last}) l USING (opportunity_id) {_STAGES.format('d')} "
        "WHERE d.stage <> l.last_stage OR coalesce(d.is_deleted, false) <> l.was_deleted"
    )


def _later_column(name: str, zone: str) -> str:
    if name == "changed_at":
        begins = f"timezone({sql_text(zone)}, e.on_date::TIMESTAMP)"
        return f"greatest({begins}, e.after + INTERVAL 1 SECOND) AS changed_at"
    return _own_column(name)


def _own_column(name: str) -> str:
    """What a derived event takes from its deal."""
    if name == "changed_date":
        return "e.on_date AS changed_date"
    if name == "observed_at":
        return "NULL::TIMESTAMPTZ AS observed_at"
    if name == "source":
        return f"'{DERIVED}' AS source"
    return f"d.{name} AS {name}"


def _missing_note(missing: Sequence[str], *, at_list: bool) -> str:
    prices = _LIST_PRICES if at_list and "amount" in missing else ""
    lacking = ", ".join(missing)
    return f"The stage history does not record {lacking}: today's values are used for the past{prices}."


def _later_note(changed: int) -> str:
    who = "1 deal stands" if changed == 1 else f"{changed:,} deals stand"
    return (
        f"Derived: {who} in another stage than the last recorded change says, so a change is added on "
        "the close date, or on the last known day."
    )


def _derived_note(
    derived: int, stage_dates: dict[str, str], *, whole: bool, at_list: bool, has_created: bool
) -> str:
    source = "the creation and close dates; the stages in between are not known"
    if stage_dates:
        source = f"the dates of {', '.join(stage_dates)} and the close date"
    elif not has_created:
        source = "the close dates alone; since when a deal has been open is not known"
    some = "1 deal has" if derived == 1 else f"{derived:,} deals have"
    who = "the export has no stage history" if whole else f"{some} no stage history"
    past = "The owner in the past is" if at_list else "Amount and owner in the past are"
    return (
        f"Derived: {who}, so it is built from {source}. {past} today's{_LIST_PRICES if at_list else ''}; "
        "when a deal would close is not known before it did."
    )


def _undated_note(undated: int, observed_until: dt.date) -> str:
    some = "1 deal has" if undated == 1 else f"{undated:,} deals have"
    return (
        f"{some} neither a creation nor a close date, so nothing is known of them before the last known "
        f"day, {observed_until}."
    )


def _derived_column(name: str, zone: str, *, at_list: bool) -> str:
    if name == "amount" and at_list:
        return _LIST_AMOUNT
    if name == "close_date":
        return _KNOWN_CLOSE
    if name == "stage":
        return "e.stage AS stage"
    if name == "changed_at":
        return f"timezone({sql_text(zone)}, e.on_date::TIMESTAMP) + to_seconds(e.place) AS changed_at"
    return _own_column(name)


def _derived_dates(
    con: duckdb.DuckDBPyConnection, deals: str, stage_dates: dict[str, str], observed_until: dt.date
) -> str:
    """SQL of (opportunity_id, stage, on_date, place): one row per event, in order within a day."""
    known = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {deals}").fetchall()]
    problems = [
        Problem(
            f"stage_dates names {column!r}, which opportunities lack", next_step=did_you_mean(column, known)
        )
        for column in stage_dates.values()
        if column not in known
    ]
    if problems:
        raise InputError(problems)
    is_closed = "s.is_closed"
    base = f"FROM {deals} d {_STAGES.format('d')}"
    dates = stage_dates or {OPEN: ""}
    parts = []
    for place, (stage, column) in enumerate(dates.items(), 1):
        day = f"try_cast(d.{sql_name(column)} AS DATE)" if column else _CREATED
        # A deal that is closed on or before the day on which a stage began never stood in it openly.
        parts.append(
            f"SELECT d.opportunity_id, {sql_text(stage)} AS stage, {day} AS on_date, {place} AS place {base} "
            f"WHERE {day} IS NOT NULL AND NOT ({is_closed} AND d.close_date < {day})"
        )
    closed_day = f"coalesce(d.close_date, {_CREATED}, DATE '{observed_until}')"
    parts.append(
        f"SELECT d.opportunity_id, d.stage, least({closed_day}, DATE '{observed_until}'), {len(dates) + 1} "
        f"{base} WHERE {is_closed}"
    )
    explained = ", ".join(sql_text(stage) for stage in stage_dates)
    unexplained = " OR ".join(
        f"(d.stage = {sql_text(stage)} AND try_cast(d.{sql_name(column)} AS DATE) IS NOT NULL)"
        for stage, column in stage_dates.items()
    )
    parts.append(
        f"SELECT d.opportunity_id, d.stage, DATE '{observed_until}', {len(dates) + 1} {base} "
        f"WHERE NOT {is_closed}" + (f" AND NOT ({unexplained})" if explained else "")
    )
    return " UNION ALL ".join(parts)
