"""Checks across the reports of a run that must hold before any of them is published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from salesops_kit.publishing.manifest import Gate

ADDITIVE = "additive headlines"
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 0.005


def additive_gate(
    company: Sequence[Mapping[str, Any]], teams: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Gate:
    """Whether each additive headline of the leaf teams adds up to the company's.

    A value without a number counts as nothing in the sum; a company value without a number needs
    teams that add up to nothing. An additive headline that some team lacks fails. Tolerance is 1e-6
    of the company's value or 0.005, whichever is larger.

    >>> head = lambda value: [{"id": "won", "kind": "additive", "value": value}]
    >>> additive_gate(head(3.0), {"a": head(1.0), "b": head(2.0)}).status
    'passed'
    """
    wrong: list[str] = []
    totals = _additive(company)
    parts = {team: _additive(headlines) for team, headlines in teams.items()}
    for name in sorted({*totals, *(name for part in parts.values() for name in part)}):
        lacking = [team for team, part in parts.items() if name not in part]
        if name not in totals:
            lacking.insert(0, "the company")
        if lacking:
            wrong.append(f"{name}: no such headline for {', '.join(lacking[:5])}")
            continue
        total = totals[name] or 0.0
        added = math.fsum(part[name] or 0.0 for part in parts.values())
        if not math.isclose(total, added, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE):
            wrong.append(f"{name}: the company has {total:,.6g}, its {len(parts)} leaf teams {added:,.6g}")
    if wrong:
        return Gate(name=ADDITIVE, status="failed", detail="; ".join(wrong))
    return Gate(name=ADDITIVE, status="passed", detail=f"{len(totals)} headlines, {len(parts)} teams")


def _additive(headlines: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return {
        str(headline["id"]): None if headline.get("value") is None else float(headline["value"])
        for headline in headlines
        if headline.get("kind") == "additive"
    }


def not_checked(why: str) -> Gate:
    """The gate of a run that lacks something to compare."""
    return Gate(name=ADDITIVE, status="not checked", detail=why)
