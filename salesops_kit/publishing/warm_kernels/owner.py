"""The owner's side of a fork server: started once, started again when it dies, ended with its owner."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

from salesops_kit.publishing.temporary import short_place
from salesops_kit.publishing.warm_kernels import wire
from salesops_kit.publishing.warm_kernels.preload import ONE_THREAD

ADDRESS_VARIABLE = "SALESOPS_WARM_KERNELS"
OFF = "off"
MODULE = "salesops_kit.publishing.warm_kernels.server"
MOST_STARTS = 3
END_SECONDS = 5
BACKLOG = 128

log = logging.getLogger(__name__)


def can_fork() -> bool:
    """Whether this system has what a fork server needs."""
    return hasattr(os, "fork") and hasattr(socket, "AF_UNIX")


class WarmKernels:
    """A fork server for the life of a ``with`` block, which keeps ``spares`` kernels ready.

    ``begin`` lets it import what kernels need; ``address`` is what clients are told, and begins it too.
    Until then ``spares`` may be changed.
    """

    def __init__(self, spares: int = 1) -> None:
        self.spares = spares
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._life: socket.socket | None = None
        self._log: IO[bytes] | None = None
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

    def begin(self) -> None:
        """Start the server, which imports for seconds; its sockets have no place before ``address``."""
        is_wanted = self._process is None and not os.environ.get(ADDRESS_VARIABLE)
        if not is_wanted or not can_fork() or self.starts >= MOST_STARTS:
            return
        self.starts += 1
        try:
            self._start()
        except OSError as error:
            self._give_up(error)

    def address(self) -> str:
        """Where kernels are to be had: a socket's path, or ``off`` where there is no server.

        A server that has died is started again, twice at most. Where ``SALESOPS_WARM_KERNELS`` is set,
        that server is used and none is started.
        """
        outer = os.environ.get(ADDRESS_VARIABLE)
        if outer:
            return outer
        if self._process is not None and self._process.poll() is not None:
            log.warning(
                "The server of warm kernels ended with status %s. %s",
                self._process.returncode,
                self._last_words(),
            )
            self.close()
        self.begin()
        if self._process is None:
            return OFF
        if self._folder is None:
            try:
                self._open()
            except BrokenPipeError:
                # It died just now, and the next look at it says why.
                self._process.wait()
            except OSError as error:
                self._give_up(error)
                return OFF
        return str(self._socket)

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "s"

    def _start(self) -> None:
        self._life, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
                env={**ONE_THREAD, **os.environ},
            )

    def _open(self) -> None:
        """Give the server a folder, and the socket in it at which clients ask."""
        assert self._life is not None
        self._folder = Path(tempfile.mkdtemp(prefix="so-", dir=short_place()))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._socket))
            listener.listen(BACKLOG)
            wire.send_socket(self._life, {"root": str(self._folder), "spares": self.spares}, listener)

    def _give_up(self, error: OSError) -> None:
        log.warning("Warm kernels are not available, kernels are spawned: %s", error)
        self.close()
        self.starts = MOST_STARTS

    def _last_words(self) -> str:
        """The last line that the server wrote, which names the error that ended it."""
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End the server with all its kernels, and remove its sockets."""
        process, self._process = self._process, None
        for channel in (self._life, self._log):
            if channel is not None:
                channel.close()
        self._life = self._log = None
        if process is not None:
            if self._folder is None:
                # It has no kernel yet, and may be amid an import.
                process.kill()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
