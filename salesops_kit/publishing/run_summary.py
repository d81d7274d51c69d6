"""What is said of the end of a run: the facts as JSON holds them, and the same as a plain text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_kit.errors import InputError, LockHeldError, NotAvailableError
from salesops_kit.publishing.redact import HIDDEN, redact

if TYPE_CHECKING:
    from salesops_kit.publishing.ledger import Entry
    from salesops_kit.publishing.run import RunResult

SCHEMA = 1
SUCCESS = "success"
LONGEST_MESSAGE = 500
MOST_LINES = 50
_STATUSES = {0: SUCCESS, 1: "failed", 2: "interrupted"}


def summary(result: RunResult, *, plan: str, root: Path) -> dict[str, Any]:
    """How a run ended, as JSON holds it; pages are relative to the reports folder ``root``.

    ``failed`` names every report that was not published with its redacted message, and with its last
    good page where there is one; a private report's message stays in the run's record, since it may
    hold what only its reader may see.
    """
    counts: dict[str, int] = {}
    for entry in result.entries:
        counts[entry.manifest.status] = counts.get(entry.manifest.status, 0) + 1
    published = [entry for entry in result.entries if entry.manifest.status == SUCCESS]
    return {
        "schema": SCHEMA,
        "run": result.run,
        "plan": plan,
        "status": _STATUSES[result.exit_code],
        "exit_code": result.exit_code,
        "counts": dict(sorted(counts.items())),
        "failed": [_failed(entry, root) for entry in result.failures],
        "published": [{**_names(entry), "page": str(entry.address.stable)} for entry in published],
        "notes": [redact(str(note), limit=LONGEST_MESSAGE) for note in result.notes],
        "message": "",
        "catalog": "index.html",
    }


def summary_of_error(error: BaseException, *, plan: str) -> dict[str, Any]:
    """The same for a run that ended before it had a result: refused, locked out, interrupted, broken."""
    if isinstance(error, InputError | NotAvailableError):
        status, code = "refused", 3
    elif isinstance(error, LockHeldError):
        status, code = "locked", 4
    elif isinstance(error, KeyboardInterrupt):
        status, code = "interrupted", 2
    else:
        status, code = "broken", 2
    return {
        "schema": SCHEMA,
        "run": "",
        "plan": plan,
        "status": status,
        "exit_code": code,
        "counts": {},
        "failed": [],
        "published": [],
        "notes": [],
        "message": redact(str(error) or type(error).__name__),
        "catalog": "index.html",
    }


def _names(entry: Entry) -> dict[str, str]:
    made = entry.manifest
    return {"report": made.report, "scope": made.scope, "quarter": made.quarter}


def _failed(entry: Entry, root: Path) -> dict[str, Any]:
    made, address = entry.manifest, entry.address
    message = made.error.message if made.error else made.reason
    return {
        **_names(entry),
        "status": made.status,
        "cell": made.error.cell if made.error else None,
        "message": HIDDEN if address.is_private else redact(message, limit=LONGEST_MESSAGE),
        "page": str(address.stable) if (root / address.stable).is_file() else None,
    }


def subject(facts: Mapping[str, Any]) -> str:
    """The end of a run in one line."""
    counts = f" ({_counts(facts)})" if facts["counts"] else ""
    return f"salesops: {_line(facts['plan'])} {facts['status']}{counts}"


def body(facts: Mapping[str, Any]) -> str:
    """The end of a run as plain text, with at most 50 reports of each kind."""
    text = [f"Plan {_line(facts['plan'])}: {facts['status']}"]
    text += [f"Run {facts['run']}"] if facts["run"] else ["No run was started."]
    text += [_counts(facts)] if facts["counts"] else []
    text += ["", facts["message"]] if facts["message"] else []
    text += _listed("Not published", [_failed_line(item) for item in facts["failed"]])
    text += _listed("Published", [f"{_title(item)}: {item['page']}" for item in facts["published"]])
    text += _listed("Notes", [_line(note) for note in facts["notes"]])
    text += ["", f"Catalog: {facts['catalog']} (pages are relative to the reports folder)"]
    return "\n".join(text) + "\n"


def _counts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {status}" for status, count in facts["counts"].items())


def _listed(heading: str, lines: list[str]) -> list[str]:
    shown = [f"- {line}" for line in lines[:MOST_LINES]]
    if len(lines) > len(shown):
        shown.append(f"- and {len(lines) - len(shown)} more")
    return ["", f"{heading}:", *shown] if shown else []


def _title(item: Mapping[str, Any]) -> str:
    return _line(" / ".join(item[name] for name in ("report", "scope", "quarter") if item[name]))


def _failed_line(item: Mapping[str, Any]) -> str:
    cell = f"cell {item['cell']}: " if item["cell"] else ""
    page = f" (last good page: {item['page']})" if item["page"] else ""
    return f"{_title(item)}: {item['status']}: {_line(cell + item['message'])}{page}"


def _line(text: str) -> str:
    """Text from data on one line, whatever it holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
