"""Where things are published: names from data become short, safe, distinct relative paths."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from salesops_kit.errors import InputError, Problem
from salesops_kit.settings import COMPANY

RUNS = ".runs"
STAGING = ".staging"
LOCK = ".lock"
CATALOG = "index.html"
AREAS = ("leaders", "teams", "private")
ALL_TIME = "all-time"

_RUN = re.compile(r"[0-9]{6,}-[0-9]{8}T[0-9]{6}Z")
_PLAIN = re.compile(r"[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,3}")
_SLUG_LENGTH = 40


@dataclass(frozen=True)
class Address:
    """Where one report of one scope and quarter is published, relative to the reports folder."""

    audience: str
    quarter: str
    scope: str
    report: str

    @property
    def folder(self) -> PurePosixPath:
        """The folder that holds the stable page."""
        if self.audience == "leaders":
            return PurePosixPath("leaders", self.quarter, self.scope)
        return PurePosixPath(self.audience, self.scope, self.quarter)

    @property
    def stable(self) -> PurePosixPath:
        """The page whose address never changes."""
        return self.folder / f"{self.report}.html"

    def bundle(self, run: str) -> PurePosixPath:
        """The folder of one run's files, which never change."""
        return self.folder / self.report / run

    @property
    def index(self) -> PurePosixPath:
        """The catalog that lists the report: the leaders', or that of the scope's own folder."""
        return PurePosixPath(*(() if self.audience == "leaders" else (self.audience, self.scope)), CATALOG)

    @property
    def is_private(self) -> bool:
        """Whether files get 0600 and folders 0700."""
        return self.audience == "private"


def scope_folder(name: str) -> str:
    """A folder name for a team or a person: ``company``, or an ASCII slug and six hex digits.

    The digits come from the name in NFC, so that two writings of the same letters are one folder
    while EMEA and emea are two, on file systems with and without case.

    >>> scope_folder("../../x"), scope_folder("company")
    ('x-9cdf6a', 'company')
    """
    if name == COMPANY:
        return COMPANY
    folded = unicodedata.normalize("NFKC", name).casefold()
    ascii_text = unicodedata.normalize("NFKD", folded).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:_SLUG_LENGTH].strip("-") or "scope"
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}-{digest[:6]}"


def quarter_folder(label: str) -> str:
    """A folder name for a quarter: its label when that is plain, else as for a scope."""
    if not label:
        return ALL_TIME
    return label if _PLAIN.fullmatch(label) else scope_folder(label)


def collisions(names: Iterable[str]) -> list[Problem]:
    """Names that would share a folder: the same letters written twice, or the same six digits."""
    seen: dict[str, str] = {}
    problems = []
    for name in names:
        other = seen.setdefault(scope_folder(name), name)
        if other != name:
            problems.append(Problem(f"{other!r} and {name!r} would be published in one folder"))
    return problems


def is_run_id(name: str) -> bool:
    """Whether ``name`` is a run's id such as 000042-20261121T231500Z."""
    try:
        return bool(_RUN.fullmatch(name)) and bool(started_at(name))
    except ValueError:
        return False


def started_at(run: str) -> dt.datetime:
    """When the run of an id started; raises ``ValueError`` where the id says no such moment."""
    return dt.datetime.strptime(run.partition("-")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


def check_inside(root: Path, relative: PurePosixPath) -> None:
    """Refuse a path that leaves the reports folder or goes through a symbolic link.

    Raises :class:`InputError`. What does not exist yet is fine.
    """
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(Problem("the path leaves the reports folder", file=str(relative)))
    here = root
    for part in ("", *relative.parts):
        here = here / part
        if here.is_symlink():
            raise InputError(
                Problem(
                    "a symbolic link is refused as an output", file=str(here), next_step="Remove the link."
                )
            )


def relative_link(target: PurePosixPath, page: PurePosixPath) -> str:
    """The link from the folder of ``page`` to ``target``, both relative to the reports folder."""
    return PurePosixPath(os.path.relpath(target, page.parent)).as_posix()
