"""Forecasts of parts and of their whole made to agree (minimum trace), and split to the cent."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import numpy as np

from salesops_kit.estimators.intervals import Array, Numbers

CENT = Decimal("0.01")


def reconcile(whole: float, parts: Numbers, covariance: Numbers | None = None) -> tuple[float, Array]:
    """The whole and its parts, changed as little as their errors allow, so that the parts sum to it.

    Minimum trace (Wickramasinghe, Athanasopoulos and Hyndman 2019): with the base forecasts ``y`` (the
    whole first), the summing matrix ``S`` and the covariance ``W`` of their errors, the reconciled
    forecasts are ``S (S' W^-1 S)^-1 S' W^-1 y``. Here they are computed as
    ``y - W c (c' W c)^-1 c' y`` with ``c = (1, -1, ..., -1)``, which needs no inverse. ``covariance`` is a
    matrix, or variances alone; without one all are alike (OLS). Where no error varies the gap is
    spread evenly.

    >>> whole, parts = reconcile(100, [55, 35])
    >>> round(whole, 2), [round(float(part), 2) for part in parts]
    (96.67, [58.33, 38.33])
    """
    base = np.concatenate([[whole], np.asarray(parts, float)])
    spread = np.eye(base.size) if covariance is None else np.asarray(covariance, float)
    if spread.ndim == 1:
        spread = np.diag(spread)
    contrast = np.concatenate([[1.0], -np.ones(base.size - 1)])
    along = spread @ contrast
    total = float(contrast @ along)
    if not total > 0:
        along, total = contrast, float(contrast @ contrast)
    result = base - along * float(contrast @ base) / total
    return float(result[1:].sum()), result[1:]


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
