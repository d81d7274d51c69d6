"""History that grows from import to import where a CRM keeps none: differences are what happened."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import duckdb

from salesops_kit.data.cleaning import EXCLUSIONS, KEPT
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.history import complete_history
from salesops_kit.data.values import SQL_TYPES
from salesops_kit.errors import InputError, Problem

HISTORY, DEALS = "opportunity_history", "opportunities"
GROWN = "snapshot"
_STATE = ("stage", "amount", "currency", "close_date", "forecast_category", "owner_id", "is_deleted")


@dataclass(frozen=True)
class Before:
    """The import before this one: the last day it knew, its deals, their history and the stages."""

    observed_until: dt.date
    deals: Path
    history: Path
    stages: Path


def keep_vanished(
    con: duckdb.DuckDBPyConnection,
    cleaned: dict[str, Path],
    before: Before,
    *,
    tells_deleted: bool,
    folder: Path,
) -> list[str]:
    """Add to the deals those that the import before had and this one lacks, so that no past figure loses
    them; returns notes.

    An open deal that is gone counts as deleted since, unless the export itself says which deals are
    deleted (``tells_deleted``); a closed one stays as it was, since exports are often cut by date.
    """
    now, then = parquet(cleaned[DEALS]), parquet(before.deals)
    gone = f"SELECT * FROM {then} WHERE opportunity_id NOT IN (SELECT opportunity_id FROM {now})"
    n = count(con, f"SELECT count(*) FROM ({gone})")
    if not n:
        return []
    columns = con.execute(f"DESCRIBE FROM {now}").fetchall()
    known = {name for name, *_ in con.execute(f"DESCRIBE FROM {then}").fetchall()}
    ended = (
        f"EXISTS (SELECT 1 FROM {parquet(before.stages)} s WHERE s.pipeline = coalesce(g.pipeline, '') "
        "AND s.stage = g.stage AND s.is_closed)"
    )
    deleted = "g.is_deleted" if tells_deleted else f"coalesce(g.is_deleted, false) OR NOT {ended}"
    picks = ", ".join(
        f"{deleted} AS is_deleted" if name == "is_deleted"
        else f"{f'g.{sql_name(name)}' if name in known else 'NULL'}::{type_} AS {sql_name(name)}"
        for name, type_, *_ in columns
    )  # fmt: skip
    target = folder / "all_deals.parquet"
    write_parquet(
        con,
        f"SELECT * FROM {now} UNION ALL BY NAME SELECT {picks} FROM ({gone}) g ORDER BY opportunity_id",
        target,
    )
    # What refers to such a deal was flagged before the deal was added.
    con.execute(
        f"DELETE FROM {EXCLUSIONS} WHERE problem = 'not in {DEALS}' AND action = {sql_text(KEPT)} "
        f"AND opportunity_id IN (SELECT opportunity_id FROM ({gone}))"
    )
    target.replace(cleaned[DEALS])
    who = "1 deal" if n == 1 else f"{n:,} deals"
    left = (
        "kept as known then" if tells_deleted else "kept as known then, and taken as deleted where still open"
    )
    return [f"Not in this export: {who} of the import before, known until {before.observed_until}; {left}."]


def grow_history(
    con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], before: Before, *, open_amount: str,
    stage_dates: dict[str, str], zone: str, observed_until: dt.date, folder: Path, scratch: Path,
) -> list[str]:  # fmt: skip
    """Write the history of the import before with an event for every deal that differs; returns notes.

    No event is changed, and none is added on a day that the import before knew already: what was known
    of a day stays what a report of that day says. A deal that closed is dated by its close date, any other
    change by the last known day; a new deal that began earlier begins on the first day that was not known
    before. ``observed_at`` of an added event is the end of this import's last known day. Raises
    :class:`InputError` when this import knows less than the one before.
    """
    if observed_until < before.observed_until:
        raise InputError(
            Problem(
                "the export is older than the import in this folder",
                expected=f"data known until {before.observed_until} or later",
                got=observed_until.isoformat(),
                next_step="Import it into another folder.",
            )
        )
    # On the last day known before nothing can be added unnoticed, unless that day is all there is.
    first = min(before.observed_until + dt.timedelta(days=1), observed_until)
    names = list(TABLES[HISTORY].columns)
    own = {**cleaned}
    own.pop(HISTORY, None)
    complete_history(
        con, own, stage_dates=stage_dates, open_amount=open_amount, absent=(), zone=zone,
        observed_until=observed_until, folder=scratch,
    )  # fmt: skip
    past, deals = parquet(before.history), parquet(cleaned[DEALS])
    parts = [_past(con, past, names)]
    changes = _changes(past, deals, names, zone=zone, first=first, observed_until=observed_until)
    changed = count(con, f"SELECT count(*) FROM ({changes})")
    parts += [changes, _new(past, parquet(own[HISTORY]), names, zone=zone, first=first, until=observed_until)]
    target = scratch / "grown_history.parquet"
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    write_parquet(con, f"{union} ORDER BY opportunity_id, changed_at", target)
    own[HISTORY].unlink()
    final = folder / f"{HISTORY}.parquet"
    target.replace(final)
    cleaned[HISTORY] = final
    who = "1 deal differs" if changed == 1 else f"{changed:,} deals differ"
    return [
        f"The export has no history: it grows from import to import. Since {before.observed_until} {who}, "
        "dated by the close date where the deal closed, else by the last known day."
    ]


def _past(con: duckdb.DuckDBPyConnection, past: str, names: list[str]) -> str:
    known = {name for name, *_ in con.execute(f"DESCRIBE FROM {past}").fetchall()}
    columns = TABLES[HISTORY].columns
    picks = (n if n in known else f"NULL::{SQL_TYPES[columns[n].type]} AS {n}" for n in names)
    return f"SELECT {', '.join(picks)} FROM {past}"


def _seen_at(observed_until: dt.date, zone: str) -> str:
    end = observed_until + dt.timedelta(days=1)
    return f"timezone({sql_text(zone)}, TIMESTAMP '{end}') AS observed_at"


def _changes(
    past: str, deals: str, names: list[str], *, zone: str, first: dt.date, observed_until: dt.date
) -> str:
    """SQL of one event for each deal whose state is not what its last event says."""
    last = (
        "SELECT opportunity_id, max(changed_at) AS after, "
        + ", ".join(f"arg_max_null({name}, changed_at) AS {name}" for name in _STATE)
        + f" FROM {past} GROUP BY 1"
    )
    # A flag that is missing says the same as one that is not set.
    differs = " OR ".join(
        f"coalesce(d.{name}, false) <> coalesce(l.{name}, false)"
        if name == "is_deleted"
        else f"d.{name} IS DISTINCT FROM l.{name}"
        for name in _STATE
    )
    on_date = (
        f"CASE WHEN s.is_closed AND d.close_date BETWEEN DATE '{first}' AND DATE '{observed_until}' "
        f"THEN d.close_date ELSE DATE '{observed_until}' END"
    )
    begins = f"timezone({sql_text(zone)}, e.on_date::TIMESTAMP)"
    made = {
        "changed_at": f"greatest({begins}, e.after + INTERVAL 1 SECOND) AS changed_at",
        "changed_date": "e.on_date AS changed_date",
        "observed_at": _seen_at(observed_until, zone),
        "source": f"'{GROWN}' AS source",
    }
    picks = ", ".join(made.get(name, f"e.{name} AS {name}") for name in names)
    return (
        f"SELECT {picks} FROM (SELECT d.*, l.after, {on_date} AS on_date FROM {deals} d JOIN ({last}) l "
        "USING (opportunity_id) JOIN read_stages s ON s.pipeline = coalesce(d.pipeline, '') "
        f"AND s.stage = d.stage WHERE {differs}) e"
    )


def _new(past: str, derived: str, names: list[str], *, zone: str, first: dt.date, until: dt.date) -> str:
    """SQL of the events of deals that the import before did not have, none of them before ``first``."""
    begins = f"timezone({sql_text(zone)}, TIMESTAMP '{first}')"
    made = {
        # Events before that day keep their order within its first seconds.
        "changed_at": f"CASE WHEN changed_date < DATE '{first}' THEN {begins} + to_seconds(row_number() OVER "
        "(PARTITION BY opportunity_id ORDER BY changed_at)) ELSE changed_at END AS changed_at",
        "changed_date": f"greatest(changed_date, DATE '{first}') AS changed_date",
        "observed_at": _seen_at(until, zone),
        "source": f"'{GROWN}' AS source",
    }
    picks = ", ".join(made.get(name, name) for name in names)
    return f"SELECT {picks} FROM {derived} WHERE opportunity_id NOT IN (SELECT opportunity_id FROM {past})"
