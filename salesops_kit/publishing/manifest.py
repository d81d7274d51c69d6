"""What is recorded of one report of one run: its manifest."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
Status = Literal["success", "failed", "timeout", "killed", "skipped"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(_Record):
    """Why a report was not published.

    ``cell`` counts the template's code cells from 1 and is null when no cell is to blame; ``name`` is
    the exception's; ``message`` is redacted.
    """

    cell: int | None = None
    name: str
    message: str


class Timings(_Record):
    """Seconds spent: kernel start, cells, rendering, and writing the files to publish."""

    start: float = 0.0
    cells: float = 0.0
    render: float = 0.0
    publish: float = 0.0


class PublishedFile(_Record):
    """One file of a bundle; ``path`` is relative to the bundle."""

    path: str
    bytes: int
    sha256: str


class Gate(_Record):
    """The outcome of one check: passed, failed, noted (readers are told), or not checked and why."""

    name: str
    status: Literal["passed", "failed", "noted", "not checked"]
    detail: str = ""


class Manifest(_Record):
    """One report of one run. ``scope`` is the team's or person's own name, not its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: int = Field(default=SCHEMA, alias="schema")
    seq: int
    run: str
    report: str
    audience: str
    scope: str
    quarter: str
    period: str
    as_of: str
    locale: str
    params: dict[str, Any]
    key: str
    key_parts: dict[str, str]
    reason: str
    status: Status
    error: Failure | None = None
    timings: Timings = Timings()
    headlines: list[dict[str, Any]] = []
    gates: list[Gate] = []
    quality: dict[str, Any] = {}
    previous: str | None = None
    files: list[PublishedFile] = []

    def to_json(self) -> bytes:
        """The manifest as it is written: UTF-8, two spaces, a final newline."""
        return (self.model_dump_json(by_alias=True, indent=2) + "\n").encode("utf-8")
