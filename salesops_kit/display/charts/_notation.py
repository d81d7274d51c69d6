"""The notation of every chart: actual solid, prior lighter, plan outlined, forecast hatched."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from numpy.typing import ArrayLike

from salesops_kit.display.palette import ACCENT, GAIN, GROUND, INK, LOSS, MUTED, SOFT, TOTAL

Kind = Literal["actual", "prior", "plan", "forecast"]

BARS: dict[Kind, dict[str, Any]] = {
    "actual": {"facecolor": ACCENT, "edgecolor": "none", "linewidth": 0},
    "prior": {"facecolor": SOFT, "edgecolor": "none", "linewidth": 0},
    "plan": {"facecolor": "none", "edgecolor": INK, "linewidth": 1.4},
    "forecast": {"facecolor": "none", "edgecolor": ACCENT, "hatch": "////", "linewidth": 1.0},
}
LINES: dict[Kind, dict[str, Any]] = {
    "actual": {"color": ACCENT, "linewidth": 2.4, "linestyle": "-"},
    "prior": {"color": SOFT, "linewidth": 2.4, "linestyle": "-"},
    "plan": {
        "color": INK,
        "linewidth": 1.0,
        "linestyle": "-",
        "marker": "s",
        "markersize": 6,
        "markerfacecolor": GROUND,
        "markeredgecolor": INK,
    },
    "forecast": {"color": ACCENT, "linewidth": 2.0, "linestyle": (0, (4, 2))},
}
WIDE_BAND: dict[str, Any] = {"facecolor": "none", "edgecolor": SOFT, "hatch": "////", "linewidth": 0.8}
NARROW_BAND: dict[str, Any] = {"facecolor": SOFT, "edgecolor": ACCENT, "hatch": "////", "linewidth": 0.8}
REFERENCE_LINE: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "linestyle": (0, (4, 3))}
# Colour, dash and direct label together tell the curves of groups apart.
GROUPS: tuple[tuple[str, Any], ...] = (
    (ACCENT, "-"),
    (LOSS, (0, (6, 2))),
    (TOTAL, (0, (2, 1.5))),
    (GAIN, (0, (8, 2, 2, 2))),
    (INK, (0, (1, 1))),
)


def bars(axes: Axes, positions: ArrayLike, widths: ArrayLike, *, kind: Kind, height: float) -> BarContainer:
    """Horizontal bars from zero in the notation of ``kind``, named so in the container's label."""
    order = {"prior": 2, "actual": 3, "forecast": 3, "plan": 4}[kind]
    return axes.barh(positions, widths, height=height, label=kind, zorder=order, **BARS[kind])
