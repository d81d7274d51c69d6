"""Parameters as the command line takes them: by name and value, in a YAML file, or as YAML text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_kit.errors import InputError, Problem

if TYPE_CHECKING:
    from salesops_kit.yaml_text import Lines

Text = str | list[str]
_PAIR_OPTIONS = ("-p", "--parameter", "--parameters")


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """``-p NAME VALUE`` as one argument each, so that values may begin with a dash.

    >>> join_pairs(["show", "x", "-p", "team", "EMEA"])
    ['show', 'x', '-p', 'team=EMEA']
    """
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        joined.append(word)
        if word in _PAIR_OPTIONS:
            name = next(words, None)
            value = next(words, None)
            if name is None or value is None:
                raise InputError(Problem("-p takes a name and a value", expected="-p NAME VALUE"))
            joined.append(f"{name}={value}")
    return joined


@dataclass
class Given:
    """Parameters by name, each as text or a list of texts, and where each was given."""

    values: dict[str, Text] = field(default_factory=dict)
    places: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """The values with lists joined by commas; raises where that would split a value in two."""
        split = [n for n, v in self.values.items() if isinstance(v, list) and any("," in item for item in v)]
        if split:
            what = "a value of a list holds a comma"
            raise InputError(Problem(what, **{**self.places[n], "column": n}) for n in split)
        return {n: v if isinstance(v, str) else ",".join(v) for n, v in self.values.items()}


def given(
    pairs: Sequence[str] | None = None,
    files: Sequence[Path] | None = None,
    texts: Sequence[str] | None = None,
) -> Given:
    """All parameters: of YAML files, then of YAML texts, then of ``NAME=VALUE`` pairs; the later wins.

    YAML is ``name: value`` lines, with values of text or lists of text; scalars stay as they are
    written. Raises :class:`InputError` with every problem, also where two pairs share a name.
    """
    found = Given()
    problems: list[Problem] = []
    if files or texts:
        from salesops_kit.yaml_text import parse_yaml, read_yaml_lines

        sources = [(path.name, read_yaml_lines(path)) for path in files or ()]
        sources += [("-y", parse_yaml(text, file="-y")) for text in texts or ()]
        for file, (values, lines) in sources:
            problems += _take(found, values, lines, file)
    seen: set[str] = set()
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            problems.append(Problem(f"parameter {name!r} has no value", expected="-p NAME VALUE"))
        if name in seen:
            problems.append(Problem(f"parameter {name!r} is given twice"))
        seen.add(name)
        found.values[name] = value
        found.places[name] = {"file": "command line", "column": f"-p {name}"}
    if problems:
        raise InputError(problems)
    return found


def _take(found: Given, values: Mapping[str, Any], lines: Lines, file: str) -> list[Problem]:
    problems = []
    for name, value in values.items():
        place: dict[str, Any] = {"file": file, "row": lines[(name,)], "column": name}
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            problems.append(Problem("expected a value or a list of values", **place))
            continue
        found.values[name] = value
        found.places[name] = place
    return problems
