"""What the driver needs of the data: valid names, digests, and each job's own slice."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_kit.compute import Calculator, reference_for, resolve_as_of, resolve_quarter
from salesops_kit.data import foreign, scope
from salesops_kit.data.as_of import STATES
from salesops_kit.data.cleaning import EXCLUSIONS
from salesops_kit.data.dataset import Rows, TeamTree, open_rows, open_snapshot, team_tree
from salesops_kit.data.slices import write_slice
from salesops_kit.data.snapshot import Snapshot
from salesops_kit.declarations import LISTED, NOTED, RAISED, reads
from salesops_kit.periods import Period
from salesops_kit.settings import COMPANY, Settings

if TYPE_CHECKING:
    import pandas as pd

# What every report reads, whatever its tables: who has what, what is set aside, what money is worth.
ALWAYS_READ = (STATES, EXCLUSIONS, "stages", "fx_rates", "teams", "team_memberships")


class Preparation:
    """One dataset as a run sees it: a single snapshot that all its reports read."""

    def __init__(self, data: str) -> None:
        self.opened: Snapshot = open_snapshot(data)
        self.rows: Rows = open_rows(self.opened)
        self._references: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._periods: dict[str, Period | None] = {}
        self._cuts: dict[str, Rows] = {}
        self._written: dict[tuple[Path, str], dict[str, Path]] = {}
        self._raised: dict[tuple[str, str], pd.DataFrame] = {}

    @property
    def settings(self) -> Settings:
        """The dataset's settings."""
        return self.opened.settings

    @cached_property
    def snapshot(self) -> Mapping[str, Any]:
        """What all reports of the run read: seq, digest, table digests, observed_until, quality."""
        return {
            "seq": self.opened.seq,
            "digest": self.opened.digest,
            "tables": {name: stored.sha256 for name, stored in self.opened.tables.items()},
            "observed_until": self.opened.observed_until.isoformat(),
            "quality": {"excluded_rows": self.rows.set_aside, "notes": list(self.opened.notes)},
        }

    @cached_property
    def tree(self) -> TeamTree:
        """The dataset's teams."""
        return team_tree(self.rows)

    def names(self) -> dict[str, list[str]]:
        """The valid names of ``teams`` (with the company and parent teams) and ``quarters``."""
        return {"teams": self.tree.names, "quarters": [q.label for q in self.rows.quarters()]}

    def leaf_teams(self) -> list[str]:
        """The teams that partition the company."""
        return list(self.tree.leaves)

    def period_text(self, params: Mapping[str, Any]) -> str:
        """The period of a job as readers see it, its last day included."""
        period = self._period(params)
        return f"{period.label}, {period.start} to {period.last_day}" if period else "all history"

    def _period(self, params: Mapping[str, Any]) -> Period | None:
        quarter = str(params.get("quarter", ""))
        if quarter not in self._periods:
            self._periods[quarter] = resolve_quarter(self.rows, quarter)
        return self._periods[quarter]

    def effective_as_of(self, params: Mapping[str, Any]) -> str:
        """The cut-off date of a job, also when its parameter is empty."""
        return self._as_of(params).isoformat()

    def _as_of(self, params: Mapping[str, Any]) -> dt.date:
        period = self._period(params)
        return resolve_as_of(self.rows, str(params.get("as_of", "")), period)

    def key_parts(self, report_tables: Sequence[str], params: Mapping[str, Any]) -> dict[str, str]:
        """Digests of the tables that a report's analyses and the company's figures read, of settings, and
        the cut-off.

        The company's figures follow from these, so that they need not be computed for a report that is
        skipped.
        """
        read = {*ALWAYS_READ, *reads((*NOTED, RAISED, *report_tables)).tables}
        digests = {
            name: self.opened.tables[name].sha256 for name in sorted(read) if name in self.opened.tables
        }
        return {
            **{f"table:{name}": digest for name, digest in digests.items()},
            **{
                f"derived:{name}": digest
                for name, digest in sorted(self.rows.derived.items())
                if name in read
            },
            "policy": self.rows.policy.digest,
            "settings": _digest(self.settings.model_dump(mode="json")),
            "notes": _digest(list(self.rows.notes)),
            "record": _digest(self.rows.record.to_values()),
            "as_of": self.effective_as_of(params),
            "observed_until": self.opened.observed_until.isoformat(),
        }

    def _reference(self, params: Mapping[str, Any], analyses: Collection[str]) -> dict[str, Any]:
        """The company's figures for a job's period and cut-off, as its scope may see them."""
        as_of, period = self._as_of(params), self._period(params)
        figures: dict[str, Any] = {}
        for analysis in sorted(analyses):
            key = (analysis, str(params.get("quarter", "")), as_of.isoformat())
            if key not in self._references:
                self._references[key] = Calculator(self.rows, as_of, period).references(analysis)
            figures |= self._references[key]
        members = self.tree.members(str(params.get("team", COMPANY)))
        return reference_for(figures, len(members) if members else 0)

    def context(
        self, params: Mapping[str, Any], folder: Path, sentinel: str, *, report_tables: Sequence[str]
    ) -> Path:
        """Write a job's slice and its context file; returns the file.

        The slice holds what the report's tables read, as the report's key does: a table that it does not
        declare it cannot read. What another job of the scope has cut already is shared.
        """
        team = str(params.get("team", COMPANY))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        read = reads((*NOTED, *report_tables))
        target = folder / "slice"
        self._write_slice(team, target, {*ALWAYS_READ, *read.tables})
        # What shows no table compares nothing with the company, and no wrong record can be in it.
        compares, is_judged = bool(report_tables), bool(report_tables) and LISTED not in report_tables
        values = {
            "slice": str(target),
            "sentinel": sentinel,
            "params": dict(params),
            "tables": list(report_tables),
            "reference": self._reference(params, read.analyses) if compares else {},
            "raised": self._raised_for(params, report_tables) if is_judged else [],
            "snapshot": {"seq": self.opened.seq, "digest": self.opened.digest},
        }
        file = folder / "context.json"
        file.write_text(json.dumps(values, ensure_ascii=False, default=str), encoding="utf-8")
        return file

    def _raised_for(self, params: Mapping[str, Any], report_tables: Sequence[str]) -> list[dict[str, Any]]:
        """The checks that are raised by records of a job's scope, in the tables that its report reads."""
        from salesops_kit.analysis.quality import raised_for

        as_of, period = self._as_of(params), self._period(params)
        key = (str(params.get("quarter", "")), as_of.isoformat())
        if key not in self._raised:
            self._raised[key] = Calculator(self.rows, as_of, period).table(RAISED)
        members = self.tree.members(str(params.get("team", COMPANY)))
        return raised_for(self._raised[key], members=members, tables={STATES, *reads(report_tables).tables})

    def _write_slice(self, team: str, target: Path, names: Collection[str]) -> None:
        members = self.tree.members(team)
        if members is None:
            stored = {n: path for n, path in self.opened.paths.items() if n not in self.rows.derived}
            write_slice(self.rows, target, names=names, paths=stored)
            return
        written = self._written.setdefault((target.parent.parent, team), {})
        written |= write_slice(self._cut(team, members), target, names=names, paths=written)

    def _cut(self, team: str, members: tuple[str, ...]) -> Rows:
        if team not in self._cuts:
            self._cuts[team] = scope.cut(self.rows, members)
        return self._cuts[team]

    @cached_property
    def _known_texts(self) -> foreign.Known:
        return foreign.known_texts(self.rows)

    def foreign_texts(self, params: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        """Ids and names, by kind, that only teams outside a job's scope have to do with; a sample."""
        members = self.tree.members(str(params.get("team", COMPANY)))
        return {} if members is None else foreign.foreign_texts(self._known_texts, members)

    def mentions(self, params: Mapping[str, Any], text: str) -> bool:
        """Whether a job's own rows mention a text, so that its report may."""
        team = str(params.get("team", COMPANY))
        members = self.tree.members(team)
        return members is None or foreign.mentions(self._cut(team, members), text)


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
