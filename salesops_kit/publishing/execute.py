"""A parameterised notebook executed in a kernel of its own, and judged strictly."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_kit.mime import SENTINEL
from salesops_kit.publishing.contract import Value
from salesops_kit.publishing.manifest import Failure, Status
from salesops_kit.publishing.redact import redact
from salesops_kit.publishing.warm_kernels.owner import OFF

if TYPE_CHECKING:
    import nbformat

INJECTED = "injected-parameters"
CONTEXT_VARIABLE = "SALESOPS_CONTEXT"
LATE_SECONDS = 0.5


@dataclass(frozen=True)
class Limits:
    """How long a report may take, in whole seconds: kernel start, one cell, the whole report."""

    start: int = 60
    cell: int = 600
    report: int = 1_800


@dataclass(frozen=True)
class Execution:
    """The executed notebook, or why there is none; seconds until the first cell, and of all cells.

    ``is_server_lost``: the kernel died with its fork server, which says nothing about the notebook.
    """

    status: Status
    notebook: nbformat.NotebookNode | None = None
    error: Failure | None = None
    start_seconds: float = 0.0
    cells_seconds: float = 0.0
    is_warm: bool = False
    is_server_lost: bool = False


@dataclass
class _Watch:
    """What is known of a running notebook from outside: its current cell and the clock."""

    began: float = field(default_factory=time.monotonic)
    first_cell: float | None = None
    index: int | None = None
    cells: list[Any] = field(default_factory=list)
    is_late: bool = False
    is_over: threading.Event = field(default_factory=threading.Event)

    def on_cell(self, cell: Any, cell_index: int) -> None:
        self.first_cell = self.first_cell or time.monotonic()
        self.index = cell_index

    def end_when_late(self, seconds: float) -> None:
        """Let the report run so long; then end its kernel, also one that only starts afterwards."""
        from salesops_kit.publishing.kernel import end_last_kernel

        if not self.is_over.wait(seconds):
            self.is_late = True
            end_last_kernel()
            while not self.is_over.wait(LATE_SECONDS):
                end_last_kernel()


def execute(
    notebook: nbformat.NotebookNode,
    parameters: Mapping[str, Value],
    *,
    sentinel: str,
    folder: Path,
    environment: Mapping[str, str],
    limits: Limits,
    server: str = OFF,
) -> Execution:
    """Execute a template with typed parameters; ``folder`` is the kernel's working directory.

    The kernel is forked by the server at the address ``server``, or spawned where there is none.

    Success is all of: no exception, every code cell counted, no error output, and the sentinel in the
    last code cell. A kernel that dies is ``killed``; a cell or a report past its limit is ``timeout``.
    Nothing is raised for what a notebook does.
    """
    from salesops_kit.publishing import kernel

    watch = _Watch()
    clock = threading.Thread(target=watch.end_when_late, args=(limits.report,), daemon=True)
    executed: nbformat.NotebookNode | None = None
    status: Status = "success"
    failure: Failure | None = None
    with _quiet(), kernel.private_kernel(dict(environment), server) as config:
        clock.start()
        try:
            executed = _papermill(notebook, parameters, config, folder, limits, watch)
        except Exception as error:
            status, failure = _explain(error, watch, notebook)
        finally:
            watch.is_over.set()
        is_warm, is_server_lost = kernel.is_warm(), kernel.is_server_lost()
    if executed is not None:
        failure = strict_failure(executed, sentinel)
        status = "failed" if failure else "success"
    if watch.is_late and failure:
        status = "timeout"
        failure = Failure(
            cell=failure.cell,
            name="ReportTimeout",
            message=f"the report took more than {limits.report} s",
        )
    now = time.monotonic()
    first = watch.first_cell or now
    return Execution(
        status=status,
        notebook=executed if status == "success" else None,
        error=failure,
        start_seconds=round(first - watch.began, 3),
        cells_seconds=round(now - first, 3),
        is_warm=is_warm,
        is_server_lost=is_server_lost and status != "success",
    )


def _papermill(
    notebook: nbformat.NotebookNode,
    parameters: Mapping[str, Value],
    config: Any,
    folder: Path,
    limits: Limits,
    watch: _Watch,
) -> nbformat.NotebookNode:
    import papermill

    from salesops_kit.publishing.kernel import PrivateKernel

    executed = papermill.execute_notebook(
        notebook,
        None,
        parameters=dict(parameters),
        kernel_name="python3",
        language="python",
        progress_bar=False,
        log_output=False,
        autosave_cell_every=0,
        request_save_on_cell_execute=False,
        start_timeout=limits.start,
        execution_timeout=limits.cell,
        config=config,
        kernel_manager_class=PrivateKernel,
        shutdown_kernel="immediate",
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=watch.on_cell,
    )
    # Papermill records its input there, which is the whole template when it is given as an object.
    executed.metadata.papermill.pop("input_path", None)
    executed.metadata.papermill.pop("output_path", None)
    return executed


def strict_failure(notebook: nbformat.NotebookNode, sentinel: str) -> Failure | None:
    """Why an executed notebook is no success, although nothing was raised; None when it is one."""
    number = 0
    last = None
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if INJECTED not in cell.metadata.get("tags", []):
            number += 1
        last = cell
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            message = redact(f"{errors[0].ename}: {errors[0].evalue}")
            return Failure(cell=number, name=errors[0].ename, message=message)
        if cell.execution_count is None:
            return Failure(cell=number, name="CellNotRun", message="the cell has no execution count")
    outputs = last.outputs if last is not None else []
    for output in outputs:
        data = output.get("data", {})
        if data.get(SENTINEL) == {"sentinel": sentinel} and sentinel in data.get("text/plain", ""):
            return None
    return Failure(
        cell=number or None,
        name="NoSentinel",
        message="the last cell did not show the sentinel of this run, so the notebook did not reach its end",
    )


def _explain(error: Exception, watch: _Watch, notebook: nbformat.NotebookNode) -> tuple[Status, Failure]:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    cell = _code_cell_number(notebook, watch.index)
    if isinstance(error, PapermillExecutionError):
        message = redact(f"{error.ename}: {error.evalue}")
        return "failed", Failure(cell=cell, name=error.ename, message=message)
    if isinstance(error, CellTimeoutError):
        return "timeout", Failure(cell=cell, name="CellTimeout", message="the cell took too long")
    if isinstance(error, DeadKernelError):
        return "killed", Failure(cell=cell, name="DeadKernel", message="the kernel died")
    if watch.index is None:
        died = isinstance(error, RuntimeError) and "died" in str(error).lower()
        return ("killed" if died else "timeout" if "respond" in str(error) else "failed"), Failure(
            name="KernelStart", message=redact(str(error))
        )
    return "failed", Failure(cell=cell, name=type(error).__name__, message=redact(str(error)))


def _code_cell_number(notebook: nbformat.NotebookNode, index: int | None) -> int | None:
    """The number, from 1, of the template's code cell that runs at ``index`` of the executed notebook."""
    if index is None:
        return None
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    cut = next((n for n, names in enumerate(tags) if "parameters" in names), len(tags))
    inserted = not any(INJECTED in names for names in tags)
    position = index - 1 if inserted and index > cut else index
    return sum(
        cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells[: position + 1]
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No line of Papermill or nbclient on the terminal: what went wrong is in the failure, redacted."""
    loggers = [logging.getLogger(name) for name in ("papermill", "traitlets", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            # nbclient and Papermill deprecations are of no interest to whoever runs a report.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
