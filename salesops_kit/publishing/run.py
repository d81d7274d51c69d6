"""A plan run from preflight to catalog: every good report published, every failure said."""

from __future__ import annotations

import datetime as dt
import math
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from salesops_kit.errors import InputError, Problem
from salesops_kit.project import TEMPLATES, project_root
from salesops_kit.publishing import files, gates, keys, ledger, publish
from salesops_kit.publishing.catalog_pages import write_catalogs
from salesops_kit.publishing.execute import Limits
from salesops_kit.publishing.ledger import Entry, Ledger, RunRecord
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.manifest import Failure, Gate, Manifest
from salesops_kit.publishing.page_check import link_prefix
from salesops_kit.publishing.paths import STAGING, check_inside, relative_link
from salesops_kit.publishing.plan import Job, expand, matrix, unplanned
from salesops_kit.publishing.plan_file import LoadedPlan
from salesops_kit.publishing.pool import ExecutorFactory, Pool, local_processes
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.progress import Progress, Silent
from salesops_kit.publishing.redact import redact
from salesops_kit.publishing.render import page_facts
from salesops_kit.publishing.templates import Template, discover
from salesops_kit.publishing.verify import entry_problems
from salesops_kit.publishing.warm_kernels.owner import WarmKernels
from salesops_kit.publishing.worker import Outcome, WorkOrder
from salesops_kit.settings import COMPANY

SUCCESS, SOME_FAILED, INTERRUPTED = 0, 1, 2
BRIEF = 2


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


@dataclass
class _Task:
    """A job on its way: its draft manifest, and what came of it."""

    job: Job
    draft: Manifest
    must_run: bool
    folder: Path
    good: Entry | None
    sentinel: str
    outcome: Outcome | None = None
    entry: Entry | None = None


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
) -> RunResult:
    """Run a plan and publish its reports under ``reports_root``.

    Preflight checks every parameter of every job and raises :class:`InputError` with all problems
    before any kernel starts; ``dry_run`` stops there and returns the matrix. A report whose key has
    not changed since it was published is skipped, unless ``force``; with ``failed_only`` so is every
    report whose last run was good. One failing report stops no other. A failed gate keeps the
    company's and the teams' reports of that quarter back.
    :class:`~salesops_kit.errors.LockHeldError` is raised when another run publishes there. Ctrl-C and
    SIGTERM drop what is staged and keep what is published.
    """
    if templates is None:
        templates = discover(project_root() / TEMPLATES)
    leaf_teams = preparer.leaf_teams()
    planned = expand(loaded, templates, names=preparer.names(), leaf_teams=leaf_teams, only=only)
    problems = _output_problems(reports_root, planned)
    if problems:
        raise InputError(problems)
    rows = tuple(matrix(planned))
    if dry_run:
        return RunResult(rows=rows)
    with hold_lock(reports_root):
        notes = [*ledger.recover(reports_root), *unplanned(planned, leaf_teams)]
        batch = _Batch(
            root=reports_root,
            preparer=preparer,
            leaf_teams=frozenset(leaf_teams),
            past=ledger.read_ledger(reports_root)[0],
            limits=limits or Limits(),
            progress=progress or Silent(),
            started=now(),
            plan=loaded.file,
        )
        try:
            batch.prepare(planned, force=force, failed_only=failed_only)
            with _stop_on_signals(batch):
                batch.run(jobs or loaded.plan.jobs, make_executor)
        finally:
            shutil.rmtree(reports_root / STAGING, ignore_errors=True)
        notes += batch.notes()
        record = batch.close(now())
        write_catalogs(reports_root, ledger.read_ledger(reports_root)[0], locale=loaded.plan.locale)
    return RunResult(record.run, tuple(record.jobs), rows, tuple(notes), batch.is_stopped)


def _output_problems(root: Path, planned: Sequence[Job]) -> list[Problem]:
    problems: list[Problem] = []
    for relative in (PurePosixPath(STAGING), *(job.address.stable for job in planned)):
        try:
            check_inside(root, relative)
        except InputError as error:
            problems += error.problems
    for job in planned:
        target = root / job.address.folder / job.report
        if target.exists() and not target.is_dir():
            problems.append(Problem("a file stands where a folder is needed", file=str(target)))
    return list(dict.fromkeys(problems))


@dataclass
class _Batch:
    """One run under the lock."""

    root: Path
    preparer: Preparer
    leaf_teams: frozenset[str]
    past: Ledger
    limits: Limits
    progress: Progress
    started: dt.datetime
    plan: str
    is_stopped: bool = False
    kernels: WarmKernels | None = None
    tasks: list[_Task] = field(default_factory=list)
    record: RunRecord = field(init=False)

    def prepare(self, planned: Sequence[Job], *, force: bool, failed_only: bool) -> None:
        """Take the run's number and decide for each job whether and why it runs."""
        seq = ledger.next_sequence(self.root)
        run = ledger.run_id(seq, self.started)
        staging = files.make_folder(self.root, PurePosixPath(STAGING, run), private=True)
        (self.root / STAGING).chmod(files.PRIVATE_FOLDER_MODE)
        for number, job in enumerate(planned):
            task = self._task(job, seq, run, staging / f"{number:05d}", force=force)
            if failed_only and not self.past.failed_since(job.address):
                draft = task.draft.model_copy(update={"status": "skipped", "reason": "has not failed"})
                task = replace(task, draft=draft, must_run=False)
            self.tasks.append(task)
        self.record = RunRecord(
            seq=seq,
            run=run,
            status="running",
            started_at=self.started.isoformat(timespec="seconds"),
            plan=self.plan,
            snapshot=dict(self.preparer.snapshot),
        )
        ledger.write_record(self.root, self.record)

    def _task(self, job: Job, seq: int, run: str, folder: Path, *, force: bool) -> _Task:
        params = dict(job.params)
        parts = keys.key_parts(job, self.preparer.key_parts(list(job.template.tables), params))
        good = self.past.last_good(job.address)
        failed = self.past.failed_since(job.address)
        reason = keys.reason(parts, good.manifest.key_parts if good else None, failed_since=failed)
        if not reason and good and entry_problems(self.root, good, is_newest=True):
            reason = "published files were changed"
        must_run = bool(reason) or force
        draft = Manifest(
            seq=seq,
            run=run,
            report=job.report,
            audience=job.template.audience,
            scope=job.scope,
            quarter=job.quarter,
            period=self.preparer.period_text(params),
            as_of=self.preparer.effective_as_of(params),
            locale=job.locale,
            params=params,
            key=keys.key(parts),
            key_parts=parts,
            reason=reason or ("forced" if force else "nothing changed"),
            status="success" if must_run else "skipped",
            previous=good.manifest.run if good else None,
        )
        return _Task(job, draft, must_run, folder, good, sentinel=secrets.token_hex(12))

    def run(self, workers: int, make_executor: ExecutorFactory) -> None:
        """Execute what must run and publish each group of reports as soon as it is whole."""
        self.progress.start(len(self.tasks))
        for task in self.tasks:
            if not task.must_run:
                self._enter(task, Entry(manifest=task.draft, title=task.job.template.title))
        todo = sorted((task for task in self.tasks if task.must_run), key=self._guess, reverse=True)
        workers = min(workers, max(1, len(todo)))
        pool = Pool(
            prepare=lambda index: self._order(todo[index]),
            workers=workers,
            limit_seconds=self.limits.start + self.limits.report,
            should_stop=lambda: self.is_stopped,
            make_executor=make_executor,
        )
        # With few reports, what only some templates import costs more than it saves.
        self.kernels = WarmKernels(workers, is_brief=len(todo) <= BRIEF * workers)
        try:
            with self.kernels:
                for index, outcome in pool.run(len(todo)):
                    todo[index].outcome = outcome
                    self._settle(todo[index])
        finally:
            self.progress.stop()

    def notes(self) -> list[Problem]:
        """What made the run slower than it might have been."""
        done = [task.outcome for task in self.tasks if task.outcome]
        spawned = sum(outcome.status == ledger.GOOD and not outcome.is_warm for outcome in done)
        text = f"{spawned} of {len(done)} reports had no warm kernel and spawned one, which is slower"
        return [Problem(text)] if spawned else []

    def _guess(self, task: _Task) -> float:
        """How many seconds a report will take: as last time, else as the same report of other scopes did;
        a report that never ran goes first."""
        same = [t.good.manifest for t in self.tasks if t.good and t.job.report == task.job.report]
        seconds = [made.timings.start + made.timings.cells + made.timings.render for made in same]
        if task.good is not None:
            spent = task.good.manifest.timings
            return spent.start + spent.cells + spent.render
        return sum(seconds) / len(seconds) if seconds else math.inf

    def _order(self, task: _Task) -> WorkOrder | Outcome:
        """The job's work order, with its slice written; a preparer's failure is the job's failure."""
        job, address = task.job, task.job.address
        assert self.kernels is not None
        server = self.kernels.address()
        try:
            shutil.rmtree(task.folder, ignore_errors=True)
            task.folder.mkdir(mode=files.PRIVATE_FOLDER_MODE)
            # Beside each other and kept to the end, so that reports of one scope can share a slice.
            data = task.folder.parent / "data" / task.folder.name
            for folder in (data.parent, data):
                folder.mkdir(mode=files.PRIVATE_FOLDER_MODE, exist_ok=True)
            context = self.preparer.context(dict(job.params), data, task.sentinel)
        except Exception as error:
            failure = Failure(name=type(error).__name__, message=redact(str(error)))
            return Outcome("failed", failure)
        return WorkOrder(
            template=str(job.template.path),
            template_sha256=job.template.sha256,
            params=dict(job.params),
            context=str(context),
            sentinel=task.sentinel,
            locale=job.locale,
            folder=str(task.folder),
            project=str(project_root()),
            facts=page_facts(task.draft, job.template.title, task.sentinel),
            bundle_prefix=relative_link(address.bundle(task.draft.run), address.stable) + "/",
            is_private=address.is_private,
            allowed_links=tuple(link_prefix(self.preparer.settings.record_link)),
            limits=self.limits,
            started=self.started,
            server=server,
        )

    def _settle(self, task: _Task) -> None:
        """Publish or fail a report that came back, together with those that its gate waits for."""
        group = self._group(task)
        if not self._is_gated(group):
            self._finish(task, [])
        elif all(other.entry or other.outcome for other in group):
            gate = self._gate(group)
            for other in group:
                if other.entry is None:
                    self._finish(other, [gate])

    def _group(self, task: _Task) -> list[_Task]:
        """The reports of one template and quarter."""
        own = task.job
        return [t for t in self.tasks if (t.job.report, t.job.quarter) == (own.report, own.quarter)]

    def _is_gated(self, group: Sequence[_Task]) -> bool:
        scopes = {task.job.scope for task in group if "team" in task.job.params}
        return bool(self.leaf_teams) and scopes >= {COMPANY, *self.leaf_teams}

    def _gate(self, group: Sequence[_Task]) -> Gate:
        heads: dict[str, Sequence[Mapping[str, Any]]] = {}
        for task in group:
            if task.outcome is None and task.good is not None:
                heads[task.job.scope] = task.good.manifest.headlines
            elif task.outcome is not None and task.outcome.status == "success":
                heads[task.job.scope] = task.outcome.headlines
        missing = [team for team in (COMPANY, *sorted(self.leaf_teams)) if team not in heads]
        if missing:
            return gates.not_checked(f"no report for {', '.join(missing[:5])}")
        company = heads[COMPANY]
        return gates.additive_gate(company, {team: heads[team] for team in sorted(self.leaf_teams)})

    def _finish(self, task: _Task, checked: list[Gate]) -> None:
        assert task.outcome is not None
        outcome = task.outcome
        failed_gate = next((gate for gate in checked if gate.status == "failed"), None)
        if outcome.status == "success" and failed_gate and task.job.scope in {COMPANY, *self.leaf_teams}:
            message = f"{failed_gate.name}: {failed_gate.detail}"
            outcome = replace(outcome, status="failed", error=Failure(name="GateFailed", message=message))
        manifest = task.draft.model_copy(
            update={
                "status": outcome.status,
                "error": outcome.error,
                "timings": outcome.timings,
                "headlines": list(outcome.headlines),
                "quality": dict(outcome.quality),
                "gates": checked,
                "files": list(outcome.files),
            }
        )
        if outcome.status == "success":
            self._publish(task, manifest)
        else:
            self._fail(task, manifest)
        shutil.rmtree(task.folder, ignore_errors=True)

    def _publish(self, task: _Task, manifest: Manifest) -> None:
        title = task.job.template.title
        try:
            entry = publish.commit(self.root, task.job.address, task.folder, manifest, title)
        except (OSError, InputError) as error:
            failure = Failure(name=type(error).__name__, message=redact(str(error)))
            self._fail(task, manifest.model_copy(update={"status": "failed", "error": failure}))
            return
        self._enter(task, entry)

    def _fail(self, task: _Task, manifest: Manifest) -> None:
        """Enter a failure, and mark the last good page as stale."""
        manifest = manifest.model_copy(update={"files": [], "headlines": [], "quality": {}})
        entry = Entry(manifest=manifest, title=task.job.template.title)
        address = task.job.address
        if task.good is not None and task.good.bundle is not None:
            links = link_prefix(self.preparer.settings.record_link)
            try:
                page = publish.stale_page(self.root, task.good, manifest, links)
            except (OSError, ValueError) as error:
                page = b""
                detail = f"the last good page could not be marked: {redact(str(error))}"
                self.progress.report(task.job.name, "failed", detail, 0.0)
            if page:
                entry = entry.model_copy(update={"stable": publish.stable_file(address, page)})
                # The record knows the page before the page is there, so that a crash is explained.
                self._enter(task, entry)
                files.replace_file(self.root / address.stable, page, private=address.is_private)
                return
        self._enter(task, entry)

    def _enter(self, task: _Task, entry: Entry) -> None:
        task.entry = entry
        self.record = self.record.model_copy(update={"jobs": [*self.record.jobs, entry]})
        if task.must_run:
            ledger.write_record(self.root, self.record)
        made = entry.manifest
        spent = made.timings
        detail = f"cell {made.error.cell}: {made.error.message}" if made.error else made.reason
        seconds = spent.start + spent.cells + spent.render + spent.publish
        self.progress.report(task.job.name, made.status, detail, seconds)

    def close(self, ended: dt.datetime) -> RunRecord:
        """Write the run's final record."""
        self.record = self.record.model_copy(
            update={
                "status": "interrupted" if self.is_stopped else "complete",
                "ended_at": ended.isoformat(timespec="seconds"),
            }
        )
        ledger.write_record(self.root, self.record)
        return self.record


@contextmanager
def _stop_on_signals(batch: _Batch) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a stop between two steps; a second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: object) -> None:
        batch.is_stopped = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
