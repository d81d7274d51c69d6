"""How a story writes amounts: in the currency of its frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from salesops_kit import formats


def currency_of(frame: pd.DataFrame) -> str:
    """The currency that a frame's amounts are in."""
    return str(frame.attrs.get("currency", "USD"))


def money_of(frame: pd.DataFrame) -> Callable[[Any], str]:
    """What writes an amount of a frame as money.

    >>> frame = pd.DataFrame()
    >>> frame.attrs["currency"] = "EUR"
    >>> money_of(frame)(1500)
    '€1.5K'
    """
    currency = currency_of(frame)
    return lambda amount: formats.money(amount, currency)
