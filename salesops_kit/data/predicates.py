"""Conditions of checks and segments as engine expressions."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_kit.policy.model import Condition
from salesops_kit.policy.values import AS_OF, COLUMN_MARK, typed

_COMPARE: dict[str, Any] = {
    "equals": operator.eq, "not_equals": operator.ne, "above": operator.gt, "at_least": operator.ge,
    "below": operator.lt, "at_most": operator.le, "before": operator.lt, "after": operator.gt,
}  # fmt: skip


def holds(table: ir.Table, conditions: Sequence[Condition], as_of: dt.date) -> ir.BooleanValue:
    """Whether every condition holds for a row; without conditions it does.

    A missing value is ``empty`` and nothing else: it is neither equal nor unequal to anything. Texts are
    compared without case and without spaces around them; text of nothing but spaces is empty.
    """
    parts = [_holds(table, condition, as_of) for condition in conditions]
    return functools.reduce(operator.and_, parts, ibis.literal(value=True))


def _holds(table: ir.Table, condition: Condition, as_of: dt.date) -> ir.BooleanValue:
    column = table[condition.column]
    if condition.operator in ("empty", "filled"):
        is_empty = is_missing(column)
        return is_empty if condition.operator == "empty" else ~is_empty
    if column.type().is_string():
        column = column.strip().lower()
    if condition.operator == "older_than_days":
        days = int(Decimal(str(condition.value)))
        return is_true(column < _date(as_of - dt.timedelta(days=days), column))
    if condition.operator in ("in", "not_in"):
        values = [_value(table, text, column, as_of, condition.operator) for text in condition.value]
        found = functools.reduce(operator.or_, (column == value for value in values))
        return is_true(found if condition.operator == "in" else ~found)
    value = _value(table, str(condition.value), column, as_of, condition.operator)
    if condition.operator == "contains":
        return is_true(column.contains(value))
    if condition.operator == "starts_with":
        return is_true(column.startswith(value))
    return is_true(_COMPARE[condition.operator](column, value))


def is_missing(column: ir.Value) -> ir.BooleanValue:
    """Whether a value is null or text of nothing but spaces."""
    if column.type().is_string():
        return column.isnull() | (column.strip() == "")
    return column.isnull()


def is_true(flag: ir.Value) -> ir.BooleanValue:
    """Whether a flag is set or a comparison holds; where it is missing, it does not."""
    return ibis.coalesce(flag, ibis.literal(value=False))


def _value(table: ir.Table, text: str, column: ir.Value, as_of: dt.date, name: str) -> Any:
    if text.startswith(COLUMN_MARK):
        other = table[text.removeprefix(COLUMN_MARK)]
        return other.strip().lower() if other.type().is_string() else other
    kind = column.type()
    if kind.is_date() or kind.is_timestamp():
        return _date(as_of if text == AS_OF else dt.date.fromisoformat(text), column)
    if kind.is_boolean():
        return typed(text, "bool")
    if kind.is_string():
        return text.strip().lower()
    number = typed(text, "number", name)
    assert isinstance(number, Decimal)
    # An integer keeps a decimal column exact, where a float would turn it into one.
    return int(number) if number == number.to_integral_value() else float(number)


def _date(day: dt.date, column: ir.Value) -> Any:
    if column.type().is_timestamp():
        return ibis.timestamp(dt.datetime.combine(day, dt.time(), dt.UTC))
    return ibis.literal(day)
