"""What the command line writes: tables, the matrix of a dry run, the run date, log lines without secrets."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import sys
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from salesops_kit.language import _

if TYPE_CHECKING:
    import pandas as pd

    from salesops_kit.publishing.notify import Notify
    from salesops_kit.publishing.run import RunResult

LONGEST_LOGGED = 10_000
MOST_DIGITS = 6
# In a column whose unit nobody says, from here on a number is read as an amount.
_LIKE_MONEY = 1000


class LogLevel(StrEnum):
    """How much is logged on standard error."""

    NOTSET = "NOTSET"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class Format(StrEnum):
    """How a table is written."""

    table = "table"
    csv = "csv"
    json = "json"


def write_table(frame: pd.DataFrame, format_: Format) -> None:
    """A table on standard output; text from a CRM is harmless there and in a spreadsheet.

    As a table, numbers have no exponent and money stands to the cent; a table without rows says why.
    """
    if format_ is Format.csv:
        from salesops_kit.publishing.spreadsheets import neutralised

        safe = frame.map(lambda value: neutralised(value) if isinstance(value, str) else value)
        print(safe.to_csv(index=False, lineterminator="\n"), end="")
    elif format_ is Format.json:
        from salesops_kit.compute import plain

        records = [
            {name: plain(value) for name, value in zip(frame.columns, row, strict=True)}
            for row in frame.itertuples(index=False, name=None)
        ]
        print(json.dumps(records, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print(_as_text(frame))


def _as_text(frame: pd.DataFrame) -> str:
    from salesops_kit.formats import visible

    if frame.empty:
        header = "  ".join(visible(name) for name in frame.columns)
        reason = visible(frame.attrs.get("empty") or _("No rows."))
        return f"{header}\n{reason}" if header else reason
    units = _units(frame)
    rows_units = list(frame["unit"]) if "unit" in frame else None
    shown = frame.copy()
    for place, name in enumerate(frame.columns):
        values = list(frame.iloc[:, place])
        if any(isinstance(value, float | Decimal) for value in values):
            values = _numbers(values, units.get(name, ""), rows_units)
        elif units.get(name) == "money":
            values = _numbers(values, "money", None)
        # Text from a CRM may hold escape codes, which a terminal would obey.
        shown.isetitem(place, [visible(value) if isinstance(value, str) else value for value in values])
    return shown.to_string(index=False, na_rep="n/a")


def _units(frame: pd.DataFrame) -> dict[str, str]:
    """The units of the columns as the table declares them."""
    from salesops_kit.registry import tables

    spec = tables().get(str(frame.attrs.get("table", "")))
    return dict(spec.units) if spec else {}


def _numbers(values: list[Any], unit: str, rows_units: list[Any] | None) -> list[Any]:
    """The numbers of a column as text, and whatever else it holds as it is.

    A column of one unit has one number of decimals; where units are mixed, each number has its own.
    """
    from salesops_kit.formats import is_missing

    are_numbers = [
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values
    ]
    present = [known and not is_missing(value) for value, known in zip(values, are_numbers, strict=True)]
    found = [value for value, is_there in zip(values, present, strict=True) if is_there]
    if unit or rows_units is None:
        looks = [
            not unit and is_there and abs(v) >= _LIKE_MONEY
            for v, is_there in zip(values, present, strict=True)
        ]
        money = [True] * len(values) if unit == "money" else looks
        is_mixed = any(looks)
    else:
        money = [row_unit == "money" for row_unit in rows_units]
        is_mixed = True
    common = max(map(_decimals, found), default=0)
    shown: list[Any] = []
    for value, is_number, is_there, is_money in zip(values, are_numbers, present, money, strict=True):
        if not is_there:
            shown.append(math.nan if is_number else value)
        elif is_money:
            shown.append(_fixed(value, 2))
        else:
            shown.append(_fixed(value, _decimals(value) if is_mixed else common))
    return shown


def _decimals(value: Any) -> int:
    """How many decimals a number needs, of at most six."""
    return len(f"{value:.{MOST_DIGITS}f}".partition(".")[2].rstrip("0"))


def _fixed(value: Any, digits: int) -> str:
    """A number with so many decimals and no exponent; what rounds to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def write_matrix(result: RunResult, told: Notify | None) -> None:
    """The reports that would run, and what is missing for those who would be told."""
    import pandas as pd

    from salesops_kit.publishing.notify import unready

    print(pd.DataFrame(result.rows).to_string(index=False))
    for sentence in unready(told) if told else ():
        print(sentence, file=sys.stderr)


def chosen_run_date(day: dt.date | None, zone: str) -> dt.date:
    """The run date, said: the given one, else today's business date, read here and nowhere below."""
    if day is None:
        from zoneinfo import ZoneInfo

        day = dt.datetime.now(ZoneInfo(zone)).date()
        print(f"Run date {day}, today in {zone}", file=sys.stderr)
    else:
        print(f"Run date {day}, as given", file=sys.stderr)
    return day


def log_from(level: LogLevel | None) -> None:
    """Log to standard error from ``level`` on, secrets taken out; nothing is set up without one."""
    if level is None:
        return
    from salesops_kit.publishing.redact import redact

    class Redacted(logging.Formatter):
        """Lines without the values of secret variables."""

        def format(self, record: logging.LogRecord) -> str:
            return redact(super().format(record), limit=LONGEST_LOGGED)

    handler = logging.StreamHandler()
    handler.setFormatter(Redacted("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.value, handlers=[handler], force=True)
