"""A line the height of a word: the figures of a few periods as the points of an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, EDGE = 112, 28, 3


@dataclass(frozen=True)
class Sparkline:
    """The points of the line as an SVG ``polyline`` takes them, and the place of its last figure."""

    points: str
    end: tuple[float, float]


def sparkline(values: Sequence[float | None], places: Sequence[float] = ()) -> Sparkline | None:
    """The line through the figures that are known; None for fewer than two.

    ``places`` says how far along each figure stands (default: 0, 1, 2, ...), so that a gap is seen. The
    lowest figure touches the lower edge and the highest the upper one; equal figures lie in the middle.

    >>> sparkline([1.0, 3.0, 2.0]).points
    '3,25 56,3 109,14'
    >>> sparkline([4.0, None]) is None
    True
    """
    known = [
        (float(place), float(value))
        for place, value in zip(places or range(len(values)), values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    if len(known) < 2:
        return None
    first, last = known[0][0], known[-1][0]
    low, high = min(value for _place, value in known), max(value for _place, value in known)
    points = [
        (
            round(EDGE + (WIDTH - 2 * EDGE) * (place - first) / (last - first), 1),
            round(
                HEIGHT / 2 if high == low else EDGE + (HEIGHT - 2 * EDGE) * (high - value) / (high - low), 1
            ),
        )
        for place, value in known
    ]
    return Sparkline(" ".join(f"{x:g},{y:g}" for x, y in points), points[-1])


def sparkline_svg(values: Sequence[float | None], text: str) -> str:
    """The line as an ``svg`` that ``text`` describes to who cannot see it; the text alone without a line."""
    line = sparkline(values)
    if line is None:
        return escape(text)
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(text)}"><polyline points="{line.points}"/>'
        f'<circle cx="{line.end[0]:g}" cy="{line.end[1]:g}" r="2.5"/></svg>'
    )
