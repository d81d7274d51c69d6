"""Every chart plots the frame that it was given: marks, labels and units are read back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from salesops_kit.display import charts
from salesops_kit.display.palette import ACCENT, GAIN, LOSS, SOFT, TOTAL
from tests.display.reading import all_text, band, bars, line, points, row_labels, segments, words, x_ticks

NAN = float("nan")


def near(expected: object) -> object:
    return pytest.approx(expected, nan_ok=True)


def check_dots() -> None:
    frame = pd.DataFrame(
        {
            "team": ["North", "South", "East"],
            "rate": [0.25, 0.75, NAN],
            "low": [0.1, 0.6, NAN],
            "high": [0.4, 0.9, NAN],
            "n": [8, 1200, 0],
        }
    )
    figure = charts.dots(
        frame, "team", "rate", low="low", high="high", n="n", reference=0.5, reference_label="all"
    )
    assert row_labels(figure) == ["South", "North", "East"]
    assert points(figure) == [(0.75, 0), (0.25, 1)]
    assert segments(figure) == [(0.6, 0, 0.9, 0), (0.1, 1, 0.4, 1)]
    assert words(figure) == ["75% of 1,200", "25% of 8", "n/a of 0", "all"]
    assert [item.get_xdata()[0] for item in figure.axes[0].lines] == [0.5]
    assert all(tick.endswith("%") for tick in x_ticks(figure))
    unranked = charts.dots(frame, "team", "rate", n="n", is_ranked=False, show=str)
    assert row_labels(unranked) == ["South", "North", "East"]
    assert words(unranked)[0] == "0.75 of 1,200"
    by_n = charts.dots(frame.assign(n=[8, 5, 9]), "team", "rate", n="n", is_ranked=False)
    assert row_labels(by_n) == ["East", "North", "South"]


def check_conversion_steps() -> None:
    frame = pd.DataFrame(
        {
            "pipeline": ["new", "new"],
            "stage": ["Qualify", "Close"],
            "entrants": [40, 0],
            "rate": [0.5, NAN],
            "low": [0.35, NAN],
            "high": [0.65, NAN],
            "reference_rate": [0.6, 0.4],
        }
    )
    figure = charts.conversion_steps(frame, reference_label="others")
    assert row_labels(figure) == ["Qualify", "Close"]
    assert bars(figure) == [(0, 0, 0.5)]
    assert points(figure) == [(0.5, 0)]
    assert segments(figure, 0) == [(0.35, 0, 0.65, 0)]
    assert [segment[0] for segment in segments(figure, 1)] == [0.6, 0.4]
    assert words(figure) == ["50% of 40", "n/a of 0", "others"]
    assert x_ticks(figure)[0] == "0%"
    assert x_ticks(figure)[-1] == "100%"
    several = charts.conversion_steps(frame.assign(pipeline=["new", ""]))
    assert row_labels(several) == ["new", "Qualify", "no pipeline", "Close"]
    assert points(several) == [(0.5, 1)]
    assert words(several)[:4] == ["", "50% of 40", "", "n/a of 0"]


def check_stage_times() -> None:
    frame = pd.DataFrame(
        {
            "stage": ["Qualify", "Close"],
            "p50": [10.0, 4.5],
            "p50_low": [8.0, 4.0],
            "p50_high": [13.0, 5.0],
            "p75": [20.0, NAN],
            "p90": [50.0, NAN],
        }
    )
    figure = charts.stage_times(frame)
    assert row_labels(figure) == ["Qualify", "Close"]
    assert points(figure, 0) == [(20, 0)]
    assert points(figure, 1) == [(10, 0), (4.5, 1)]
    assert segments(figure, 0) == [(10, 0, 50, 0)]
    assert segments(figure, 1)[0][0] == 50
    assert segments(figure, 2) == [(8, 0, 13, 0), (4, 1, 5, 1)]
    arrow = next(text for text in figure.axes[0].texts if getattr(text, "arrow_patch", None))
    assert (arrow.xyann, arrow.xy[1]) == ((4.5, 1), 1)
    assert words(figure)[:2] == ["10 · 20 · 50", "4.5 · n/a · n/a"]
    assert words(figure)[-1].startswith("days:")
    assert x_ticks(figure)[0] == "0"


def check_waterfall() -> None:
    steps = ["opening", "created", "won", "lost", "up", "closing"]
    frame = pd.DataFrame({"step": steps, "amount": [100.0, 50.0, -30.0, -20.0, 0.0, 100.0]})
    figure = charts.waterfall(frame, currency="EUR")
    assert row_labels(figure) == ["Open at the start", "Created", "Won", "Lost", "Open at the end"]
    assert bars(figure) == [(0, 0, 100), (1, 100, 150), (2, 150, 120), (3, 120, 100), (4, 0, 100)]
    assert words(figure) == ["€100", "+€50", "−€30", "−€20", "€100"]
    assert [segment[0] for segment in segments(figure)] == [100, 150, 120, 100]
    colours = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert [to_hex(colour) for colour in colours] == [TOTAL, GAIN, ACCENT, LOSS, TOTAL]


def check_kpi_bullet() -> None:
    frame = pd.DataFrame(
        {
            "label": ["Bookings", "Win rate", "Net new", "Cycle"],
            "value": [800_000.0, 0.3, -5.0, NAN],
            "unit": ["money", "rate", "deals", "days"],
            "target": [1_000_000.0, 0.25, NAN, 40.0],
            "prior": [500_000.0, 0.6, 10.0, NAN],
        }
    )
    figure = charts.kpi_bullet(frame, currency="EUR", prior_label="2026-Q2")
    assert row_labels(figure) == frame["label"].tolist()
    assert bars(figure, "actual") == [(0, 0, 0.8), (1, 0, 0.5), (2, 0, -0.5)]
    assert bars(figure, "prior") == [(0, 0, 0.5), (1, 0, 1), (2, 0, 1)]
    assert bars(figure, "plan") == [(0, 0, 1), (1, 0, round(0.25 / 0.6, 9)), (3, 0, 1)]
    assert words(figure) == [
        "€800K of €1M",
        "30% of 25%",
        "−5",
        "n/a of 40 days",
        "■ actual ▒ 2026-Q2 □ plan".replace("▒", " ▒").replace("□", " □"),
    ]
    looks = {
        item.get_label(): (to_hex(item.patches[0].get_facecolor()), item.patches[0].get_facecolor()[3])
        for item in figure.axes[0].containers
    }
    assert looks["actual"] == (ACCENT, 1)
    assert looks["prior"] == (SOFT, 1)
    assert looks["plan"][1] == 0
    assert charts.kpi_bullet(frame[["label", "value", "unit"]]).axes[0].containers


def check_trends() -> None:
    frame = pd.DataFrame(
        {
            "team": ["North"] * 3 + ["South"] * 3,
            "quarter": ["Q1", "Q2", "Q3"] * 2,
            "booked": [1.0, 3.0, 2.0, 10.0, NAN, NAN],
        }
    )
    figure = charts.trends(frame, "team", "quarter", "booked", show=lambda amount: f"{amount:.1f} M")
    assert row_labels(figure) == ["North", "South"]
    assert line(figure, "North") == ([0, 1, 2], [1, 3, 2])
    assert line(figure, "South") == ([0, 1, 2], near([10, NAN, NAN]))
    assert words(figure) == ["2.0 M", "10.0 M", "each panel from 0.0 M to 10.6 M"]
    assert x_ticks(figure) == ["Q1", "Q2", "Q3"]
    # One scale: a unit is as high in the first panel as in the second.
    heights = [
        item.get_transform().transform((0, 1))[1] - item.get_transform().transform((0, 0))[1]
        for item in figure.axes[0].lines
        if item.get_label() in {"North", "South"}
    ]
    assert heights[0] == near(heights[1])
    assert heights[0] > 0
    many = pd.DataFrame({"team": range(45), "quarter": "Q1", "booked": 1.0})
    assert words(charts.trends(many, "team", "quarter", "booked"))[-1].endswith("5 more, in the table")


def check_fan() -> None:
    frame = pd.DataFrame(
        {
            "period": ["Q1", "Q2", "Q3", "Q4"],
            "actual": [10.0, 12.0, NAN, NAN],
            "p10": [NAN, NAN, 8.0, 6.0],
            "p25": [NAN, NAN, 10.0, 9.0],
            "p50": [NAN, NAN, 13.0, 14.0],
            "p75": [NAN, NAN, 15.0, 18.0],
            "p90": [NAN, NAN, 17.0, 22.0],
            "target": [11.0, 12.0, 13.0, 16.0],
        }
    ).set_index(pd.Index([7, 5, 3, 1]))
    figure = charts.fan(frame, currency="EUR")
    assert line(figure, "actual") == ([0, 1, 2, 3], near([10, 12, NAN, NAN]))
    assert line(figure, "p50") == ([1, 2, 3], [12, 13, 14])
    assert line(figure, "plan")[1] == [11, 12, 13, 16]
    assert band(figure, "p10-p90") == {(1, 12), (2, 8), (3, 6), (2, 17), (3, 22)}
    assert band(figure, "p25-p75") == {(1, 12), (2, 10), (3, 9), (2, 15), (3, 18)}
    assert x_ticks(figure) == ["Q1", "Q2", "Q3", "Q4"]
    assert words(figure)[:4] == ["low €6", "likely €14", "plan €16", "high €22"]
    assert all(item.get_hatch() for item in figure.axes[0].collections if item.get_label().startswith("p"))
    assert frame["p10"].isna().sum() == 2


def check_calibration() -> None:
    frame = pd.DataFrame(
        {
            "predicted": [0.8, 0.2, 0.5],
            "observed": [0.7, 0.25, NAN],
            "low": [0.6, 0.2, NAN],
            "high": [0.75, 0.3, NAN],
            "n": [50, 400, 0],
        }
    )
    figure = charts.calibration(frame)
    assert row_labels(figure) == ["said 20%", "said 50%", "said 80%"]
    assert points(figure) == [(0.25, 0), (0.7, 2)]
    assert segments(figure, 0) == [(0.2, 0, 0.3, 0), (0.6, 2, 0.75, 2)]
    assert [(x, round((y0 + y1) / 2)) for x, y0, _x, y1 in segments(figure, 1)] == [
        (0.2, 0),
        (0.5, 1),
        (0.8, 2),
    ]
    assert words(figure)[:3] == ["25% of 400", "n/a of 0", "70% of 50"]
    assert x_ticks(figure)[-1] == "100%"


def check_survival() -> None:
    frame = pd.DataFrame(
        {
            "group": ["a"] * 3 + ["b"] * 2,
            "days": [0, 100, 200, 50, 150],
            "survival": [1.0, 0.8, 0.5, 0.9, 0.4],
            "low": [1.0, 0.7, 0.4, 0.8, 0.3],
            "high": [1.0, 0.9, 0.6, 0.95, 0.5],
            "at_risk": [60, 40, 20, 30, 10],
        }
    )
    figure = charts.survival(frame)
    curves = [item for item in figure.axes[0].lines if item.get_label() in {"a", "b"}]
    assert [item.get_drawstyle() for item in curves] == ["steps-post", "steps-post"]
    assert line(figure, "a") == ([0, 0, 100, 200], [1, 1, 0.8, 0.5])
    assert line(figure, "b") == ([0, 50, 150], [1, 0.9, 0.4])
    assert {y for _x, y in band(figure, "b")} == {1, 0.8, 0.95, 0.3, 0.5}
    assert x_ticks(figure) == ["0", "50", "100", "150", "200"]
    said = words(figure)
    # Direct labels from the bottom, then the numbers at risk under each tick, group by group.
    at_risk = {"a": ["60", "40", "40", "20", "20"], "b": ["30", "30", "10", "10", "0"]}
    assert said == ["b", "a", "still observed:", "a", *at_risk["a"], "b", *at_risk["b"], "days"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()][-1] == "100%"
    with pytest.raises(ValueError, match="at most 5 groups to draw, got 6"):
        charts.survival(pd.concat([frame.head(1).assign(group=name) for name in "abcdef"]))


def check_pay_curve() -> None:
    frame = pd.DataFrame(
        {
            "attainment": [1.0, 0.0, 1.0, 2.0],
            "pay": [60_000.0, 0.0, 50_000.0, 150_000.0],
            "marginal_rate": [0.09, 0.05, NAN, NAN],
        }
    )
    figure = charts.pay_curve(frame, currency="EUR")
    assert line(figure, "pay") == ([0, 1, 1, 2], [0, 50_000, 60_000, 150_000])
    assert points(figure) == [(0, 0), (1, 50_000), (1, 60_000), (2, 150_000)]
    texts = {text.get_text(): text.xy[0] for text in figure.axes[0].texts}
    assert texts["5.0%"] == 0.5
    assert texts["9.0%"] == 1.5
    assert "€150K" in texts
    assert x_ticks(figure)[:2] == ["0%", "50%"]
    assert 1.0 in [item.get_xdata()[0] for item in figure.axes[0].lines]
    assert all("€" in tick.get_text() for tick in figure.axes[0].get_yticklabels())


def check_histogram() -> None:
    frame = pd.DataFrame(
        {"low": [NAN, NAN, 10.0, 20.0], "high": [NAN, 10.0, 20.0, NAN], "deals": [5, 12, 0, 3]}
    )
    figure = charts.histogram(frame, n="deals", show=lambda edge: f"{edge:.0f} d")
    assert row_labels(figure) == ["under 10 d", "10 d to 20 d", "20 d and more", "no value"]
    assert bars(figure, "actual") == [(0, 0, 12), (1, 0, 0), (2, 0, 3)]
    assert bars(figure, "plan") == [(3, 0, 5)]
    assert words(figure) == ["12", "0", "3", "5"]


def check_ageing() -> None:
    frame = pd.DataFrame(
        {
            "stage": ["Qualify", "Qualify", "Qualify", "Close"],
            "age_days": [10.0, 30.0, 31.0, 90.0],
            "p90_days": [30.0, 30.0, 30.0, NAN],
        }
    )
    figure = charts.ageing(frame)
    assert row_labels(figure) == ["Qualify", "Close"]
    assert segments(figure)[0][0] == 30
    assert points(figure, 0) == [(10, 0), (30, 0)]
    assert points(figure, 1) == [(31, 0)]
    assert points(figure, 2) == [(90, 1)]
    assert words(figure)[:2] == ["1 of 3", "0 of 1"]
    assert words(figure)[-1].startswith("days open in the stage")
    crowd = pd.DataFrame({"stage": "Qualify", "age_days": np.linspace(0, 100, 5000), "p90_days": 200.0})
    assert len(points(charts.ageing(crowd))) <= 80
    assert words(charts.ageing(crowd))[0] == "0 of 5,000"


CHECKS: dict[str, Callable[[], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}


def to_hex(colour: tuple[float, float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour[:3])


@pytest.mark.parametrize("chart", charts.__all__)
def test_what_is_plotted_is_the_frame(chart: str) -> None:
    assert chart in CHECKS, f"{chart} has no test that reads its data, labels and units back"
    CHECKS[chart]()


EMPTY: dict[str, Callable[[], Figure]] = {
    "ageing": lambda: charts.ageing(pd.DataFrame(columns=["stage", "age_days", "p90_days"])),
    "calibration": lambda: charts.calibration(pd.DataFrame(columns=["predicted"])),
    "conversion_steps": lambda: charts.conversion_steps(pd.DataFrame(columns=["stage", "rate"])),
    "dots": lambda: charts.dots(pd.DataFrame(columns=["team", "rate"]), "team", "rate"),
    "fan": lambda: charts.fan(pd.DataFrame(columns=["period"])),
    "histogram": lambda: charts.histogram(pd.DataFrame(columns=["low", "high", "n"])),
    "kpi_bullet": lambda: charts.kpi_bullet(pd.DataFrame(columns=["label", "value"])),
    "pay_curve": lambda: charts.pay_curve(pd.DataFrame(columns=["attainment", "pay"])),
    "stage_times": lambda: charts.stage_times(pd.DataFrame(columns=["stage", "p50"])),
    "survival": lambda: charts.survival(pd.DataFrame(columns=["group", "days", "survival"])),
    "trends": lambda: charts.trends(pd.DataFrame(columns=["a", "b", "c"]), "a", "b", "c"),
    "waterfall": lambda: charts.waterfall(pd.DataFrame(columns=["step", "amount"])),
}


@pytest.mark.parametrize("chart", charts.__all__)
def test_an_empty_frame_is_said_in_words(chart: str) -> None:
    figure = EMPTY[chart]()
    assert not figure.axes
    (sentence,) = all_text(figure)
    assert sentence.endswith(".")
    assert len(sentence) > 15


def test_of_many_rows_the_extremes_are_drawn_and_the_rest_counted() -> None:
    frame = pd.DataFrame({"team": [f"t{place:02}" for place in range(50)], "rate": np.arange(50) / 50})
    figure = charts.dots(frame, "team", "rate")
    labels = row_labels(figure)
    assert labels[:2] == ["t49", "t48"]
    assert labels[20] == "…"
    assert labels[-1] == "t00"
    assert len(labels) == 41
    assert "10 more, in the table" in words(figure)
    assert len(points(figure)) == 40


def test_charts_leave_their_frame_and_pyplot_alone() -> None:
    import matplotlib.pyplot as plt

    frame = pd.DataFrame({"team": ["b", "a"], "rate": [0.1, 0.2]})
    before = frame.copy()
    charts.dots(frame, "team", "rate")
    pd.testing.assert_frame_equal(frame, before)
    assert plt.get_fignums() == []
