"""How many of a page's teams or reps a sentence speaks of."""

from __future__ import annotations

from salesops_kit import formats
from salesops_kit.language import _, ngettext


def counted_parts(part: str, n: int) -> str:
    """So many teams, reps or whatever the rows of a table are."""
    texts = {
        "team": ngettext("{n} team", "{n} teams", n),
        "rep_name": ngettext("{n} rep", "{n} reps", n),
        "owner_id": ngettext("{n} rep", "{n} reps", n),
    }
    return texts.get(part, ngettext("{n} part", "{n} parts", n)).format(n=formats.count(n))


def share_of_parts(part: str, n: int, judged: int) -> str:
    """How many of the parts that can be judged: "2 of 3 teams", "all 3 teams"; one is not counted.

    >>> share_of_parts("team", 2, 3), share_of_parts("team", 3, 3), share_of_parts("rep_name", 1, 1)
    ('2 of 3 teams', 'all 3 teams', '1 rep')
    """
    whole = counted_parts(part, judged)
    if n < judged:
        return _("{n} of {all}").format(n=formats.count(n), all=whole)
    return _("all {parts}").format(parts=whole) if judged > 1 else whole
