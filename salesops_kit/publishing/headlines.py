"""A headline of a manifest as a catalog shows it: its value, its change and its trend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salesops_kit import formats
from salesops_kit.language import _, use_locale
from salesops_kit.sparkline import Sparkline, sparkline

LONGEST_TREND = 8
# A smaller change would be shown as none.
HALF_POINT = 0.005
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")


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
    report's own prior value, named as the report names it, else what that quarter's report said, unless the
    report knows of none for a sum, of which this quarter may have only a part yet; empty when neither is
    known. The trend runs over at most eight quarters that have a value, and needs two.
    """
    name = str(record.get("label") or record.get("id", "")).replace("_", " ")
    number = quarter_number(quarter)
    before = next((q for q in past if number is not None and quarter_number(q) == number - 1), None)
    prior = record.get("prior")
    is_told = "prior" in record and record.get("kind") == "additive"
    if prior is None and before is not None and not is_told:
        prior = past[before].get("value")
    with use_locale(locale):
        return Headline(
            name=name,
            value=_shown(record),
            definition=str(record.get("definition") or ""),
            reason="" if _is_number(record.get("value")) else str(record.get("reason") or ""),
            change=_change(record, prior, quarter),
            trend=_trend(name, scope_name, {**past, quarter: record}),
        )


def format_value(record: Mapping[str, Any], locale: str) -> str:
    """A headline's value by its unit and locale, as its page shows it; ``n/a`` without one.

    >>> format_value({"value": 4833219, "unit": "USD"}, "en"), format_value({"value": None}, "en")
    ('$4.83M', 'n/a')
    """
    with use_locale(locale):
        return _shown(record)


def _shown(record: Mapping[str, Any]) -> str:
    value = record.get("value")
    unit = "rate" if record.get("kind") == "rate" else str(record.get("unit") or "")
    return formats.value(value if _is_number(value) else None, unit)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _change(record: Mapping[str, Any], prior: Any, quarter: str) -> str:
    number, value = quarter_number(quarter), record.get("value")
    if number is None or not _is_number(value) or not _is_number(prior):
        return ""
    before = str(record.get("prior_label") or f"{(number - 1) // 4}-Q{(number - 1) % 4 + 1}")
    size = abs(value - prior)
    unit = str(record.get("unit") or "")
    if record.get("kind") == "rate" or unit == "rate":
        shown = formats.points(size)
        is_same = size < HALF_POINT
    elif record.get("kind") == "additive" and prior > 0:
        shown = formats.percent(size / prior)
        is_same = size / prior < HALF_POINT
    else:
        shown = _shown({**record, "value": size})
        is_same = not any(character.isdecimal() and int(character) for character in shown)
    if is_same:
        return _("as in {quarter}").format(quarter=before)
    if value > prior:
        return _("up {change} from {quarter}").format(change=shown, quarter=before)
    return _("down {change} from {quarter}").format(change=shown, quarter=before)


def _trend(name: str, scope_name: str, records: Mapping[str, Mapping[str, Any]]) -> Trend | None:
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
    steps = ", ".join(f"{quarter} {_shown(record)}" for _number, quarter, record in known)
    text = _("{name}, {scope}, quarter by quarter: {steps}")
    return Trend(line, text.format(name=name, scope=scope_name, steps=steps))
