"""What a run asks of the data side: valid names, digests, and each job's own slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def key_parts(self, report_tables: Sequence[str], params: dict[str, Any]) -> dict[str, str]:
        """The digests of the data that a report with these tables and parameters reads."""
        ...

    def period_text(self, params: dict[str, Any]) -> str:
        """The period of a job as readers see it."""
        ...

    def effective_as_of(self, params: dict[str, Any]) -> str:
        """The cut-off date of a job, also when its parameter is empty."""
        ...

    def context(
        self, params: dict[str, Any], folder: Path, sentinel: str, *, report_tables: Sequence[str]
    ) -> Path:
        """Write this job's cut slice, of what its tables read, and its context file under ``folder``;
        returns the context file.

        The slice may lie partly in folders of other jobs beside this one: all stay until the run ends.
        """
        ...

    def foreign_texts(self, params: dict[str, Any]) -> Mapping[str, Sequence[str]]:
        """Texts by kind that belong to other teams alone, and so to no file of this job: ids and names
        of deals, accounts and owners. A few hundred at most, the same for the same data; none for a job
        about the whole company."""
        ...

    def mentions(self, params: dict[str, Any], text: str) -> bool:
        """Whether the job's own rows mention a text after all, as a note may; asked when one is found."""
        ...
