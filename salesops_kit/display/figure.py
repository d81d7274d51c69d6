"""Figures, headline cards and notes as HTML: a message first, its picture, its data one click away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from salesops_kit.display import formats
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
    caption = escape(formats.visible(message))
    picture = figure_svg(figure, title=message, description=alternative)
    data = frame_html(
        frame,
        caption=_("Data: {message}").format(message=message),
        units=units,
        currency=currency,
        columns=columns,
    )
    told = "".join(f'<p class="note">{escape(formats.visible(text))}</p>' for text in notes)
    summary = escape(_("The numbers behind this picture"))
    return (
        f"<figure><figcaption>{caption}</figcaption>{picture}{told}"
        f"<details><summary>{summary}</summary>{data}</details></figure>"
    )


def text_html(message: str) -> str:
    """A message that needs no picture."""
    return f'<p class="message">{escape(formats.visible(message))}</p>'


def notes_html(notes: Sequence[str]) -> str:
    """Sentences about the data as a short list."""
    items = "".join(f"<li>{escape(formats.visible(text))}</li>" for text in notes)
    return f'<ul class="notes">{items}</ul>'


def headlines_html(frame: pd.DataFrame, *, currency: str) -> str:
    """Headlines as cards: three large, the others smaller; interval and prior under the number, the
    definition one click away.

    Columns: label, value, unit, n, low, high, definition, prior, reason (why a value is missing);
    ``attrs["prior_label"]`` names the period of the prior values.
    """
    rows = frame.to_dict("records")
    prior = str(frame.attrs.get("prior_label") or _("before"))
    cards = "".join(_card(row, currency, prior) for row in rows[:FIRST_CARDS])
    rest = "".join(_card(row, currency, prior) for row in rows[FIRST_CARDS:])
    more = f'<div class="cards lesser">{rest}</div>' if rest else ""
    return f'<div class="cards">{cards}</div>{more}'


def _card(row: Mapping[Any, Any], currency: str, prior: str) -> str:
    unit = str(row.get("unit") or "")
    unit = currency if unit == MONEY else unit

    def show(value: Any) -> str:
        return formats.value(value, unit)

    lines = []
    if not formats.is_missing(row.get("low")):
        lines.append(_("likely {interval}").format(interval=formats.interval(row["low"], row["high"], show)))
    if not formats.is_missing(row.get("target")):
        lines.append(_("plan {value}").format(value=show(row["target"])))
    if not formats.is_missing(row.get("prior")):
        lines.append(_("{period}: {value}").format(period=prior, value=show(row["prior"])))
    reason = row.get("reason")
    if isinstance(reason, str) and reason:
        lines.append(formats.visible(reason))
    told = "".join(f"<span>{escape(line)}</span>" for line in lines)
    label = escape(formats.visible(row["label"]))
    definition = escape(formats.visible(row["definition"]))
    summary = escape(_("Definition: {label}").format(label=formats.visible(row["label"])))
    return (
        f'<div class="card"><p class="label">{label}</p><p class="value">{escape(show(row["value"]))}</p>'
        f'<p class="beside">{told}</p>'
        f'<details><summary aria-label="{summary}">{escape(_("Definition"))}</summary>'
        f"<p>{definition}</p></details></div>"
    )
