"""The errors of the kit: each says what, where, expected, got and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

SHOWN_PROBLEMS = 50


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input, with the place to look for it.

    ``row`` is the record's number in its file as a spreadsheet counts it: the header is row 1.
    ``count`` is how many rows share the problem when they are reported as one.
    """

    what: str
    file: str | None = None
    row: int | None = None
    column: str | None = None
    expected: str | None = None
    got: str | None = None
    next_step: str | None = None
    count: int = 1

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column:
            place.append(f"column {self.column}")
        parts = [f"{', '.join(place)}: {self.what}" if place else self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.got is not None:
            parts.append(f"got {self.got!r}")
        text = "; ".join(parts)
        if self.count > 1:
            text += f" ({self.count} rows)"
        return f"{text}. {self.next_step}" if self.next_step else text


class SalesOpsError(Exception):
    """Base of every error that the kit raises on purpose."""


class InputError(SalesOpsError, ValueError):
    """Input was refused and nothing was run. Holds every problem found, not only the first."""

    def __init__(self, problems: Problem | str | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        shown = [f"- {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        hidden = len(self.problems) - len(shown)
        if hidden > 0:
            shown.append(f"- and {hidden} more")
        return "\n".join(shown) if len(shown) > 1 else str(self.problems[0]) if self.problems else ""

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class Problems(list[Problem]):
    """What is wrong with several inputs that are looked at one by one and refused together.

    >>> problems = Problems()
    >>> for name in ("a.csv", "b.csv"):
    ...     with problems.caught():
    ...         raise InputError(f"{name} is empty")
    >>> problems.refuse()
    Traceback (most recent call last):
    salesops_kit.errors.InputError: - a.csv is empty
    - b.csv is empty
    """

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Keep the problems of an :class:`InputError` raised in the block, and go on behind it."""
        try:
            yield
        except InputError as error:
            self += error.problems

    def refuse(self) -> None:
        """Raise :class:`InputError` if there are any."""
        if self:
            raise InputError(dict.fromkeys(self))


class LockHeldError(SalesOpsError):
    """Another run is publishing into the same folder."""


class NotAvailableError(SalesOpsError):
    """An analysis needs a table or a column that the dataset lacks; the text says which and why."""


def nearest(name: str, choices: Sequence[str], limit: int = 3) -> list[str]:
    """The choices most like ``name``, best first, compared without case."""
    by_fold = {choice.casefold(): choice for choice in reversed(choices)}
    close = difflib.get_close_matches(name.casefold(), list(by_fold), n=limit, cutoff=0.5)
    return [by_fold[fold] for fold in close]


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """A next step for an unknown name: the nearest valid names, else all of them (at most 20)."""
    near = nearest(name, choices)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not choices:
        return "There is none to choose from."
    shown = ", ".join(choices[:20])
    return f"Choose one of: {shown}{', ...' if len(choices) > 20 else ''}."


def unknown(kind: str, name: str, choices: Sequence[str], **place: str | int | None) -> Problem:
    """The problem of a name that does not exist, with the nearest valid names as the next step."""
    return Problem(f"unknown {kind} {name!r}", next_step=did_you_mean(name, choices), **place)  # type: ignore[arg-type]
