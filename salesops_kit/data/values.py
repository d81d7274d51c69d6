"""Text to typed values: one SQL expression per canonical type, strict about what is declared."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from salesops_kit.data.contracts import EARLIEST_DATE, LATEST_DATE, MONEY_TYPE
from salesops_kit.data.engine import sql_text
from salesops_kit.data.file_format import EITHER, FileFormat

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
# The engine's own casts also read words such as "epoch" and "infinity", and offsets into bare dates.
_ISO_DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_ISO_MOMENT = rf"{_ISO_DATE}([ T]\d{{1,2}}:\d{{2}}.*)?"
_OFFSET = r":\d{2}(\.\d+)? ?(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
_STEADY_ZONES = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
_WIDE, _NARROW = "０１２３４５６７８９．，－−﹣＋（）", "0123456789.,---+()"


_EXAMPLE = dt.datetime(2026, 7, 31, 18, tzinfo=dt.UTC)
_EPOCH_EXAMPLE = str(int(_EXAMPLE.timestamp() * 1000))
# Directives of the engine that Python lacks or reads otherwise: parts of a second.
_PARTS_OF_A_SECOND = {"%g": "000", "%n": "000000000"}


def expected(type_: str, fmt: FileFormat) -> str:
    """What a value of a type looks like in a file that writes as declared.

    >>> expected("money", FileFormat(decimal=",", thousands=".")), expected("money", FileFormat())
    ('an amount such as 1.234,56', 'an amount such as 1234.56')
    >>> expected("instant", FileFormat(instants="%d.%m.%Y %H:%M"))
    'a moment such as 31.07.2026 18:00'
    """
    if type_ == "money":
        return f"an amount such as 1{fmt.thousands}234{fmt.decimal}56"
    written = {"date": fmt.dates, "instant": fmt.instants}.get(type_, "iso")
    first = written if isinstance(written, str) else written[0]
    if first == "iso":
        return EXPECTED[type_]
    what = "a date" if type_ == "date" else "a moment"
    if first in ("epoch_ms", EITHER):
        since = f"{_EPOCH_EXAMPLE}, in milliseconds since 1970"
        return f"{what} such as {since}" if first == "epoch_ms" else f"{EXPECTED[type_]}, or {since}"
    return f"{what} such as {_written(_EXAMPLE, first)}" + (
        f", from {EARLIEST_DATE} to {LATEST_DATE}" if type_ == "date" else ""
    )


def _written(moment: dt.datetime, form: str) -> str:
    for directive, digits in _PARTS_OF_A_SECOND.items():
        form = form.replace(directive, digits)
    return moment.strftime(form)


@dataclass(frozen=True)
class Parsed:
    """SQL for one column: the typed value, and flags that are true where something is to be said.

    ``naive`` is true for a moment without an offset; ``skipped`` and ``repeated`` for a local time
    that the zone's clock change leaves out (read one hour later) or has twice (read as the first).
    """

    value: str
    naive: str | None = None
    skipped: str | None = None
    repeated: str | None = None


def without_nulls(raw: str, fmt: FileFormat) -> str:
    """The raw text, null where the file says so."""
    words = [word for word in fmt.null_values if word]
    if not words:
        return raw
    return f"CASE WHEN {raw} IN ({', '.join(map(sql_text, words))}) THEN NULL ELSE {raw} END"


def short_id(text: str, fmt: FileFormat) -> str:
    """SQL of an id without the check characters that the file's format says to cut."""
    for length, kept in fmt.short_ids.items():
        text = f"CASE WHEN length({text}) = {length} THEN left({text}, {kept}) ELSE {text} END"
    return text


def is_unreadable(type_: str, raw: str, value: str) -> str | None:
    """SQL that is true where there is text but no value; None for types that any text fits."""
    if type_ in ("id", "category", "text"):
        return None
    return f"(({value}) IS NULL AND trim({raw}) <> '')"


def parse(type_: str, raw: str, fmt: FileFormat, zone: str, business_zone: str) -> Parsed:
    """SQL that reads ``raw`` (text, null where missing) as a canonical type; null where it cannot.

    ``zone`` is the IANA zone of moments without an offset; a moment given for a date is the day that it
    falls on in ``business_zone``, which must be the session's TimeZone. A category keeps its outer
    spaces here, since its spellings are compared as they stand in the file.
    """
    if type_ == "id":
        return Parsed(short_id(f"nullif(trim(nfc_normalize({raw})), '')", fmt))
    if type_ in ("category", "text"):
        return Parsed(f"nullif(nfc_normalize({raw}), '')")
    if type_ == "bool":
        folded = f"lower(trim({raw}))"
        return Parsed(f"CASE WHEN {folded} IN {_TRUE} THEN true WHEN {folded} IN {_FALSE} THEN false END")
    if type_ in ("int", "number", "money", "rate"):
        return Parsed(_number(type_, raw, fmt))
    if type_ == "date":
        return Parsed(_in_range(_date(raw, fmt, zone, business_zone), "DATE"))
    return _instant(raw, fmt, zone)


def _number(type_: str, raw: str, fmt: FileFormat) -> str:
    text = _plain_sign(f"trim({raw})", fmt)
    point = re.escape(fmt.decimal)
    if fmt.thousands:
        group = re.escape(fmt.thousands)
        whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)"
    else:
        whole = r"\d+"
    pattern = rf"[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d{{1,2}})?"
    if type_ == "int":
        pattern = rf"[+-]?{whole}({point}0*)?"
    plain = text
    if fmt.thousands:
        plain = f"replace({plain}, {sql_text(fmt.thousands)}, '')"
    if fmt.decimal != ".":
        plain = f"replace({plain}, {sql_text(fmt.decimal)}, '.')"
    if type_ == "int":
        plain = f"regexp_replace({plain}, '\\.0*$', '')"
    value = f"try_cast({plain} AS {SQL_TYPES[type_]})"
    fits = f"regexp_full_match({text}, {sql_text(pattern)})"
    if SQL_TYPES[type_] == "DOUBLE":
        fits += f" AND isfinite({value})"
    return f"CASE WHEN {fits} THEN {value} END"


def _plain_sign(text: str, fmt: FileFormat) -> str:
    """The number's text with a leading sign only: declared symbols gone, parentheses a minus."""
    if fmt.full_width:
        text = f"translate({text}, {sql_text(_WIDE)}, {sql_text(_NARROW)})"
    symbols = "|".join(re.escape(symbol) for symbol in fmt.currency_symbols)
    if symbols:
        before, behind = rf"^([+(-]*)\s*({symbols})\s*", rf"\s*({symbols})\s*([)]?)$"
        text = rf"regexp_replace({text}, {sql_text(before)}, '\1')"
        text = rf"regexp_replace({text}, {sql_text(behind)}, '\2')"
    if fmt.parentheses_are_negative:
        text = rf"regexp_replace({text}, '^\(\s*([^()+-]*?)\s*\)$', '-\1')"
    return text


def _date(raw: str, fmt: FileFormat, zone: str, business_zone: str) -> str:
    text = f"trim({raw})"
    business = sql_text(business_zone)
    epoch = f"timezone({business}, {_epoch(text)})::DATE"
    if fmt.dates == "epoch_ms":
        return epoch
    if fmt.dates == EITHER:
        iso = _date(raw, fmt.model_copy(update={"dates": "iso"}), zone, business_zone)
        return f"coalesce({epoch}, {iso})"
    if fmt.dates == "iso":
        naive = f"try_cast({text} AS TIMESTAMP)"
        return (
            f"CASE WHEN regexp_full_match({text}, '{_ISO_DATE}') THEN try_cast({text} AS DATE) "
            f"WHEN regexp_full_match({text}, '{_ISO_MOMENT}') THEN "
            f"CASE WHEN regexp_matches({text}, '{_OFFSET}') "
            f"THEN timezone({business}, {_aware(text)})::DATE "
            f"ELSE {_business_day(naive, zone, business_zone)} END END"
        )
    # A format without hours writes a day, which has no zone.
    declared = (fmt.dates,) if isinstance(fmt.dates, str) else fmt.dates
    with_hours = tuple(one for one in declared if re.search("%-?[HIXc]", one))
    days = tuple(one for one in declared if one not in with_hours)
    local_day = f"try_strptime({text}, [{', '.join(map(sql_text, days))}])::DATE" if days else None
    local, aware = _declared(text, with_hours) if with_hours else (None, None)
    parts = [
        local_day,
        _business_day(local, zone, business_zone) if local else None,
        f"timezone({business}, {aware})::DATE" if aware else None,
    ]
    return f"coalesce({', '.join(part for part in parts if part)})"


def _business_day(local: str, zone: str, business_zone: str) -> str:
    if zone == business_zone:
        return f"({local})::DATE"
    return f"timezone({sql_text(business_zone)}, timezone({sql_text(zone)}, {local}))::DATE"


def _instant(raw: str, fmt: FileFormat, zone: str) -> Parsed:
    text = f"trim({raw})"
    if fmt.instants == "epoch_ms":
        return Parsed(_in_range(_epoch(text), "TIMESTAMPTZ"))
    if fmt.instants == EITHER:
        iso = _instant(raw, fmt.model_copy(update={"instants": "iso"}), zone)
        epoch = _in_range(_epoch(text), "TIMESTAMPTZ")
        return Parsed(f"coalesce({epoch}, {iso.value})", iso.naive, iso.skipped, iso.repeated)
    local: str | None
    aware: str | None
    if fmt.instants == "iso":
        readable = f"regexp_full_match({text}, '{_ISO_MOMENT}')"
        has_offset = f"regexp_matches({text}, '{_OFFSET}')"
        # The form that most systems write is told by its length alone; the patterns cost the rest only.
        usual = f"length({raw}) IN (20, 24) AND ends_with({raw}, 'Z')"
        other = f"{usual} OR NOT {readable} OR {has_offset}"
        local = f"CASE WHEN {other} THEN NULL ELSE try_cast({text} AS TIMESTAMP) END"
        aware = (
            f"CASE WHEN {usual} THEN try_cast({raw} AS TIMESTAMPTZ) "
            f"WHEN {readable} AND {has_offset} THEN {_aware(text)} END"
        )
    else:
        local, aware = _declared(text, fmt.instants)
    if local is None:
        return Parsed(_in_range(str(aware), "TIMESTAMPTZ"))
    quoted = sql_text(zone)
    later = f"timezone({quoted}, {local})"
    if zone in _STEADY_ZONES:
        first, skipped, repeated = later, None, None
    else:
        # The engine reads a repeated hour as its second pass; the first is what the kit promises.
        sooner = f"{later} - INTERVAL 1 HOUR"
        repeated = f"(timezone({quoted}, {sooner}) = {local})"
        skipped = f"(timezone({quoted}, {later}) <> {local})"
        first = f"CASE WHEN {repeated} THEN {sooner} ELSE {later} END"
    value = f"coalesce({aware}, {first})" if aware else first
    return Parsed(_in_range(value, "TIMESTAMPTZ"), f"(({local}) IS NOT NULL)", skipped, repeated)


def _declared(text: str, formats: tuple[str, ...] | str) -> tuple[str | None, str | None]:
    """SQL of the local time and of the moment with an offset that declared formats read."""
    declared = (formats,) if isinstance(formats, str) else formats
    with_offset = [fmt for fmt in declared if "%z" in fmt or "%Z" in fmt]
    without = [fmt for fmt in declared if fmt not in with_offset]
    made = [
        f"try_strptime({text}, [{', '.join(map(sql_text, some))}])" if some else None
        for some in (without, with_offset)
    ]
    return made[0], made[1]


def _aware(text: str) -> str:
    plain = rf"regexp_replace({text}, ' ?(z|UTC|GMT)$', 'Z')"
    return rf"try_cast(regexp_replace({plain}, '([+-]\d{{2}})(\d{{2}})$', '\1:\2') AS TIMESTAMPTZ)"


def _epoch(text: str) -> str:
    # Fourteen digits reach past the year 5000; more would overflow microseconds.
    number = f"try_cast({text} AS BIGINT)"
    return f"CASE WHEN regexp_full_match({text}, '-?\\d{{1,14}}') THEN make_timestamptz({number} * 1000) END"


def _in_range(value: str, type_: str) -> str:
    return f"CASE WHEN {value} BETWEEN {type_} '{EARLIEST_DATE}' AND {type_} '{LATEST_DATE}' THEN {value} END"
