"""The owner's side of a fork server: started once, started again when it dies, ended with its owner."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from salesops_kit.publishing.temporary import short_place
from salesops_kit.publishing.warm_kernels.preload import ONE_THREAD

ADDRESS_VARIABLE = "SALESOPS_WARM_KERNELS"
OFF = "off"
MODULE = "salesops_kit.publishing.warm_kernels.server"
MOST_STARTS = 3
END_SECONDS = 5
BACKLOG = 128
LOG_FILE = "log"

log = logging.getLogger(__name__)


def can_fork() -> bool:
    """Whether this system has what a fork server needs."""
    return hasattr(os, "fork") and hasattr(socket, "AF_UNIX")


class WarmKernels:
    """A fork server for the life of a ``with`` block; ``address`` is what clients are told.

    It keeps ``spares`` kernels ready; with ``is_brief`` it imports only what the first kernels need.
    """

    def __init__(self, spares: int, *, is_brief: bool = False) -> None:
        self.spares, self.is_brief = spares, is_brief
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def __enter__(self) -> WarmKernels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    def address(self) -> str:
        """Where kernels are to be had: a socket's path, or ``off`` where there is no server.

        A server that has died is started again, twice at most. Where ``SALESOPS_WARM_KERNELS`` is set,
        that server is used and none is started.
        """
        outer = os.environ.get(ADDRESS_VARIABLE)
        if outer:
            return outer
        if self._process is not None and self._process.poll() is None:
            return str(self._socket)
        if self._process is not None:
            log.warning(
                "The server of warm kernels ended with status %s. %s",
                self._process.returncode,
                self._last_words(),
            )
            self.close()
        if not can_fork() or self.starts >= MOST_STARTS:
            return OFF
        self.starts += 1
        try:
            self._start()
        except OSError as error:
            log.warning("Warm kernels are not available, kernels are spawned: %s", error)
            self.close()
            self.starts = MOST_STARTS
            return OFF
        return str(self._socket)

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "s"

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="so-", dir=short_place()))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._socket))
            listener.listen(BACKLOG)
            command = [sys.executable, "-m", MODULE, "--listener", str(listener.fileno())]
            command += ["--root", str(self._folder), "--spares", str(self.spares)]
            command += [] if self.is_brief else ["--later"]
            with (self._folder / LOG_FILE).open("wb") as stderr:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                    env={**ONE_THREAD, **os.environ},
                )

    def _last_words(self) -> str:
        """The last line that the server wrote, which names the error that ended it."""
        assert self._folder is not None
        with contextlib.suppress(OSError):
            lines = (self._folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
            return lines[-1] if lines else ""
        return ""

    def close(self) -> None:
        """End the server with all its kernels, and remove its sockets."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
