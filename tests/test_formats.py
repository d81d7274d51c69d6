"""Numbers, money, dates and data text in five locales; what is missing, not finite, tiny or huge."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from salesops_kit import formats
from salesops_kit.language import use_locale

LOCALES = ("en", "de", "zh_Hans", "ko", "ja")
MISSING = (None, float("nan"), float("inf"), float("-inf"), pd.NA, pd.NaT, np.float64("nan"), Decimal("NaN"))
SHOWN_BY = (
    formats.number,
    formats.count,
    formats.ratio,
    formats.percent,
    formats.points,
    formats.money,
    formats.days,
    formats.days_number,
    formats.date,
    formats.value,
    formats.text,
)


@pytest.mark.parametrize("show", SHOWN_BY, ids=lambda show: show.__name__)
@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_or_not_finite_says_so(show: object, value: object) -> None:
    assert show(value) == "n/a"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("locale", "number", "percent", "money", "exact", "date"),
    [
        ("en", "1,234,567", "63%", "$12.3M", "−$1,234.50", "Sep 30, 2026"),
        ("de", "1.234.567", "63\xa0%", "12,3\xa0Mio.\xa0$", "−1.234,50\xa0$", "30.09.2026"),
        ("zh_Hans", "1,234,567", "63%", "US$1230万", "−US$1,234.50", "2026年9月30日"),
        ("ko", "1,234,567", "63%", "US$1230만", "−US$1,234.50", "2026. 9. 30."),
        ("ja", "1,234,567", "63%", "$1230万", "−$1,234.50", "2026/09/30"),
    ],
)
def test_each_locale_writes_its_own_figures(
    locale: str, number: str, percent: str, money: str, exact: str, date: str
) -> None:
    with use_locale(locale):
        assert formats.number(1_234_567) == number
        assert formats.percent(0.63) == percent
        assert formats.money(12_345_678) == money
        assert formats.money(Decimal("-1234.5"), exact=True) == exact
        assert formats.date(dt.date(2026, 9, 30)) == date


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("amount", [0.0, -0.0, 1e-9, -1e-9, -0.3, 0.5, 999_999, 1e15, -1e18, 1e30, 1e300])
def test_no_figure_is_too_small_or_too_large(locale: str, amount: float) -> None:
    with use_locale(locale):
        for show in (formats.number, formats.ratio, formats.percent, formats.money, formats.days):
            shown = show(amount)
            assert 0 < len(shown) <= 24
            assert "-" not in shown
            digits = [character for character in shown if character.isdigit()]
            if formats.MINUS in shown:
                assert any(digit != "0" for digit in digits), shown


def test_minus_zero_has_no_sign() -> None:
    assert formats.number(-0.2) == "0"
    assert formats.money(-0.3) == "$0"
    assert formats.money(-0.001, exact=True) == "$0.00"
    assert formats.percent(-0.001) == "0%"
    assert formats.days(-0.0) == "0 days"


def test_percent_is_never_rounded_to_all_or_nothing() -> None:
    assert [formats.percent(rate) for rate in (0, 0.0001, 0.004, 0.9951, 1, 1.2)] == [
        "0%",
        "<1%",
        "<1%",
        ">99%",
        "100%",
        "120%",
    ]


def test_units_choose_the_form() -> None:
    assert formats.value(0.63, "rate", exact=True) == "63.0%"
    assert formats.value(1, "days") == "1 day"
    assert formats.value(3.25, "x") == "3.2x"
    assert formats.value(12.0, "deals") == "12"
    assert formats.value(12.5) == "12.50"
    assert formats.value(True) == "1"
    assert formats.value("a\u200b") == "a⟨U+200B⟩"
    assert formats.value(dt.date(2026, 1, 2)) == "Jan 2, 2026"
    assert formats.value(pd.Timestamp("2026-01-02 23:00")) == "Jan 2, 2026"
    with pytest.raises(TypeError, match="expected a number to show, got object"):
        formats.number(object())


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("EMEA\u200b", "EMEA⟨U+200B⟩"),
        ("\u202egpj.exe", "⟨U+202E⟩gpj.exe"),
        ("a\x00b", "a⟨U+0000⟩b"),
        ("two\nlines\tand", "two lines and"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("한국 中文 العربية", "한국 中文 العربية"),
        (None, ""),
        (7, "7"),
    ],
)
def test_hidden_characters_are_spelled_out(raw: object, seen: str) -> None:
    assert formats.visible(raw) == seen


def test_an_unknown_locale_reads_as_english() -> None:
    with use_locale("xx_Nowhere"):
        assert formats.number(1234.5, 1) == "1,234.5"


@pytest.mark.parametrize(
    ("locale", "joined"), [("en", "a, b, and c"), ("de", "a, b und c"), ("ja", "a、b、c")]
)
def test_phrases_are_joined_as_the_language_does(locale: str, joined: str) -> None:
    with use_locale(locale):
        assert formats.listed(["a", "b", "c"]) == joined
