"""What a reader must know before the numbers: whether they tie, and what of them is under a flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from salesops_kit import formats
from salesops_kit.language import _, ngettext
from salesops_kit.settings import COMPANY

MOST_KINDS = 4
KEPT = "kept"


def quality(flags: pd.DataFrame, ties: pd.DataFrame, *, currency: str) -> dict[str, Any]:
    """The two sentences of a page's quality notice, from ``quality.flags`` and ``quality.tie_out``.

    ``ties``: true, false, or None where nothing is declared; ``tie_text`` and ``flag_text``: the sentences,
    empty where there is nothing to say.
    """
    return {
        "ties": bool(ties["is_tied"].all()) if len(ties) else None,
        "tie_text": _tie_text(ties, currency),
        "flag_text": _flag_text(flags, currency),
    }


def raised(checks: Sequence[Mapping[str, Any]], severity: str) -> list[str]:
    """The raised checks of one severity, each with its records.

    >>> raised([{"title": "Amount is negative", "severity": "error", "rows": 3}], "error")
    ['Amount is negative (3)']
    """
    mine = [check for check in checks if check["severity"] == severity]
    return [f"{_(check['title'])} ({formats.count(check['rows'])})" for check in mine]


def checks(raised_checks: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], str]:
    """The raised checks as the head of a page or of an open notebook says them: errors, warnings, and both
    in words, empty where nothing is raised."""
    errors, warnings = (raised(raised_checks, severity) for severity in ("error", "warning"))
    return errors, warnings, raised_text(errors, warnings)


def raised_text(errors: Sequence[str], warnings: Sequence[str]) -> str:
    """What the checks raise, in words: errors, and the most frequent warnings; empty without any."""
    said = [_("Errors: {checks}.").format(checks="; ".join(errors))] if errors else []
    if warnings:
        more = len(warnings) - MOST_KINDS
        shown = "; ".join(warnings[:MOST_KINDS])
        if more > 0:
            text = _("Warnings: {checks}; and {n} more.")
            said.append(text.format(checks=shown, n=formats.count(more)))
        else:
            said.append(_("Warnings: {checks}.").format(checks=shown))
    return " ".join(said)


def _tie_text(ties: pd.DataFrame, currency: str) -> str:
    if ties.empty:
        return _("Nothing is declared that the bookings could be compared with.")
    if list(ties["source"]) == [COMPANY]:
        if bool(ties["is_tied"].iloc[0]):
            return _("The company's bookings tie with what is declared for the quarter.")
        return _("The company's bookings do not tie with what is declared for the quarter.")
    apart = ties[~ties["is_tied"].astype(bool)]
    if apart.empty:
        sources = formats.listed([formats.text(source) for source in ties["source"]])
        amount = formats.money(ties["computed"].iloc[0], currency, exact=True)
        return _("Ties: bookings of {amount} are what is declared by {sources}.").format(
            amount=amount, sources=sources
        )
    told = [
        _("{source} declares {declared}, {difference} apart").format(
            source=formats.text(row.source),
            declared=formats.money(row.declared, currency, exact=True),
            difference=formats.money(abs(row.difference), currency, exact=True),
        )
        for row in apart.itertuples()
    ]
    return _("Does not tie: bookings are {amount}; {told}.").format(
        amount=formats.money(ties["computed"].iloc[0], currency, exact=True), told=formats.listed(told)
    )


def _flag_text(flags: pd.DataFrame, currency: str) -> str:
    if flags.empty:
        return _("No record is set aside or flagged.")
    said = [set_aside(int(flags.attrs.get("set_aside", 0)))]
    touched = flags.attrs.get("touched_amount", 0.0)
    if touched:
        said.append(
            _("{amount} ({share}) of what was booked or is open is under a flag").format(
                amount=formats.money(touched, currency), share=formats.percent(flags.attrs.get("touched"))
            )
        )
    else:
        said.append(_("nothing that was booked or is open is under a flag"))
    return _("{aside}; {flagged}.").format(aside=said[0], flagged=said[1])


def set_aside(records: int) -> str:
    """How many records are left out, as the begin of a sentence.

    >>> set_aside(0), set_aside(1)
    ('No record is set aside', '1 record is set aside')
    """
    if not records:
        return _("No record is set aside")
    return ngettext("{n} record is set aside", "{n} records are set aside", records).format(
        n=formats.count(records)
    )


def kinds(flags: pd.DataFrame) -> list[str]:
    """The most frequent kinds of flags as one note; empty without any."""
    kept = flags[flags["action"] == KEPT] if len(flags) else flags
    if kept.empty:
        return []
    shown = "; ".join(
        f"{_(row.problem)} ({formats.count(row.rows)})" for row in kept.head(MOST_KINDS).itertuples()
    )
    return [_("Kept, with a flag: {kinds}.").format(kinds=shown)]
