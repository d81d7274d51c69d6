"""Rung 3: the chance of a deal by stage and age, from earlier quarters on the same day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salesops_kit.analysis.forecast._history import Floats, History, Ints, Stretches
from salesops_kit.analysis.forecast._view import PastQuarter, View, due
from salesops_kit.periods import Period

# What a quarter counts for less than the one after it: customers, prices and teams change.
RECENCY = 0.85
# Deals that the group above counts for. A team leans more on the company than a group on a wider one.
STRENGTH, COMPANY_STRENGTH = 12.0, 40.0
AGES = (14, 35, 70)
_NO_PAST = 0.25


@dataclass(frozen=True)
class Conversion:
    """The chance of being won in the quarter by group; every group is a tuple from wide to narrow."""

    rates: Mapping[str, float]

    def of(self, found: Groups) -> Floats:
        """The chance of each deal: that of the narrowest of its groups that is known."""
        result = np.full(len(found.levels[0]), _NO_PAST)
        for level in found.levels:
            result = np.array(
                [self.rates.get(key, known) for key, known in zip(level, result, strict=True)], dtype=float
            )
        return np.asarray(result[found.cell])


@dataclass(frozen=True)
class Groups:
    """Groups of deals: ``levels`` from wide to narrow, one key per distinct cell, and each deal's cell."""

    levels: Sequence[Sequence[str]]
    cell: Ints


def groups(history: History, rows: Stretches, day: int, target: Period) -> Groups:
    """The groups of each deal on a day, as text keys."""
    stages = ["/".join(pair) for pair in history.stages]
    parts: list[tuple[str, Ints, Sequence[str] | None]] = [
        ("type", history.type[rows.deal], history.types),
        ("due", due(rows, target), None),
        ("stage", rows.stage, stages),
        ("age", np.searchsorted(AGES, day - rows.stage_since, side="right"), None),
        ("category", rows.category, history.categories),
    ]
    code = np.zeros(len(rows), dtype=np.int64)
    sizes = [int(codes.max(initial=0)) + 1 for _name, codes, _names in parts]
    for size, (_name, codes, _names) in zip(sizes, parts, strict=True):
        code = code * size + codes
    found, cell = np.unique(code, return_inverse=True)
    cells = np.column_stack(np.unravel_index(found, sizes))
    levels: list[list[str]] = [[""] * len(cells)]
    for place, (name, _codes, names) in enumerate(parts):
        words = [f"|{name}={names[code] if names else code}" for code in cells[:, place]]
        levels.append([before + word for before, word in zip(levels[-1], words, strict=True)])
    return Groups(levels, cell)


def fit(view: View, past: Sequence[PastQuarter]) -> Conversion:
    """Conversion of each group over earlier quarters, pulled to the group that holds it.

    Won / deals, a quarter counting ``RECENCY`` times the one after it. With the company's figures a team's
    group is pulled to the company's chance of the same group, else to the team's wider group.
    """
    company = (view.company or {}).get("conversion", {})
    won, deals = _counts(view.history, past)
    rates: dict[str, float] = {}
    for key in sorted(deals, key=lambda text: (text.count("|"), text)):
        above = rates.get(key.rpartition("|")[0], _NO_PAST)
        strength = STRENGTH
        if key in company:
            above, strength = company[key], COMPANY_STRENGTH
        rates[key] = (won[key] + strength * above) / (deals[key] + strength)
    return Conversion({**company, **rates})


def _counts(history: History, past: Sequence[PastQuarter]) -> tuple[dict[str, float], dict[str, float]]:
    won: dict[str, float] = {}
    deals: dict[str, float] = {}
    for each in past:
        weight = RECENCY ** (each.ago - 1)
        found = groups(history, each.deals.rows, each.day, each.quarter)
        count = np.bincount(found.cell, minlength=len(found.levels[0]))
        wins = np.bincount(found.cell, weights=each.deals.won, minlength=len(count))
        for level in found.levels:
            for key, n, w in zip(level, count, wins, strict=True):
                deals[key] = deals.get(key, 0.0) + weight * float(n)
                won[key] = won.get(key, 0.0) + weight * float(w)
    return won, deals


def chances(view: View, conversion: Conversion) -> Floats:
    """The chance of each deal that is open at the origin."""
    rows = view.open_deals.rows
    if not len(rows):
        return np.zeros(0)
    return conversion.of(groups(view.history, rows, view.today, view.target))
