"""What a staged row may break: one SQL predicate per rule, and whether the row is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from salesops_kit.data.contracts import Table
from salesops_kit.data.engine import parquet, sql_name, sql_text
from salesops_kit.data.importer import Staged
from salesops_kit.data.stages import IS_CLOSED
from salesops_kit.data.values import EXPECTED

SET_ASIDE: Literal["set aside"] = "set aside"
KEPT: Literal["kept"] = "kept"
NO_CURRENCY = "no currency is named; the base currency is assumed"
UNKNOWN_TEAM = "an unknown team; its target counts beside those of the teams"
# The tables whose teams are looked up, and what a table's rules read besides what its ids refer to.
TARGETS, _TEAMS = ("plan", "quotas"), ("team_memberships", "teams")
ALSO_READ = {"opportunities": ("stages",), **dict.fromkeys(TARGETS, _TEAMS)}
_INTERVALS = (
    ("valid_from_date", "valid_to_date"),
    ("period_start_date", "period_end_date"),
    ("from_date", "to_date"),
    ("start_date", "ended_date"),
    ("hired_date", "left_date"),
    ("issued_date", "paid_date"),
)


@dataclass(frozen=True)
class Check:
    """One rule about one row: SQL that is true where the row breaks it, and what then happens.

    ``expected`` is text, or SQL with ``expected_is_sql``. The value is shown as ``got`` with
    ``shows``: as typed, or as its text in the file. ``blanks``: the value is dropped, its row kept.
    ``unread``: the type that the text is none of; what is expected is then an example as each file writes it.
    """

    problem: str
    column: str | None
    predicate: str
    action: Literal["set aside", "kept"]
    expected: str | None = None
    expected_is_sql: bool = False
    shows: Literal["nothing", "value", "file"] = "nothing"
    blanks: bool = False
    unread: str = ""


def row_checks(staged: Staged, cleaned: Mapping[str, Path]) -> Iterator[Check]:
    """Every rule of a table's contract but its key; ``cleaned`` are the tables that it may refer to.

    Those of ``opportunities`` read the temporary table of :func:`~salesops_kit.data.stages.find_closed`.
    """
    table = staged.table
    present = [column for column in table.columns.values() if column.name not in staged.absent]
    for name in staged.masked:
        type_ = table.columns[name].type if name in table.columns else "date"
        if type_ in EXPECTED and name not in staged.absent:
            yield Check(
                f"not readable as {type_}", name, _has_bit("_bad", staged, name), SET_ASIDE,
                EXPECTED[type_], shows="file", unread=type_,
            )  # fmt: skip
    for column in present:
        name = sql_name(column.name)
        if not column.nullable:
            unread = _has_bit("_bad", staged, column.name)
            missing = f"{name} IS NULL AND NOT ({unread})"
            yield Check("a required value is missing", column.name, missing, SET_ASIDE, "a value")
        if column.type == "rate":
            yield Check(
                "a share outside 0 to 1; the value is dropped", column.name,
                f"{name} NOT BETWEEN 0 AND 1", KEPT, "0 to 1", shows="value", blanks=True,
            )  # fmt: skip
        if column.type == "instant":
            yield from _clock_checks(staged, column.name)
    for name, choices in table.choices.items():
        if name not in staged.absent:
            yield Check(
                "a value outside the list", name,
                f"{sql_name(name)} NOT IN ({', '.join(map(sql_text, choices))})", KEPT,
                " or ".join(choices), shows="value",
            )  # fmt: skip
    yield from _interval_checks(staged)
    yield from _reference_checks(staged, cleaned)
    if table.name in TARGETS and "team" not in staged.absent:
        yield from _team_checks(cleaned)
    if table.name == "opportunities":
        yield from _deal_checks(staged)
    if table.name == "fx_rates":
        yield Check("a rate that is not above 0", "rate", "rate <= 0", SET_ASIDE, "above 0", shows="value")


def _has_bit(mask: str, staged: Staged, name: str) -> str:
    return f"{mask} & {staged.bit(name)} <> 0"


def _clock_checks(staged: Staged, name: str) -> Iterator[Check]:
    yield Check(
        "a local time that the clock change skips; read one hour later", name,
        _has_bit("_skipped", staged, name), KEPT, "a time that the zone's clock shows", shows="file",
    )  # fmt: skip
    yield Check(
        "a local time that the clock change repeats; read as the first of the two", name,
        _has_bit("_repeated", staged, name), KEPT, "a UTC offset that tells which of the two", shows="file",
    )  # fmt: skip


def _interval_checks(staged: Staged) -> Iterator[Check]:
    have = set(staged.table.columns) - set(staged.absent)
    for start, end in _INTERVALS:
        if {start, end} <= have:
            yield Check(
                f"it ends before it begins ({start})", end, f"{end} < {start}", KEPT,
                "an end on or after the beginning", shows="value",
            )  # fmt: skip


def _reference_checks(staged: Staged, cleaned: Mapping[str, Path]) -> Iterator[Check]:
    table: Table = staged.table
    for name, parent in table.references.items():
        if name in staged.absent:
            continue
        column = sql_name(name)
        if parent in cleaned:
            known = f"(SELECT {column} FROM {parquet(cleaned[parent])})"
            action = SET_ASIDE if table.name == "opportunity_history" else KEPT
            yield Check(
                f"not in {parent}", name, f"{column} IS NOT NULL AND {column} NOT IN {known}", action,
                f"a value that {parent} holds", shows="value",
            )  # fmt: skip
        if table.name == "opportunities" and table.columns[name].nullable:
            yield Check(f"no {name.removesuffix('_id')} is named", name, f"{column} IS NULL", KEPT, "a value")


def _team_checks(cleaned: Mapping[str, Path]) -> Iterator[Check]:
    columns = [("team", name) for name in _TEAMS if name in cleaned]
    columns += [("parent_team", "teams")] if "teams" in cleaned else []
    if not columns:
        return
    named = " UNION ".join(
        f"SELECT {column} AS known FROM {parquet(cleaned[name])}" for column, name in columns
    )
    known = f"(SELECT known FROM ({named}) WHERE known IS NOT NULL)"
    nearness = "(damerau_levenshtein(lower(known), lower(team)), known)"
    yield Check(
        UNKNOWN_TEAM, "team", f"team IS NOT NULL AND team NOT IN {known} AND EXISTS {known}", KEPT,
        f"(SELECT min_by(known, {nearness}) FROM {known})", expected_is_sql=True, shows="value",
    )  # fmt: skip


def _deal_checks(staged: Staged) -> Iterator[Check]:
    have = set(staged.table.columns) - set(staged.absent)
    if "close_date" in have and have & {"created_date", "created_at"}:
        # The session's zone is the business zone.
        yield Check(
            "closed before it was created; left out of durations", "close_date",
            f"close_date < coalesce(created_date, created_at::DATE) AND {IS_CLOSED}", KEPT,
            "a close date on or after creation", shows="value",
        )  # fmt: skip
    if "amount" in have:
        yield Check("a negative amount", "amount", "amount < 0", KEPT, "0 or more", shows="value")
    if "currency" in have:
        yield Check(
            NO_CURRENCY, "currency", "currency IS NULL AND amount IS NOT NULL", KEPT, "a currency code",
        )  # fmt: skip
