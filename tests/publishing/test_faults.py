"""Every way in which a kernel, a worker or a driver can end leaves the old reports as they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from salesops_kit.publishing import ledger, recovery, worker
from salesops_kit.publishing.execute import Limits, execute
from salesops_kit.publishing.kernel import PrivateKernel
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.manifest import Failure
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.pool import Pool, local_processes
from salesops_kit.publishing.run import run
from salesops_kit.publishing.temporary import temporary_files_in
from salesops_kit.publishing.verify import verify
from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, OFF
from salesops_kit.publishing.worker import Outcome
from tests.publishing import wholeness
from tests.publishing.inline import Inline
from tests.publishing.kit import END, TinyPreparer, short_folder, templates_in, write_template

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
BAD = {
    "kill_first": ([KILL], {}),
    "kill_last": ([], {"end": f"{END}\n{KILL}"}),
    "sys_exit": (["import sys; sys.exit(0)"], {}),
    "hard_exit": (["import os; os._exit(0)"], {}),
    "asks": (["input('?')"], {}),
    "slow": (["import time; time.sleep(600)"], {}),
    "stopped": (["import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"], {}),
    "memory": (["raise MemoryError('none left')"], {}),
    "secret": (["raise OSError(f\"no {os.environ['CRM_TOKEN']} at postgresql://a:hunter22@db\")"], {}),
    "no_sentinel": ([], {"end": "print(context['sentinel'])"}),
    "other_sentinel": ([], {"end": END.replace('context["sentinel"]}', '"0" * 24}')}),
    "script": (["from IPython.display import HTML\ndisplay(HTML('<img src=x onerror=alert(1)>'))"], {}),
    "leak": (["print(os.environ['CRM_TOKEN'])"], {}),
    "orphan": (["import subprocess\nsubprocess.Popen(['sleep', '987654'])\nos._exit(1)"], {}),
}
EXPECTED = {
    "kill_first": ("killed", 3, "DeadKernel"),
    "kill_last": ("killed", 4, "DeadKernel"),
    "sys_exit": ("failed", 3, "SystemExit"),
    "hard_exit": ("killed", 3, "DeadKernel"),
    "asks": ("failed", 3, "StdinNotImplementedError"),
    "slow": ("timeout", 3, "CellTimeout"),
    "stopped": ("timeout", 3, "CellTimeout"),
    "memory": ("failed", 3, "MemoryError"),
    "secret": ("failed", 3, "OSError"),
    "no_sentinel": ("failed", 4, "NoSentinel"),
    "other_sentinel": ("failed", 4, "NoSentinel"),
    "script": ("failed", None, "UnsafePage"),
    "leak": ("failed", None, "SecretInReport"),
    "orphan": ("killed", 3, "DeadKernel"),
}
CELL_SECONDS = 4
DRIVER = """
import sys
from pathlib import Path
from salesops_kit.publishing.lean_imports import leave_out
leave_out()
from salesops_kit.publishing.execute import Limits
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.progress import Lines
from salesops_kit.publishing.run import run
from tests.publishing import light_server
from tests.publishing.kit import TinyPreparer, templates_in

if __name__ == "__main__":
    light_server.use()
    base, plan, cell, report = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    result = run(
        parse_plan(plan), TinyPreparer(), reports_root=base / "reports", templates=templates_in(base / "t"),
        limits=Limits(start=60, cell=cell, report=report), progress=Lines(sys.stderr), force=True,
    )
    sys.exit(result.exit_code)
"""


def drive(base: Path, plan: str, *, cell: int = 60, report: int = 90) -> subprocess.Popen[str]:
    """A driver in a process of its own, with a secret in its environment."""
    script = base / "drive.py"
    script.write_text(DRIVER)
    (base / "tmp").mkdir()
    # The driver has a fork server of its own, since it is part of what is tested.
    environment = {
        **{name: value for name, value in os.environ.items() if name != ADDRESS_VARIABLE},
        "CRM_TOKEN": "s3cr3t-canary",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(base / "tmp"),
    }
    command = [sys.executable, str(script), str(base), plan, str(cell), str(report)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def faults() -> Iterator[tuple[Path, str, int, dict[str, Any]]]:
    with short_folder() as base:
        yield run_all_faults(base)


def run_all_faults(base: Path) -> tuple[Path, str, int, dict[str, Any]]:
    for name, (cells, options) in BAD.items():
        write_template(base / "t", name, *cells, **options)
    write_template(base / "t", "zz_good", "print('fine')")
    process = drive(base, "{data: x, reports: all, jobs: 3}", cell=CELL_SECONDS)
    _, log = process.communicate(timeout=120)
    record = ledger.read_ledger(base / "reports")[0].records[0]
    return base, log, process.returncode, {e.manifest.report: e.manifest for e in record.jobs}


@posix
@pytest.mark.parametrize("name", EXPECTED)
def test_each_way_to_end_is_told_apart(faults: tuple[Path, str, int, dict[str, Any]], name: str) -> None:
    made = faults[3][name]
    assert made.error is not None
    assert (made.status, made.error.cell, made.error.name) == EXPECTED[name], made.error
    assert made.timings.start + made.timings.cells < CELL_SECONDS + 10


@posix
def test_one_failure_stops_no_other_and_nothing_bad_is_published(
    faults: tuple[Path, str, int, dict[str, Any]],
) -> None:
    base, log, code, made = faults
    assert code == 1
    assert made["zz_good"].status == "success"
    pages = [p for p in (base / "reports" / "leaders").rglob("*.html") if p.name != "page.html"]
    assert [p.name for p in pages] == ["zz_good.html"]
    assert not list((base / "reports").rglob("*.tmp"))
    assert not (base / "reports" / ".staging").exists()
    assert list((base / "tmp").glob("so-*")) == []
    assert verify(base / "reports") == []
    assert "zz_good" in log


@posix
def test_no_secret_is_in_any_artefact_or_log(faults: tuple[Path, str, int, dict[str, Any]]) -> None:
    base, log, _, made = faults
    assert "[redacted]" in made["secret"].error.message
    for path in (base / "reports").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"s3cr3t-canary" not in content, path
        assert b"hunter22" not in content, path
    assert "s3cr3t-canary" not in log
    assert "hunter22" not in log


@posix
def test_no_process_of_a_dead_kernel_is_left(faults: tuple[Path, str, int, dict[str, Any]]) -> None:
    running = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if "987654" in line]


@posix
def test_the_whole_report_has_a_limit(tmp_path: Path) -> None:
    write_template(tmp_path / "t", "slow", "import time; time.sleep(600)")
    result = run(
        parse_plan("{data: x, reports: slow}"),
        TinyPreparer(),
        reports_root=tmp_path / "reports",
        templates=templates_in(tmp_path / "t"),
        limits=Limits(start=60, cell=500, report=3),
    )
    made = result.failures[0].manifest
    assert made.error is not None
    assert (made.status, made.error.name) == ("timeout", "ReportTimeout")
    assert made.timings.start + made.timings.cells < 3 + 10


@posix
def test_a_start_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not answer: its program is there and does nothing."""
    from jupyter_client.kernelspec import KernelSpec

    monkeypatch.setenv(ADDRESS_VARIABLE, OFF)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)", "{connection_file}"]
    monkeypatch.setattr(PrivateKernel, "kernel_spec", KernelSpec(argv=sleeper, language="python"))
    path = write_template(tmp_path / "t", "bookings")
    began = time.monotonic()
    made = execute(
        nbformat.read(path, as_version=4),
        {},
        sentinel="x",
        folder=tmp_path,
        environment={},
        limits=Limits(start=2, cell=500, report=500),
    )
    assert time.monotonic() - began < 2 + 10
    assert made.error is not None
    assert (made.status, made.error.name, made.error.cell) == ("timeout", "KernelStart", None)


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_stopped_driver_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end with exit code 2; after SIGKILL the next run puts things right."""
    write_template(tmp_path / "t", "a_good")
    write_template(tmp_path / "t", "slow", "open('started', 'w').close()\nimport time; time.sleep(600)")
    process = drive(tmp_path, "{data: x, reports: [a_good, slow]}")
    reports = tmp_path / "reports"
    deadline = time.monotonic() + 60
    while not list(reports.glob(".staging/*/*/scratch/started")) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = family(process.pid)
    assert len(children) >= 2
    process.send_signal(number)
    assert process.wait(timeout=15) == (2 if number != signal.SIGKILL else -number)
    process.communicate()
    assert gone(children, 10)
    if number == signal.SIGKILL:
        with temporary_files_in(str(tmp_path / "tmp")), hold_lock(reports):
            assert recovery.recover(reports) == []
    assert list((tmp_path / "tmp").glob("so-*")) == []
    record = ledger.read_ledger(reports)[0].records[0]
    assert record.status == "interrupted"
    assert [(e.manifest.report, e.manifest.status) for e in record.jobs] == [("a_good", "success")]
    assert not (reports / ".staging").exists()
    assert verify(reports) == []


@posix
def test_what_came_back_before_an_interruption_is_published(tmp_path: Path) -> None:
    """Also where it would have been compared with a report that did not come back."""
    slow = "import time\nif quarter == '2026-Q2':\n    open('started', 'w').close()\n    time.sleep(600)"
    write_template(tmp_path / "t", "pair", slow)
    process = drive(tmp_path, "{data: x, reports: pair, quarters: [2026-Q3, 2026-Q2]}")
    reports = tmp_path / "reports"
    deadline = time.monotonic() + 60
    while not list(reports.glob(".staging/*/*/scratch/started")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=15) == 2
    process.communicate()
    record = ledger.read_ledger(reports)[0].records[0]
    assert [(e.manifest.quarter, e.manifest.status) for e in record.jobs] == [("2026-Q3", "success")]
    assert verify(reports) == []


@posix
def test_temporary_files_may_be_in_a_folder_with_a_long_name(tmp_path: Path) -> None:
    """No path of a socket may be longer than a hundred characters or so."""
    base = tmp_path / "long" / ("x" * 100)
    write_template(base / "t", "good")
    process = drive(base, "{data: x, reports: good}")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert "warm" not in log


def order(folder: Path, template: Path, sha256: str) -> worker.WorkOrder:
    return worker.WorkOrder(
        template=str(template),
        template_sha256=sha256,
        params={},
        context="",
        sentinel="x",
        locale="en",
        folder=str(folder),
        project=str(folder),
        facts={},
        bundle_prefix="",
        is_private=False,
        allowed_links=(),
        limits=Limits(),
        started=None,  # type: ignore[arg-type]
    )


def test_a_template_edited_during_the_run_is_not_run(tmp_path: Path) -> None:
    path = write_template(tmp_path / "t", "bookings")
    outcome = worker.work(order(tmp_path, path, "0" * 64))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.name == "TemplateChanged"


def test_a_run_whose_template_is_edited_meanwhile_publishes_neither_version(tmp_path: Path) -> None:
    """The first report's cell edits the template of the second."""
    other = tmp_path / "t" / "b_other.ipynb"
    write_template(tmp_path / "t", "a_editor", f"open({str(other)!r}, 'a').write(' ')")
    write_template(tmp_path / "t", "b_other")
    result = run(
        parse_plan("{data: x, reports: [a_editor, b_other]}"),
        TinyPreparer(),
        reports_root=tmp_path / "reports",
        templates=templates_in(tmp_path / "t"),
        make_executor=Inline,
    )
    errors = {e.manifest.report: e.manifest.error and e.manifest.error.name for e in result.entries}
    assert errors == {"a_editor": None, "b_other": "TemplateChanged"}
    assert [page.name for page in wholeness.stable_pages(tmp_path / "reports")] == ["a_editor.html"]


class DyingExecutor(Executor):
    """Runs each order at once; a fatal one breaks the pool as a killed worker does."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        from concurrent.futures.process import BrokenProcessPool

        future: Future[Any] = Future()
        if args[0] == "fatal":
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(Outcome("success"))
        return future


def test_a_dying_worker_costs_only_its_own_report() -> None:
    names = ["a", "fatal", "b", "c", "fatal", "d"]
    pool = Pool(
        prepare=lambda index: names[index],  # type: ignore[arg-type, return-value]
        workers=2,
        limit_seconds=60,
        make_executor=lambda workers: DyingExecutor(),
    )
    outcomes = dict(pool.run(len(names)))
    assert [outcomes[n].status for n in range(len(names))] == [
        "success",
        "killed",
        "success",
        "success",
        "killed",
        "success",
    ]


def test_an_order_that_cannot_be_prepared_is_an_outcome() -> None:
    failed = Outcome("failed", Failure(name="OSError", message="x"))
    pool = Pool(prepare=lambda index: failed, workers=2, limit_seconds=60, make_executor=local_processes)
    assert list(pool.run(2)) == [(0, failed), (1, failed)]


def test_a_manifest_is_json_that_names_its_schema(faults: tuple[Path, str, int, dict[str, Any]]) -> None:
    manifest = next((faults[0] / "reports").rglob("manifest.json"))
    assert list(json.loads(manifest.read_bytes()))[:3] == ["schema", "seq", "run"]
