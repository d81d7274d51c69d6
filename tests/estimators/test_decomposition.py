"""Shapley's parts against the average over all orders, and sums that agree to the cent."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_kit.estimators.decomposition import shapley_parts, whole_parts

SMALL = st.fractions(min_value=-20, max_value=20, max_denominator=7)


def by_orders(before: list[Fraction], after: list[Fraction]) -> list[Fraction]:
    """The definition: each factor's step, averaged over every order in which the factors may change."""
    orders = list(itertools.permutations(range(len(before))))
    parts = [Fraction(0)] * len(before)
    for order in orders:
        now = list(before)
        for place in order:
            value = math.prod(now)
            now[place] = after[place]
            parts[place] += Fraction(math.prod(now) - value) / len(orders)
    return parts


@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=4))
def test_parts_are_the_average_over_all_orders_and_sum_to_the_change(
    pairs: list[tuple[Fraction, Fraction]],
) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    parts = shapley_parts(before, after)
    assert parts == by_orders(before, after)
    assert sum(parts) == math.prod(after) - math.prod(before)


def test_a_factor_that_does_not_change_has_no_part_and_arrays_go_element_by_element() -> None:
    before, after = [np.array([1.0, 2.0]), np.array([3.0, 3.0])], [np.array([2.0, 2.0]), np.array([3.0, 5.0])]
    volume, size = shapley_parts(before, after)
    assert volume.tolist() == [3.0, 0.0]
    assert size.tolist() == [0.0, 4.0]


@given(st.lists(st.fractions(max_denominator=9, min_value=-50, max_value=50), min_size=1, max_size=6))
def test_whole_parts_sum_to_the_total_and_lie_within_one_of_what_they_round(parts: list[Fraction]) -> None:
    total = math.floor(sum(parts))
    rounded = whole_parts(parts, total)
    assert sum(rounded) == total
    assert all(abs(whole - part) < 1 for whole, part in zip(rounded, parts, strict=True))


def test_equal_remainders_go_to_the_first() -> None:
    assert whole_parts([Fraction(1, 2), Fraction(1, 2)], 1) == [1, 0]
    assert whole_parts([Fraction(-1, 2), Fraction(1, 2)], 0) == [0, 0]


def test_a_total_that_is_not_theirs_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be rounded to a total of 9"):
        whole_parts([Fraction(1, 2), Fraction(1, 2)], 9)
