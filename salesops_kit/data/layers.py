"""Mappings on top of mappings: what a company writes over a preset, put together before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Sections whose entries are replaced whole, and those whose entries are put together.
_WHOLE = ("derived", "stage_dates", "aliases")
_PIECEWISE = ("settings", "files", "control")
NONE = "none"


def made_lenient(values: dict[str, Any]) -> dict[str, Any]:
    """The mapping with every table and column optional, where it says ``lenient: true``."""
    if str(values.pop("lenient", "false")).lower() != "true":
        return values
    tables = values.get("tables")
    if isinstance(tables, dict):
        values["tables"] = {name: _lenient_rules(rules) for name, rules in tables.items()}
    return values


def _lenient_rules(rules: Any) -> Any:
    if isinstance(rules, list):
        return [_lenient_rules(rule) for rule in rules]
    if not isinstance(rules, dict):
        return rules
    columns = rules.get("columns")
    made = {name: _lenient_rule(rule) for name, rule in columns.items()} if isinstance(columns, dict) else {}
    return {"optional": "true", **rules, "columns": made}


def _lenient_rule(rule: Any) -> Any:
    if isinstance(rule, str):
        return {"column": rule, "optional": "true"}
    if not isinstance(rule, dict):
        return rule
    inner = {
        name: [_lenient_rule(one) for one in rule[name]]
        for name in ("first", "join")
        if isinstance(rule.get(name), list)
    }
    return {"optional": "true", **rule, **inner}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping over another, both as plain values.

    What ``above`` says of a column, a file's format or a setting holds; a table that it fills from a
    file that ``below`` does not read is added to the table; ``none`` drops a table of ``below``.
    """
    result = {**below, **above}
    for name in _WHOLE:
        if name in below or name in above:
            result[name] = _over(below.get(name), above.get(name))
    for name in _PIECEWISE:
        if name in below or name in above:
            result[name] = _over(below.get(name), above.get(name), depth=1)
    if isinstance(below.get("tables"), dict) and isinstance(above.get("tables", {}), dict):
        result["tables"] = _tables(below["tables"], above.get("tables", {}))
    return result


def _over(below: Any, above: Any, depth: int = 0) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return below if above is None else above
    result = {**below, **above}
    if depth:
        result |= {name: _over(below[name], above[name], depth - 1) for name in below if name in above}
    return result


def _tables(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, rules in above.items():
        if rules == NONE:
            result.pop(name, None)
        else:
            result[name] = _rules(_listed(below.get(name)), _listed(rules))
    return result


def _listed(rules: Any) -> list[Any]:
    return [] if rules is None else list(rules) if isinstance(rules, list) else [rules]


def _rules(below: list[Any], above: list[Any]) -> list[Any]:
    made = list(below)
    for rule in above:
        if not isinstance(rule, dict):
            made.append(rule)
            continue
        same = [
            place
            for place, one in enumerate(made)
            if isinstance(one, dict) and one.get("from") == rule.get("from")
        ]
        # Without a file of its own it speaks of the only file that the table has.
        if "from" not in rule and len(below) == 1:
            same = [0]
        if same:
            made[same[0]] = _one_rule(made[same[0]], rule)
        else:
            made.append(rule)
    return made


def _one_rule(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    columns = _over(below.get("columns", {}), above.get("columns"))
    if isinstance(columns, dict):
        columns = {name: rule for name, rule in columns.items() if rule != NONE}
    return {**below, **above, "columns": columns}
