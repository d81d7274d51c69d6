"""Forked kernels behave as spawned ones, for the kit and for stock tools, and leave nothing behind."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

from salesops_kit.publishing.kernel import WARM
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import run
from salesops_kit.publishing.warm_kernels import owner, preload, wire
from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, OFF, WarmKernels
from tests.publishing import light_server
from tests.publishing.kit import TinyPreparer, templates_in, write_template

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody adopts orphans")
pytestmark = pytest.mark.skipif(not owner.can_fork(), reason="this system cannot fork")

LOOK = """\
import json, os, random, sys
import numpy as np
print(json.dumps({
    "pid": os.getpid(), "server": os.getppid(), "group": os.getpgid(0), "folder": os.getcwd(),
    "drawn": [random.random(), float(np.random.random())], "flag": os.environ.get("FLAG"),
    "backend": os.environ["MPLBACKEND"], "address": os.environ.get("SALESOPS_WARM_KERNELS"),
    "threads": os.environ["OMP_NUM_THREADS"], "has_ibis": "ibis" in sys.modules, "main": __name__,
    "path": "" in sys.path,
}))"""


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel manager of the test uses the provisioner, as with JUPYTER_DEFAULT_PROVISIONER_NAME."""
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setattr(factory, "default_provisioner_name", WARM)


def notebook(*cells: str) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return made


def execute(*cells: str) -> nbformat.NotebookNode:
    """Stock Papermill."""
    return papermill.execute_notebook(notebook(*cells), None, progress_bar=False, kernel_name="python3")


@contextmanager
def kernel(**options: Any) -> Iterator[KernelManager]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(**options)
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def ran(manager: KernelManager, code: str) -> None:
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute(code)
    client.stop_channels()


@contextmanager
def program(code: str, folder: Path) -> Iterator[tuple[Callable[[], str], Callable[[], object]]]:
    """A process that owns a server, with its temporary files in ``folder``: its next line, and its end by
    SIGKILL."""
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS_VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**environment, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None

    def end() -> None:
        process.kill()
        process.wait()

    try:
        yield process.stdout.readline, end
    finally:
        end()
        process.stdout.close()


def gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_stock_papermill_gets_kernels_that_share_nothing_but_imports(
    warm: None, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAG", "set after the server started")
    seen = [json.loads(execute(LOOK).cells[0].outputs[0].text) for _ in range(2)]
    assert seen[0]["server"] == seen[1]["server"] != os.getpid()
    assert seen[0]["pid"] != seen[1]["pid"]
    assert seen[0]["drawn"][0] != seen[1]["drawn"][0]
    assert seen[0]["drawn"][1] != seen[1]["drawn"][1]
    for one in seen:
        assert one["group"] == one["pid"]
        assert one["folder"] == str(Path.cwd())
        assert (one["flag"], one["address"], one["threads"]) == ("set after the server started", None, "1")
        assert (one["has_ibis"], one["main"], one["path"]) == (True, "__main__", True)


def test_the_server_has_one_thread(warm: None, kernels: str) -> None:
    process = psutil.Process(json.loads(execute(LOOK).cells[0].outputs[0].text)["server"])
    assert process.num_threads() == 1


def test_whatever_is_preloaded_leaves_one_thread(tmp_path: Path) -> None:
    """In a process of its own."""
    code = (
        "from salesops_kit.publishing.warm_kernels import preload, server\n"
        "preload.limit_threads(); preload.preload(); assert server.is_alone(); print('alone')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "alone\n", done.stderr


def test_everything_that_is_preloaded_exists() -> None:
    names = (*preload.LIBRARIES, *preload.KIT_MODULES)
    assert [name for name in names if find_spec(name) is None] == []


def test_figures_are_shown_inline(warm: None, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)
    made = execute(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "import seaborn\nseaborn.kdeplot([1, 2, 3]);"
    )
    for cell in made.cells:
        assert [output for output in cell.outputs if "image/png" in output.get("data", {})]


def test_sockets_are_private_and_go_with_the_kernel(warm: None, kernels: str) -> None:
    with kernel() as manager:
        folder = Path(manager.ip).parent
        assert manager.transport == "ipc"
        assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) & 0o777 == 0o700
        assert manager.is_alive()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("code", "status"), [("import os; os._exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)]
)
def test_the_true_exit_status_is_told(warm: None, kernels: str, code: str, status: int) -> None:
    with kernel() as manager:
        process = manager.provisioner.process
        ran(manager, code)
        assert process.wait(timeout=20) == status
        assert not manager.is_alive()


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "echo $$ > pid; exec sleep 600"],
        # In a session of its own, and a daemon: the process between it and the kernel has ended.
        pytest.param(["setsid", "sh", "-c", "echo $$ > pid; exec sleep 600"], marks=linux),
        pytest.param(["sh", "-c", "setsid sleep 600 & echo $! > pid"], marks=linux),
    ],
)
def test_what_a_kernel_started_ends_with_it(
    warm: None, kernels: str, tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "pid"
    with kernel(cwd=str(tmp_path)) as manager:
        ran(manager, f"import subprocess; subprocess.Popen({command})")
        deadline = time.monotonic() + 20
        while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        # Another kernel's end is not theirs.
        with kernel():
            pass
        started = psutil.Process(int(file.read_text()))
        assert started.status() != psutil.STATUS_ZOMBIE
    assert gone(started.pid)


def test_a_client_that_is_gone_costs_its_kernel(warm: None, kernels: str) -> None:
    with kernel() as manager:
        process = manager.provisioner.process
        process._reader.channel.shutdown(socket.SHUT_RDWR)
        assert gone(process.pid)


def test_a_restarted_kernel_works(warm: None, kernels: str, tmp_path: Path) -> None:
    with kernel(cwd=str(tmp_path)) as manager:
        first = manager.provisioner.pid
        manager.restart_kernel(now=True)
        ran(manager, "open('again', 'w').close()")
        deadline = time.monotonic() + 20
        while not (tmp_path / "again").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / "again").exists()
        assert manager.provisioner.pid != first
        folder = Path(manager.ip).parent
    assert not folder.exists()


def test_kernels_are_spawned_where_none_can_be_had(
    warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, str(tmp_path / "nobody"))
    with kernel() as manager, caplog.at_level(logging.WARNING):
        assert not hasattr(manager.provisioner.process, "is_lost")
        assert manager.is_alive()
    assert "Kernel spawned" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"env": {ADDRESS_VARIABLE: OFF}}, {"env": {"PYTHONPATH": "/x"}}, {"extra_arguments": ["--no-secure"]}],
)
def test_kernels_are_spawned_where_a_fork_would_differ(
    warm: None, kernels: str, options: dict[str, Any]
) -> None:
    if "env" in options:
        options = {"env": {**os.environ, **options["env"]}}
    with kernel(**options) as manager:
        assert not hasattr(manager.provisioner.process, "is_lost")


def test_a_server_that_dies_costs_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The report in it runs again in a spawned kernel, the others in those of a new server."""
    monkeypatch.delenv(ADDRESS_VARIABLE)
    monkeypatch.setattr(owner, "MODULE", light_server.MODULE)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    deadly = (
        "import os, signal, sys, time\nif 'salesops_kit.publishing.warm_kernels.preload' in sys.modules:\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(600)"
    )
    write_template(tmp_path / "t", "a_deadly", deadly)
    for name in ("b_good", "c_good", "d_good", "e_good"):
        write_template(tmp_path / "t", name)
    result = run(
        parse_plan("{data: x, reports: all, jobs: 1}"),
        TinyPreparer(),
        reports_root=tmp_path / "reports",
        templates=templates_in(tmp_path / "t"),
    )
    assert [e.manifest.status for e in result.entries] == ["success"] * 5, [
        e.manifest.error for e in result.entries
    ]
    assert any("no warm kernel" in str(note) for note in result.notes)
    assert "server of warm kernels ended with status -9" in caplog.text
    # The folder of multiprocessing itself goes with this process.
    assert [left for left in (tmp_path / "tmp").iterdir() if not left.name.startswith("pymp-")] == []


def test_a_server_that_cannot_start_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE)
    monkeypatch.setattr(owner, "MODULE", "salesops_kit.no_such_module")
    with WarmKernels(spares=1) as broken:
        addresses = []
        for _ in range(owner.MOST_STARTS + 1):
            addresses.append(broken.address())
            if broken._process:
                broken._process.wait()
        assert addresses[-1] == OFF
        assert OFF not in addresses[:-1]
    assert "no_such_module" in caplog.text


def test_a_server_that_has_begun_serves_where_it_is_told_to_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE)
    monkeypatch.setattr(owner, "MODULE", light_server.MODULE)
    with WarmKernels() as begun:
        begun.begin()
        pid = begun.pid
        begun.spares = 2
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        address = Path(begun.address())
        assert address.parent.parent == tmp_path
        assert begun.pid == pid
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(60)
            channel.connect(str(address))
            wire.send(channel, {"environment": dict(os.environ), "folder": str(tmp_path)})
            answer = wire.Reader(channel).next(60)
        assert answer is not None
        assert psutil.Process(answer["pid"]).ppid() == pid
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_nobody_asked_for_kernels_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also amid its imports, which it does not interrupt to look whether it is still wanted."""
    monkeypatch.delenv(ADDRESS_VARIABLE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with WarmKernels() as unused:
        unused.begin()
        pid = unused.pid
    assert pid is not None
    assert gone(pid, seconds=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_server_that_is_importing_goes_with_its_owner(tmp_path: Path, is_asked: bool) -> None:
    code = (
        "import time\nfrom salesops_kit.publishing.warm_kernels.owner import WarmKernels\n"
        f"kernels = WarmKernels()\nkernels.begin()\nif {is_asked}: kernels.address()\n"
        "print(kernels.pid, flush=True)\ntime.sleep(600)"
    )
    with program(code, tmp_path) as (said, end):
        pid = int(said())
        end()
    assert gone(pid, seconds=60)
    assert [left for left in tmp_path.iterdir() if left.name.startswith("so-")] == []


def test_a_server_goes_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import time\nfrom salesops_kit.publishing.warm_kernels.owner import WarmKernels\n"
        "from tests.publishing import light_server\nlight_server.use()\n"
        "kernels = WarmKernels(spares=1)\nprint(kernels.address(), kernels.pid, flush=True)\ntime.sleep(600)"
    )
    with program(code, tmp_path) as (said, end):
        address, pid = said().split()
        deadline = time.monotonic() + 60
        while not psutil.Process(int(pid)).children() and time.monotonic() < deadline:
            time.sleep(0.1)
        spares = [child.pid for child in psutil.Process(int(pid)).children()]
        assert spares
        end()
    assert all(gone(one) for one in (int(pid), *spares))
    assert not Path(address).parent.exists()


def test_the_layout_of_messages_survives_odd_values() -> None:
    one, other = socket.socketpair()
    with one, other:
        message = {"environment": {"A": "x\ny\udc80", "B": "é" * 70_000}}
        thread = threading.Thread(target=wire.send, args=(one, message))
        thread.start()
        assert wire.Reader(other).next(5) == message
        thread.join()
