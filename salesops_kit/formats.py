"""Numbers, money, dates and data text as a reader of the current locale expects to see them.

Every function takes a plain value, gives a string, and shows what is missing or not finite as a
translated "n/a": a page never holds NaN or inf.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from babel import Locale, UnknownLocaleError
from babel import dates as babel_dates
from babel import numbers as babel_numbers
from babel.lists import format_list

from salesops_kit.language import DEFAULT_LOCALE, _, current_locale, ngettext

MINUS = "\N{MINUS SIGN}"
_CURRENCY = re.compile(r"[A-Z]{3}")
_UNGROUPED = re.compile(r"\d{5,}")
_SIGNIFICANT = 3
# From here on a figure is written with an exponent: longer ones are no longer read, and decimal
# arithmetic keeps 28 digits.
_LARGEST = Decimal("1e15")
_LARGEST_RATE = Decimal("1e6")
_HALF = Decimal("0.5")
_HALF_CENT = Decimal("0.005")
_PERCENT_UNITS = frozenset({"rate", "share", "percent", "%"})
_DAY_UNITS = frozenset({"day", "days"})
_COUNT_UNITS = frozenset({"count", "deals", "rows", "reps", "customers", "leads", "n"})
_RATIO_UNITS = frozenset({"ratio", "x", "times"})
# Marks, separators and private or unassigned characters take no room of their own or turn the
# reading direction, so a name that holds one could pass for another name.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# pandas' NA and NaT by name, so that this module needs no pandas.
_MISSING_TYPES = frozenset({"NAType", "NaTType"})
_EMOJI_JOINERS = frozenset({"\u200d"})


def visible(text: object) -> str:
    """Text from data with every control, zero-width and direction-changing character spelled out.

    A line break or tab becomes a space; a zero-width joiner between two symbols (one emoji made of
    several) stays. Everything else that has no shape of its own reads as ``\u27e8U+200B\u27e9``.

    >>> visible("EMEA\u200b")
    'EMEA⟨U+200B⟩'
    """
    raw = "" if text is None else str(text)
    if raw.isascii() and raw.isprintable():
        return raw
    shown: list[str] = []
    for position, character in enumerate(raw):
        if character in "\t\r\n":
            shown.append(" ")
        elif character in _EMOJI_JOINERS and _joins_symbols(raw, position):
            shown.append(character)
        elif unicodedata.category(character) in _HIDDEN_CATEGORIES or character in "\u115f\u1160\u3164\uffa0":
            shown.append(f"\u27e8U+{ord(character):04X}\u27e9")
        else:
            shown.append(character)
    return "".join(shown)


def _joins_symbols(raw: str, position: int) -> bool:
    around = raw[position - 1 : position] + raw[position + 1 : position + 2]
    return len(around) == 2 and all(unicodedata.category(c) in {"So", "Mn", "Sk"} for c in around)


def is_missing(value: Any) -> bool:
    """True for None, NaN, NaT, NA and the infinities: what a reader is shown as "n/a"."""
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, Decimal):
        return not value.is_finite()
    if isinstance(value, str | dt.date | bool):
        return False
    try:
        return not math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def missing() -> str:
    """What stands where a value is missing."""
    return _("n/a")


def text(value: Any) -> str:
    """A value from data as text, hidden characters spelled out; "n/a" when it is missing."""
    return missing() if is_missing(value) else visible(value)


def number(value: Any, digits: int = 0) -> str:
    """A number with the locale's grouping and exactly ``digits`` decimals; with an exponent from
    1e15 on. What rounds to zero has no sign.

    >>> number(6711), number(1.25, digits=1), number(-0.2), number(1.5e18), number(None)
    ('6,711', '1.2', '0', '1.5E18', 'n/a')
    """
    if is_missing(value):
        return missing()
    amount = _decimal(value)
    if abs(amount) >= _LARGEST:
        return _scientific(amount)
    rounded = amount.quantize(Decimal(1).scaleb(-digits))
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    shown = babel_numbers.format_decimal(abs(rounded), format=pattern, locale=_locale())
    return MINUS + shown if rounded < 0 else shown


def count(value: Any) -> str:
    """A count: a whole number with the locale's grouping."""
    return number(value, 0)


def ratio(value: Any, digits: int = 1) -> str:
    """A multiple, such as coverage: 3.2x.

    >>> ratio(3.21)
    '3.2x'
    """
    return missing() if is_missing(value) else _("{number}x").format(number=number(value, digits))


def percent(value: Any, digits: int = 0) -> str:
    """A rate (0-1) as a percentage. What is not quite all or nothing is not rounded to it.

    >>> percent(0.6315), percent(0.6315, digits=1), percent(0.9996)
    ('63%', '63.2%', '>99%')
    """
    if is_missing(value):
        return missing()
    rate = _decimal(value)
    if abs(rate) >= _LARGEST_RATE:
        return _("{number}%").format(number=_scientific(rate * 100))
    step = Decimal(1).scaleb(-digits - 2)
    rounded = rate.quantize(step)
    if rounded == 1 and rate < 1:
        return ">" + _percent(1 - step, digits)
    if rounded == 0 and rate > 0:
        return "<" + _percent(step, digits)
    return _percent(rate, digits)


def points(value: Any, digits: int = 0) -> str:
    """A difference of two rates in percentage points, without its sign.

    >>> points(-0.123)
    '12 points'
    """
    if is_missing(value):
        return missing()
    shown = abs(_decimal(value) * 100)
    if shown < _LARGEST:
        shown = shown.quantize(Decimal(1).scaleb(-digits))
    singular = shown == 1
    return ngettext("{n} point", "{n} points", 1 if singular else 2).format(n=number(shown, digits))


def money(value: Any, currency: str = "USD", *, exact: bool = False, signed: bool = False) -> str:
    """Money, compact with three significant digits in the locale's own units ($1.23M, 123万), or
    ``exact`` to the currency's minor unit. ``signed`` writes the plus as well as the minus.

    >>> money(1_234_567), money(999_950), money(-1234.5, exact=True), money(75_000, signed=True)
    ('$1.23M', '$1M', '−$1,234.50', '+$75K')
    """
    if is_missing(value):
        return missing()
    amount = _decimal(value)
    if abs(amount) < _HALF_CENT or (not exact and abs(amount) < _HALF):
        amount = Decimal(0)
    size = abs(amount)
    shown = _exact_money(size, currency) if exact else _compact_money(size, currency)
    if amount < 0:
        return MINUS + shown
    return "+" + shown if signed and amount > 0 else shown


def days(value: Any) -> str:
    """A duration in days, whole from ten days on, with one decimal below when it has one.

    >>> days(57.2), days(1), days(2.54)
    ('57 days', '1 day', '2.5 days')
    """
    if is_missing(value):
        return missing()
    shown = days_number(value)
    return ngettext("{n} day", "{n} days", 1 if shown == "1" else 2).format(n=shown)


def days_number(value: Any) -> str:
    """The figure of :func:`days` without its unit, for a chart whose axis names the unit."""
    if is_missing(value):
        return missing()
    amount = _decimal(value)
    if abs(amount) >= _LARGEST:
        return _scientific(amount)
    tenth = amount.quantize(Decimal("0.1"))
    return number(amount, 0 if abs(amount) >= 10 or tenth == tenth.to_integral_value() else 1)


def date(value: Any) -> str:
    """A business date in the locale's medium form.

    >>> date(dt.date(2026, 9, 30))
    'Sep 30, 2026'
    """
    if is_missing(value):
        return missing()
    day = value.date() if isinstance(value, dt.datetime) else value
    if isinstance(day, str):
        day = dt.date.fromisoformat(day)
    return babel_dates.format_date(day, format="medium", locale=_locale())


def interval(low: Any, high: Any, show: Callable[[Any], str]) -> str:
    """A range, each end written by ``show``, ends that read alike once; "n/a" when both are missing.

    >>> interval(0.42, 0.61, percent), interval(0.421, 0.419, percent)
    ('42% to 61%', '42%')
    """
    if is_missing(low) and is_missing(high):
        return missing()
    if show(low) == show(high):
        return show(low)
    return _("{low} to {high}").format(low=show(low), high=show(high))


def listed(parts: Sequence[str]) -> str:
    """Several phrases as one, joined as the language joins them.

    >>> listed(["a", "b", "c"])
    'a, b, and c'
    """
    return format_list(list(parts), style="standard", locale=_locale())


def value(amount: Any, unit: str = "", *, exact: bool = False) -> str:
    """Any headline or cell by its unit: a currency code, ``rate``, ``days``, ``ratio``, ``date``,
    a counted noun such as ``deals``, or nothing for a plain number or text.

    >>> value(0.63, "rate"), value(57, "days"), value(2_500_000, "USD"), value(412, "deals")
    ('63%', '57 days', '$2.5M', '412')
    """
    if is_missing(amount):
        return missing()
    if isinstance(amount, str):
        return visible(amount)
    if isinstance(amount, dt.date):
        return date(amount)
    if _CURRENCY.fullmatch(unit):
        return money(amount, unit, exact=exact)
    if unit in _PERCENT_UNITS:
        return percent(amount, 1 if exact else 0)
    if unit in _DAY_UNITS:
        return days(amount)
    if unit in _RATIO_UNITS:
        return ratio(amount)
    whole = unit in _COUNT_UNITS or _decimal(amount) == _decimal(amount).to_integral_value()
    return number(amount, 0 if whole or abs(_decimal(amount)) >= _LARGEST else 2)


def _percent(rate: Decimal, digits: int) -> str:
    pattern = _locale().percent_formats[None].pattern
    if digits:
        pattern = pattern.replace("##0", "##0." + "0" * digits, 1)
    shown = babel_numbers.format_percent(abs(rate), format=pattern, locale=_locale())
    is_zero = rate.quantize(Decimal(1).scaleb(-digits - 2)) == 0
    return MINUS + shown if rate < 0 and not is_zero else shown


def _scientific(amount: Decimal) -> str:
    shown = babel_numbers.format_scientific(abs(amount), format="0.##E0", locale=_locale())
    return MINUS + shown if amount < 0 else shown


def _huge_money(size: Decimal, currency: str) -> str:
    return f"{babel_numbers.get_currency_symbol(currency, locale=_locale())}{_scientific(size)}"


def _exact_money(size: Decimal, currency: str) -> str:
    if size >= _LARGEST:
        return _huge_money(size, currency)
    return babel_numbers.format_currency(size, currency, locale=_locale())


def _compact_money(size: Decimal, currency: str) -> str:
    if size >= _LARGEST:
        return _huge_money(size, currency)
    rounded = _three_significant(size)
    shown = babel_numbers.format_compact_currency(
        rounded, currency, locale=_locale(), fraction_digits=_SIGNIFICANT - 1 if rounded >= 1000 else 0
    )
    if _UNGROUPED.search(shown):
        # Some locales have no short form below a million, and Babel then leaves out the grouping.
        return babel_numbers.format_currency(
            rounded, currency, locale=_locale(), currency_digits=False, format=_whole_money_pattern()
        )
    return shown


def _whole_money_pattern() -> str:
    return _locale().currency_formats["standard"].pattern.split(";")[0].replace("0.00", "0")


def _three_significant(size: Decimal) -> Decimal:
    if size == 0:
        return size
    step = Decimal(1).scaleb(max(size.adjusted() - _SIGNIFICANT + 1, 0))
    return (size / step).to_integral_value() * step


def _decimal(amount: Any) -> Decimal:
    if isinstance(amount, Decimal):
        return amount
    if isinstance(amount, int):
        return Decimal(amount)
    try:
        return Decimal(repr(float(amount)))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise TypeError(f"expected a number to show, got {type(amount).__name__}") from error


def is_locale(name: str) -> bool:
    """Whether numbers and dates can be shown as a locale of this name writes them."""
    try:
        Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return False
    return True


def _locale() -> Locale:
    return _parsed(current_locale())


@lru_cache(maxsize=32)
def _parsed(name: str) -> Locale:
    return Locale.parse(name.replace("-", "_") if is_locale(name) else DEFAULT_LOCALE)
