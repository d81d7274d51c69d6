"""Amounts of parts in cents that sum to those of their whole."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import numpy as np

from salesops_kit.estimators.intervals import Numbers

CENT = Decimal("0.01")


def to_cents(parts: Numbers) -> tuple[Decimal, list[Decimal]]:
    """Amounts as cents whose sum is the rounded sum of the amounts, by largest remainder.

    >>> to_cents([33.335, 33.335, 33.33])
    (Decimal('100.00'), [Decimal('33.34'), Decimal('33.33'), Decimal('33.33')])
    """
    exact = [Decimal(repr(float(part))) for part in np.asarray(parts, float)]
    total = sum(exact, Decimal(0)).quantize(CENT)
    floors = [value.quantize(CENT, rounding=ROUND_FLOOR) for value in exact]
    missing = int((total - sum(floors, Decimal(0))) / CENT)
    order = sorted(range(len(exact)), key=lambda place: (floors[place] - exact[place], place))
    for place in order[:missing]:
        floors[place] += CENT
    return total, floors
