"""Compiling for the three dialects without their engines."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pytest
from ibis.config import Config

DIALECTS = ("duckdb", "postgres", "pyspark")


class SparkOptions(Config):
    """What the Spark backend sets when it is loaded."""

    treat_nan_as_null: bool = False


def compile_everywhere(query: ir.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises where a query does not compile for one of the dialects."""
    with monkeypatch.context() as patch:
        patch.setattr(ibis.options, "pyspark", SparkOptions())
        for dialect in DIALECTS:
            assert "SELECT" in ibis.to_sql(query, dialect=dialect)
