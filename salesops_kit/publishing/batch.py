"""One run under the lock: every report that must run is executed, checked, and published or failed."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from salesops_kit.errors import InputError, Problem
from salesops_kit.language import use_locale
from salesops_kit.project import project_root
from salesops_kit.publishing import comparison, files, gates, keys, ledger, publish, worker
from salesops_kit.publishing.execute import Limits
from salesops_kit.publishing.isolation import ISOLATION, Foreign, isolation_gate
from salesops_kit.publishing.ledger import Entry, Ledger, RunRecord
from salesops_kit.publishing.lock import Lock
from salesops_kit.publishing.manifest import Failure, Gate, Manifest
from salesops_kit.publishing.page_check import link_prefix
from salesops_kit.publishing.paths import STAGING, Address, relative_link
from salesops_kit.publishing.plan import Job
from salesops_kit.publishing.pool import ExecutorFactory, Pool
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.progress import Progress
from salesops_kit.publishing.redact import redact
from salesops_kit.publishing.render import page_facts
from salesops_kit.publishing.schedule import Choice, Task, longest_first, make_task
from salesops_kit.publishing.signals import Stop
from salesops_kit.publishing.temporary import own_folder, temporary_files_in
from salesops_kit.publishing.warm_kernels.owner import WarmKernels
from salesops_kit.publishing.worker import Outcome, WorkOrder


@dataclass
class Batch:
    """The reports of one run, and its record. ``stops_at_jumps`` makes a noted jump a failed gate."""

    root: Path
    preparer: Preparer
    past: Ledger
    limits: Limits
    progress: Progress
    started: dt.datetime
    plan: str
    lock: Lock
    stop: Stop
    kernels: WarmKernels
    stops_at_jumps: bool = False
    leaf_teams: list[str] = field(init=False)
    groups: list[list[Task]] = field(init=False)
    complaints: list[Problem] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    record: RunRecord = field(init=False)
    temporary: Path = field(init=False)

    def __post_init__(self) -> None:
        self.leaf_teams = list(self.preparer.leaf_teams())

    @property
    def is_interrupted(self) -> bool:
        """Whether the run was stopped before all of its reports had an end."""
        return self.stop.is_wanted and any(task.entry is None for task in self.tasks)

    def prepare(self, planned: Sequence[Job], choice: Choice) -> None:
        """Take the run's number and decide for each job whether and why it runs."""
        seq = ledger.next_sequence(self.root)
        run = ledger.run_id(seq, self.started)
        staging = files.make_folder(self.root, PurePosixPath(STAGING, run), private=True)
        (self.root / STAGING).chmod(files.PRIVATE_FOLDER_MODE)
        made = {
            job.address: keys.key_parts(
                job, self.preparer.key_parts(list(job.template.tables), dict(job.params))
            )
            for job in planned
        }
        self.tasks = [
            make_task(
                job,
                self._compared(job, made),
                self.past,
                self.preparer,
                root=self.root,
                seq=seq,
                run=run,
                folder=staging / f"{number:05d}",
                choice=choice,
            )
            for number, job in enumerate(planned)
        ]
        by_address = {task.job.address: task for task in self.tasks}
        for task in self.tasks:
            earlier = comparison.job_before(task.job, self.preparer.settings.fiscal)
            task.before = by_address.get(earlier.address) if earlier else None
        self.groups = comparison.groups_of(self.tasks, self.leaf_teams)
        self.record = RunRecord(
            seq=seq,
            run=run,
            status="running",
            started_at=self.started.isoformat(timespec="seconds"),
            plan=self.plan,
            snapshot=dict(self.preparer.snapshot),
            reports=list(dict.fromkeys(task.job.template.report for task in self.tasks)),
        )
        ledger.write_record(self.root, self.record)

    def _compared(self, job: Job, made: Mapping[Address, Mapping[str, str]]) -> dict[str, str]:
        """The parts of a job's key, with those that say what its numbers are compared with, and how."""
        stops = {keys.JUMPS: "stop"} if self.stops_at_jumps else {}
        before = comparison.key_before(job, made, self.past, self.preparer)
        return keys.with_before({**made[job.address], **stops}, before)

    def run(self, workers: int, make_executor: ExecutorFactory) -> None:
        """Execute what must run; publish each report as soon as those that it has to tie with are there."""
        self.progress.start(len(self.tasks))
        for task in self.tasks:
            if not task.must_run:
                self._enter(task, Entry(manifest=task.draft, title=task.job.template.title))
        todo = longest_first(self.tasks)
        workers = min(workers, max(1, len(todo)))
        pool = Pool(
            prepare=lambda index: self._order(todo[index]),
            workers=workers,
            limit_seconds=self.limits.start + self.limits.report,
            should_stop=lambda: self.stop.is_wanted,
            make_executor=make_executor,
        )
        try:
            with (
                own_folder(self.lock.note) as self.temporary,
                self.kernels,
                contextlib.closing(pool.run(len(todo))) as outcomes,
            ):
                for index, outcome in outcomes:
                    todo[index].outcome = outcome
                    self._settle()
                # After an interruption what came back is compared with what there is.
                self._settle(is_last=True)
        finally:
            self.progress.stop()

    def notes(self) -> list[Problem]:
        """What made the run slower than it might have been, and which pages could not be marked."""
        done = [task.outcome for task in self.tasks if task.outcome]
        spawned = sum(outcome.status == ledger.GOOD and not outcome.is_warm for outcome in done)
        text = f"{spawned} of {len(done)} reports had no warm kernel and spawned one, which is slower"
        return [*self.complaints, *([Problem(text)] if spawned else [])]

    def _order(self, task: Task) -> WorkOrder | Outcome:
        """The job's work order, with its slice written; a preparer's failure is the job's failure."""
        job, address = task.job, task.job.address
        with temporary_files_in(str(self.temporary)):
            server = self.kernels.address()
        try:
            shutil.rmtree(task.folder, ignore_errors=True)
            task.folder.mkdir(mode=files.PRIVATE_FOLDER_MODE)
            # Beside each other and kept to the end, so that reports of one scope can share a slice.
            data = task.folder.parent / "data" / task.folder.name
            for folder in (data.parent, data):
                folder.mkdir(mode=files.PRIVATE_FOLDER_MODE, exist_ok=True)
            context = self.preparer.context(
                dict(job.params), data, task.sentinel, report_tables=job.template.tables
            )
        except Exception as error:
            failure = Failure(name=type(error).__name__, message=redact(str(error)))
            return Outcome("failed", failure)
        task.order = WorkOrder(
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
            allowed_links=self._links,
            limits=self.limits,
            started=self.started,
            server=server,
            temporary=str(self.temporary),
        )
        return task.order

    @property
    def _links(self) -> tuple[str, ...]:
        return tuple(link_prefix(self.preparer.settings.record_link))

    def _settle(self, *, is_last: bool = False) -> None:
        """Publish or fail the reports that came back, and with them those that they have to tie with, once
        what they are compared with is there."""
        for group in list(self.groups):
            waits = any(task.before is not None and not task.before.is_back for task in group)
            if not all(task.is_back for task in group) or (waits and not is_last):
                continue
            self.groups.remove(group)
            is_tied = comparison.has_to_tie(group[0].job, self.leaf_teams)
            ties = [comparison.sums(group, self.past, self.preparer)] if is_tied else []
            for task in group:
                if task.entry is None:
                    self._finish(task, ties)

    def _finish(self, task: Task, checked: list[Gate]) -> None:
        assert task.outcome is not None
        outcome = task.outcome
        parts = dict(task.draft.key_parts)
        if outcome.status == ledger.GOOD:
            before = comparison.quarter_before(task, self.past, self.preparer.settings.fiscal)
            outcome, jumps = self._jumps(task, outcome, before)
            parts = keys.with_before(parts, before.key)
        if outcome.status == ledger.GOOD:
            found = [*checked, *outcome.gates, jumps, *self._isolation(task)]
            checked = [gates.refused(gate) for gate in found] if self.stops_at_jumps else found
            failed = [f"{gate.name}: {gate.detail}" for gate in checked if gate.status == "failed"]
            if failed:
                error = Failure(name="GateFailed", message="; ".join(failed))
                outcome = replace(outcome, status="failed", error=error)
        elif outcome.error is not None:
            outcome = replace(outcome, error=self._harmless(task, outcome.error))
        manifest = task.draft.model_copy(
            update={
                "key": keys.key(parts),
                "key_parts": parts,
                "status": outcome.status,
                "error": outcome.error,
                "timings": outcome.timings,
                "headlines": list(outcome.headlines),
                "quality": dict(outcome.quality),
                "gates": checked,
                "files": list(outcome.files),
            }
        )
        if outcome.status == ledger.GOOD:
            self._publish(task, manifest)
        else:
            self._fail(task, manifest)
        shutil.rmtree(task.folder, ignore_errors=True)

    def _jumps(self, task: Task, outcome: Outcome, before: comparison.Before) -> tuple[Outcome, Gate]:
        """The gate over headlines that are far from the quarter before; what it notes stands on the pages."""
        with use_locale(task.job.locale):
            gate = gates.jump_gate(outcome.headlines, before.headlines, task.job.locale)
        if gate.status == "noted" and not self.stops_at_jumps:
            assert task.order is not None
            outcome = worker.with_note(task.order, outcome, gate.detail)
        return outcome, gate

    def _isolation(self, task: Task) -> list[Gate]:
        """The gate over the files as they are staged; none for a report about the whole company."""
        try:
            foreign = self._foreign(task)
            if foreign is None:
                return []
            return [isolation_gate([p for p in sorted(task.folder.rglob("*")) if p.is_file()], foreign)]
        except Exception as error:
            # What cannot be searched is not published.
            detail = f"could not be checked: {type(error).__name__}: {redact(str(error))}"
            return [Gate(name=ISOLATION, status="failed", detail=detail)]

    def _foreign(self, task: Task) -> Foreign | None:
        """The texts that a report may not hold; None for one about the whole company."""
        params = dict(task.job.params)
        texts = self.preparer.foreign_texts(params)
        if not texts:
            return None
        template = task.job.template.path.read_bytes()
        return Foreign(texts, lambda text: self.preparer.mentions(params, text), template)

    def _harmless(self, task: Task, error: Failure) -> Failure:
        """A failure whose message names nothing of other teams: readers see it on the last good page."""
        content = error.message.encode("utf-8", "surrogatepass")
        try:
            foreign = self._foreign(task)
            is_shown = foreign is None or not any(foreign.kinds_in(content))
        except Exception:
            # What cannot be searched is not shown.
            is_shown = False
        hidden = {"message": "the message may name records of other teams"}
        return error if is_shown else error.model_copy(update=hidden)

    def _publish(self, task: Task, manifest: Manifest) -> None:
        title = task.job.template.title
        try:
            entry = publish.commit(self.root, task.job.address, task.folder, manifest, title)
        except (OSError, InputError) as error:
            failure = Failure(name=type(error).__name__, message=redact(str(error)))
            self._fail(task, manifest.model_copy(update={"status": "failed", "error": failure}))
            return
        self._enter(task, entry)

    def _fail(self, task: Task, manifest: Manifest) -> None:
        """Enter a failure, and mark the last good page as stale."""
        manifest = manifest.model_copy(update={"files": [], "headlines": [], "quality": {}})
        entry = Entry(manifest=manifest, title=task.job.template.title)
        address = task.job.address
        page = self._stale_page(task, manifest)
        if not page:
            self._enter(task, entry)
            return
        # The record knows the page before the page is there, so that a crash is explained.
        self._enter(task, entry.model_copy(update={"stable": publish.stable_file(address, page)}))
        try:
            files.replace_file(self.root / address.stable, page, private=address.is_private)
        except OSError as error:
            self._complain(task, error)
            self.record = self.record.model_copy(update={"jobs": [*self.record.jobs[:-1], entry]})
            ledger.write_record(self.root, self.record)

    def _stale_page(self, task: Task, failed: Manifest) -> bytes:
        if task.good is None or task.good.bundle is None:
            return b""
        try:
            return publish.stale_page(self.root, task.good, failed, self._links)
        except (OSError, ValueError) as error:
            self._complain(task, error)
            return b""

    def _complain(self, task: Task, error: Exception) -> None:
        what = f"the last good page could not be marked: {redact(str(error))}"
        self.complaints.append(Problem(what, file=str(task.job.address.stable)))

    def _enter(self, task: Task, entry: Entry) -> None:
        task.entry = entry
        self.record = self.record.model_copy(update={"jobs": [*self.record.jobs, entry]})
        if task.must_run:
            ledger.write_record(self.root, self.record)
        made = entry.manifest
        spent = made.timings
        cell = f"cell {made.error.cell}: " if made.error and made.error.cell else ""
        detail = f"{cell}{made.error.message}" if made.error else made.reason
        seconds = spent.start + spent.cells + spent.render + spent.publish
        self.progress.report(task.job.name, made.status, detail, seconds)

    def close(self, ended: dt.datetime) -> RunRecord:
        """Write the run's final record."""
        self.record = self.record.model_copy(
            update={
                "status": "interrupted" if self.is_interrupted else "complete",
                "ended_at": ended.isoformat(timespec="seconds"),
            }
        )
        ledger.write_record(self.root, self.record)
        return self.record
