"""Over every chart on every edge case: readable on a phone, nothing cut, nothing live, quick to draw."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest

from salesops_kit.display import charts, gallery
from salesops_kit.display.charts import _rows
from salesops_kit.display.palette import VARIABLES
from salesops_kit.display.svg import figure_svg
from tests.display.reading import Box, canvas, text_boxes

PHONE_PX = 320
LEAST_PX = 9.5
MOST_CPU_SECONDS = 0.120


@pytest.fixture(scope="module")
def drawings() -> dict[tuple[str, str], tuple[str, float]]:
    """The SVG of each chart and case, and the CPU time that it took."""
    drawn: dict[tuple[str, str], tuple[str, float]] = {}
    begun = time.process_time()
    for chart, case, figure, _frame in gallery.figures():
        svg = figure_svg(figure, title=f"{chart} {case}", description=f"The chart {chart} on {case}.")
        drawn[chart, case] = (svg, time.process_time() - begun)
        begun = time.process_time()
    return drawn


@pytest.fixture(scope="module")
def boxes(drawings: dict[tuple[str, str], tuple[str, float]]) -> dict[tuple[str, str], list[Box]]:
    families = list(_rows._measuring_fonts())
    return {key: text_boxes(svg, families) for key, (svg, _seconds) in drawings.items()}


def test_every_chart_meets_every_case(drawings: dict[tuple[str, str], tuple[str, float]]) -> None:
    assert {chart for chart, _case in drawings} == set(charts.__all__)
    assert len(drawings) == len(charts.__all__) * len(gallery.CASES)


@pytest.mark.parametrize("chart", charts.__all__)
def test_text_is_readable_on_a_phone(
    chart: str,
    drawings: dict[tuple[str, str], tuple[str, float]],
    boxes: dict[tuple[str, str], list[Box]],
) -> None:
    for key, (svg, _seconds) in drawings.items():
        if key[0] == chart:
            width, _height = canvas(svg)
            assert boxes[key]
            assert min(box.size for box in boxes[key]) * PHONE_PX / width >= LEAST_PX, key


@pytest.mark.parametrize("chart", charts.__all__)
def test_no_text_is_cut_or_covered_by_another(
    chart: str,
    drawings: dict[tuple[str, str], tuple[str, float]],
    boxes: dict[tuple[str, str], list[Box]],
) -> None:
    for key, (svg, _seconds) in drawings.items():
        if key[0] != chart:
            continue
        width, height = canvas(svg)
        cut = [
            box
            for box in boxes[key]
            if box.left < -0.5 or box.right > width + 0.5 or box.top < -0.5 or box.bottom > height + 0.5
        ]
        assert not cut, (key, cut)
        covered = [pair for pair in combinations(boxes[key], 2) if pair[0].overlaps(pair[1])]
        assert not covered, (key, covered[:3])


def test_a_cut_and_a_covered_label_are_found() -> None:
    svg = (
        '<svg viewBox="0 0 100 50"><text x="90" y="20" font-size="12">far too long</text>'
        '<text x="85" y="22" font-size="12">covered</text></svg>'
    )
    first, second = text_boxes(svg, ["DejaVu Sans"])
    assert first.right > 100
    assert first.overlaps(second)


def test_colours_are_the_palette_under_its_variables(
    drawings: dict[tuple[str, str], tuple[str, float]],
) -> None:
    known = {f"var(--{name}, {colour})" for colour, name in VARIABLES.items()}
    for key, (svg, _seconds) in drawings.items():
        paints = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) - {"none"}
        assert {paint for paint in paints if not paint.startswith("url(#")} <= known, key
        assert "style=" not in svg


def test_nothing_from_data_is_live(drawings: dict[tuple[str, str], tuple[str, float]]) -> None:
    for (chart, case), (svg, _seconds) in drawings.items():
        assert "<script" not in svg, (chart, case)
        assert not re.search("[\x00-\x08\u200b\u202e]", svg), (chart, case)
    svg = drawings["dots", "hostile"][0]
    assert "&lt;script&gt;" in svg
    assert "$x^2_{3}$ \\frac" in svg
    assert "⟨U+202E⟩" in svg
    assert "⟨U+200B⟩" in svg
    assert "nul⟨U+0000⟩" in svg


class _Facts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.attributes |= {name for name, _value in attrs}


def test_the_page_is_built_and_its_ids_are_unique(tmp_path: Path) -> None:
    out = tmp_path / "gallery.html"
    command = [sys.executable, "-W", "error", "-m", "salesops_kit.display.gallery", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    page = out.read_text(encoding="utf-8")
    facts = _Facts()
    facts.feed(page)
    assert [name for name, times in Counter(facts.ids).items() if times > 1] == []
    pictures = len(charts.__all__) * len(gallery.CASES)
    assert facts.tags["figure"] == pictures
    assert facts.tags["svg"] > pictures + 50, "no sparkline"
    assert facts.tags["table"] == facts.tags["caption"] >= pictures + 3 * len(gallery.CASES)
    assert not {name for name in facts.attributes if name.startswith("on")} | (facts.attributes & {"src"})
    assert facts.tags["script"] == 0
    assert "NaN" not in page
    assert ">inf<" not in page
    assert ".heat .h6" in page


def test_the_same_case_is_drawn_alike_again(drawings: dict[tuple[str, str], tuple[str, float]]) -> None:
    for chart, case, figure, _frame in gallery.figures(cases=["usual", "hostile"]):
        svg = figure_svg(figure, title=f"{chart} {case}", description=f"The chart {chart} on {case}.")
        assert svg == drawings[chart, case][0]


def test_a_chart_takes_little_time(drawings: dict[tuple[str, str], tuple[str, float]]) -> None:
    assert statistics.median(seconds for _svg, seconds in drawings.values()) <= MOST_CPU_SECONDS


def test_a_chart_weighs_little(drawings: dict[tuple[str, str], tuple[str, float]]) -> None:
    weights = {key: len(svg.encode()) for key, (svg, _seconds) in drawings.items()}
    assert statistics.median(weights.values()) <= 10_000
    assert max(weights.values()) <= 100_000, max(weights, key=lambda key: weights[key])
