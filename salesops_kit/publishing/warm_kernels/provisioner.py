"""The kernel provisioner ``salesops-warm``: a forked kernel where one can be had, else a spawned one."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_client.provisioning import LocalProvisioner

from salesops_kit.publishing.warm_kernels import wire
from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, OFF, WarmKernels, can_fork

if TYPE_CHECKING:
    from subprocess import Popen

START_SECONDS = 60.0
# Read by Python before the first line of a program, and so by the server, not by its kernels.
READ_AT_START = ("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONHASHSEED", "IPYTHONDIR", "LD_PRELOAD")
HARMLESS = {"--HistoryManager.hist_file=:memory:"}

log = logging.getLogger(__name__)
_own: list[WarmKernels] = []


class WarmProcess:
    """A forked kernel through its lease, with the face of a ``subprocess.Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.is_lost = False
        self._reader = wire.Reader(channel)

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the kernel runs."""
        if self.returncode is None:
            self._reader.channel.setblocking(False)
            self._note(self._reader.ready())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the kernel."""
        while self.returncode is None:
            message = self._reader.next(timeout)
            self._note([message] if message else [])
        return self.returncode

    def _note(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.returncode = message.get("exit", self.returncode)
        if self.returncode is None and self._reader.is_at_end:
            # The server died, and its kernels with it; what they had started is ended here.
            self.is_lost = True
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            self.returncode = -signal.SIGKILL
        if self.returncode is not None:
            self._reader.channel.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the kernel."""
        self.send_signal(signal.SIGKILL)


class WarmProvisioner(LocalProvisioner):
    """Takes kernels from the fork server that ``SALESOPS_WARM_KERNELS`` names.

    Without that variable this process starts a server of its own with its first kernel; with ``off``,
    on systems without fork, for kernels of another interpreter and when anything goes wrong, a kernel
    is spawned in the usual way.
    """

    is_warm = False
    _kept: dict[str, Any] | None = None
    _has_started = False

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Prepare a launch; where a forked kernel may do, its sockets are not chosen yet."""
        environment = {**os.environ, **(kwargs.get("env") or {})}
        reason = self._why_not(environment, kwargs.get("extra_arguments", []))
        if self._has_started or reason:
            if reason and reason != OFF:
                log.info("Kernel spawned: %s.", reason)
            self._kept = None
            return await super().pre_launch(**kwargs)
        self._kept = dict(kwargs)
        kept = {n: v for n, v in kwargs.items() if n not in ("extra_arguments", "transport_encryption")}
        # The base class behind the local provisioner's, which would write a connection file.
        return await super(LocalProvisioner, self).pre_launch(cmd=[], **kept)

    def _why_not(self, environment: dict[str, str], arguments: list[str]) -> str:
        """Why a forked kernel would not be the same as a spawned one; empty when it would."""
        if environment.get(ADDRESS_VARIABLE) == OFF:
            return OFF
        if not can_fork():
            return "this system cannot fork"
        command = list(self.kernel_spec.argv) if self.kernel_spec else []
        if command[1:4] != ["-m", "ipykernel_launcher", "-f"] or not _is_this_python(command[0]):
            return "it is no kernel of this Python"
        unknown = [argument for argument in [*command[5:], *arguments] if argument not in HARMLESS]
        if unknown:
            return f"it has arguments of its own, {' '.join(unknown)}"
        differing = [name for name in READ_AT_START if environment.get(name) != os.environ.get(name)]
        if self.kernel_spec and self.kernel_spec.env:
            differing += [name for name in self.kernel_spec.env if name in READ_AT_START]
        return f"it has its own {', '.join(differing)}" if differing else ""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Launch a kernel, warm if that was prepared."""
        self._has_started = True
        if self._kept is None:
            return await super().launch_kernel(cmd, **kwargs)
        address = kwargs["env"].get(ADDRESS_VARIABLE) or _own_address()
        if address != OFF:
            environment = {name: value for name, value in kwargs["env"].items() if name != ADDRESS_VARIABLE}
            order = {"environment": environment, "folder": str(kwargs.get("cwd") or Path.cwd())}
            try:
                return await asyncio.to_thread(self._take, address, order)
            except (OSError, ValueError) as error:
                log.warning("Kernel spawned, since the server of warm kernels gave none: %s", error)
        prepared = await super().pre_launch(**self._kept)
        return await super().launch_kernel(prepared.pop("cmd"), **prepared)

    def _take(self, address: str, order: dict[str, Any]) -> dict[str, Any]:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.settimeout(START_SECONDS)
            channel.connect(address)
            wire.send(channel, order)
            answer = wire.Reader(channel).next(START_SECONDS)
            if answer is None or "connection" not in answer:
                raise ConnectionError("the server ended" if answer is None else f"a kernel ended: {answer}")
        except BaseException:
            channel.close()
            raise
        self.process = cast("Popen[Any]", WarmProcess(channel, answer["pid"]))
        self.pid = self.pgid = answer["pid"]
        self.cwd = order["folder"]
        self.is_warm = True
        self.connection_info = {**answer["connection"], "key": answer["connection"]["key"].encode("ascii")}
        return dict(self.connection_info)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove what a killed kernel may have left; for a restart its folder is needed."""
        await super().cleanup(restart)
        if self.is_warm:
            folder = Path(self.connection_info["ip"]).parent
            if restart:
                folder.mkdir(mode=0o700, exist_ok=True)
            else:
                shutil.rmtree(folder, ignore_errors=True)


def _is_this_python(command: str) -> bool:
    """Whether a kernel's command is this interpreter: jupyter_client reads plain names so, too."""
    major, minor = sys.version_info[:2]
    names = ("python", f"python{major}", f"python{major}.{minor}")
    return command in names or Path(command).absolute() == Path(sys.executable).absolute()


def _own_address() -> str:
    """The server of this process, started when first asked for."""
    if not _own:
        _own.append(WarmKernels())
        atexit.register(_own[0].close)
    return _own[0].address()
