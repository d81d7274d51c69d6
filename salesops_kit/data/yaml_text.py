"""YAML read safely: every scalar stays text, and every key knows its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from salesops_kit.errors import InputError, Problem

MAX_BYTES = 1_000_000
# The parser's time grows with the square of the depth.
MAX_DEPTH = 20
Lines = dict[tuple[str, ...], int]
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain values: scalars stay as written ("NO" is "NO", 007 is "007"), since the
    reader's contract types them; no anchors, no tags, no key twice, at most 20 levels and 1 MB."""
    return read_yaml_lines(path)[0]


def read_yaml_lines(path: Path) -> tuple[dict[str, Any], Lines]:
    """The same, with the line of every key and list item by its path from the top."""
    if not path.is_file():
        raise InputError(Problem("no such file", file=str(path)))
    if path.stat().st_size > MAX_BYTES:
        raise InputError(Problem("the file is larger than 1 MB", file=path.name))
    lines: Lines = {}
    problems: list[Problem] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
        _refuse_tricks(text, path.name)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        values = _plain(node, (), lines, problems, path.name) if node else {}
    except yaml.MarkedYAMLError as error:
        row = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(Problem(f"not YAML: {error.problem}", file=path.name, row=row)) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(Problem(f"not YAML: {error}", file=path.name)) from None
    if not isinstance(values, dict):
        problems.append(Problem("expected a list of `name: value` lines", file=path.name, row=1))
    if problems:
        raise InputError(problems)
    return values, lines


def _refuse_tricks(text: str, file: str) -> None:
    depth = 0
    for token in yaml.scan(text, Loader=yaml.BaseLoader):
        row = token.start_mark.line + 1
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
            raise InputError(Problem("anchors, aliases and tags are not read", file=file, row=row))
        depth += isinstance(token, _OPENING)
        depth -= isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise InputError(Problem(f"lists are nested deeper than {MAX_DEPTH} levels", file=file, row=row))


def line_of(lines: Lines, path: Sequence[str]) -> int | None:
    """The line of the nearest key above ``path`` that the file holds."""
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return lines[tuple(path[:length])]
    return None


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
