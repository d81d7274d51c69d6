"""The embedded engine: results computed once, databases kept apart, files opened when they are read."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pytest

from salesops_kit.data import engine


def write(path: Path, values: list[int]) -> Path:
    pd.DataFrame({"value": values}).to_parquet(path)
    return path


def test_equal_expressions_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = engine.ParquetTables(engine.backend(tmp_path), {"a": write(tmp_path / "a.parquet", [1, 2, 3])})[
        "a"
    ]
    runs: list[object] = []
    run = engine.collect_columns

    def counted(expression: ir.Table) -> object:
        runs.append(expression)
        return run(expression)

    monkeypatch.setattr(engine, "collect_columns", counted)
    first = engine.collect(table.filter(table.value > 1))
    first["value"] = 0
    assert engine.collect(table.filter(table.value > 1))["value"].tolist() == [2, 3]
    assert engine.collect(table.filter(table.value > 2))["value"].tolist() == [3]
    assert len(runs) == 2


def test_tables_of_one_name_in_two_databases_are_two_tables(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.parquet", [number]) for number in (1, 2)]
    tables = [engine.ParquetTables(engine.backend(tmp_path), {"a": file})["a"] for file in files]
    assert [engine.collect(table)["value"].tolist() for table in tables] == [[1], [2]]
    assert [engine.collect(table.aggregate(n=table.value.sum()))["n"][0] for table in tables] == [1, 2]


def test_a_file_is_opened_when_its_table_is_asked_for(tmp_path: Path) -> None:
    tables = engine.ParquetTables(
        engine.backend(tmp_path), {"a": write(tmp_path / "a.parquet", [1]), "b": tmp_path / "missing.parquet"}
    )
    assert list(tables) == ["a", "b"]
    assert "b" in tables
    assert len(tables) == 2
    assert tables["a"] is tables["a"]
    with pytest.raises(Exception, match=r"missing\.parquet"):
        tables["b"]
    with pytest.raises(KeyError):
        tables["c"]


def test_a_table_in_memory_may_be_collected_too() -> None:
    table = ibis.memtable(pd.DataFrame({"value": [1, 2]}))
    assert engine.collect(table.aggregate(n=table.value.sum()))["n"].tolist() == [3]


def test_a_shared_expression_is_a_view_of_its_own_database_with_the_same_rows(tmp_path: Path) -> None:
    table = engine.ParquetTables(engine.backend(tmp_path), {"a": write(tmp_path / "a.parquet", [1, 2, 3])})[
        "a"
    ]
    doubled = table.mutate(twice=table.value * 2)
    view = engine.shared(doubled)
    assert len(ibis.to_sql(view)) < len(ibis.to_sql(doubled))
    assert view.schema() == doubled.schema()
    assert engine.collect(view.filter(view.twice > 2))["twice"].tolist() == [4, 6]
    assert engine.shared(table.mutate(twice=table.value * 2)) is view


def test_an_expression_over_other_tables_is_shared_as_it_is(tmp_path: Path) -> None:
    elsewhere = ibis.memtable(pd.DataFrame({"value": [1]}))
    table = engine.ParquetTables(engine.backend(tmp_path), {"a": write(tmp_path / "a.parquet", [1])})["a"]
    for expression in (elsewhere, table.semi_join(elsewhere, "value")):
        assert engine.shared(expression) is expression
