"""One private kernel: ipc sockets in a folder of its own, and nothing of it alive afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar

import psutil
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from jupyter_core.utils import ensure_async
from traitlets import Type
from traitlets.config import Config

from salesops_kit.publishing.temporary import short_place
from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE

HAS_IPC = sys.platform != "win32"
WARM = "salesops-warm"
POLL_SECONDS = 0.005


class PromptClient(AsyncKernelClient):
    """A client that is ready as soon as its kernel is.

    The usual one then listens for another fifth of a second, to drop what it hears; nobody minds
    messages of no cell.
    """

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel has answered and is heard; raises ``RuntimeError`` when it does not."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            self.kernel_info()
            with contextlib.suppress(Empty):
                reply = await ensure_async(self.shell_channel.get_msg(timeout=1))
                # A subscription takes effect late; what a cell showed before would be lost.
                await ensure_async(self.iopub_channel.get_msg(timeout=0.2))
                if reply["msg_type"] == "kernel_info_reply":
                    self._handle_kernel_info_reply(reply)
                    return
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout} seconds")


class PrivateKernel(AsyncKernelManager):
    """A kernel manager that remembers the last kernel it started, so that all of it can be ended."""

    client_factory: type[AsyncKernelClient] = Type(PromptClient, klass=AsyncKernelClient)  # type: ignore[assignment]
    last_pid: ClassVar[int | None] = None
    last_folder: ClassVar[Path | None] = None
    last_process: ClassVar[Any] = None
    environment: ClassVar[dict[str, str]] = {}

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        """Start the kernel with our environment and without our terminal."""
        options["env"] = {**os.environ, **self.environment, **options.pop("env", {})}
        factory = KernelProvisionerFactory.instance(parent=self.parent)
        if WARM in factory.get_provisioner_entries():
            factory.default_provisioner_name = WARM
        await super().start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        PrivateKernel.last_pid = getattr(self.provisioner, "pid", None)
        PrivateKernel.last_process = getattr(self.provisioner, "process", None)

    async def _async_wait(self, pollinterval: float = POLL_SECONDS) -> None:
        # A killed kernel is gone at once; the base class looks after a tenth of a second.
        await super()._async_wait(pollinterval)


def is_warm() -> bool:
    """Whether the kernel that this process started last was a forked one."""
    return hasattr(PrivateKernel.last_process, "is_lost")


def is_server_lost() -> bool:
    """Whether that kernel died because its fork server did."""
    return bool(getattr(PrivateKernel.last_process, "is_lost", False))


def end_kernel(pid: int | None) -> None:
    """Kill a kernel, its process group and its descendants; nothing happens when it is gone."""
    if pid is None:
        return
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(pid).children(recursive=True)
    if hasattr(os, "killpg") and pid != os.getpid():
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).kill()


def end_last_kernel() -> None:
    """Kill the kernel that this process started last, if it still runs, and remove its sockets."""
    end_kernel(PrivateKernel.last_pid)
    if PrivateKernel.last_folder is not None:
        _remove(PrivateKernel.last_folder)


@contextlib.contextmanager
def private_kernel(environment: dict[str, str], server: str) -> Iterator[Config]:
    """The configuration of a kernel whose sockets no other user can reach.

    ``server`` is the address of a fork server, or ``off``.
    The folder is 0700. When the block ends, so does every process of the kernel.
    """
    folder = Path(tempfile.mkdtemp(prefix="so-", dir=short_place()))
    settings: dict[str, Any] = {"connection_file": str(folder / "k.json")}
    if HAS_IPC:
        settings["transport"] = "ipc"
    PrivateKernel.last_pid = PrivateKernel.last_process = None
    PrivateKernel.last_folder = folder
    PrivateKernel.environment = {**environment, ADDRESS_VARIABLE: server}
    try:
        yield Config({"KernelManager": settings})
    finally:
        end_last_kernel()
        PrivateKernel.last_pid = PrivateKernel.last_folder = None


def _remove(folder: Path) -> None:
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
