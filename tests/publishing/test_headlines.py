"""A headline in a catalog: the number of its page, the change in words, the trend through its quarters."""

from __future__ import annotations

from typing import Any

import pytest

from salesops_kit import formats
from salesops_kit.language import use_locale
from salesops_kit.publishing.headlines import format_value, headline, quarter_number
from salesops_kit.sparkline import HEIGHT, WIDTH

NUMBERS = (0, 1, 0.004, 0.0051, 0.125, 0.2913, 0.9996, 1.0, 2.54, 9.96, 59.0, 118, 999_950, 4_833_219.89)
UNITS = ("USD", "JPY", "rate", "days", "deals", "ratio", "")


@pytest.mark.parametrize("locale", ["en", "de", "zh_Hans", "ko"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_number_reads_as_on_its_page(unit: str, locale: str) -> None:
    with use_locale(locale):
        # A number of days is never negative.
        below_zero = () if unit == "days" else (-1, -0.001, -75_000.5)
        for number in (*NUMBERS, *below_zero, 12_345_678_901.0):
            assert format_value({"value": number, "unit": unit}, locale) == formats.value(number, unit), (
                number
            )


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "12", True])
def test_what_is_no_number_is_missing(value: Any) -> None:
    record = {"id": "won", "value": value, "unit": "USD", "reason": "no deals"}
    assert format_value(record, "en") == "n/a"
    assert shown(record, {}).reason == "no deals"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"value": 90.0, "prior": 100.0, "unit": "USD", "kind": "additive"}, "down 10% from 2026-Q4"),
        ({"value": 2500.0, "prior": 1000.0, "unit": "USD", "kind": "additive"}, "up 150% from 2026-Q4"),
        ({"value": 100.4, "prior": 100.0, "unit": "USD", "kind": "additive"}, "as in 2026-Q4"),
        ({"value": 5.0, "prior": 0.0, "unit": "deals", "kind": "additive"}, "up 5 from 2026-Q4"),
        ({"value": 0.31, "prior": 0.28, "unit": "rate", "kind": "rate"}, "up 3 points from 2026-Q4"),
        ({"value": 0.30, "prior": 0.31, "unit": "rate", "kind": "rate"}, "down 1 point from 2026-Q4"),
        ({"value": 0.301, "prior": 0.302, "unit": "rate", "kind": "rate"}, "as in 2026-Q4"),
        ({"value": 59.0, "prior": 50.0, "unit": "days", "kind": "other"}, "up 9 days from 2026-Q4"),
        ({"value": None, "prior": 50.0, "unit": "days", "kind": "other"}, ""),
        ({"value": 59.0, "prior": None, "unit": "days", "kind": "other"}, ""),
    ],
)
def test_changes(record: dict[str, Any], text: str) -> None:
    made = headline({"id": "x", **record}, {}, quarter="2027-Q1", scope_name="Company", locale="en")
    assert made.change == text


def test_the_quarter_befores_report_tells_what_the_report_itself_does_not() -> None:
    past = {"2026-Q4": {"value": 80.0}, "2026-Q2": {"value": 10.0}}
    record = {"id": "won", "value": 100.0, "unit": "USD", "kind": "additive"}
    assert shown(record, past).change == "up 25% from 2026-Q4"
    assert shown(record, {"2026-Q3": {"value": 80.0}}).change == "", "a quarter is missing between"
    assert shown({**record, "prior": 50.0}, past).change == "up 100% from 2026-Q4"
    part = {**record, "prior": 50.0, "prior_label": "the same point of 2026-Q4"}
    assert shown(part, past).change == "up 100% from the same point of 2026-Q4"
    assert shown({**record, "prior": None}, past).change == "", "a sum of a part of the quarter, perhaps"
    assert shown({**record, "prior": None, "kind": "other"}, past).change == "up $20 from 2026-Q4"


def test_a_trend_needs_two_quarters_and_leaves_room_for_a_missing_one() -> None:
    record = {"id": "won", "label": "Won", "value": 30.0, "unit": "USD"}
    assert shown(record, {}).trend is None
    assert shown(record, {"2026-Q4": {"value": None}, "All time": {"value": 3.0}}).trend is None
    trend = shown(record, {"2026-Q4": {"value": 20.0, "unit": "USD"}, "2026-Q1": {"value": 10.0}}).trend
    assert trend is not None
    points = [tuple(float(part) for part in point.split(",")) for point in trend.line.points.split()]
    assert [x for x, _y in points] == pytest.approx([3, 3 + 106 * 3 / 4, 109], abs=0.05)
    assert [y for _x, y in points] == pytest.approx([HEIGHT - 3, HEIGHT / 2, 3])
    assert trend.line.end == points[-1]
    assert trend.text == "Won, Company, quarter by quarter: 2026-Q1 10, 2026-Q4 $20, 2027-Q1 $30"


def test_a_trend_of_equal_values_is_flat_and_at_most_eight_quarters_long() -> None:
    past = {f"{year}-Q{quarter}": {"value": 1.0} for year in (2024, 2025, 2026) for quarter in (1, 2, 3, 4)}
    trend = shown({"id": "won", "value": 1.0}, past).trend
    assert trend is not None
    points = [point.split(",") for point in trend.line.points.split()]
    assert len(points) == 8
    assert {y for _x, y in points} == {f"{HEIGHT / 2:g}"}
    assert (points[0][0], points[-1][0]) == ("3", f"{WIDTH - 3}")


def test_quarters_are_counted_across_years() -> None:
    assert [quarter_number(name) for name in ("2027-Q1", "2026-Q4", "", "2026-Q5")] == [
        8108,
        8107,
        None,
        None,
    ]


def shown(record: dict[str, Any], past: dict[str, dict[str, Any]]) -> Any:
    return headline(record, past, quarter="2027-Q1", scope_name="Company", locale="en")
