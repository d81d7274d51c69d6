"""One job in one worker process: execute, check, render, and leave a finished bundle in staging."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import html
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from salesops_kit import mime
from salesops_kit.language import _, use_locale
from salesops_kit.project import ROOT_VARIABLE
from salesops_kit.publishing import outputs, spreadsheets
from salesops_kit.publishing.contract import Value
from salesops_kit.publishing.execute import CONTEXT_VARIABLE, Execution, Limits, execute
from salesops_kit.publishing.files import make_folder, replace_file, write_file
from salesops_kit.publishing.gates import checks_gate
from salesops_kit.publishing.lean_imports import leave_out
from salesops_kit.publishing.manifest import Failure, Gate, PublishedFile, Status, Timings
from salesops_kit.publishing.page_check import page_problems
from salesops_kit.publishing.redact import leaked, redact
from salesops_kit.publishing.render import banner, render
from salesops_kit.publishing.temporary import temporary_files_in
from salesops_kit.publishing.warm_kernels.owner import OFF

if TYPE_CHECKING:
    import nbformat

PAGE_FILE, NOTEBOOK_FILE, WORKBOOK_FILE, TABLES_FOLDER = (
    "page.html",
    "notebook.ipynb",
    "tables.xlsx",
    "tables",
)
# In a job's staging folder: the bundle's files, and the stable page to be.
BUNDLE, STABLE = "bundle", "stable.html"


@dataclass(frozen=True)
class WorkOrder:
    """All that a worker needs: plain values, so that it can travel to any executor.

    ``folder`` is the job's own staging folder, ``bundle_prefix`` the address of the bundle's files as
    seen from the stable page, ``server`` that of a fork server of kernels, ``temporary`` where temporary
    files go.
    """

    template: str
    template_sha256: str
    params: Mapping[str, Value]
    context: str
    sentinel: str
    locale: str
    folder: str
    project: str
    facts: Mapping[str, Any]
    bundle_prefix: str
    is_private: bool
    allowed_links: tuple[str, ...]
    limits: Limits
    started: dt.datetime
    server: str = OFF
    temporary: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of an order; ``stable`` is the stable page to be, in the staging folder."""

    status: Status
    error: Failure | None = None
    timings: Timings = field(default_factory=Timings)
    headlines: tuple[dict[str, Any], ...] = ()
    quality: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[PublishedFile, ...] = ()
    gates: tuple[Gate, ...] = ()
    is_warm: bool = False


class _RefusedError(Exception):
    """The executed notebook may not be published."""

    def __init__(self, name: str, message: str) -> None:
        self.failure = Failure(name=name, message=redact(message))
        super().__init__(message)


def start_worker() -> None:
    """Prepare a worker process: Ctrl-C is the driver's business, and no kernel outlives the driver."""
    import multiprocessing
    from multiprocessing.connection import wait

    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: _leave())
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            _leave()

        threading.Thread(target=watch, daemon=True).start()


def _leave() -> None:
    from salesops_kit.publishing.kernel import end_last_kernel

    end_last_kernel()
    os._exit(1)


def work(order: WorkOrder) -> Outcome:
    """Run one report into ``<folder>/bundle`` and ``<folder>/stable.html``; failures are returned."""
    with temporary_files_in(order.temporary):
        return _work(order)


def _work(order: WorkOrder) -> Outcome:
    import nbformat

    folder = Path(order.folder)
    execution = Execution("failed")
    began = time.monotonic()
    try:
        content = Path(order.template).read_bytes()
        if hashlib.sha256(content).hexdigest() != order.template_sha256:
            raise _RefusedError("TemplateChanged", "the template was edited while the run was under way")
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
        execution = _execute(order, notebook, order.server)
        if execution.is_server_lost:
            execution = _execute(order, notebook, OFF)
        if execution.notebook is None:
            return Outcome(execution.status, execution.error, _timings(execution, 0.0))
        began = time.monotonic()
        with use_locale(order.locale):
            return _bundle(order, execution, folder, began)
    except _RefusedError as error:
        return Outcome("failed", error.failure, _timings(execution, time.monotonic() - began))
    except Exception as error:
        failure = Failure(name=type(error).__name__, message=redact(str(error)))
        return Outcome("failed", failure, _timings(execution, time.monotonic() - began))


def _execute(order: WorkOrder, notebook: nbformat.NotebookNode, server: str) -> Execution:
    scratch = make_folder(Path(order.folder), PurePosixPath("scratch"), private=True)
    try:
        return execute(
            notebook,
            order.params,
            sentinel=order.sentinel,
            folder=scratch,
            environment={CONTEXT_VARIABLE: order.context, ROOT_VARIABLE: order.project},
            limits=order.limits,
            server=server,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _timings(execution: Execution, render_seconds: float) -> Timings:
    return Timings(
        start=execution.start_seconds, cells=execution.cells_seconds, render=round(render_seconds, 3)
    )


def _bundle(order: WorkOrder, execution: Execution, folder: Path, began: float) -> Outcome:
    import nbformat

    assert execution.notebook is not None
    wrong = outputs.malformed(execution.notebook)
    if wrong:
        raise _RefusedError("MalformedOutput", "; ".join(wrong))
    headlines = outputs.typed(execution.notebook, mime.HEADLINE)
    tables = outputs.typed(execution.notebook, mime.TABLE)
    qualities = outputs.typed(execution.notebook, mime.QUALITY)
    quality = qualities[-1] if qualities else {}
    notebook, cut = outputs.trim(execution.notebook)
    if cut:
        notes = [*quality.get("notes", []), _("Outputs that were too long were cut.")]
        quality = {**quality, "notes": notes}
    texts = {NOTEBOOK_FILE: nbformat.writes(notebook) + "\n"}
    names = spreadsheets.file_names(tables)
    texts[PAGE_FILE], stable = _pages(order, notebook)
    contents = {name: text.encode("utf-8") for name, text in texts.items()}
    if tables or headlines:
        facts = order.facts
        about = [
            (_("Report"), str(facts.get("title", ""))),
            (_("Scope"), str(facts.get("team", ""))),
            (_("Period"), str(facts.get("period_text", ""))),
            (_("As of"), str(facts.get("as_of", ""))),
            (_("Run"), str(facts.get("manifest", {}).get("run", ""))),
        ]
        contents[WORKBOOK_FILE] = spreadsheets.to_xlsx(tables, headlines, about, created=order.started)
    for name, table in zip(names, tables, strict=True):
        contents[f"{TABLES_FOLDER}/{name}"] = spreadsheets.to_csv(table)
    for name, content in contents.items():
        secrets = leaked(content.decode("utf-8", "ignore"))
        if secrets:
            raise _RefusedError("SecretInReport", f"{name} holds the value of {', '.join(secrets)}")
    timings = _timings(execution, time.monotonic() - began)
    began = time.monotonic()
    files = _write(folder, contents, private=order.is_private)
    write_file(folder / STABLE, stable.encode("utf-8"), private=order.is_private)
    return Outcome(
        "success",
        timings=timings.model_copy(update={"publish": round(time.monotonic() - began, 3)}),
        headlines=tuple(headlines),
        quality=quality,
        files=files,
        gates=(checks_gate(quality),),
        is_warm=execution.is_warm,
    )


def with_note(order: WorkOrder, outcome: Outcome, note: str) -> Outcome:
    """The outcome of an order with its staged pages made again, a note above them."""
    leave_out()
    import nbformat

    folder = Path(order.folder)
    order = replace(order, facts={**order.facts, "banner": banner("note", note)})
    try:
        notebook = nbformat.reads((folder / BUNDLE / NOTEBOOK_FILE).read_text("utf-8"), as_version=4)
        with use_locale(order.locale):
            page, stable = (text.encode("utf-8") for text in _pages(order, notebook))
        for name, content in ((f"{BUNDLE}/{PAGE_FILE}", page), (STABLE, stable)):
            replace_file(folder / name, content, private=order.is_private)
    except _RefusedError as error:
        return replace(outcome, status="failed", error=error.failure)
    except Exception as error:
        failure = Failure(name=type(error).__name__, message=redact(str(error)))
        return replace(outcome, status="failed", error=failure)
    made = _published(PAGE_FILE, page)
    return replace(outcome, files=tuple(made if file.path == PAGE_FILE else file for file in outcome.files))


def page_links(prefix: str, *, has_workbook: bool) -> list[dict[str, str]]:
    """The links from a page to its bundle's files, which lie under ``prefix``."""
    found = [{"text": _("Executed notebook"), "href": prefix + NOTEBOOK_FILE}]
    if has_workbook:
        found.append({"text": _("Tables as an Excel workbook"), "href": prefix + WORKBOOK_FILE})
    return found


def _pages(order: WorkOrder, notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """The bundle's page and the stable page; they differ in where the bundle's files are."""
    has_workbook = any(outputs.typed(notebook, kind) for kind in (mime.TABLE, mime.HEADLINE))
    somewhere = f"{uuid.uuid4().hex}/"
    links = page_links(somewhere, has_workbook=has_workbook)
    facts = {**order.facts, "sentinel": order.sentinel, "links": links}
    page = render(notebook, facts, locale=order.locale)
    pages = (page.replace(somewhere, ""), page.replace(somewhere, html.escape(order.bundle_prefix)))
    for made in pages:
        wrong = page_problems(made, order.sentinel, allowed_links=order.allowed_links)
        if wrong:
            raise _RefusedError("UnsafePage", "; ".join(wrong[:10]))
    return pages


def _write(folder: Path, contents: Mapping[str, bytes], *, private: bool) -> tuple[PublishedFile, ...]:
    files = []
    bundle = PurePosixPath(BUNDLE)
    if (folder / bundle).exists() or (folder / bundle).is_symlink():
        raise _RefusedError("WroteElsewhere", "the notebook wrote into the folder of its published files")
    for name in sorted(contents):
        target = make_folder(folder, (bundle / name).parent, private=private) / PurePosixPath(name).name
        write_file(target, contents[name], private=private)
        files.append(_published(name, contents[name]))
    return tuple(files)


def _published(name: str, content: bytes) -> PublishedFile:
    return PublishedFile(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
