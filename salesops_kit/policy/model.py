"""The shapes of a company's rules: conditions, checks, stages of the process, segments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Severity = Literal["error", "warning", "info", "off"]
Operator = Literal[
    "empty", "filled", "equals", "not_equals", "in", "not_in", "above", "at_least", "below", "at_most",
    "before", "after", "older_than_days", "contains", "starts_with",
]  # fmt: skip
State = Literal["", "open", "closed", "won", "lost"]
WITHOUT_VALUE = ("empty", "filled")
WITH_LIST = ("in", "not_in")
CHECKED_TABLES = ("opportunities", "accounts", "leads", "reps")
ANY_TABLE = "any"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """One comparison of a column with a value, with another column (``@name``) or with ``as_of``."""

    column: str
    operator: Operator
    value: str | tuple[str, ...] = ""

    @model_validator(mode="after")
    def _fits(self) -> Condition:
        if self.operator in WITHOUT_VALUE and self.value:
            raise ValueError(f"operator {self.operator} takes no value")
        if self.operator not in WITHOUT_VALUE and self.value in ("", ()):
            raise ValueError(f"operator {self.operator} needs a value")
        if self.value and (self.operator in WITH_LIST) != isinstance(self.value, tuple):
            wanted = "a list of values" if self.operator in WITH_LIST else "one value"
            raise ValueError(f"operator {self.operator} needs {wanted}")
        return self


class Check(_Strict):
    """One check: conditions that all hold for a record that fails it, or a built-in with thresholds.

    ``stage`` and ``from_stage`` (this one and all later) narrow it to deals in these stages, ``state`` to
    open, closed, won or lost ones. ``field`` is the column that a fix fills in. Up to ``tolerance`` (the
    share of the records judged) the check is not raised. ``problems`` are those of the import that the
    built-in ``import_flag`` gathers.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,59}$")]
    title: str
    severity: Severity
    table: str = "opportunities"
    where: tuple[Condition, ...] = ()
    builtin: str = ""
    stage: tuple[str, ...] = ()
    from_stage: str = ""
    state: State = ""
    field: str = ""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    thresholds: Mapping[str, float] = {}
    problems: tuple[str, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether the check is made at all."""
        return self.severity != "off"


class StageRules(_Strict):
    """What the process asks of a stage: what it means, what must be true to leave it, which fields a
    deal needs from this stage on, and for how many days a deal may stay."""

    stage: str
    pipeline: str = ""
    means: str = ""
    exit: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    most_days: Annotated[int | None, Field(ge=1)] = None


class ServiceLevel(_Strict):
    """A promise of time: from one moment of a record to the next, within so many days, for the records that
    meet every condition."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,59}$")]
    title: str
    table: Literal["leads", "opportunities"] = "leads"
    start: str
    end: str
    within_days: Annotated[int, Field(ge=0)]
    severity: Severity = "warning"
    where: tuple[Condition, ...] = ()


class Process(_Strict):
    """The sales process: what every open deal needs, what its stages ask, and the service levels.

    ``required`` fields are needed in every open stage, ``required_qualified`` from the first qualified
    stage on.
    """

    required: tuple[str, ...] = ()
    required_qualified: tuple[str, ...] = ()
    stages: tuple[StageRules, ...] = ()
    service_levels: tuple[ServiceLevel, ...] = ()


class Segment(_Strict):
    """One segment: the accounts that are listed or that meet every condition."""

    segment: str
    accounts: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    means: str = ""


class Segments(_Strict):
    """The segments in order: an account belongs to the first that fits. ``otherwise`` names the segment
    of all others; without it they keep what the data says."""

    segments: tuple[Segment, ...] = ()
    otherwise: str = ""


class Policy(_Strict):
    """Everything that a company decides about its data. ``unfilled`` are columns, as ``table.column``,
    that no record of the dataset fills: what was not exported cannot be missing."""

    checks: tuple[Check, ...] = ()
    process: Process = Process()
    segments: Segments = Segments()
    unfilled: frozenset[str] = frozenset()

    def without_accounts(self) -> Policy:
        """The rules without the ids of the accounts that segments list: those of other teams too."""
        kept = tuple(segment.model_copy(update={"accounts": ()}) for segment in self.segments.segments)
        return self.model_copy(update={"segments": self.segments.model_copy(update={"segments": kept})})

    @property
    def digest(self) -> str:
        """The sha256 of the rules: equal rules, equal digest."""
        values = self.model_dump(mode="json")
        values["unfilled"] = sorted(values["unfilled"])
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
