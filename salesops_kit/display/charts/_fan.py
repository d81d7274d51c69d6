"""The fan: what was booked so far, and the range of where the coming periods land."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display.charts import _notation, _plane, _rows
from salesops_kit.display.palette import ACCENT, GROUND, INK, MUTED
from salesops_kit.language import _

QUANTILES = ("p10", "p25", "p50", "p75", "p90")


def fan(frame: pd.DataFrame, *, currency: str = "USD") -> Figure:
    """Periods from left to right: ``actual`` as a solid line, the forecast as hatched bands (p10 to p90,
    and p25 to p75 in it) around a dashed median, ``target`` as an outlined line.

    Columns: period (in order), actual, p10, p25, p50, p75, p90, and target where there is one, in
    ``currency``. Where there is ``likely``, the expected value, it is dashed in the median's place. What is
    missing is not drawn; the bands open from the last actual before them. The last period's p10, median
    and p90 and its target are written at their ends.
    """
    every = {name: _rows.floats(frame, name) for name in ("actual", *QUANTILES, "target")}
    if "likely" in frame:
        every["p50"] = _rows.floats(frame, "likely")
    if frame.empty or not any(np.isfinite(values).any() for values in every.values()):
        return _rows.nothing_to_draw(_("There is no actual and no forecast to show."))

    def show(amount: float) -> str:
        return formats.money(amount, currency)

    forecast = np.isfinite(every["p50"])
    ends = _ends(every, show)
    y_limits = _plane.limits(*every.values())
    with _rows.chart_style():
        figure, axes = _plane.plane(
            (-0.3, len(frame) - 0.7),
            y_limits,
            y_show=show,
            ends=[text for _y, text, _colour in ends],
            x_label=_("━ actual  ┅ likely  ▨ 5 and 8 of 10 outcomes  □ plan"),
        )
        positions = np.arange(len(frame), dtype=float)
        if forecast.any():
            opened = _opened(every, forecast)
            for low, high, look, order in (
                ("p10", "p90", _notation.WIDE_BAND, 2),
                ("p25", "p75", _notation.NARROW_BAND, 3),
            ):
                band = opened & np.isfinite(every[low]) & np.isfinite(every[high])
                axes.fill_between(
                    positions[band], every[low][band], every[high][band], label=f"{low}-{high}",
                    zorder=order, **look,
                )  # fmt: skip
            axes.plot(
                positions[opened], every["p50"][opened], label="p50", zorder=4, **_notation.LINES["forecast"]
            )
        axes.plot(positions, every["actual"], label="actual", zorder=5, **_notation.LINES["actual"])
        known = np.isfinite(every["actual"])
        axes.scatter(positions[known], every["actual"][known], s=34, color=ACCENT, edgecolor=GROUND, zorder=6)
        if np.isfinite(every["target"]).any():
            axes.plot(positions, every["target"], label="plan", zorder=4, **_notation.LINES["plan"])
        _plane.category_ticks(axes, [formats.text(each) for each in frame["period"]])
        _plane.end_labels(axes, positions[-1], ends)
    return figure


def _opened(every: dict[str, np.ndarray], forecast: np.ndarray) -> np.ndarray:
    """The forecast's periods with the actual one before them, whose quantiles become the actual."""
    opened = forecast.copy()
    first = int(np.flatnonzero(forecast)[0])
    if first and np.isfinite(every["actual"][first - 1]):
        opened[first - 1] = True
        for name in QUANTILES:
            every[name][first - 1] = every["actual"][first - 1]
    return opened


def _ends(every: Mapping[str, np.ndarray], show: Callable[[float], str]) -> list[tuple[float, str, str]]:
    texts = {
        "p90": (_("high {amount}"), MUTED),
        "p50": (_("likely {amount}"), INK),
        "p10": (_("low {amount}"), MUTED),
        "target": (_("plan {amount}"), INK),
        "actual": ("{amount}", INK),
    }
    ends = []
    for name, (words, colour) in texts.items():
        amount = float(every[name][-1])
        if np.isfinite(amount):
            ends.append((amount, words.format(amount=show(amount)), colour))
    return ends
