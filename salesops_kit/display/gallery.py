"""Every chart and table on the cases that break charts, as one page.

``python -m salesops_kit.display.gallery OUT.html`` writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.charts import _notation
from salesops_kit.display.figure import figure_html, headlines_html, quality_html
from salesops_kit.display.heat import heat_html
from salesops_kit.display.tables import frame_html

STYLESHEET = Path(__file__).parent.parent / "publishing" / "page" / "page.css"
NAN = float("nan")

# Names and figures; each chart makes of them the frame that it takes.
CASES: dict[str, tuple[Sequence[str | None], Sequence[float]]] = {
    "usual": (["North", "South", "East", "West", "Online"], [0.62, 0.35, 0.48, 0.07, 0.81]),
    "empty": ([], []),
    "one point": (["North"], [0.4]),
    "all equal": (["North", "South", "East"], [0.5, 0.5, 0.5]),
    "all zero": (["North", "South", "East"], [0.0, 0.0, 0.0]),
    "negative": (["North", "South", "East"], [-0.4, 0.3, -1.2]),
    "40 teams": ([f"Team {place:02}" for place in range(1, 46)], [place / 50 for place in range(1, 46)]),
    "long names": (
        ["Enterprise accounts, northern Europe and the Baltics", "W" * 60, "Donaudampfschifffahrtskapitän"],
        [0.2, 0.6, 0.4],
    ),
    "Chinese and Korean": (
        ["企业客户销售一部（华东与华南大区重点客户）", "중견기업 영업본부 수도권 제2영업팀", "東日本営業部"],
        [0.3, 0.5, 0.7],
    ),
    "missing": (["North", None, "East"], [0.3, NAN, NAN]),
    "all missing": (["North", "South"], [NAN, float("inf")]),
    "huge": (["North", "South", "East"], [3.2e14, 7.5e17, -2.1e12]),
    "hostile": (
        [
            "<script>alert(1)</script>",
            "$x^2_{3}$ \\frac",
            "a\u202eb\u200bc",
            "nul\x00bell\x07",
            "']]>&amp;\"",
            "😀 👩‍💻",
        ],
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ),
}


def figures(cases: Sequence[str] = tuple(CASES)) -> Iterator[tuple[str, str, Figure, pd.DataFrame]]:
    """Every chart on the ``cases``: its name, the case, the figure, and the frame that it drew."""
    for chart, draw in _DRAW.items():
        for case in cases:
            names, values = CASES[case]
            frame, figure = draw(list(names), np.array(values, dtype=float))
            yield chart, case, figure, frame


def page(cases: Sequence[str] = tuple(CASES)) -> str:
    """The gallery as a self-contained HTML page under the reports' own stylesheet."""
    chosen = {case: CASES[case] for case in cases}
    parts = []
    section = ""
    for chart, case, figure, frame in figures(cases):
        if chart != section:
            parts.append(f"<h2>{escape(chart)}</h2>")
            section = chart
        message = f"{chart}: {case}"
        told = f"The chart {chart} drawn on the case {case}, {len(frame)} rows."
        parts.append(figure_html(figure, message=message, alternative=told, frame=frame))
    parts.append("<h2>headlines</h2>")
    for case, (names, values) in chosen.items():
        parts.append(f"<h3>{escape(case)}</h3>" + headlines_html(_headlines(names, values), currency="USD"))
    parts.append("<h2>what the numbers rest on</h2>")
    for ties in (True, False, None):
        said = {"ties": ties, "tie_text": f"ties: {ties}", "flag_text": "3 records are set aside."}
        parts.append(f"<h3>ties: {ties}</h3>" + quality_html(said, [f"A note where ties is {ties}."]))
    parts.append("<h2>tables</h2>")
    for case, (names, values) in chosen.items():
        frame = pd.DataFrame({"team": list(names), "rate": list(values), "n": range(len(names))})
        parts.append(frame_html(frame, caption=f"table: {case}", units={"rate": "rate"}))
        trends = pd.DataFrame(
            {
                "team": [f"{formats.text(name)} ({case})" for name in names],
                "trend": [_quarters(value) for value in values],
            }
        )
        parts.append(frame_html(trends, caption=f"trends: {case}", units={"trend": "trend rate"}))
        wide = pd.DataFrame(
            {"cohort": list(names)} | {f"month {k}": np.array(values) / (k + 1) for k in range(8)}
        )
        parts.append(heat_html(wide, caption=f"heat table: {case}", label="cohort"))
    style = STYLESHEET.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Gallery</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><main><h1>Gallery</h1>{''.join(parts)}</main></body></html>\n"
    )


def _quarters(value: float) -> list[float]:
    """Eight quarters of a figure, the fourth unknown."""
    return [NAN if place == 3 else value * (1 + 0.2 * np.sin(place)) for place in range(8)]


def _headlines(names: Sequence[str | None], values: Sequence[float]) -> pd.DataFrame:
    amounts = np.array(values, dtype=float) * 1e6
    return pd.DataFrame(
        {
            "label": [formats.text(name) for name in names],
            "value": amounts,
            "unit": "money",
            "kind": "additive",
            "low": amounts - 1e5,
            "high": amounts + 1e5,
            "definition": "What is counted.",
            "target": 5e5,
            "prior": amounts * 0.8,
            "year_ago": amounts * 1.3,
            "reason": ["" if np.isfinite(amount) else "No deal to measure it by." for amount in amounts],
        }
    )


def _shares(values: np.ndarray) -> np.ndarray:
    """The figures as rates, for charts of what cannot leave 0 to 1."""
    return np.clip(values, 0, 1)


def _money(amount: float) -> str:
    return formats.money(amount * 1e6)


def _dots(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    frame = pd.DataFrame({"name": names, "rate": values, "low": values - 0.1, "high": values + 0.15, "n": 17})
    reference = float(np.nanmean(values[np.isfinite(values)])) if np.isfinite(values).any() else None
    label = "all together in the whole of the company" if len(names) == 3 else "all"
    return frame, charts.dots(
        frame, "name", "rate", low="low", high="high", n="n", reference=reference, reference_label=label
    )


def _conversion(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    rates = _shares(values)
    frame = pd.DataFrame(
        {
            "pipeline": ["new" if place % 2 else "renewal" for place in range(len(names))],
            "stage": names,
            "entrants": [1_234_567] * len(names),
            "rate": rates,
            "low": _shares(rates - 0.1),
            "high": _shares(rates + 0.1),
            "reference_rate": _shares(rates + 0.3),
        }
    ).sort_values("pipeline", kind="stable")
    return frame, charts.conversion_steps(frame, reference_label="the company without this team")


def _times(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    days = np.abs(values) * 90
    columns = {"p50": 1.0, "p50_low": 0.8, "p50_high": 1.3, "p75": 2.0}
    frame = pd.DataFrame({"stage": names} | {name: days * factor for name, factor in columns.items()})
    frame["p90"] = np.where(np.arange(len(names)) % 3 == 2, NAN, days * 3.5)
    return frame, charts.stage_times(frame)


def _bridge(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    steps = ["opening", *(name or "(none)" for name in names), "closing"] if names else []
    inner = np.where(np.isfinite(values), values, 0.0) * 1e6
    amounts = [1e6, *inner, 1e6 + inner.sum()] if names else []
    frame = pd.DataFrame({"step": steps, "amount": pd.Series(amounts, dtype=float)})
    return frame, charts.waterfall(frame)


def _bullets(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    frame = pd.DataFrame(
        {"label": names, "value": values * 1e6, "unit": "money", "target": 7e5, "prior": values * 8e5}
    )
    return frame, charts.kpi_bullet(frame, prior_label="2026-Q2")


def _trends(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    quarters = [f"2026-Q{quarter}" for quarter in range(1, 5)]
    frame = pd.DataFrame(
        [
            (name, quarter, value * (1 + place / 10))
            for name, value in zip(names, values, strict=True)
            for place, quarter in enumerate(quarters)
        ],
        columns=["team", "quarter", "booked"],
    )
    return frame, charts.trends(frame, "team", "quarter", "booked", show=_money)


def _fan(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    amounts = values * 1e6
    is_past = np.arange(len(names)) < (len(names) + 1) // 2
    frame = pd.DataFrame({"period": names, "actual": np.where(is_past, amounts, NAN)})
    for name, factor in (("p10", 0.6), ("p25", 0.8), ("p50", 1.0), ("p75", 1.2), ("p90", 1.5)):
        frame[name] = np.where(is_past, NAN, amounts * factor)
    frame["target"] = amounts * 1.1
    return frame, charts.fan(frame)


def _calibration(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    rates = _shares(values)
    bounds = {"low": _shares(rates - 0.15), "high": _shares(rates + 0.1)}
    frame = pd.DataFrame({"predicted": _shares(rates * 0.9), "observed": rates, **bounds, "n": 1234})
    return frame, charts.calibration(frame)


def _survival(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    rows = []
    for name, value in list(zip(names, _shares(values), strict=True))[: len(_notation.GROUPS)]:
        for step in range(13):
            share = 1 - (1 - value) * step / 12
            rows.append((name, 30 * step, share, share * 0.9, min(share * 1.1, 1.0), 1200 - 90 * step))
    columns = ["group", "days", "survival", "low", "high", "at_risk"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame, charts.survival(frame, axis_label="days since the first invoice")


def _pay(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    frame = pd.DataFrame({"attainment": np.abs(values) * 2, "pay": values * 1e5, "marginal_rate": 0.085})
    return frame, charts.pay_curve(frame)


def _histogram(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    edges = np.arange(len(names), dtype=float) * 1e5
    high = edges + 1e5
    if len(names):
        high[-1] = NAN
    counts = np.abs(np.where(np.isfinite(values), values, 0.0)) * 1000
    frame = pd.DataFrame({"low": [*edges, NAN], "high": [*high, NAN], "n": [*counts, 12.0]})
    return (frame if names else frame.head(0)), charts.histogram(
        frame if names else frame.head(0), show=formats.money
    )


def _ageing(names: list[str | None], values: np.ndarray) -> tuple[pd.DataFrame, Figure]:
    rows = [
        (name, abs(value) * 60 * (1 + deal), abs(value) * 400)
        for name, value in zip(names, values, strict=True)
        for deal in range(9)
    ]
    frame = pd.DataFrame(rows, columns=["stage", "age_days", "p90_days"])
    return frame, charts.ageing(frame)


_DRAW: dict[str, Callable[[list[str | None], np.ndarray], tuple[pd.DataFrame, Figure]]] = {
    "ageing": _ageing,
    "calibration": _calibration,
    "conversion_steps": _conversion,
    "dots": _dots,
    "fan": _fan,
    "histogram": _histogram,
    "kpi_bullet": _bullets,
    "pay_curve": _pay,
    "stage_times": _times,
    "survival": _survival,
    "trends": _trends,
    "waterfall": _bridge,
}


def main() -> None:
    """Write the gallery to the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m salesops_kit.display.gallery", description=main.__doc__)
    parser.add_argument("out", type=Path, help="the HTML file to write")
    parser.add_argument("--case", action="append", choices=[*CASES], help="only this case; may be repeated")
    given = parser.parse_args()
    given.out.write_text(page(given.case or tuple(CASES)), encoding="utf-8")


if __name__ == "__main__":
    main()
