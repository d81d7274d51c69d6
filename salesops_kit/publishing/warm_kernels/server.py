"""The fork server: one thread that imports everything once and forks a kernel whenever one is asked for."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salesops_kit.publishing.warm_kernels import kernel, preload, wire

TICK_SECONDS = 1.0
MOST_EARLY_DEATHS = 3
LIFE = 0  # Standard input, a socket: it ends when the owner does.


@dataclass
class _Lease:
    """A client's connection; its end is the end of its kernel."""

    channel: socket.socket
    reader: wire.Reader
    order: dict[str, Any] | None = None
    kernel: _Kernel | None = None


@dataclass
class _Kernel:
    pid: int
    control: socket.socket
    reader: wire.Reader
    folder: Path
    connection: dict[str, Any] | None = None
    lease: _Lease | None = None


class Server:
    """Keeps ``spares`` kernels forked and ready, hands them out, and reports how they end."""

    def __init__(self, listener: socket.socket, root: Path, spares: int) -> None:
        self.listener, self.root, self.spares = listener, root, spares
        self.owner = os.getppid()
        self.selector = selectors.DefaultSelector()
        self.kernels: dict[int, _Kernel] = {}
        self.leases: list[_Lease] = []
        self.waiting: deque[_Lease] = deque()
        self.early_deaths = 0
        self.is_ending = False

    def serve(self) -> None:
        """Serve until the owner is gone, then end every kernel and remove every socket."""
        kernel.adopt_orphans()
        wake, woken = socket.socketpair()
        for channel in (wake, woken, self.listener):
            channel.setblocking(False)
        self.wake = (wake, woken)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.selector.register(wake, selectors.EVENT_READ, self._reap)
        self.selector.register(LIFE, selectors.EVENT_READ, self._stop)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        try:
            while not self.is_ending:
                self._fill()
                for key, _ in self.selector.select(TICK_SECONDS):
                    key.data()
                # A process that was forked from the owner may hold the other end of standard input.
                self.is_ending = self.is_ending or os.getppid() != self.owner
        except BaseException:
            # The owner is there, wants to know why, and removes the folder.
            self._end()
            raise
        self._end()
        shutil.rmtree(self.root, ignore_errors=True)

    def _stop(self) -> None:
        self.is_ending = True

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            channel, _ = self.listener.accept()
            lease = _Lease(channel, wire.Reader(channel))
            channel.setblocking(False)
            self.leases.append(lease)
            self.selector.register(channel, selectors.EVENT_READ, lambda: self._hear(lease))

    def _hear(self, lease: _Lease) -> None:
        """A client's order, or the end of its lease."""
        if lease not in self.leases:
            return
        for message in lease.reader.ready():
            lease.order = message
            self.waiting.append(lease)
        if lease.reader.is_at_end:
            self._drop(lease)

    def _drop(self, lease: _Lease) -> None:
        if lease not in self.leases:
            return
        self.leases.remove(lease)
        self.selector.unregister(lease.channel)
        lease.channel.close()
        if lease in self.waiting:
            self.waiting.remove(lease)
        if lease.kernel is not None:
            _kill_group(lease.kernel.pid)

    def _fill(self) -> None:
        """Hand ready kernels to those who wait, and fork until the spares are full again."""
        for spare in list(self.kernels.values()):
            if self.waiting and spare.connection is not None and spare.lease is None:
                lease = self.waiting.popleft()
                spare.lease, lease.kernel = lease, spare
                with contextlib.suppress(OSError):
                    wire.send(spare.control, lease.order or {})
        idle = sum(spare.lease is None for spare in self.kernels.values())
        for _ in range(self.spares + len(self.waiting) - idle):
            self._fork()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        folder = Path(tempfile.mkdtemp(prefix="", dir=self.root))
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            ours.close()
            self._close_inherited()
            kernel.become_kernel(theirs, folder, server)
        theirs.close()
        ours.setblocking(False)
        forked = _Kernel(pid, ours, wire.Reader(ours), folder)
        self.kernels[pid] = forked
        self.selector.register(ours, selectors.EVENT_READ, lambda: self._listen(forked))

    def _close_inherited(self) -> None:
        """In the fork: whatever stayed open here would keep an end of stream from being seen."""
        self.selector.close()
        self.listener.close()
        for channel in (*self.wake, *(lease.channel for lease in self.leases)):
            channel.close()
        for other in self.kernels.values():
            other.control.close()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (LIFE, 1, 2):
            os.dup2(null, stream)
        os.close(null)

    def _listen(self, forked: _Kernel) -> None:
        """A kernel that is ready, or settled in its client's folder."""
        if forked.pid not in self.kernels:
            return
        for message in forked.reader.ready():
            if "connection" in message:
                forked.connection = message["connection"]
                self.early_deaths = 0
            elif forked.lease is not None:
                self._answer(forked.lease, {"pid": forked.pid, "connection": forked.connection})
        if forked.reader.is_at_end:
            self._unplug(forked)
            # A kernel without its control stream cannot be ended with us any more.
            _kill_group(forked.pid)

    def _unplug(self, forked: _Kernel) -> None:
        """Close a kernel's control stream, whichever is seen first: its end or the kernel's."""
        if forked.control.fileno() >= 0:
            self.selector.unregister(forked.control)
            forked.control.close()

    def _answer(self, lease: _Lease, message: dict[str, Any]) -> None:
        try:
            wire.send(lease.channel, message)
        except OSError:
            self._drop(lease)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.wake[0].recv(wire.CHUNK):
                pass
        for forked in list(self.kernels.values()):
            pid, status = os.waitpid(forked.pid, os.WNOHANG)
            if pid:
                self._bury(forked, os.waitstatus_to_exitcode(status))
        self._end_strays(os.WNOHANG)

    def _end_strays(self, how: int) -> list[int]:
        """Kill what dead kernels left in sessions of its own, and say which: living ones keep theirs."""
        strays = [pid for pid in _children() if pid not in self.kernels]
        for pid in strays:
            _kill_group(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, how)
        return strays

    def _bury(self, forked: _Kernel, code: int) -> None:
        _kill_group(forked.pid)
        del self.kernels[forked.pid]
        self._unplug(forked)
        shutil.rmtree(forked.folder, ignore_errors=True)
        if forked.connection is None:
            self.early_deaths += 1
            # Where no fork survives, clients are better off without a server.
            self.is_ending = self.is_ending or self.early_deaths >= MOST_EARLY_DEATHS
        if forked.lease is not None:
            self._answer(forked.lease, {"exit": code})

    def _end(self) -> None:
        for pid in self.kernels:
            _kill_group(pid)
        for pid in self.kernels:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.kernels.clear()
        while self._end_strays(0):
            pass


def _children() -> list[int]:
    """The processes of which this one is the parent, on Linux; among them those that it adopted."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _kill_group(pid: int) -> None:
    """Kill a kernel and what it started; a fork that has no group of its own yet is killed alone."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
            return


def is_alone() -> bool:
    """Whether this process has one thread, as far as the system tells. A fork of more would copy locks
    that other threads hold."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return True


def main() -> None:
    """Import, then serve at the socket that the owner hands over; standard input is the owner's life."""
    # `python -m` put this folder first; kernels look in their own.
    if sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109
        del sys.path[0]
    os.chdir("/")
    preload.limit_threads()
    preload.preload()
    if not is_alone():
        sys.exit("the fork server has more than one thread and would not be safe to fork")
    life = socket.socket(fileno=LIFE)
    given = wire.receive_socket(life)
    life.detach()
    if given:
        order, listener = given
        Server(listener, Path(order["root"]), order["spares"]).serve()


if __name__ == "__main__":
    main()
