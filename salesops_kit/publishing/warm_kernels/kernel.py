"""The forked side: a process becomes an IPython kernel, and waits until somebody needs one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from salesops_kit.publishing.warm_kernels import preload, wire

INLINE = "module://matplotlib_inline.backend_inline"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
BROKEN = 70


def become_kernel(control: socket.socket, folder: Path, server_pid: int) -> NoReturn:
    """Turn a freshly forked process into a ready kernel with ipc sockets in ``folder``; never returns.

    The kernel says what its connection is, waits for its environment and folder to be named, and
    lives as long as its server's end of ``control``.
    """
    code = BROKEN
    try:
        _leave_server(server_pid)
        app = _application(folder)
        wire.send(control, {"connection": _connection(app)})
        threading.Thread(target=_obey, args=(control,), daemon=True).start()
        code = _run(app)
    except BaseException:  # noqa: S110 - nothing of this process may return into the server's loop
        pass
    finally:
        os._exit(code)


def _leave_server(server_pid: int) -> None:
    """A session of its own, default signals, and an end when the server ends."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # The other way, the end of the control stream, needs a thread that runs: not one that is stopped.
    _set_for_process(PR_SET_PDEATHSIG, signal.SIGKILL)
    adopt_orphans()
    if os.getppid() != server_pid:
        raise ProcessLookupError("the server ended first")
    preload.reseed()


def adopt_orphans() -> None:
    """Let this process be the parent of whatever its descendants leave behind: with its end, its own parent
    is, who thus can find what left the process group. Linux only."""
    _set_for_process(PR_SET_CHILD_SUBREAPER, 1)


def _set_for_process(what: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0)


def _application(folder: Path) -> Any:
    """An ipykernel application, complete but for its loop."""
    from ipykernel.kernelapp import IPKernelApp

    file = str(folder / "k.json")
    sys.argv = ["ipykernel_launcher", "-f", file]
    app = IPKernelApp.instance(transport="ipc", ip=str(folder / "k"))
    app.initialize(["-f", file, "--HistoryManager.hist_file=:memory:"])
    return app


def _connection(app: Any) -> dict[str, Any]:
    info = dict(app.get_connection_info())
    key = info.get("key", b"")
    return {**info, "key": key.decode("ascii") if isinstance(key, bytes) else key}


def _run(app: Any) -> int:
    import atexit

    try:
        app.start()
    except SystemExit as error:
        code = error.code
        return code if isinstance(code, int) else int(code is not None)
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
    return 0


def _obey(control: socket.socket) -> None:
    """Take the one order, then wait for the server's end and go with it."""
    reader = wire.Reader(control)
    with contextlib.suppress(OSError, ValueError):
        order = reader.next(None)
        if order is not None:
            _settle(order)
            wire.send(control, {"ok": True})
            while reader.next(None) is not None:
                pass
    os.killpg(0, signal.SIGKILL)


def _settle(order: dict[str, Any]) -> None:
    """The environment, working folder and chart backend that a spawned kernel would have."""
    os.environ.clear()
    os.environ.update(order["environment"])
    for name, value in preload.ONE_THREAD.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = INLINE
    if hasattr(time, "tzset"):
        time.tzset()
    if order["folder"]:
        os.chdir(order["folder"])
    if "matplotlib" in sys.modules:
        # Matplotlib reads the variable when it is imported, and that was in the server.
        sys.modules["matplotlib"].rcParams["backend"] = os.environ["MPLBACKEND"]
