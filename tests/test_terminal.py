"""What the command line writes: tables with and without rows, plain numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from salesops_kit.terminal import Format, write_table


def written(frame: pd.DataFrame, capsys: pytest.CaptureFixture[str], format_: Format = Format.table) -> str:
    write_table(frame, format_)
    return capsys.readouterr().out


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_table_without_rows_is_its_header_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(columns=["source", "measure", "declared"])
    assert written(frame, capsys) == "source  measure  declared\nNo rows.\n"
    frame.attrs["empty"] = "Nothing is declared\x1b[31m."
    assert written(frame, capsys) == "source  measure  declared\nNothing is declared⟨U+001B⟩[31m.\n"
    assert written(frame, capsys, Format.csv) == "source,measure,declared\n"
    assert written(frame, capsys, Format.json) == "[]\n"
    assert written(pd.DataFrame(), capsys) == "No rows.\n"


def test_where_a_column_says_the_unit_money_stands_to_the_cent(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(
        {
            "id": ["won", "deals", "rate", "none"],
            "value": [4833220.5, 1457.0, 0.3122589, float("nan")],
            "unit": ["money", "deals", "rate", "money"],
        }
    )
    assert [line[1] for line in cells(written(frame, capsys))[1:]] == [
        "4833220.50",
        "1457",
        "0.312259",
        "n/a",
    ]


def test_a_column_of_money_stands_to_the_cent_whatever_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(
        {
            "p10": [4833219.89, 0.0, -0.001],
            "target": [5465000, 1, 2],
            "mean": pd.Series([Decimal("1.5"), None, Decimal("1E+7")], dtype=object),
            "chance_of_target": [1e-9, 0.116, 0.5],
            "deals": [1, 2, 3],
        }
    )
    frame.attrs["table"] = "forecast.outlook"
    assert cells(written(frame, capsys))[1:] == [
        ["4833219.89", "5465000.00", "1.50", "0.000", "1"],
        ["0.00", "1.00", "n/a", "0.116", "2"],
        ["0.00", "2.00", "10000000.00", "0.500", "3"],
    ]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([5.831548e7, 0.3122589, 0.0], ["58315480.00", "0.312259", "0"]),
        ([0.25, 0.5, float("inf")], ["0.25", "0.50", "n/a"]),
        ([1e300, -1e-12], [f"{1e300:.2f}", "0"]),
        ([float("nan")], ["n/a"]),
        ([True, 2.5], ["True", "2.5"]),
        (["\x1b[31m", 12345.678], ["⟨U+001B⟩[31m", "12345.68"]),
    ],
)
def test_no_number_has_an_exponent(
    values: list[Any], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [line[0] for line in cells(written(pd.DataFrame({"x": values}), capsys))[1:]] == shown


def test_columns_of_one_name_and_days_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame([[1, 2.5, dt.date(2026, 7, 31)]], columns=["a", "a", "day"])
    assert cells(written(frame, capsys))[1:] == [["1", "2.5", "2026-07-31"]]
