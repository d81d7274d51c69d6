"""Sentences from numbers: a claim needs an interval without zero; where there is none, that is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.language import _

# A smaller change than half a percent would be shown as none.
LEAST_CHANGE = 0.005


@dataclass(frozen=True)
class Exhibit:
    """One message and what shows it: a picture, or a table of some columns when there is none, or
    nothing but the sentence with ``is_text``.

    ``alternative`` describes the picture in words; empty means that the message does. ``said`` are notes
    of the table that the message says already. ``table`` stands for the frame that the message was made
    of where readers need it in another shape; ``units`` are those of its columns. ``shaded_by`` names the
    column that heads the rows of a table whose ``columns`` are shares, shaded from none up.
    """

    message: str
    figure: Figure | None = None
    columns: tuple[str, ...] = ()
    alternative: str = ""
    is_text: bool = False
    said: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    shaded_by: str = ""


def is_evidence(low: Any, high: Any) -> bool:
    """Whether an interval of a difference leaves out zero.

    >>> is_evidence(0.02, 0.1), is_evidence(-0.02, 0.1), is_evidence(None, 0.1)
    (True, False, False)
    """
    if formats.is_missing(low) or formats.is_missing(high):
        return False
    return bool(low > 0 or high < 0)


def p_text(p_value: float, digits: int = 2) -> str:
    """A p-value with ``digits`` decimals, never rounded to zero.

    >>> p_text(0.264), p_text(0.00004, digits=3)
    ('p = 0.26', 'p < 0.001')
    """
    least = 10.0**-digits
    if p_value < least:
        return _("p < {p}").format(p=formats.number(least, digits))
    return _("p = {p}").format(p=formats.number(p_value, digits))


def no_evidence(what: str, *, p_value: Any = None, deals_needed: Any = None) -> str:
    """That a difference is not more than chance, with how many more deals would tell.

    >>> no_evidence("Win rates by rep", p_value=0.26)
    'Win rates by rep show no evidence of a difference (p = 0.26).'
    """
    sentence = _("{what} show no evidence of a difference").format(what=what)
    if not formats.is_missing(p_value):
        sentence += f" ({p_text(p_value)})"
    sentence += "."
    if not formats.is_missing(deals_needed):
        sentence += " " + _("About {n} closed deals in each would tell.").format(
            n=formats.count(deals_needed)
        )
    return sentence


def ranged(low: Any, high: Any, show: Callable[[Any], str]) -> str:
    """A range for a column or a bracket: empty where an end is missing or both ends read alike.

    >>> ranged(0.42, 0.61, formats.percent), ranged(0, 0, formats.percent), ranged(None, 1, formats.count)
    ('42% to 61%', '', '')
    """
    if formats.is_missing(low) or formats.is_missing(high) or show(low) == show(high):
        return ""
    return formats.interval(low, high, show)


def with_range(value: Any, low: Any, high: Any, show: Callable[[Any], str]) -> str:
    """A figure with its range in brackets, without one that tells nothing.

    >>> with_range(0.5, 0.42, 0.61, formats.percent), with_range(0, 0, 0, formats.percent)
    ('50% (42% to 61%)', '0%')
    """
    between = ranged(low, high, show)
    if not between:
        return show(value)
    return _("{value} ({interval})").format(value=show(value), interval=between)


def compared(value: Any, other: Any, *, name: str, show: Callable[[Any], str]) -> str:
    """What was counted beside the same of another period: a fact, so the change is said as it is.

    ``name`` is the other period's. Where either is missing nothing is said; a change needs a positive
    figure to be a share of.

    >>> compared(120, 100, name="2026-Q2", show=formats.count)
    'up 20% from 2026-Q2 (100)'
    >>> compared(5, 0, name="2026-Q2", show=formats.count)
    '2026-Q2: 0'
    """
    if formats.is_missing(value) or formats.is_missing(other):
        return ""
    beside = show(other)
    if other <= 0:
        return _("{period}: {value}").format(period=name, value=beside)
    share = float(value) / float(other) - 1
    change = formats.percent(abs(share))
    if abs(share) < LEAST_CHANGE:
        return _("as in {period} ({value})").format(period=name, value=beside)
    sentence = (
        _("up {change} from {period} ({value})") if share > 0 else _("down {change} from {period} ({value})")
    )
    return sentence.format(change=change, period=name, value=beside)


def of_plan(value: Any, target: Any, show: Callable[[Any], str]) -> str:
    """How much of a plan is reached; empty without a plan, the plan alone where it is zero.

    >>> of_plan(80, 100, formats.count), of_plan(None, 100, formats.count)
    ('80% of plan (100)', 'plan 100')
    """
    if formats.is_missing(target):
        return ""
    if formats.is_missing(value) or target <= 0:
        return _("plan {value}").format(value=show(target))
    reached = formats.percent(float(value) / float(target))
    return _("{share} of plan ({value})").format(share=reached, value=show(target))
