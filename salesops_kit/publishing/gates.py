"""Checks of a report's numbers that are made before it is published."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from salesops_kit.language import _
from salesops_kit.publishing.headlines import format_value
from salesops_kit.publishing.manifest import Gate

ADDITIVE = "additive headlines"
JUMPS = "jumps"
CHECKS = "checks of the data"
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 0.005
LARGEST_FACTOR = 2.0
FEWEST_RECORDS = 20

Headlines = Sequence[Mapping[str, Any]]


def additive_gate(company: Headlines, teams: Mapping[str, Headlines]) -> Gate:
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


def _additive(headlines: Headlines) -> dict[str, float | None]:
    return {
        str(headline["id"]): None if headline.get("value") is None else float(headline["value"])
        for headline in headlines
        if headline.get("kind") == "additive"
    }


def jump_gate(headlines: Headlines, earlier: Mapping[str, Mapping[str, Any]], locale: str = "en") -> Gate:
    """Whether a headline is far from the quarter before; such a one is noted, in the current language.

    An additive headline jumps when it more than doubles or falls to less than half, with at least 20
    records in one of the two quarters; any other jumps when its interval and that of the quarter before
    do not overlap. The quarter before is the headline's own ``prior``, else the headline of the same id
    in ``earlier``, what that quarter's report said. What lacks a number, an interval or a quarter
    before does not jump.

    >>> head = {"id": "won", "kind": "additive", "value": 90.0, "unit": "USD", "n": 40, "prior": 41.0}
    >>> jump_gate([head], {}).detail
    'won more than doubled: $90, after $41 in the quarter before.'
    """
    sentences = [
        text for headline in headlines if (text := _jump(headline, earlier.get(str(headline["id"])), locale))
    ]
    if sentences:
        return Gate(name=JUMPS, status="noted", detail=" ".join(sentences))
    return Gate(name=JUMPS, status="passed", detail=f"{len(headlines)} headlines")


def _jump(headline: Mapping[str, Any], before: Mapping[str, Any] | None, locale: str) -> str:
    value = _number(headline.get("value"))
    then = _number(headline.get("prior"))
    if then is None and before is not None:
        then = _number(before.get("value"))
    if value is None or then is None:
        return ""
    if headline.get("kind") == "additive":
        records = max(_number(headline.get("n")) or 0, _number((before or {}).get("n")) or 0)
        if records < FEWEST_RECORDS or then <= 0 or value < 0:
            return ""
        if value > LARGEST_FACTOR * then:
            text = _("{name} more than doubled: {value}, after {before} in the quarter before.")
        elif value * LARGEST_FACTOR < then:
            text = _("{name} fell to less than half: {value}, after {before} in the quarter before.")
        else:
            return ""
    elif before is not None and _are_apart(headline, before):
        then = _number(before.get("value")) or then
        text = _("{name} moved by more than chance explains: {value}, after {before} in the quarter before.")
    else:
        return ""
    return text.format(
        name=str(headline.get("label") or headline["id"]).replace("_", " "),
        value=format_value(headline, locale),
        before=format_value({**headline, "value": then}, locale),
    )


def _are_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    limits = [_number(record.get(name)) for record in (one, other) for name in ("low", "high")]
    low, high, other_low, other_high = limits
    if low is None or high is None or other_low is None or other_high is None:
        return False
    return low > other_high or high < other_low


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def checks_gate(quality: Mapping[str, Any]) -> Gate:
    """Whether a check of the data that the company calls an error is raised by the report's own records.

    >>> checks_gate({"errors": ["Amount is negative (3)"], "warnings": []}).status
    'failed'
    """
    errors = [str(text) for text in quality.get("errors", ())]
    if errors:
        return Gate(name=CHECKS, status="failed", detail="; ".join(errors))
    return Gate(name=CHECKS, status="passed", detail=f"{len(quality.get('warnings', ()))} warnings")


def not_checked(name: str, why: str) -> Gate:
    """The outcome of a gate that lacks something to compare."""
    return Gate(name=name, status="not checked", detail=why)


def refused(gate: Gate) -> Gate:
    """A noted gate as a failed one, for a plan that wants a report stopped by it."""
    return gate.model_copy(update={"status": "failed"}) if gate.status == "noted" else gate


def notes(gates: Iterable[Gate]) -> list[str]:
    """What readers of a report are told: the details of the gates that were noted."""
    return [gate.detail for gate in gates if gate.status == "noted"]
