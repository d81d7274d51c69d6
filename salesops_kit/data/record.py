"""Since when a dataset tells what happened to its deals, and not only what they are today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from salesops_kit import formats
from salesops_kit.data.engine import count, parquet
from salesops_kit.errors import NotAvailableError
from salesops_kit.language import _

ALWAYS, NEVER = dt.date.min, dt.date.max


@dataclass(frozen=True)
class Record:
    """The first day from which changes of close date and amount (``changes_from``), and of stage
    (``stages_from``), stand in the data, and from which it is known which deals were open (``open_from``).

    An export without history gives deals as they are today. What can be derived from its dates are creation
    and close, but not when a deal was expected to close before: of the deals that were due in a past quarter
    only those that never closed would be known.
    """

    changes_from: dt.date = ALWAYS
    stages_from: dt.date = ALWAYS
    open_from: dt.date = ALWAYS

    def need_changes(self, day: dt.date | None) -> None:
        """Raises :class:`NotAvailableError` unless all changes from ``day`` on (None: from the first day
        on) are in the data."""
        _need(
            self.changes_from,
            day,
            _("The data has no history of close dates, so that moves are not known."),
            _("The data has the history of close dates from {day} on, which is too short for this."),
        )

    def need_stages(self, day: dt.date | None) -> None:
        """The same for moves between stages."""
        _need(
            self.stages_from,
            day,
            _("The data has no history of stages, so that nobody can say how deals move through them."),
            _("The data has the history of stages from {day} on, which is too short for this."),
        )

    def to_values(self) -> dict[str, str]:
        """The days as ISO texts."""
        return {name: day.isoformat() for name, day in asdict(self).items()}


RECORDED = Record()


def _need(begins: dt.date, day: dt.date | None, never: str, later: str) -> None:
    if begins == NEVER:
        raise NotAvailableError(never)
    if begins > (day or ALWAYS):
        raise NotAvailableError(later.format(day=formats.date(begins)))


def record_from(values: Mapping[str, Any]) -> Record:
    """What :meth:`Record.to_values` gave."""
    return Record(**{name: dt.date.fromisoformat(day) for name, day in values.items()})


def record_of(
    con: duckdb.DuckDBPyConnection,
    cleaned: Mapping[str, Path],
    *,
    is_exported: bool,
    absent: Collection[str],
    stage_dates: Mapping[str, str],
    observed_until: dt.date,
) -> Record:
    """What the completed history of a dataset tells. ``is_exported``: the export has a history, of which
    ``absent`` are columns that no event records; for a few deals that it lacks, a note says so."""
    history, deals = parquet(cleaned["opportunity_history"]), parquet(cleaned["opportunities"])
    row = con.execute(
        f"SELECT min(changed_date) FILTER (source IS DISTINCT FROM 'derived'), "
        f"count(*) FILTER (source = 'derived') FROM {history}"
    ).fetchone()
    first, derived = row or (None, 0)
    is_dated = count(con, f"SELECT count(*) FROM {deals} WHERE created_date IS NOT NULL") > 0
    recorded = (first or NEVER) if derived and not is_exported else ALWAYS
    return Record(
        changes_from=NEVER if "close_date" in absent else recorded,
        stages_from=ALWAYS if stage_dates else recorded,
        open_from=ALWAYS if recorded == ALWAYS or is_dated else min(recorded, observed_until),
    )
