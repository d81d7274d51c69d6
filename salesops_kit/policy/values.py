"""Values of conditions, typed by the column that they are compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from salesops_kit.policy.model import WITHOUT_VALUE, Condition

AS_OF = "as_of"
COLUMN_MARK = "@"
NUMBERS = ("money", "number", "int", "rate")
DATES = ("date", "instant")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_ORDERED = ("above", "at_least", "below", "at_most")
_DATED = ("before", "after", "older_than_days")
_TEXTUAL = ("contains", "starts_with")

Value = str | bool | Decimal | dt.date


def allowed_operators(kind: str) -> tuple[str, ...]:
    """The operators that a column of a type can be compared with.

    >>> "before" in allowed_operators("date"), "before" in allowed_operators("money")
    (True, False)
    """
    common = (*WITHOUT_VALUE, "equals", "not_equals", "in", "not_in")
    if kind in NUMBERS:
        return (*common, *_ORDERED)
    if kind in DATES:
        return (*common, *_DATED)
    if kind == "bool":
        return (*WITHOUT_VALUE, "equals", "not_equals")
    return (*common, *_TEXTUAL)


def texts_of(condition: Condition) -> Sequence[str]:
    """The values of a condition as they are written."""
    if condition.operator in WITHOUT_VALUE:
        return ()
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def typed(text: str, kind: str, operator: str = "equals") -> Value:
    """A written value in the type of its column; raises ``ValueError`` saying what was expected.

    >>> typed("1000", "money"), typed("2026-01-31", "date"), typed("yes", "bool")
    (Decimal('1000'), datetime.date(2026, 1, 31), True)
    """
    if kind in NUMBERS or operator == "older_than_days":
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ValueError("a number") from None
        if not number.is_finite():
            raise ValueError("a number")
        return number
    if kind in DATES:
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"a date such as 2026-07-31, or {AS_OF}") from None
    if kind == "bool":
        if text.casefold() not in _WORDS:
            raise ValueError("true or false")
        return _WORDS[text.casefold()]
    return text
