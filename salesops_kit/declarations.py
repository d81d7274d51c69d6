"""Which canonical tables the tables of analyses read, from the source text of the analyses alone.

A driver decides by this what to run. Importing the analyses would take longer than all else it does
for reports that have not changed.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from salesops_kit import registry

# What the data-quality note of every report shows, whatever the report declares.
NOTED = ("quality.flags", "quality.tie_out")
# What may stop a report, computed once for all that share a period; one that lists the checks is not stopped.
RAISED, LISTED = "quality.raised", "quality.checks"
_FOLDER = Path(__file__).parent / registry.ANALYSIS_PACKAGE.rpartition(".")[2]
_REFERENCE = ""


@dataclass(frozen=True)
class Declaration:
    """The canonical tables that a function takes, and the tables of other analyses that it needs."""

    tables: frozenset[str]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reads:
    """What some tables read, with the tables that they need: canonical tables, those that the company's
    figures are made of included, and the analyses whose figures these are."""

    tables: frozenset[str]
    analyses: frozenset[str]


def reads(names: Iterable[str]) -> Reads:
    """What the tables called ``<analysis>.<table>`` read.

    Raises :class:`InputError` with the nearest names for one that does not exist.

    >>> sorted(reads(["funnel.waterfall"]).analyses)
    ['funnel']
    """
    tables: set[str] = set()
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        analysis, _dot, function = name.partition(".")
        found = declared(analysis).get(function) if function else None
        if found is None:
            spec = registry.find_table(name)
            found = Declaration(
                frozenset((*spec.tables, *spec.optional_tables)), frozenset(spec.needs.values())
            )
        tables |= found.tables
        waiting += found.needs
    analyses = frozenset(name.partition(".")[0] for name in seen)
    for analysis in analyses:
        tables |= declared(analysis).get(_REFERENCE, Declaration(frozenset())).tables
    return Reads(frozenset(tables), analyses)


@functools.cache
def declared(analysis: str) -> Mapping[str, Declaration]:
    """The declarations of an analysis by function; that of its company figures under an empty name."""
    module, package = _FOLDER / f"{analysis}.py", _FOLDER / analysis
    files = [module] if module.is_file() else sorted(package.rglob("*.py"))
    found: dict[str, Declaration] = {}
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    found |= _declaration(node, mark)
    return found


def _declaration(node: ast.FunctionDef, mark: ast.expr) -> dict[str, Declaration]:
    call = mark if isinstance(mark, ast.Call) else None
    marker = ast.unparse(call.func if call else mark).rpartition(".")[2]
    if marker not in (registry.table.__name__, registry.reference.__name__):
        return {}
    needs: dict[str, str] = {}
    for keyword in call.keywords if call else ():
        if keyword.arg == "needs":
            needs = ast.literal_eval(keyword.value)
    taken = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args)}
    name = node.name if marker == registry.table.__name__ else _REFERENCE
    return {name: Declaration(frozenset(taken - set(needs)), frozenset(needs.values()))}
