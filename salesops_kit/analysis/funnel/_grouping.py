"""The dimensions that a table is grouped by, beside the columns that it has anyway."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import ibis.expr.types as ir

from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import Dimension, parse_by

# The columns by which the estimators count.
_COUNTED = ("age", "entered", "left", "events", "at_risk", "survival", "effective_n")


def grouping(
    by: str,
    tables: Mapping[str, ir.Table | None],
    columns: Collection[str],
    own_keys: Collection[str] = (),
) -> tuple[Dimension, ...]:
    """The dimensions of a comma-separated list, without those that are keys of the table in any case.

    Raises :class:`InputError` for a dimension that :func:`parse_by` does not know, and for one that has
    the name of a figure of the table: with the table's name before it, it is told apart.
    """
    dimensions = [each for each in parse_by(by, tables) if each.name not in own_keys]
    taken = [
        Problem(
            f"the table has a figure of the name {each.name!r}",
            column="by",
            got=each.name,
            next_step=f"Ask for the dimension with its table's name, such as opportunity.{each.name}.",
        )
        for each in dimensions
        if each.name in {*columns, *_COUNTED}
    ]
    if taken:
        raise InputError(taken)
    return tuple(dimensions)
