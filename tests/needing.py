"""Runs a table of an analysis on tables made by hand, with the tables of other analyses that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.registry import find_table


def run_table(
    name: str, tables: Mapping[str, ir.Table], context: Mapping[str, Any], **options: Any
) -> pd.DataFrame:
    """The table called ``name``; what ``context`` does not name of ``reference`` is None."""
    spec = find_table(name)
    given = {table: tables.get(table) for table in (*spec.tables, *spec.optional_tables)}
    known = {"reference": None, **context}
    needed = {parameter: run_table(other, tables, context) for parameter, other in spec.needs.items()}
    return spec.function(**given, **needed, **{key: known[key] for key in spec.context}, **options)
