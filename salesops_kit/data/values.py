"""Text to typed values: one SQL expression per canonical type, strict about what is declared."""

from __future__ import annotations

import re
from dataclasses import dataclass

from salesops_kit.data.contracts import EARLIEST_DATE, LATEST_DATE, MONEY_TYPE
from salesops_kit.data.engine import sql_text
from salesops_kit.data.sources import FileFormat
from salesops_kit.errors import Problem

SQL_TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "category": "VARCHAR",
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "number": "DOUBLE",
    "money": MONEY_TYPE.upper(),
    "rate": "DOUBLE",
    "date": "DATE",
    "instant": "TIMESTAMPTZ",
}
EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "number": "a number",
    "money": "an amount such as 1234.56",
    "rate": "a share between 0 and 1",
    "date": f"a date such as 2026-07-31, from {EARLIEST_DATE} to {LATEST_DATE}",
    "instant": "a moment such as 2026-07-31T18:00:00Z",
}
# What a date looks like when its order of day and month has to be declared.
AMBIGUOUS_DATE = r"^\d{1,2}[/.\-]\d{1,2}[/.\-](\d{2}|\d{4})([ T].*)?$"
_TRUE, _FALSE = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"
_OFFSET = r"(Z|z|[+-]\d{2}(:?\d{2})?)$"


@dataclass(frozen=True)
class Parsed:
    """SQL for one column: the typed value, and flags that are true where something is to be said.

    ``naive`` is true for a moment without an offset, ``clock_change`` for a local time that the
    zone's clock change skips or repeats.
    """

    value: str
    naive: str | None = None
    clock_change: str | None = None


def without_nulls(raw: str, fmt: FileFormat) -> str:
    """The raw text, null where the file says so."""
    words = [word for word in fmt.null_values if word]
    if not words:
        return raw
    return f"CASE WHEN {raw} IN ({', '.join(map(sql_text, words))}) THEN NULL ELSE {raw} END"


def parse(type_: str, raw: str, fmt: FileFormat, zone: str) -> Parsed:
    """SQL that reads ``raw`` (text, null where missing) as a canonical type; null where it cannot.

    ``zone`` is the IANA zone of moments without an offset; the session's TimeZone must be it.
    """
    if type_ in ("id", "category"):
        return Parsed(f"nullif(trim(nfc_normalize({raw})), '')")
    if type_ == "text":
        return Parsed(f"nfc_normalize({raw})")
    if type_ == "bool":
        folded = f"lower(trim({raw}))"
        return Parsed(f"CASE WHEN {folded} IN {_TRUE} THEN true WHEN {folded} IN {_FALSE} THEN false END")
    if type_ in ("int", "number", "money", "rate"):
        return Parsed(_number(type_, raw, fmt))
    if type_ == "date":
        return Parsed(_in_range(_date(raw, fmt, zone), "DATE"))
    return _instant(raw, fmt, zone)


def _number(type_: str, raw: str, fmt: FileFormat) -> str:
    text = f"trim({raw})"
    for symbol in fmt.currency_symbols:
        text = f"trim(replace({text}, {sql_text(symbol)}, ''))"
    if fmt.parentheses_are_negative:
        text = rf"regexp_replace({text}, '^\((.*)\)$', '-\1')"
    point = re.escape(fmt.decimal)
    if fmt.thousands:
        group = re.escape(fmt.thousands)
        whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)"
    else:
        whole = r"\d+"
    pattern = rf"[+-]?{whole}({point}\d*)?([eE][+-]?\d{{1,2}})?"
    if type_ == "int":
        pattern = rf"[+-]?{whole}({point}0*)?"
    plain = text
    if fmt.thousands:
        plain = f"replace({plain}, {sql_text(fmt.thousands)}, '')"
    if fmt.decimal != ".":
        plain = f"replace({plain}, {sql_text(fmt.decimal)}, '.')"
    target = SQL_TYPES[type_]
    if type_ == "int":
        plain = f"regexp_replace({plain}, '\\.0*$', '')"
    return f"CASE WHEN regexp_full_match({text}, {sql_text(pattern)}) THEN try_cast({plain} AS {target}) END"


def _date(raw: str, fmt: FileFormat, zone: str) -> str:
    text = f"trim({raw})"
    if fmt.dates == "epoch_ms":
        return f"timezone({sql_text(zone)}, {_epoch(text)})::DATE"
    if fmt.dates == "iso":
        return (
            f"CASE WHEN length({text}) = 10 THEN try_cast({text} AS DATE) "
            f"WHEN regexp_matches({text}, '{_OFFSET}') "
            f"THEN timezone({sql_text(zone)}, {_aware(text)})::DATE "
            f"ELSE try_cast(try_cast({text} AS TIMESTAMP) AS DATE) END"
        )
    return f"try_strptime({text}, {_formats(fmt.dates)})::DATE"


def _instant(raw: str, fmt: FileFormat, zone: str) -> Parsed:
    text = f"trim({raw})"
    if fmt.instants == "epoch_ms":
        return Parsed(_in_range(_epoch(text), "TIMESTAMPTZ"))
    is_naive = f"(length({text}) = 10 OR NOT regexp_matches({text}, '{_OFFSET}'))"
    if fmt.instants == "iso":
        local = f"try_cast({text} AS TIMESTAMP)"
        value = f"CASE WHEN {is_naive} THEN timezone({sql_text(zone)}, {local}) ELSE {_aware(text)} END"
    else:
        local = f"try_strptime({text}, {_formats(fmt.instants)})"
        value = f"timezone({sql_text(zone)}, {local})"
        is_naive = "true"
    back = f"timezone({sql_text(zone)}, {value})"
    later = f"timezone({sql_text(zone)}, {value} + INTERVAL 1 HOUR)"
    earlier = f"timezone({sql_text(zone)}, {value} - INTERVAL 1 HOUR)"
    clock = f"({is_naive} AND ({back} <> {local} OR {later} = {local} OR {earlier} = {local}))"
    return Parsed(
        _in_range(value, "TIMESTAMPTZ"), naive=f"({is_naive} AND {raw} IS NOT NULL)", clock_change=clock
    )


def _aware(text: str) -> str:
    colon = rf"regexp_replace({text}, '([+-]\d{{2}})(\d{{2}})$', '\1:\2')"
    return f"try_cast({colon} AS TIMESTAMPTZ)"


def _epoch(text: str) -> str:
    return f"CASE WHEN regexp_full_match({text}, '-?\\d+') THEN make_timestamptz(try_cast({text} AS BIGINT) * 1000) END"


def _formats(formats: tuple[str, ...] | str) -> str:
    declared = (formats,) if isinstance(formats, str) else formats
    return "[" + ", ".join(map(sql_text, declared)) + "]"


def _in_range(value: str, type_: str) -> str:
    return f"CASE WHEN {value} BETWEEN {type_} '{EARLIEST_DATE}' AND {type_} '{LATEST_DATE}' THEN {value} END"


def ambiguous_dates(file: str, column: str, count: int, example: str, row: int) -> Problem:
    """The refusal of dates whose order of day and month is not declared."""
    return Problem(
        "dates whose order of day and month is not declared",
        file=file,
        row=row,
        column=column,
        expected="ISO dates such as 2026-07-31, or a declared format",
        got=example,
        next_step='Declare it in the mapping, for example `files: {"*": {dates: "%m/%d/%Y"}}`.',
        count=count,
    )
