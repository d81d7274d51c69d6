"""Which reports of a run have to run, for what reason, and in which order."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from salesops_kit.publishing import keys
from salesops_kit.publishing.ledger import Entry, Ledger
from salesops_kit.publishing.manifest import Manifest
from salesops_kit.publishing.plan import Job
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.verify import entry_problems
from salesops_kit.publishing.worker import Outcome, WorkOrder


@dataclass
class Task:
    """A job on its way: its draft manifest, its last good report, and what came of it.

    ``before`` is the task of the quarter before, if the run has one; ``order`` what a worker was given.
    """

    job: Job
    draft: Manifest
    must_run: bool
    folder: Path
    good: Entry | None
    sentinel: str
    before: Task | None = None
    order: WorkOrder | None = None
    outcome: Outcome | None = None
    entry: Entry | None = None

    @property
    def is_back(self) -> bool:
        """Whether all that the run will know of the report's numbers is known."""
        return self.outcome is not None or self.entry is not None


@dataclass(frozen=True)
class Choice:
    """Which reports a run is asked for: ``force`` runs the unchanged too, ``failed_only`` only those
    whose last run failed."""

    force: bool = False
    failed_only: bool = False


def make_task(
    job: Job,
    parts: Mapping[str, str],
    past: Ledger,
    preparer: Preparer,
    *,
    root: Path,
    seq: int,
    run: str,
    folder: Path,
    choice: Choice,
) -> Task:
    """The task of a job whose key has these ``parts``. It must run when its key has changed, its last run
    failed, or a published file is not what it was; ``reason`` of the draft says which, or why it is
    skipped."""
    params = dict(job.params)
    good = past.last_good(job.address)
    failed = past.failed_since(job.address)
    reason = keys.reason(parts, good.manifest.key_parts if good else None, failed_since=failed)
    if not reason and good and entry_problems(root, good, is_newest=True):
        reason = "published files were changed"
    must_run = bool(reason) or choice.force
    reason = reason or ("forced" if choice.force else "nothing changed")
    if choice.failed_only and not failed:
        must_run, reason = False, "has not failed"
    draft = Manifest(
        seq=seq,
        run=run,
        report=job.report,
        audience=job.template.audience,
        scope=job.scope,
        quarter=job.quarter,
        period=preparer.period_text(params),
        as_of=preparer.effective_as_of(params),
        locale=job.locale,
        params=params,
        key=keys.key(parts),
        key_parts=dict(parts),
        reason=reason,
        status="success" if must_run else "skipped",
        previous=good.manifest.run if good else None,
    )
    return Task(job, draft, must_run, folder, good, sentinel=secrets.token_hex(12))


def longest_first(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that must run, those that are expected to take longest first, so that none of them is
    alone at the end; what has never run goes first of all."""
    return sorted((task for task in tasks if task.must_run), key=lambda t: _seconds(t, tasks), reverse=True)


def _seconds(task: Task, tasks: Sequence[Task]) -> float:
    """As long as last time, else as the same report took for other scopes."""
    if task.good is not None:
        return _spent(task.good)
    same = [_spent(t.good) for t in tasks if t.good is not None and t.job.report == task.job.report]
    return sum(same) / len(same) if same else math.inf


def _spent(entry: Entry) -> float:
    timings = entry.manifest.timings
    return timings.start + timings.cells + timings.render
