"""Texts as HTML."""

from __future__ import annotations

import re
from html import escape

from salesops_kit import formats

# Browsers end a line between a sign and a currency; not around a word joiner.
_SIGNED_MONEY = re.compile(rf"(?<={formats.MINUS})(?=[^\d\s])")
WORD_JOINER = "\N{WORD JOINER}"


def escaped(text: str) -> str:
    """A text, of data or the kit's own: escaped, hidden characters visible, a minus beside its currency.

    >>> escaped("<b> fell by \N{MINUS SIGN}$3K").replace(WORD_JOINER, "~")
    '&lt;b&gt; fell by −~$3K'
    """
    return escape(_SIGNED_MONEY.sub(WORD_JOINER, formats.visible(text)))
