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
    runs: list[ir.Table] = []
    run = ir.Table.to_pyarrow

    def counted(self: ir.Table) -> object:
        runs.append(self)
        return run(self)

    monkeypatch.setattr(ir.Table, "to_pyarrow", counted)
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
