"""The names of reps beside their ids."""

from __future__ import annotations

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect


def with_rep_names(result: pd.DataFrame, reps: ir.Table | None) -> pd.DataFrame:
    """The result with ``rep_name`` after ``owner_id``: the name, with the id where two of the listed reps
    share it, and the id alone where the name is not known. Unchanged without a column ``owner_id`` or
    without names."""
    if "owner_id" not in result or reps is None or "name" not in reps.columns:
        return result
    known = collect(reps.select("owner_id", "name")).drop_duplicates("owner_id").set_index("owner_id")["name"]
    owners = pd.Series(result["owner_id"].unique(), dtype=object)
    names = owners.map(known).astype("str")
    shared = names.duplicated(keep=False) & names.notna()
    names = names.where(~shared, names + " (" + owners.astype("str") + ")").fillna(owners.astype("str"))
    named = result.copy()
    shown = result["owner_id"].map(dict(zip(owners, names, strict=True)))
    named.insert(list(result.columns).index("owner_id") + 1, "rep_name", shown)
    return named
