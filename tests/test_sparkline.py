"""The small line: where its points lie, what a gap does, and what is told to who cannot see it."""

from __future__ import annotations

import pytest

from salesops_kit.sparkline import EDGE, HEIGHT, WIDTH, sparkline, sparkline_svg


def points(values: list[float | None], places: list[float] | None = None) -> list[tuple[float, float]]:
    line = sparkline(values, places or ())
    assert line is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.points.split())]


def test_the_lowest_touches_the_lower_edge_and_the_highest_the_upper() -> None:
    assert points([10, 30, 20]) == [(EDGE, HEIGHT - EDGE), (WIDTH / 2, EDGE), (WIDTH - EDGE, HEIGHT / 2)]


def test_a_gap_is_left_out_and_keeps_its_room() -> None:
    assert [x for x, _y in points([1, None, 3])] == [EDGE, WIDTH - EDGE]
    assert [x for x, _y in points([1, 2, 3], [0, 3, 4])] == pytest.approx([3, 3 + 106 * 0.75, 109], abs=0.05)


def test_equal_figures_lie_in_the_middle() -> None:
    assert {y for _x, y in points([4, 4, 4])} == {HEIGHT / 2}


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [float("nan"), 2.0], [float("inf"), 2.0]])
def test_fewer_than_two_figures_are_no_line_but_words(values: list[float | None]) -> None:
    assert sparkline(values) is None
    assert sparkline_svg(values, "<b>North</b>") == "&lt;b&gt;North&lt;/b&gt;"


def test_its_words_are_escaped() -> None:
    svg = sparkline_svg([1, 2], '"><script>')
    assert "<script>" not in svg
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in svg
