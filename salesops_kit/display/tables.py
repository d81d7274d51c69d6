"""Tables of a report: a computed frame as plain, accessible HTML, every word of it escaped.

A table is written here rather than by a table library: the markup that reports need (caption, scoped
heads, no ids, one shared stylesheet) is shorter than what it would take to undo a library's own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from salesops_kit import formats
from salesops_kit.display.markup import escaped
from salesops_kit.language import _, ngettext
from salesops_kit.sparkline import sparkline_svg

CAP_ROWS = 200
RANGES = "between"
MONEY = "money"
# A cell that holds a list of figures of this unit is drawn as a sparkline: "trend money", "trend rate".
TREND = "trend"
DATE = "date"
# A column with a longer text than this is given room for a sentence, also on a phone.
LONG_TEXT = 18
# A column with a longer word than this breaks words on paper, where nothing can be scrolled.
LONG_WORD = 24


def labels() -> dict[str, str]:
    """Column names as readers see them; a name that is not here is shown as its words."""
    return {
        "owner_id": _("Rep id"),
        "rep_name": _("Rep"),
        "team": _("Team"),
        "stage": _("Stage"),
        "pipeline": _("Pipeline"),
        "won": _("Won"),
        "lost": _("Lost"),
        "n": _("Deals"),
        "rate": _("Rate"),
        "low": _("From"),
        "high": _("To"),
        "won_amount": _("Won amount"),
        "entrants": _("Entered"),
        "at_risk": _("Seen in stage"),
        "left": _("Left"),
        "still_open": _("Still there"),
        "moved_on_rate": _("Moved on"),
        "reference_rate": _("Company"),
        "revenue_lost": _("Revenue lost"),
        "revenue_lost_low": _("At least"),
        "revenue_lost_high": _("At most"),
        "cohort": _("Created in"),
        "p50": _("Half left by"),
        "p75": _("3 in 4 left by"),
        "p90": _("9 in 10 left by"),
        "closed_only_mean": _("Mean of those that left"),
        "step": _("Step"),
        "amount": _("Amount"),
        "deals": _("Deals"),
        "table_name": _("Table"),
        "problem": _("Problem"),
        "column_name": _("Column"),
        "booked": _("Booked"),
        "best_case": _("Best case"),
        RANGES: _("Between"),
        "target": _("Plan"),
        "quota": _("Quota"),
        "gap": _("To plan"),
        "open_deals": _("Open deals"),
        "open_due": _("Open, due"),
        "coverage": _("Coverage"),
        "required_coverage": _("Needed"),
        "name": _("Deal"),
        "change": _("What changed"),
        "effect": _("Effect"),
        "pipeline_effect": _("Effect on pipeline"),
        "close_date": _("Close date"),
        "forecast_category": _("Category"),
        "probability": _("Chance"),
        "share": _("Of the doubt"),
        "up_to_p50": _("Up to half"),
        "p50_to_p75": _("To 3 in 4"),
        "p75_to_p90": _("To 9 in 10"),
        "over_p90": _("Older"),
        "over_p90_amount": _("Older, amount"),
        "p90_days": _("9 in 10 left by"),
        "due_deals": _("Due deals"),
        "due_amount": _("Due"),
        "moved_out_amount": _("Moved out"),
        "slippage": _("Slippage"),
        "action": _("What is done"),
        "bookings": _("Bookings"),
        "of_plan": _("Of plan"),
        "trend": _("Quarter by quarter"),
        "best_rate": _("Best rate"),
        "rows": _("Rows"),
        "likely": _("Likely"),
        "expected_open": _("Of open deals"),
        "expected_later": _("Create-and-close"),
        "target_chance": _("Chance"),
        "method": _("Method"),
        "week_1": _("Miss, week 1"),
        "week_5": _("Week 5"),
        "week_9": _("Week 9"),
        "week_12": _("Week 12"),
        "bias": _("Too high (+) or low"),
        "relative_crps": _("Score (low is good)"),
        "mase": _("Against last year's"),
        "coverage_80": _("8 in 10 range held"),
        "quarter": _("Quarter"),
        "forecast": _("Forecast"),
        "came": _("Came"),
        "off": _("Off"),
        "caller": _("Who"),
        "call": _("Call"),
        "callers": _("Callers"),
        "past_calls": _("Past calls"),
        "wape": _("Typical miss"),
        "corrected": _("Corrected"),
        "committed": _("Committed"),
        "factor": _("Such commits brought"),
        "predicted": _("Chance given"),
        "observed": _("Won"),
        "case": _("Case"),
        "fact": _("What"),
        "figure": _("Figure"),
        "sealed": _("Sealed on"),
        "next_step": _("Next step"),
        "score": _("Score"),
        "with_problem": _("With a problem"),
        "amount_with_problem": _("Money exposed"),
        "amount_score": _("Score by money"),
        "severity": _("Severity"),
        "suggested": _("Suggested value"),
        "keep": _("Id to keep"),
        "known_date": _("Known on"),
        "solved": _("Solved"),
        "told": _("Told then"),
        "now": _("Now"),
        "first_file": _("First in file"),
        "first_row": _("At row"),
    }


def label(name: str) -> str:
    """The heading of a column.

    >>> label("p50"), label("mean_won_amount"), label("2027-Q3")
    ('Half left by', 'Mean won amount', '2027-Q3')
    """
    known = labels().get(name)
    words = formats.visible(name.replace("_", " ").strip())
    return known if known else words[:1].upper() + words[1:]


def frame_html(
    frame: pd.DataFrame,
    *,
    caption: str,
    units: Mapping[str, str] | None = None,
    currency: str = "USD",
    columns: Sequence[str] = (),
    notes: Sequence[str] = (),
    cap_rows: int = CAP_ROWS,
) -> str:
    """A frame as HTML: the first column heads its row, numbers are right-aligned by class.

    ``units`` names the unit of a column (``rate``, ``days``, ``deals``, ``money`` for ``currency``;
    ``trend money`` for a list of amounts that is drawn as a small line); ``columns`` chooses and orders;
    rows beyond ``cap_rows`` are counted in a note. A column of ranges without any range is left out. The
    table scrolls within a region that the keyboard can reach, so that a page never does.
    """
    units = units or {}
    shown = [name for name in columns if name in frame] or list(frame.columns)
    if RANGES in shown and not frame[RANGES].astype(bool).any():
        shown.remove(RANGES)
    looks = [_class(frame[name], units.get(name, "")) for name in shown]
    head = "".join(
        f'<th scope="col"{look}>{escape(label(str(name)))}</th>'
        for name, look in zip(shown, looks, strict=True)
    )
    wanted = [units.get(name, "") for name in shown]
    body = "".join(
        _row(values, wanted, looks, currency) for values in frame[shown].head(cap_rows).to_numpy(object)
    )
    hidden = len(frame) - cap_rows
    told = list(notes)
    if hidden > 0:
        told.append(
            ngettext(
                "Showing {shown} of {all} rows; {n} more row is in the file beside this page.",
                "Showing {shown} of {all} rows; {n} more rows are in the file beside this page.",
                hidden,
            ).format(shown=formats.count(cap_rows), all=formats.count(len(frame)), n=formats.count(hidden))
        )
    footer = "".join(f'<p class="note">{escaped(text)}</p>' for text in told)
    title = escaped(caption)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{title}">'
        f"<table><caption>{title}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{footer}"
    )


def _row(values: Sequence[Any], units: Sequence[str], looks: Sequence[str], currency: str) -> str:
    cells = []
    for position, (value, unit, look) in enumerate(zip(values, units, looks, strict=True)):
        if unit.startswith(TREND):
            text = _trend(values[0], value, unit, currency)
        else:
            text = escape(_cell(value, unit, currency))
        cells.append(f"<td{look}>{text}</td>" if position else f'<th scope="row"{look}>{text}</th>')
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: Any, unit: str, currency: str) -> str:
    if isinstance(value, bool | np.bool_):
        return _("yes") if value else _("no")
    if isinstance(value, str) or not isinstance(value, Number | dt.date | None):
        # What is no figure, such as a list, is shown as the text that it has.
        return formats.text(value)
    return formats.value(value, currency if unit == MONEY else unit, exact=unit == "rate")


def _trend(name: Any, values: Sequence[Any], unit: str, currency: str) -> str:
    """A list of figures, the oldest first, as a line that tells its figures to who cannot see it."""
    of = unit.removeprefix(TREND).strip()
    figures = [None if formats.is_missing(value) else float(value) for value in values]
    told = ", ".join(_cell(value, of, currency) for value in figures)
    return sparkline_svg(
        figures, _("{name}, quarter by quarter: {figures}").format(name=formats.text(name), figures=told)
    )


def _class(column: pd.Series, unit: str) -> str:
    """Numbers are aligned right, dates and ranges stay on one line, long texts get room, long words may
    break."""
    if unit == DATE or column.name == RANGES:
        return ' class="day"'
    if unit.startswith(TREND):
        return ""
    if unit or (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)):
        return ' class="number"'
    texts = [value for value in column.head(CAP_ROWS) if isinstance(value, str)]
    if any(len(word) > LONG_WORD for value in texts for word in value.split()):
        return ' class="words long"'
    return ' class="words"' if any(len(value) > LONG_TEXT for value in texts) else ""
