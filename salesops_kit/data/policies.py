"""A dataset's rules: those of the kit, the company's and its own, checked against its columns and stages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.predicates import holds
from salesops_kit.policy.model import CHECKED_TABLES, Policy, Segments
from salesops_kit.policy.reading import read_policy
from salesops_kit.project import project_root

PARAMS = Path("params")
SEGMENT, SEGMENTED = "segment", "accounts"


def policy_of(folder: Path | None, paths: Mapping[str, Path]) -> Policy:
    """The rules for the tables in ``paths``: the kit's, over them those of the workspace's params/ and,
    over these, those that lie in the dataset's own folder.

    Raises :class:`~salesops_kit.errors.InputError` with everything that is wrong with them.
    """
    folders = [project_root() / PARAMS, *([folder] if folder else [])]
    columns = {name: _types(name, paths.get(name)) for name in CHECKED_TABLES}
    stages = None
    if "stages" in paths:
        stages = set(pq.read_table(paths["stages"], columns=["stage"])["stage"].to_pylist())
    unfilled = {
        f"{name}.{column}" for name in CHECKED_TABLES if name in paths for column in _empty(paths[name])
    }
    return read_policy(folders, columns=columns, stages=stages, unfilled=unfilled)


def _types(name: str, path: Path | None) -> dict[str, str]:
    types = {column.name: column.type for column in TABLES[name].columns.values()}
    if name == "opportunities":
        types |= {"team": "category", "pushes": "int", "stage_since_date": "date", "first_close_date": "date"}
    if path is not None:
        schema = ibis.Schema.from_pyarrow(pq.read_schema(path))
        types |= {column: _kind(type_) for column, type_ in schema.items() if column not in types}
    return types


def _kind(type_: ibis.DataType) -> str:
    if type_.is_numeric():
        return "number"
    if type_.is_temporal():
        return "date" if type_.is_date() else "instant"
    return "bool" if type_.is_boolean() else "text"


def _empty(path: Path) -> Iterator[str]:
    """Columns that no record fills, from the file's own statistics; none where it has no row."""
    data = pq.read_metadata(path)
    groups = [data.row_group(number) for number in range(data.num_row_groups)]
    for place in range(data.num_columns if data.num_rows else 0):
        parts = [group.column(place) for group in groups]
        known = [p.statistics.null_count for p in parts if p.statistics and p.statistics.has_null_count]
        if len(known) == len(parts) and sum(known) == data.num_rows:
            yield parts[0].path_in_schema


def segmented(accounts: ir.Table, segments: Segments, as_of: dt.date) -> ir.Table:
    """The accounts with ``segment`` as the rules say: that of the first that lists an account or whose
    conditions it meets; all others keep their own, or get ``otherwise`` where it is set."""
    if not segments.segments:
        return accounts
    before = accounts[SEGMENT] if SEGMENT in accounts.columns else ibis.null("string")
    branches = []
    for segment in segments.segments:
        if segment.accounts:
            branches.append((accounts.account_id.isin(list(segment.accounts)), segment.segment))
        if segment.where:
            branches.append((holds(accounts, segment.where, as_of), segment.segment))
    rest = ibis.literal(segments.otherwise) if segments.otherwise else before
    return accounts.mutate(**{SEGMENT: ibis.cases(*branches, else_=rest)})
