"""A report's key: digests of all that shapes its content, and from them the reason to run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from salesops_kit.project import project_root
from salesops_kit.publishing.plan import Job
from salesops_kit.publishing.render import page_digest

LOCK_FILE = "requirements.lock"
# The parts of a key that say what a report is compared with and how it is judged, not what it is made of.
BEFORE, JUMPS = "quarter before", "jumps"
KIT = Path(__file__).parents[1]


def key_parts(job: Job, data_parts: Mapping[str, str]) -> dict[str, str]:
    """The named digests of a job: template, parameters, locale, page, kit, libraries and the data's own."""
    return {
        "template": job.template.sha256,
        "parameters": _sha256(job.canonical_params),
        "locale": job.locale,
        "page": page_digest(),
        "kit": kit_digest(),
        "libraries": libraries_digest(),
        **data_parts,
    }


def key(parts: Mapping[str, str]) -> str:
    """One digest of all parts; it does not depend on their order."""
    return _sha256(json.dumps(dict(parts), sort_keys=True))


def own_key(parts: Mapping[str, str]) -> str:
    """One digest of what a report is made of, whatever it is compared with."""
    return key({name: part for name, part in parts.items() if name not in (BEFORE, JUMPS)})


def with_before(parts: Mapping[str, str], before: str) -> dict[str, str]:
    """The parts of a report that is compared with one of key ``before``, or with none."""
    others = {name: part for name, part in parts.items() if name != BEFORE}
    return {**others, BEFORE: before} if before else others


def reason(parts: Mapping[str, str], previous: Mapping[str, str] | None, *, failed_since: bool) -> str:
    """Why a report runs; empty when nothing changed since the last good one and it may be skipped."""
    if previous is None:
        return "first run"
    changed = sorted(name for name in {*parts, *previous} if parts.get(name) != previous.get(name))
    if changed:
        return f"changed: {', '.join(changed)}"
    return "the last run failed" if failed_since else ""


@lru_cache(maxsize=1)
def kit_digest() -> str:
    """The sha256 of the kit's own source and of the files that its pages are made with."""
    total = hashlib.sha256()
    for path in sorted(KIT.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".j2", ".css", ".js", ".json", ".mo"):
            total.update(f"{path.relative_to(KIT).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@lru_cache(maxsize=1)
def libraries_digest() -> str:
    """The sha256 of the lock file; without one, of the names and versions that are installed."""
    for folder in (project_root(), KIT.parent):
        if (folder / LOCK_FILE).is_file():
            return hashlib.sha256((folder / LOCK_FILE).read_bytes()).hexdigest()
    installed = sorted({f"{found.name}=={found.version}" for found in metadata.distributions()})
    return _sha256("\n".join(installed))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
