"""Stage history where an export has none: derived from dates, and said so."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.stages import OPEN
from salesops_kit.data.values import SQL_TYPES
from salesops_kit.errors import InputError, Problem, did_you_mean

DERIVED = "derived"
LIST_PRICE = "list_price"
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
    is said to have been so earlier than a date shows. Values that no event records (``absent``
    columns, derived events) are the deal's current ones, but for the amount of an open deal with
    ``open_amount`` ``list_price``: that is its product's list price, since the value at closing was not
    known before.
    """
    deals = f"{parquet(cleaned['opportunities'])}"
    notes: list[str] = []
    parts: list[str] = []
    names = list(TABLES["opportunity_history"].columns)
    if "opportunity_history" in cleaned:
        recorded = f"{parquet(cleaned['opportunity_history'])}"
        missing = [name for name in _STATE if name in absent and name != "is_deleted"]
        if missing:
            notes.append(
                f"The stage history does not record {', '.join(missing)}: today's values are used for the past."
            )
        picks = ", ".join(
            f"d.{name} AS {name}" if name in missing
            else f"coalesce(h.changed_date, timezone({sql_text(zone)}, h.changed_at)::DATE) AS changed_date"
            if name == "changed_date" else f"h.{name} AS {name}"
            for name in names
        )  # fmt: skip
        join = f" JOIN {deals} d USING (opportunity_id)" if missing else ""
        parts.append(f"SELECT {picks} FROM {recorded} h{join}")
        deals = f"(SELECT * FROM {deals} WHERE opportunity_id NOT IN (SELECT opportunity_id FROM {recorded}))"
    derived = count(con, f"SELECT count(*) FROM {deals}")
    if derived:
        events = _derived_events(con, deals, stage_dates, observed_until)
        at_list = open_amount == LIST_PRICE and "products" in cleaned
        picks = ", ".join(_derived_column(name, zone, at_list=at_list) for name in names)
        prices = f" LEFT JOIN {parquet(cleaned['products'])} p USING (product_id)" if at_list else ""
        parts.append(
            f"SELECT {picks} FROM ({events}) e JOIN {deals} d USING (opportunity_id) "
            f"JOIN read_stages s ON s.pipeline = coalesce(d.pipeline, '') AND s.stage = e.stage{prices}"
        )
        notes.append(_derived_note(derived, stage_dates, whole=len(parts) == 1))
    target = folder / "complete_history.parquet"
    if parts:
        union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
        write_parquet(con, f"{union} ORDER BY opportunity_id, changed_at", target)
    else:
        casts = ", ".join(
            f"NULL::{SQL_TYPES[column.type]} AS {name}"
            for name, column in TABLES["opportunity_history"].columns.items()
        )
        write_parquet(con, f"SELECT {casts} WHERE false", target)
    final = folder / "opportunity_history.parquet"
    target.replace(final)
    cleaned["opportunity_history"] = final
    return notes


def _derived_note(count: int, stage_dates: dict[str, str], *, whole: bool) -> str:
    source = (
        f"the dates of {', '.join(stage_dates)} and the close date"
        if stage_dates
        else "the creation and close dates; the stages in between are not known"
    )
    who = "the export has no stage history" if whole else f"{count:,} deals have no stage history"
    return (
        f"Derived: {who}, so it is built from {source}. Amount, owner and close date in the past are today's."
    )


def _derived_column(name: str, zone: str, *, at_list: bool) -> str:
    if name == "amount" and at_list:
        return "CASE WHEN s.is_closed THEN d.amount ELSE coalesce(p.list_price, d.amount) END AS amount"
    if name in ("opportunity_id", "stage"):
        return f"e.{name}"
    if name == "changed_date":
        return "e.on_date AS changed_date"
    if name == "changed_at":
        return f"timezone({sql_text(zone)}, e.on_date::TIMESTAMP) + to_seconds(e.place) AS changed_at"
    if name == "observed_at":
        return "NULL::TIMESTAMPTZ AS observed_at"
    if name == "source":
        return f"'{DERIVED}' AS source"
    return f"d.{name} AS {name}"


def _derived_events(
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
    created = "coalesce(d.created_date, d.created_at::DATE)"
    is_closed = "s.is_closed"
    stages = "read_stages"
    base = f"FROM {deals} d JOIN {stages} s ON s.pipeline = coalesce(d.pipeline, '') AND s.stage = d.stage"
    dates = stage_dates or {OPEN: ""}
    parts = []
    for place, (stage, column) in enumerate(dates.items(), 1):
        day = f"try_cast(d.{sql_name(column)} AS DATE)" if column else created
        # A deal that is closed on or before the day on which a stage began never stood in it openly.
        parts.append(
            f"SELECT d.opportunity_id, {sql_text(stage)} AS stage, {day} AS on_date, {place} AS place {base} "
            f"WHERE {day} IS NOT NULL AND NOT ({is_closed} AND d.close_date < {day})"
        )
    closed_day = f"coalesce(d.close_date, {created}, DATE '{observed_until}')"
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
