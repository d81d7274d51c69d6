"""The frame of a page's first numbers, from figures and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = [
    "id", "label", "value", "unit", "kind", "n", "low", "high", "definition", "target", "prior", "reason",
    "prior_label",
]  # fmt: skip
MISSING = float("nan")


@dataclass(frozen=True)
class Figure:
    """One number from ``n`` records with its interval, what was aimed at and the number before; ``reason``
    says why it is missing, if it is, ``prior_label`` of when the number before is, where not of the frame's
    own."""

    value: float
    n: int
    low: float = MISSING
    high: float = MISSING
    target: float = MISSING
    prior: float = MISSING
    reason: str = ""
    prior_label: str = ""


def headline_frame(
    figures: Mapping[str, Figure], texts: Mapping[str, tuple[str, str, str, str]]
) -> pd.DataFrame:
    """One row per entry of ``texts`` (id to label, unit, kind, definition), in its order; columns
    ``COLUMNS``. A number that is known has no reason.

    >>> frame = headline_frame({"won": Figure(2.0, 2, reason="x")}, {"won": ("Won", "deals", "additive", "")})
    >>> frame[["id", "value", "reason"]].to_dict("records")
    [{'id': 'won', 'value': 2.0, 'reason': ''}]
    """
    rows = [
        (
            name, label, figure.value, unit, kind, figure.n, figure.low, figure.high, definition,
            figure.target, figure.prior, figure.reason if np.isnan(figure.value) else "",
            figure.prior_label,
        )
        for name, (label, unit, kind, definition) in texts.items()
        for figure in [figures[name]]
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
