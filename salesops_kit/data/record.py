"""Since when a dataset tells what happened to its deals, and not only what they are today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from salesops_kit import formats
from salesops_kit.data.engine import parquet
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
        if self.changes_from == NEVER:
            raise NotAvailableError(_("The data has no history of close dates, so that moves are not known."))
        if self.changes_from > (day or ALWAYS):
            text = _("The data has the history of close dates from {day} on, which is too short for this.")
            raise NotAvailableError(text.format(day=formats.date(self.changes_from)))

    def need_stages(self, day: dt.date | None) -> None:
        """The same for moves between stages."""
        if self.stages_from == NEVER:
            raise NotAvailableError(
                _("The data has no history of stages, so that nobody can say how deals move through them.")
            )
        if self.stages_from > (day or ALWAYS):
            text = _("The data has the history of stages from {day} on, which is too short for this.")
            raise NotAvailableError(text.format(day=formats.date(self.stages_from)))

    def to_values(self) -> dict[str, str]:
        """The days as ISO texts."""
        return {name: day.isoformat() for name, day in asdict(self).items()}


RECORDED = Record()


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
    dated = con.execute(f"SELECT count(*) FROM {deals} WHERE created_date IS NOT NULL").fetchone()
    recorded = (first or NEVER) if derived and not is_exported else ALWAYS
    return Record(
        changes_from=NEVER if "close_date" in absent else recorded,
        stages_from=ALWAYS if stage_dates else recorded,
        open_from=ALWAYS if recorded == ALWAYS or (dated and dated[0]) else min(recorded, observed_until),
    )
