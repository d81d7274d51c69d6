"""What a run asks of the data side: valid names, digests, and each job's own slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from salesops_kit.settings import Settings


class Preparer(Protocol):
    """The data of one plan, as the driver sees it; it is never sent to a worker."""

    @property
    def settings(self) -> Settings:
        """The dataset's settings."""
        ...

    @property
    def snapshot(self) -> Mapping[str, Any]:
        """What all reports of the run read: digests, seq, observed_until, quality."""
        ...

    def names(self) -> Mapping[str, list[str]]:
        """The valid names by set: ``teams``, with the company, and ``quarters``."""
        ...

    def leaf_teams(self) -> list[str]:
        """The teams that partition the company."""
        ...

    def key_parts(self, report_tables: list[str], params: dict[str, Any]) -> dict[str, str]:
        """The digests of the data that a report with these tables and parameters reads."""
        ...

    def period_text(self, params: dict[str, Any]) -> str:
        """The period of a job as readers see it."""
        ...

    def effective_as_of(self, params: dict[str, Any]) -> str:
        """The cut-off date of a job, also when its parameter is empty."""
        ...

    def context(self, params: dict[str, Any], folder: Path, sentinel: str) -> Path:
        """Write this job's cut slice and context file under ``folder``; returns the context file.

        The slice may be one that was written for another job into a folder beside this one: all stay
        until the run ends.
        """
        ...
