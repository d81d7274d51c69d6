"""A headline of a manifest as a catalog shows it: its value, its change and its trend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.numbers import format_compact_currency, format_currency, format_decimal, format_percent

from salesops_kit.language import _, ngettext
from salesops_kit.sparkline import Sparkline, sparkline

MINUS = "\N{MINUS SIGN}"
LONGEST_TREND = 8
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_CURRENCY = re.compile(r"[A-Z]{3}")
_UNGROUPED = re.compile(r"\d{5,}")
_COUNTED = frozenset({"count", "deals", "rows", "reps", "customers", "leads", "n"})


@dataclass(frozen=True)
class Trend:
    """A line through a headline's quarters, and the same in words."""

    line: Sparkline
    text: str


@dataclass(frozen=True)
class Headline:
    """One headline: what it is, how much (or why that is not known), how that differs from the quarter
    before, how it moved."""

    name: str
    value: str
    definition: str
    reason: str = ""
    change: str = ""
    trend: Trend | None = None


def quarter_number(name: str) -> int | None:
    """Quarters counted on from year 0, so that a gap is seen; None for anything but a quarter.

    >>> quarter_number("2026-Q3") - quarter_number("2025-Q4"), quarter_number("2026")
    (3, None)
    """
    parts = _QUARTER.fullmatch(name)
    return int(parts[1]) * 4 + int(parts[2]) - 1 if parts else None


def headline(
    record: Mapping[str, Any],
    past: Mapping[str, Mapping[str, Any]],
    *,
    quarter: str,
    scope_name: str,
    locale: str,
) -> Headline:
    """A headline of a manifest as readers of ``locale`` see it.

    ``past`` holds the same headline by earlier quarter. The change is against the quarter before: the
    report's own prior value, else what that quarter's report said; empty when neither is known. The
    trend runs over at most eight quarters that have a value, and needs two.
    """
    name = str(record.get("label") or record.get("id", "")).replace("_", " ")
    number = quarter_number(quarter)
    before = next((q for q in past if number is not None and quarter_number(q) == number - 1), None)
    prior = record.get("prior")
    if prior is None and before is not None:
        prior = past[before].get("value")
    return Headline(
        name=name,
        value=format_value(record, locale),
        definition=str(record.get("definition") or ""),
        reason="" if _is_number(record.get("value")) else str(record.get("reason") or ""),
        change=_change(record, prior, quarter, locale),
        trend=_trend(name, scope_name, {**past, quarter: record}, locale),
    )


def format_value(record: Mapping[str, Any], locale: str) -> str:
    """A headline's value by its unit and locale, as its page shows it; ``n/a`` without one.

    >>> format_value({"value": 4833219, "unit": "USD"}, "en"), format_value({"value": None}, "en")
    ('$4.83M', 'n/a')
    """
    value = record.get("value")
    if not _is_number(value):
        return _("n/a")
    unit = "rate" if record.get("kind") == "rate" else str(record.get("unit") or "")
    return _signed(Decimal(repr(value)), unit, _parsed(locale))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _signed(value: Decimal, unit: str, locale: Locale) -> str:
    shown = _rate(value, locale) if unit == "rate" else _amount(abs(value), unit, locale)
    return MINUS + shown if value < 0 and not _is_zero(shown) else shown


def _is_zero(shown: str) -> bool:
    return not any(character.isdecimal() and int(character) for character in shown)


def _amount(size: Decimal, unit: str, locale: Locale) -> str:
    if _CURRENCY.fullmatch(unit):
        return _money(size, unit, locale)
    if unit in ("day", "days"):
        tenth = size.quantize(Decimal("0.1"))
        whole = size >= 10 or tenth == tenth.to_integral_value()
        shown = _plain(size, 0 if whole else 1, locale)
        return ngettext("{n} day", "{n} days", 1 if shown == "1" else 2).format(n=shown)
    if unit in ("ratio", "x", "times"):
        return _("{number}x").format(number=_plain(size, 1, locale))
    return _plain(size, 0 if unit in _COUNTED or size == size.to_integral_value() else 2, locale)


def _rate(value: Decimal, locale: Locale) -> str:
    """A rate without its minus; what is not quite all or nothing is not rounded to it."""
    rounded = value.quantize(Decimal("0.01"))
    bound = ""
    if rounded == 1 and value < 1:
        bound, rounded = ">", Decimal("0.99")
    elif rounded == 0 and value > 0:
        bound, rounded = "<", Decimal("0.01")
    return bound + str(format_percent(abs(rounded), locale=locale))


def _money(size: Decimal, currency: str, locale: Locale) -> str:
    if size:
        step = Decimal(1).scaleb(max(size.adjusted() - 2, 0))
        size = (size / step).to_integral_value() * step
    shown = str(
        format_compact_currency(size, currency, locale=locale, fraction_digits=2 if size >= 1000 else 0)
    )
    if not _UNGROUPED.search(shown):
        return shown
    pattern = locale.currency_formats["standard"].pattern.split(";")[0].replace("0.00", "0")
    return str(format_currency(size, currency, format=pattern, locale=locale, currency_digits=False))


def _plain(size: Decimal, digits: int, locale: Locale) -> str:
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return str(format_decimal(size, format=pattern, locale=locale))


def _change(record: Mapping[str, Any], prior: Any, quarter: str, locale: str) -> str:
    number, value = quarter_number(quarter), record.get("value")
    if number is None or not _is_number(value) or not _is_number(prior):
        return ""
    before = f"{(number - 1) // 4}-Q{(number - 1) % 4 + 1}"
    now, then = Decimal(repr(value)), Decimal(repr(prior))
    size, known = abs(now - then), _parsed(locale)
    unit = str(record.get("unit") or "")
    if record.get("kind") == "rate" or unit == "rate":
        points = (size * 100).quantize(Decimal(1))
        shown = ngettext("{n} point", "{n} points", 1 if points == 1 else 2).format(
            n=_plain(points, 0, known)
        )
        is_same = points == 0
    elif record.get("kind") == "additive" and then > 0:
        is_same = size / then < Decimal("0.005")
        shown = str(format_percent(size / then, format="#,##0%", locale=known))
    else:
        shown = _amount(size, unit, known)
        is_same = _is_zero(shown)
    if is_same:
        return _("as in {quarter}").format(quarter=before)
    if now > then:
        return _("up {change} from {quarter}").format(change=shown, quarter=before)
    return _("down {change} from {quarter}").format(change=shown, quarter=before)


def _trend(name: str, scope_name: str, records: Mapping[str, Mapping[str, Any]], locale: str) -> Trend | None:
    known = sorted(
        (number, quarter, record)
        for quarter, record in records.items()
        if (number := quarter_number(quarter)) is not None and _is_number(record.get("value"))
    )[-LONGEST_TREND:]
    line = sparkline(
        [float(record["value"]) for _number, _quarter, record in known],
        [float(number) for number, _quarter, _record in known],
    )
    if line is None:
        return None
    steps = ", ".join(f"{quarter} {format_value(record, locale)}" for _number, quarter, record in known)
    text = _("{name}, {scope}, quarter by quarter: {steps}")
    return Trend(line, text.format(name=name, scope=scope_name, steps=steps))


@lru_cache(maxsize=32)
def _parsed(locale: str) -> Locale:
    try:
        return Locale.parse(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en")
