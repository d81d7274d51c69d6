"""A claim needs an interval without zero; where there is none, that is said."""

from __future__ import annotations

import pytest

from salesops_kit import formats
from salesops_kit.display.narrative import Exhibit, is_evidence, no_evidence, ranged, with_range

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "evident"),
    [
        (0.01, 0.2, True),
        (-0.2, -0.01, True),
        (-0.01, 0.2, False),
        (0.0, 0.2, False),
        (-0.2, 0.0, False),
        (None, 0.2, False),
        (0.1, NAN, False),
        (float("-inf"), -0.1, False),
    ],
)
def test_an_interval_with_zero_is_no_evidence(low: float | None, high: float, evident: bool) -> None:
    assert is_evidence(low, high) is evident


@pytest.mark.parametrize(
    ("p_value", "needed", "sentence"),
    [
        (0.264, None, "Rates show no evidence of a difference (p = 0.26)."),
        (0.009, None, "Rates show no evidence of a difference (p < 0.01)."),
        (None, None, "Rates show no evidence of a difference."),
        (NAN, NAN, "Rates show no evidence of a difference."),
        (
            0.5,
            1234.4,
            "Rates show no evidence of a difference (p = 0.50). About 1,234 closed deals in each would tell.",
        ),
    ],
)
def test_no_evidence_says_how_much_would_tell(
    p_value: float | None, needed: float | None, sentence: str
) -> None:
    assert no_evidence("Rates", p_value=p_value, deals_needed=needed) == sentence


def test_an_exhibit_is_a_message_first() -> None:
    exhibit = Exhibit("Said.")
    assert (exhibit.figure, exhibit.columns, exhibit.is_text, exhibit.said) == (None, (), False, ())


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [(0.4, 0.6, "40% to 60%"), (0.501, 0.499, ""), (0, 0, ""), (None, 0.6, ""), (0.4, NAN, "")],
)
def test_a_range_that_tells_nothing_is_left_out(low: float | None, high: float, between: str) -> None:
    assert ranged(low, high, formats.percent) == between
    assert with_range(0.5, low, high, formats.percent) == (f"50% ({between})" if between else "50%")
