"""What the command line writes: tables, the matrix of a dry run, the run date, log lines without secrets."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from salesops_kit.data.dataset import Rows
    from salesops_kit.publishing.notify import Notify
    from salesops_kit.publishing.run import RunResult

LONGEST_LOGGED = 10_000


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
    """A table on standard output; text from a CRM is harmless there and in a spreadsheet."""
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
        from salesops_kit.formats import visible

        # Text from a CRM may hold escape codes, which a terminal would obey.
        shown = frame.map(lambda value: visible(value) if isinstance(value, str) else value)
        print(shown.to_string(index=False, na_rep="n/a"))


def set_aside(rows: Rows) -> list[str]:
    """One sentence on the records that no number here counts; none when there is no such record."""
    from salesops_kit.data.cleaning import EXCLUSIONS, SET_ASIDE

    table = rows.table(EXCLUSIONS)
    aside = table.filter(table.action == SET_ASIDE).count().to_pyarrow().as_py()
    return (
        [f"{aside:,} records break the data's contract and are set aside; see salesops check."]
        if aside
        else []
    )


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
