"""From an engine expression to the small pandas frame that an analysis works on."""

from __future__ import annotations

import ibis.expr.types as ir
import pandas as pd


def fetch(expression: ir.Table) -> pd.DataFrame:
    """Runs the query and returns its rows: whole numbers as int64 (float64 where some are missing),
    decimals and dates as Python objects, text as text.

    By way of Arrow, because Ibis' own conversion to pandas reads an option that pandas 3 deprecates.
    """
    return expression.to_pyarrow().to_pandas()
