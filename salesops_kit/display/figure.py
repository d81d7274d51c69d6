"""Figures, headline cards and notes as HTML: a message first, its picture, its data one click away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.markup import escaped
from salesops_kit.display.narrative import compared, of_plan
from salesops_kit.display.svg import figure_svg
from salesops_kit.display.tables import MONEY, frame_html
from salesops_kit.language import _

FIRST_CARDS = 3


def figure_html(
    figure: Figure,
    *,
    message: str,
    alternative: str,
    frame: pd.DataFrame,
    units: Mapping[str, str] | None = None,
    currency: str = "USD",
    columns: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """A picture under its message, with the data that it was drawn from in a ``details`` table.

    ``alternative`` tells who cannot see the picture what it shows. ``notes`` stand under it.
    """
    caption = escaped(message)
    picture = figure_svg(figure, title=message, description=alternative)
    data = frame_html(
        frame,
        caption=_("Data: {message}").format(message=message),
        units=units,
        currency=currency,
        columns=columns,
    )
    told = "".join(f'<p class="note">{escaped(text)}</p>' for text in notes)
    summary = escape(_("The numbers behind this picture"))
    return (
        f"<figure><figcaption>{caption}</figcaption>{picture}{told}"
        f"<details><summary>{summary}</summary>{data}</details></figure>"
    )


def quality_html(quality: Mapping[str, Any], notes: Sequence[str]) -> str:
    """What the numbers rest on: ties or not and money under flags first, the rest one click away.

    ``quality``: ``ties`` (true, false, or None when nothing was declared), ``tie_text``,
    ``flag_text``, ``check_text``.
    """
    state = {True: "ties", False: "differs"}.get(quality.get("ties"), "unchecked")  # type: ignore[arg-type]
    lines = [text for name in ("tie_text", "flag_text", "check_text") if (text := quality.get(name))]
    said = "".join(f"<p>{escaped(text)}</p>" for text in lines)
    more = (
        f"<details><summary>{escape(_('More about the data'))}</summary>{notes_html(notes)}</details>"
        if notes
        else ""
    )
    return f'<div class="quality {state}" role="note">{said}{more}</div>'


def text_html(message: str) -> str:
    """A message that needs no picture."""
    return f'<p class="message">{escaped(message)}</p>'


def note_html(note: str) -> str:
    """A sentence about the data, or why there is no answer."""
    return f'<p class="note">{escaped(note)}</p>'


def notes_html(notes: Sequence[str]) -> str:
    """Sentences about the data as a short list."""
    items = "".join(f"<li>{escaped(text)}</li>" for text in notes)
    return f'<ul class="notes">{items}</ul>'


def headlines_html(frame: pd.DataFrame, *, currency: str) -> str:
    """Headlines as cards: three large, the others smaller; interval and prior under the number, the
    definition one click away.

    Columns: label, value, unit, kind, n, low, high, definition, target, prior, reason (why a value is
    missing) and, where known, ``year_ago``; ``attrs["prior_label"]`` and ``attrs["year_ago_label"]`` name the
    periods of these values, ``prior_label`` that of one row. What was counted (kind ``additive``) is compared
    with them in percent, what is estimated only stands beside them.
    """
    rows = frame.to_dict("records")
    periods = {
        "prior": str(frame.attrs.get("prior_label") or _("before")),
        "year_ago": str(frame.attrs.get("year_ago_label") or _("a year ago")),
    }
    cards = "".join(_card(row, currency, periods) for row in rows[:FIRST_CARDS])
    rest = "".join(_card(row, currency, periods) for row in rows[FIRST_CARDS:])
    more = f'<div class="cards lesser">{rest}</div>' if rest else ""
    return f'<div class="cards">{cards}</div>{more}'


def _card(row: Mapping[Any, Any], currency: str, periods: Mapping[str, str]) -> str:
    unit = str(row.get("unit") or "")
    unit = currency if unit == MONEY else unit
    is_counted = row.get("kind") == "additive"

    def show(value: Any) -> str:
        return formats.value(value, unit)

    lines = []
    # A range of one figure tells nothing.
    if not formats.is_missing(row.get("low")) and show(row["low"]) != show(row["high"]):
        lines.append(_("likely {interval}").format(interval=formats.interval(row["low"], row["high"], show)))
    if is_counted:
        lines.append(of_plan(row["value"], row.get("target"), show))
    elif not formats.is_missing(row.get("target")):
        wanted = _("needed {value}") if unit == "ratio" else _("plan {value}")
        lines.append(wanted.format(value=show(row["target"])))
    for name, usual in periods.items():
        other, period = row.get(name), str(row.get(f"{name}_label") or usual)
        if formats.is_missing(other):
            continue
        if is_counted and not formats.is_missing(row["value"]):
            lines.append(compared(row["value"], other, name=period, show=show))
        else:
            lines.append(_("{period}: {value}").format(period=period, value=show(other)))
    reason = row.get("reason")
    if isinstance(reason, str) and reason:
        lines.append(formats.visible(reason))
    told = "".join(f"<span>{escaped(line)}</span>" for line in lines if line)
    label = escaped(row["label"])
    definition = escaped(row["definition"])
    summary = escape(_("Definition: {label}").format(label=formats.visible(row["label"])))
    return (
        f'<div class="card"><p class="label">{label}</p><p class="value">{escape(show(row["value"]))}</p>'
        f'<p class="beside">{told}</p>'
        f'<details><summary aria-label="{summary}">{escape(_("Definition"))}</summary>'
        f"<p>{definition}</p></details></div>"
    )
