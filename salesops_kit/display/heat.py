"""Heat tables: figures in cells that are shaded by class, such as retention by cohort and month.

A table rather than a picture: every figure is text that is read, copied and searched, and the page's
stylesheet holds the shades for light, dark and print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from salesops_kit import formats
from salesops_kit.display import tables
from salesops_kit.display.markup import escaped
from salesops_kit.language import _

SHADES = 7


def heat_html(
    frame: pd.DataFrame,
    *,
    caption: str,
    label: str,
    columns: Sequence[str] = (),
    show: Callable[[Any], str] = formats.percent,
    low: float | None = None,
    high: float | None = None,
    notes: Sequence[str] = (),
) -> str:
    """A wide frame as a table with shaded cells: one row per ``label`` (a cohort), one column per step.

    ``columns`` chooses and orders the shaded columns (default: all but ``label``); ``show`` writes
    their figures. The shades are seven equal steps between ``low`` and ``high``, by default the
    smallest and the largest figure; what lies outside has the outermost shade, and where all figures
    are equal none is shaded. A missing figure says "n/a" and has no shade.
    """
    steps = [name for name in (columns or frame.columns) if name != label and name in frame]
    figures = (
        np.array([_floats(frame[name]) for name in steps], dtype=float).reshape(len(steps), len(frame)).T
    )
    finite = figures[np.isfinite(figures)]
    bottom = low if low is not None else float(finite.min()) if finite.size else 0.0
    top = high if high is not None else float(finite.max()) if finite.size else 0.0
    head = "".join(f'<th scope="col" class="number">{escape(tables.label(str(name)))}</th>' for name in steps)
    body = "".join(
        f'<tr><th scope="row">{escape(formats.text(name))}</th>'
        + "".join(_cell(figure, shade(figure, bottom, top), show) for figure in row)
        + "</tr>"
        for name, row in zip(frame[label], figures, strict=True)
    )
    title = escaped(caption)
    told = list(notes)
    if top > bottom:
        told.append(
            _("The darker the cell, the higher the figure, from {low} to {high}.").format(
                low=show(bottom), high=show(top)
            )
        )
    footer = "".join(f'<p class="note">{escaped(text)}</p>' for text in told)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{title}">'
        f'<table class="heat"><caption>{title}</caption>'
        f'<thead><tr><th scope="col">{escape(tables.label(label))}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{footer}"
    )


def shade(figure: float, low: float, high: float) -> int | None:
    """Which of the seven shades a figure has; None for a missing one, and where low and high are one.

    >>> shade(0.0, 0.0, 1.0), shade(0.5, 0.0, 1.0), shade(1.0, 0.0, 1.0), shade(2.0, 0.0, 1.0)
    (0, 3, 6, 6)
    """
    if formats.is_missing(figure) or high <= low:
        return None
    return int(np.clip((figure - low) / (high - low) * SHADES, 0, SHADES - 1))


def _cell(figure: float, shaded: int | None, show: Callable[[Any], str]) -> str:
    shade_class = "" if shaded is None else f" h{shaded}"
    return f'<td class="number{shade_class}">{escape(show(figure))}</td>'


def _floats(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
