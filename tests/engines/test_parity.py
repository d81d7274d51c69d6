"""DuckDB, PostgreSQL and Spark give the same tables for the same data, whatever table an analysis offers.

Counts, text, dates and amounts are the same to the last digit, other floats to 1e-9. PostgreSQL sorts
text by language here, so that no table may lean on the order in which an engine sorts text.
"""

from __future__ import annotations

import datetime as dt
import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit import registry
from salesops_kit.analysis.quality import _findings, _sources
from salesops_kit.compute import Calculator
from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows
from tests.engines.crm import Crm, in_duckdb, in_postgres, in_spark
from tests.engines.servers import Server

# Within the quarter, with open deals; at its end declared totals are compared.
WITHIN, AT_END = dt.date(2026, 9, 15), dt.date(2026, 10, 31)
RELATIVE = 1e-9
# It learns a model for each team from the same few rows, whatever the engine: only the campaign has time.
LONG = {("forecast.accuracy", "by", "team"), ("forecast.backtest", "by", "team")}
NAMES = sorted(registry.tables())
ANALYSES = sorted(registry.references())
# Python's own: Spark's gateway leaves a socket to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass(frozen=True)
class Engine:
    """The CRM in one engine, with the calculator of each day."""

    calculators: Mapping[dt.date, Calculator]

    def tables(self, name: str, *, is_long: bool = False) -> dict[str, pd.DataFrame]:
        """One table with the defaults and with each other choice of one option, by what was asked; where
        there is nothing to tell within the quarter, at its end too."""
        spec = registry.find_table(name)
        choices = [
            (option.name, choice)
            for option in spec.options.values()
            for choice in option.choices
            if choice != option.default and (is_long or (name, option.name, choice) not in LONG)
        ]
        ways: list[dict[str, Any]] = [{}, *({option: choice} for option, choice in choices)]
        found = {f"{way}": self.calculators[WITHIN].table(name, **way) for way in ways}
        if not any(map(len, found.values())):
            found |= {f"{way} at the end": self.calculators[AT_END].table(name, **way) for way in ways}
        return found


def opened(rows: Rows, crm: Crm, figures: Mapping[str, Any]) -> Engine:
    return Engine({day: Calculator(rows, day, crm.period, figures) for day in (WITHIN, AT_END)})


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_in_an_engine() -> Iterator[None]:
    """What the checks keep in an engine goes before the engine does."""
    yield
    _sources._stored.cache_clear()
    _findings._KEPT.clear()
    engine._computed.cache_clear()
    gc.collect()


@pytest.fixture(scope="module")
def figures(crm: Crm, folder: Path) -> Mapping[str, Any]:
    """The company's figures, which every engine's tables get."""
    return Calculator(in_duckdb(crm, folder), WITHIN, crm.period).references()


@pytest.fixture(scope="module")
def here(crm: Crm, folder: Path, figures: Mapping[str, Any]) -> Engine:
    return opened(in_duckdb(crm, folder), crm, figures)


@pytest.fixture(scope="module")
def on_postgres(crm: Crm, folder: Path, postgres: Server, figures: Mapping[str, Any]) -> Iterator[Engine]:
    with in_postgres(crm, postgres.address, folder) as rows:
        yield opened(rows, crm, figures)


@pytest.fixture(scope="module")
def on_spark(crm: Crm, spark: Any, figures: Mapping[str, Any]) -> Engine:
    return opened(in_spark(crm, spark), crm, figures)


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two values part: floats by more than 1e-9 of their size, anything else at all."""
    if isinstance(one, pd.DataFrame) and isinstance(other, pd.DataFrame):
        found = differences(list(one.columns), list(other.columns), f"{place} columns")
        found += differences(list(map(str, one.dtypes)), list(map(str, other.dtypes)), f"{place} types")
        for column in one.columns if not found else ():
            found += differences(one[column].tolist(), other[column].tolist(), f"{place} {column}")
        return found + differences(dict(one.attrs), dict(other.attrs), f"{place} attrs")
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found = differences(sorted(map(str, one)), sorted(map(str, other)), f"{place} keys")
        return found + [d for k in one if k in other for d in differences(one[k], other[k], f"{place} {k}")]
    if _is_list(one) and _is_list(other):
        if len(one) != len(other):
            return [f"{place}: {len(one)} and {len(other)} long"]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, f"{place}[{n}]")]
    if isinstance(one, float) and isinstance(other, float):
        same = math.isclose(one, other, rel_tol=RELATIVE, abs_tol=RELATIVE) or (one != one and other != other)
    else:
        same = type(one) is type(other) and (one == other or (one is pd.NaT and other is pd.NaT))
    return [] if same else [f"{place}: {one!r} and {other!r}"]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def assert_same(one: Any, other: Any) -> None:
    found = differences(one, other)
    assert not found, "\n".join(found[:20])


@pytest.mark.parametrize("name", NAMES)
def test_postgres_gives_the_same_table(name: str, here: Engine, on_postgres: Engine) -> None:
    assert_same(here.tables(name), on_postgres.tables(name))


@pytest.mark.parametrize("name", ANALYSES)
def test_postgres_gives_the_same_company_figures(
    name: str, figures: Mapping[str, Any], on_postgres: Engine
) -> None:
    assert_same(figures[name], on_postgres.calculators[WITHIN].references(name)[name])


@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_spark_gives_the_same_table(name: str, here: Engine, on_spark: Engine) -> None:
    assert_same(here.tables(name, is_long=True), on_spark.tables(name, is_long=True))


@pytest.mark.campaign
@pytest.mark.parametrize("name", ANALYSES)
def test_spark_gives_the_same_company_figures(
    name: str, figures: Mapping[str, Any], on_spark: Engine
) -> None:
    assert_same(figures[name], on_spark.calculators[WITHIN].references(name)[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_something_to_compare(name: str, here: Engine) -> None:
    assert any(len(frame) for frame in here.tables(name).values())


def test_what_takes_long_exists() -> None:
    for name, option, choice in LONG:
        assert choice in registry.find_table(name).options[option].choices


def test_the_server_sorts_text_by_language(on_postgres: Engine) -> None:
    con = on_postgres.calculators[WITHIN].rows.table("stages").get_backend()
    assert con.raw_sql("SELECT 'a' < 'B'").fetchone() == (True,)
    assert "a" > "B"


def test_what_parts_is_named() -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [1.0, float("nan")]})
    assert differences(frame, frame.copy()) == []
    assert differences(frame, frame.assign(x=[1.0 + 1e-12, float("nan")])) == []
    assert differences(frame, frame.assign(x=[1.0 + 1e-8, float("nan")])) == [" x[0]: 1.0 and 1.00000001"]
    assert differences(frame, frame.assign(n=[1, 3])) == [" n[1]: 2 and 3"]
    assert "types" in differences(frame, frame.assign(n=[1.0, 2.0]))[0]
    assert differences({"a": [1]}, {"a": [1, 2]}) == [" a: 1 and 2 long"]
