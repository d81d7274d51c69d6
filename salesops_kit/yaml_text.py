"""YAML read safely: every scalar stays text, and every key knows its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salesops_kit.errors import InputError, Problem

Lines = dict[tuple[str, ...], int]
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


@dataclass(frozen=True)
class Limits:
    """How much YAML is read: bytes of the file, levels of nesting, and names, values and lists together
    (None: as many as fit).

    The parser's time grows with the square of the depth.
    """

    most_bytes: int = 1_000_000
    most_levels: int = 20
    most_items: int | None = None


USUAL = Limits()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain values: scalars stay as written ("NO" is "NO", 007 is "007"), since the
    reader's contract types them; no anchors, no tags, no key twice, at most 20 levels and 1 MB."""
    return read_yaml_lines(path)[0]


def read_yaml_lines(path: Path, limits: Limits = USUAL) -> tuple[dict[str, Any], Lines]:
    """The same, with the line of every key and list item by its path from the top."""
    try:
        with path.open("rb") as stream:
            content = stream.read(limits.most_bytes + 1)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    if len(content) > limits.most_bytes:
        what = f"the file is larger than {limits.most_bytes / 1e6:g} MB"
        raise InputError(Problem(what, file=path.name))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"not YAML: not UTF-8 at byte {error.start}", file=path.name)) from None
    return parse_yaml(text, file=path.name, limits=limits)


def parse_yaml(text: str, *, file: str, limits: Limits = USUAL) -> tuple[dict[str, Any], Lines]:
    """The values and lines of a text; an empty one has none.

    Anchors, aliases, tags, deep nesting and, where they are limited, too many items are refused
    before anything is built, so that a small file cannot grow. Raises :class:`InputError`.

    >>> parse_yaml("teams: [NO, 007]", file="plan.yml")[0]
    {'teams': ['NO', '007']}
    """
    lines: Lines = {}
    problems: list[Problem] = []
    try:
        _refuse_tricks(text, file, limits)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        values = _plain(node, (), lines, problems, file) if node else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        row = mark.line + 1 if mark else None
        raise InputError(Problem(f"not YAML: {what}", file=file, row=row)) from None
    if not isinstance(values, dict):
        problems.append(Problem("expected a list of `name: value` lines", file=file, row=1))
    if problems:
        raise InputError(problems)
    return values, lines


def line_of(lines: Mapping[tuple[str, ...], int], path: Sequence[str]) -> int | None:
    """The line of the nearest key above ``path`` that the file holds."""
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return lines[tuple(path[:length])]
    return None


def _refuse_tricks(text: str, file: str, limits: Limits) -> None:
    depth = items = 0
    for token in yaml.scan(text, Loader=yaml.BaseLoader):
        row = token.start_mark.line + 1
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
            raise InputError(Problem("anchors, aliases and tags are not read", file=file, row=row))
        depth += isinstance(token, _OPENING)
        depth -= isinstance(token, _CLOSING)
        items += isinstance(token, (yaml.ScalarToken, *_OPENING))
        if depth > limits.most_levels:
            what = f"lists are nested deeper than {limits.most_levels} levels"
            raise InputError(Problem(what, file=file, row=row))
        if limits.most_items is not None and items > limits.most_items:
            what = f"too long, more than {limits.most_items:,} names, values and lists"
            raise InputError(Problem(what, file=file, row=row))


def _plain(node: yaml.Node, path: tuple[str, ...], lines: Lines, problems: list[Problem], file: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        made = []
        for place, item in enumerate(node.value):
            lines[(*path, str(place))] = item.start_mark.line + 1
            made.append(_plain(item, (*path, str(place)), lines, problems, file))
        return made
    if not isinstance(node, yaml.MappingNode):
        return node.value
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key, str):
            problems.append(Problem("a name must be text", file=file, row=line))
            continue
        if key in values:
            above = ".".join(path) or None
            problems.append(Problem(f"{key!r} is given twice", file=file, row=line, column=above))
        lines[(*path, key)] = line
        values[key] = _plain(value_node, (*path, key), lines, problems, file)
    return values
