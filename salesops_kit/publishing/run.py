"""A plan run from preflight to catalog: every good report published, every failure said."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from salesops_kit.errors import InputError, Problem, SalesOpsError
from salesops_kit.publishing import ledger
from salesops_kit.publishing.batch import Batch
from salesops_kit.publishing.catalog_pages import write_catalogs
from salesops_kit.publishing.execute import Limits
from salesops_kit.publishing.ledger import Entry
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.page_check import link_prefix
from salesops_kit.publishing.paths import STAGING
from salesops_kit.publishing.plan import expand, matrix, unplanned
from salesops_kit.publishing.plan_file import LoadedPlan
from salesops_kit.publishing.pool import ExecutorFactory, local_processes
from salesops_kit.publishing.preflight import check_before
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.progress import Progress, Silent
from salesops_kit.publishing.recovery import recover
from salesops_kit.publishing.redact import redact
from salesops_kit.publishing.schedule import Choice
from salesops_kit.publishing.signals import stop_on_signals
from salesops_kit.publishing.templates import Template, available
from salesops_kit.publishing.warm_kernels.owner import WarmKernels

SUCCESS, SOME_FAILED, INTERRUPTED = 0, 1, 2


@dataclass(frozen=True)
class RunResult:
    """What came of a run. ``rows`` is the matrix of jobs; a dry run has nothing else."""

    run: str = ""
    entries: tuple[Entry, ...] = ()
    rows: tuple[dict[str, object], ...] = ()
    notes: tuple[Problem, ...] = ()
    is_interrupted: bool = False

    @property
    def failures(self) -> tuple[Entry, ...]:
        """The reports that were not published."""
        return tuple(entry for entry in self.entries if entry.manifest.status in ledger.BAD)

    @property
    def exit_code(self) -> int:
        """0 when every report is published, 1 when some failed, 2 when the run was interrupted."""
        if self.is_interrupted:
            return INTERRUPTED
        return SOME_FAILED if self.failures else SUCCESS


def run(
    loaded: LoadedPlan,
    preparer: Preparer,
    *,
    reports_root: Path,
    templates: Mapping[str, Template] | None = None,
    jobs: int | None = None,
    only: Sequence[str] = (),
    force: bool = False,
    failed_only: bool = False,
    dry_run: bool = False,
    limits: Limits | None = None,
    progress: Progress | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    make_executor: ExecutorFactory = local_processes,
    kernels: WarmKernels | None = None,
) -> RunResult:
    """Run a plan and publish its reports under ``reports_root``.

    Preflight checks every parameter of every job and raises :class:`InputError` with all problems
    before any kernel starts; ``dry_run`` stops there and returns the matrix. A report whose key has
    not changed since it was published is skipped, unless ``force``; with ``failed_only`` so is every
    report whose last run was good. One failing report stops no other. A failed gate keeps the reports
    that it is about back. ``limits`` replace those of the plan; ``kernels`` may have begun before.
    :class:`~salesops_kit.errors.LockHeldError` is raised when another run publishes there, and
    :class:`~salesops_kit.errors.SalesOpsError` when the reports folder can no longer be written: what
    was published stands, and the next run puts right what this one left. Ctrl-C and SIGTERM drop what
    is staged and keep what is published.
    """
    if templates is None:
        templates = available()
    # Kernels work in other folders than this process.
    reports_root = reports_root.absolute()
    leaf_teams = preparer.leaf_teams()
    planned = expand(loaded, templates, names=preparer.names(), leaf_teams=leaf_teams, only=only)
    check_before(reports_root, loaded, preparer, planned)
    rows = tuple(matrix(planned))
    if dry_run:
        return RunResult(rows=rows)
    workers = jobs or loaded.plan.jobs
    kernels = kernels or WarmKernels()
    kernels.spares = workers
    try:
        with stop_on_signals() as stop, hold_lock(reports_root) as lock:
            links = link_prefix(preparer.settings.record_link)
            notes = [*recover(reports_root, links), *unplanned(planned, leaf_teams)]
            batch = Batch(
                root=reports_root,
                preparer=preparer,
                past=ledger.read_ledger(reports_root)[0],
                limits=limits or Limits(**loaded.plan.limits.model_dump()),
                progress=progress or Silent(),
                started=now(),
                plan=loaded.file,
                lock=lock,
                stop=stop,
                kernels=kernels,
                stops_at_jumps=loaded.plan.jumps == "stop",
            )
            try:
                batch.prepare(planned, Choice(force=force, failed_only=failed_only))
                batch.run(workers, make_executor)
            finally:
                shutil.rmtree(reports_root / STAGING, ignore_errors=True)
            notes += batch.notes()
            record = batch.close(now())
            try:
                write_catalogs(reports_root, ledger.read_ledger(reports_root)[0], locale=loaded.plan.locale)
            except InputError as error:
                # A link that came since the run began: no input is refused any more.
                raise OSError(str(error)) from error
    except OSError as error:
        raise SalesOpsError(
            f"The run broke off: {redact(str(error))}. What was published before stands. Put this right and "
            "run the plan again: only what is missing is run."
        ) from error
    return RunResult(record.run, tuple(record.jobs), rows, tuple(notes), batch.is_interrupted)
