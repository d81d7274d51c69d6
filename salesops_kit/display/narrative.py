"""Sentences from numbers: a claim needs an interval without zero; where there is none, that is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from salesops_kit.display import formats
from salesops_kit.language import _


@dataclass(frozen=True)
class Exhibit:
    """One message and what shows it: a picture, or a table of some columns when there is none, or
    nothing but the sentence with ``is_text``.

    ``alternative`` describes the picture in words; empty means that the message does. ``said`` are notes
    of the table that the message says already.
    """

    message: str
    figure: Figure | None = None
    columns: tuple[str, ...] = ()
    alternative: str = ""
    is_text: bool = False
    said: tuple[str, ...] = ()


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
