"""How much room words take in a chart, and how they are kept within it."""

from __future__ import annotations

import unicodedata
from functools import cache

from salesops_kit.formats import visible

# A picture 420 points wide is 320 px on a phone, where 12.5 points are 9.5 px, and about 560 px on a desk.
WIDTH_POINTS = 420.0
TEXT_POINTS = 13.0
SMALL_POINTS = 12.5
LINE_POINTS = 15.5
MARGIN_POINTS = 6.0
LABEL_LIMIT_EM = 11.5
_EM = 0.56
_EM_OF = dict.fromkeys("ijlI.,:;'|!()[]ftr -", 0.36) | dict.fromkeys("MWmw@%&—…", 0.95)
_EM_CAPITAL = 0.72
# The reader's browser draws the text in a font of its own, which may run wider than the measured one.
_WIDER_FONT = 1.14


def text_em(text: str) -> float:
    """The width of a text in em, estimated alike on every machine: wide characters count one.

    >>> text_em("ab"), text_em("Wi"), text_em("销售")
    (1.12, 1.31, 2.0)
    """
    return round(sum(map(_character_em, text)), 4)


@cache
def _character_em(character: str) -> float:
    if character in _EM_OF:
        return _EM_OF[character]
    if unicodedata.east_asian_width(character) in "WF":
        return 1.3 if unicodedata.category(character) == "So" else 1.0
    if unicodedata.combining(character):
        return 0.0
    # Symbols such as a square or an arrow are as wide as a capital, or wider.
    return _EM_CAPITAL if character.isupper() else 0.9 if unicodedata.category(character)[0] == "S" else _EM


def text_points(text: str, size: float = SMALL_POINTS) -> float:
    """How much room a text needs in points, also in a reader's font that runs wider than the measured
    one."""
    return text_em(text) * size * _WIDER_FONT


def shorten(text: object, limit_em: float) -> str:
    """A text from data on one line of ``limit_em``, hidden characters spelled out.

    >>> shorten("Northern Europe", 5)
    'Northern…'
    """
    shown = visible(text).strip()
    return shown if text_em(shown) <= limit_em else _cut(shown, limit_em - 0.95).rstrip() + "…"


def wrap(
    text: str, points: float = WIDTH_POINTS - 2 * MARGIN_POINTS, size: float = SMALL_POINTS
) -> list[str]:
    """A text as the lines that it takes in a width; a word that is wider than a line is broken."""
    lines, rest, limit = [], text.strip(), points / (size * _WIDER_FONT)
    while text_em(rest) > limit:
        line, rest = _break(rest, limit)
        lines.append(line)
    return [*lines, rest]


def fit(text: object, limit_em: float = LABEL_LIMIT_EM) -> str:
    """A label from data, hidden characters spelled out, on at most two lines of ``limit_em``.

    >>> fit("Enterprise accounts, northern Europe and the Baltics", 10)
    'Enterprise accounts,\\nnorthern Europe a…'
    """
    shown = visible(text).strip()
    if text_em(shown) <= limit_em:
        return shown
    first, rest = _break(shown, limit_em)
    if text_em(rest) > limit_em:
        rest = _cut(rest, limit_em - 1).rstrip() + "…"
    return f"{first}\n{rest}"


def _cut(text: str, limit_em: float) -> str:
    while text and text_em(text) > limit_em:
        text = text[:-1]
    return text


def _break(text: str, limit_em: float) -> tuple[str, str]:
    head = _cut(text, limit_em)
    space = head.rfind(" ")
    if text[len(head) : len(head) + 1] != " " and space > 0:
        head = head[:space]
    return head.rstrip(), text[len(head) :].strip()
