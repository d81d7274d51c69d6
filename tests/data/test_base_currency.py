"""The base currency of a dataset that does not name one."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.data.dataset import import_export
from salesops_kit.errors import InputError

DEALS = "opportunity_id,stage,amount,currency,created_date,close_date\n"


def imported(folder: Path, rows: str, settings: str = "") -> str:
    raw = folder / "raw"
    raw.mkdir()
    (raw / "opportunities.csv").write_text(DEALS + rows, encoding="utf-8")
    if settings:
        (raw / "dataset.yml").write_text(settings, encoding="utf-8")
    return import_export([raw], "", folder / "canonical").settings.base_currency


def test_the_only_currency_is_the_base(tmp_path: Path) -> None:
    rows = "a,Won,5,EUR,2026-01-01,2026-02-01\nb,Won,5,,2026-01-01,2026-02-01\n"
    assert imported(tmp_path, rows) == "EUR"


def test_a_named_base_stands_and_wants_rates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="amounts in EUR, but no rate to USD"):
        imported(tmp_path, "a,Won,5,EUR,2026-01-01,2026-02-01\n", "base_currency: USD\n")


def test_two_currencies_want_rates(tmp_path: Path) -> None:
    rows = "a,Won,5,EUR,2026-01-01,2026-02-01\nb,Won,5,GBP,2026-01-01,2026-02-01\n"
    with pytest.raises(InputError, match="no rate to USD") as refused:
        imported(tmp_path, rows)
    assert {problem.got for problem in refused.value.problems} == {"EUR", "GBP"}


def test_without_any_currency_it_is_the_default(tmp_path: Path) -> None:
    assert imported(tmp_path, "a,Won,5,,2026-01-01,2026-02-01\n") == "USD"
