"""What a file suggests and a person decides: stages, won and lost, formats, fiscal year, currency."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from salesops_kit.data import guesses
from salesops_kit.data.engine import sql_name, sql_text
from salesops_kit.data.outcome_words import LOST, OPEN, WON, says
from salesops_kit.data.recognise import Recognised, plain
from salesops_kit.errors import InputError, Problem
from salesops_kit.periods import FiscalCalendar

_TRUE = ("true", "1", "yes", "是", "예", "참")
_CURRENCIES = {
    "$": "USD",
    "US$": "USD",
    "€": "EUR",
    "£": "GBP",
    "₩": "KRW",
    "￦": "KRW",
    "￥": "CNY",
    "NT$": "TWD",
    "HK$": "HKD",
}
_QUARTER = re.compile(
    r"[Qq第]?(?P<first>\d)[季Qq]?\D+(?P<year>\d{4})|(?P<year2>\d{4})\D*[Qq第](?P<second>\d)"
)


@dataclass(frozen=True)
class StageSeen:
    """One stage of the file: how many deals stand in it, and what they say of it.

    ``probability`` is their mean on the file's own scale.
    """

    stage: str
    deals: int
    probability: float | None
    is_won: bool
    is_lost: bool


def stages_of(con: duckdb.DuckDBPyConnection, found: Recognised) -> list[StageSeen]:
    """The stages in their likely order: open ones by probability, or as they are numbered, then closed.

    A stage is won where the file's own column says so of most deals, else where its name does; lost
    where it is closed and not won, else where its name does. Where a status says which deals ended
    (:func:`endings`), that is the stage of these.
    """
    stage = _stage_sql(found, endings(con, found))
    won, closed = (_share(found, role) for role in ("is_won", "is_closed"))
    number = "NULL"
    if "probability" in found.roles:
        text = f"replace(trim({sql_name(found.roles['probability'])}), '%', '')"
        number = f"avg(try_cast({text} AS DOUBLE))"
    rows = con.execute(
        f"SELECT {stage} AS stage, count(*), {number}, {won}, {closed}, min(source_row) "
        f"FROM {found.source.relation} WHERE {stage} <> '' GROUP BY 1 ORDER BY 6"
    ).fetchall()
    seen = []
    for name, deals, probability, won_share, closed_share, _ in rows:
        is_won = won_share > 0.5 if won_share is not None else says(name, WON) and not says(name, LOST)
        is_lost = closed_share > 0.5 and not is_won if closed_share is not None else says(name, LOST)
        seen.append(StageSeen(name, int(deals), probability, is_won, is_lost))
    has_order = len({one.probability for one in seen if one.probability is not None}) > 2
    return sorted(seen, key=lambda one: _place(one, by_probability=has_order))


def endings(con: duckdb.DuckDBPyConnection, found: Recognised) -> tuple[str, ...]:
    """The values of a status column that say won or lost, of a file whose stages do not; else none."""
    status, stage = found.roles.get("status"), found.roles["stage"]
    if status in (None, stage) or any(_ends(value) for value in found.values(con, stage)):
        return ()
    return tuple(value for value in found.values(con, str(status)) if _ends(value))


def is_open(stage: str) -> bool:
    """Whether a stage's name says that its deals are open."""
    return says(stage, OPEN)


def _ends(name: str) -> bool:
    return says(name, WON) or says(name, LOST)


def _stage_sql(found: Recognised, ended: Sequence[str]) -> str:
    stage = f"trim({sql_name(found.roles['stage'])})"
    if not ended:
        return stage
    status, words = f"trim({sql_name(found.roles['status'])})", ", ".join(map(sql_text, ended))
    return f"CASE WHEN {status} IN ({words}) THEN {status} ELSE {stage} END"


def _share(found: Recognised, role: str) -> str:
    if role not in found.roles:
        return "NULL"
    words = ", ".join(f"'{word}'" for word in _TRUE)
    return f"avg((lower(trim({sql_name(found.roles[role])})) IN ({words}))::INT)"


def _place(one: StageSeen, *, by_probability: bool) -> tuple[int, float, float]:
    numbered = re.match(r"\s*(\d+)", one.stage)
    place = float(numbered[1]) if numbered else 1e9
    chance = one.probability if by_probability and one.probability is not None else 0.0
    return (2 if one.is_lost else 1 if one.is_won else 0), chance if by_probability else place, place


@dataclass(frozen=True)
class Dates:
    """How a column writes its dates: the formats that fit, one of which is meant."""

    column: str
    formats: tuple[str, ...]

    @property
    def is_ambiguous(self) -> bool:
        """Whether day and month could be either way round."""
        return guesses.is_ambiguous(self.formats)

    @property
    def order(self) -> str:
        """``mdy`` or ``dmy`` as the first format has it; empty where the year comes first."""
        return {"%m": "mdy", "%d": "dmy"}.get(self.formats[0][:2], "")

    def chosen(self, order: str) -> str:
        """The format with the day or the month first (``dmy``, ``mdy``); the only one, where it is."""
        for one in self.formats:
            if order and self.is_ambiguous and one.startswith("%d" if order == "dmy" else "%m"):
                return one
        return self.formats[0]


def dates_of(con: duckdb.DuckDBPyConnection, found: Recognised, role: str) -> Dates | None:
    """How a role's column writes dates; None without the column or where it is empty.

    Raises :class:`~salesops_kit.errors.InputError` when no one format reads it.
    """
    column = found.roles.get(role)
    values = found.values(con, column) if column else []
    if column is None or not values:
        return None
    if column in found.source.native:
        return Dates(column, ("iso",))
    formats = guesses.date_formats(values)
    if not formats:
        fewer = guesses.date_formats(values[: max(1, len(values) // 2)])
        odd = next((value for value in values if fewer and not guesses.date_formats([value])), values[-1])
        raise InputError(
            Problem(
                "the dates are written in no one known way", file=found.source.name, column=column,
                expected="one format throughout, such as 2026-07-31 or 7/31/2026", got=odd,
                next_step="Export again with one date format, or declare several in a mapping of your own.",
            )
        )  # fmt: skip
    return Dates(column, tuple(formats))


def fiscal_start(con: duckdb.DuckDBPyConnection, found: Recognised, close: str) -> int | None:
    """The month in which the fiscal year starts, told from fiscal quarters beside close dates.

    ``close`` is the format of the close date. None where the file has no such column, or where no month
    or several fit.
    """
    if "fiscal_period" not in found.roles or close == "epoch_ms":
        return None
    period, day = (sql_name(found.roles[role]) for role in ("fiscal_period", "close_date"))
    rows = con.execute(
        f"SELECT DISTINCT trim({period}), trim({day}) FROM {found.source.relation} "
        f"WHERE trim({period}) <> '' AND trim({day}) <> '' LIMIT 5000"
    ).fetchall()
    seen = {
        (said, date) for text, written in rows if (said := _quarter(text)) and (date := _day(written, close))
    }
    fitting = [
        month
        for month in range(1, 13)
        if all(FiscalCalendar(start_month=month).quarter_of(date).label == said for said, date in seen)
    ]
    return fitting[0] if seen and len(fitting) == 1 else None


def _quarter(text: str) -> str | None:
    match = _QUARTER.search(text)
    if not match:
        return None
    year, quarter = match["year"] or match["year2"], match["first"] or match["second"]
    return f"{year}-Q{quarter}" if quarter in "1234" else None


def _day(text: str, form: str) -> dt.date | None:
    try:
        if form == "iso":
            return dt.date.fromisoformat(text[:10].replace("/", "-"))
        return dt.datetime.strptime(text, form).date()  # noqa: DTZ007 (a day has no zone)
    except ValueError:
        return None


def currencies_of(con: duckdb.DuckDBPyConnection, found: Recognised, amount: str) -> list[str]:
    """The currencies that the amounts name: in a column of their own, by codes or by symbols."""
    if has_currencies(found, amount):
        codes = [value.upper() for value in found.values(con, found.roles["currency"])]
        return sorted({code for code in codes if re.fullmatch("[A-Z]{3}", code)})
    numbers = guesses.numbers_of(found.values(con, amount))
    symbols = numbers.symbols if numbers else ()
    return sorted({_CURRENCIES.get(one, one) for one in symbols if one in _CURRENCIES or len(one) == 3})


def has_currencies(found: Recognised, amount: str) -> bool:
    """Whether the file's currency column speaks of this amount: of a converted one it does not."""
    return "currency" in found.roles and not _is_converted(amount)


def _is_converted(amount: str) -> bool:
    return any(
        word in plain(amount)
        for word in ("converted", "companycurrency", "折算", "轉換", "변환", "公司货币", "公司貨幣")
    )
