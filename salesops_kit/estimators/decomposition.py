"""Exact shares of the factors in the change of a product (Shapley), and sums that agree to the cent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any


def shapley_parts(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    """How much of the change of a product each factor explains, averaged over every order of change.

    The parts sum to the product of ``after`` less the product of ``before``. Numbers of any kind do:
    fractions give exact parts, arrays are taken element by element. A factor that does not change has
    a part of zero.

    >>> from fractions import Fraction as F
    >>> [int(part) for part in shapley_parts([F(10), F(4)], [F(12), F(6)])]
    [10, 22]
    """
    count = len(before)
    exact = all(isinstance(value, int | Fraction) for value in (*before, *after))
    parts = []
    for place in range(count):
        others = [other for other in range(count) if other != place]
        total: Any = 0
        for size in range(count):
            orders = Fraction(math.factorial(size) * math.factorial(count - size - 1), math.factorial(count))
            for changed in itertools.combinations(others, size):
                product: Any = orders if exact else float(orders)
                for other in others:
                    product = product * (after[other] if other in changed else before[other])
                total = total + product
        parts.append(total * (after[place] - before[place]))
    return parts


def whole_parts(parts: Sequence[Fraction], total: int) -> list[int]:
    """The parts as whole numbers (of cents) that sum to ``total``, by largest remainder.

    Each part is rounded down, and the units that are then left go to the parts that lost most; of equal
    ones the first comes first. ``total`` must be within the number of parts of their sum.

    >>> whole_parts([Fraction(100, 3)] * 3, 100)
    [34, 33, 33]
    """
    floors = [math.floor(part) for part in parts]
    left = total - sum(floors)
    if not 0 <= left <= len(floors):
        raise ValueError(f"parts that sum to {float(sum(parts))} cannot be rounded to a total of {total}")
    by_loss = sorted(range(len(parts)), key=lambda place: (floors[place] - parts[place], place))
    for place in by_loss[:left]:
        floors[place] += 1
    return floors
