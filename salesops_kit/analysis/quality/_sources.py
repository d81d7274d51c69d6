"""What the checks are made on: the tables of a scope, the day, and the company's rules."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from salesops_kit.data.deals import deals_at
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.states import falls_in, is_true
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.policy.values import COLUMN_MARK
from salesops_kit.settings import Settings

ALWAYS = ("name", "account_id", "type", "created_date", "loss_reason")


@dataclass(frozen=True)
class Sources:
    """The rows at hand as they were known at the end of ``as_of``.

    ``deals`` has one row per deal that was not deleted: its state and its other columns (see
    :func:`deals_at`), ``is_open``, ``is_counted`` (open or booked in the period: what a page's money is
    made of) and ``is_judged`` (open, or closed in the period in whichever way).
    """

    deals: ir.Table
    states: ir.Table
    as_of: dt.date
    period: Period | None
    settings: Settings
    policy: Policy
    stages: ir.Table | None = None
    exclusions: ir.Table | None = None
    accounts: ir.Table | None = None
    leads: ir.Table | None = None
    reps: ir.Table | None = None
    reference: Mapping[str, Any] | None = None


def sources(
    states: ir.Table,
    opportunities: ir.Table | None,
    *,
    as_of: dt.date,
    period: Period | None,
    policy: Policy,
    **others: Any,
) -> Sources:
    """The sources of the checks at the end of ``as_of``."""
    columns = {*ALWAYS, *wanted_columns(policy)}
    deals = stored(with_marks(deals_at(states, opportunities, as_of, columns), period))
    return Sources(deals, states, as_of, period, policy=policy, **others)


def wanted_columns(policy: Policy) -> set[str]:
    """Every column of the deals that a rule names."""
    process = policy.process
    found = {*process.required, *process.required_qualified}
    found |= {column for rules in process.stages for column in rules.required}
    for level in process.service_levels:
        found |= {level.start, level.end}
    conditions = [c for check in policy.checks for c in check.where]
    conditions += [c for level in process.service_levels for c in level.where]
    for condition in conditions:
        found.add(condition.column)
        if isinstance(condition.value, str) and condition.value.startswith(COLUMN_MARK):
            found.add(condition.value.removeprefix(COLUMN_MARK))
    return found | {check.field for check in policy.checks}


def with_marks(deals: ir.Table, period: Period | None) -> ir.Table:
    """The deals with ``is_open``, ``is_lost``, ``is_booked``, ``is_counted`` and ``is_judged``, none of them
    missing, and with ``shown_amount``, an unknown amount being 0."""
    open_, booked = ~is_true(deals.is_closed), is_booked(deals, period)
    return deals.mutate(
        is_open=open_,
        is_lost=~open_ & ~is_true(deals.is_won),
        is_booked=booked,
        is_counted=open_ | booked,
        is_judged=open_ | falls_in(deals.close_date, period),
        shown_amount=ibis.coalesce(deals.amount, 0),
    )


def stored(deals: ir.Table) -> ir.Table:
    """The deals kept in the engine, so that what is asked of them afterwards does not derive them again:
    several tables of a page ask the same of the same rows."""
    return _stored(deals.op())


@functools.lru_cache(maxsize=2)
def _stored(deals: ops.Relation) -> ir.Table:
    return deals.to_expr().cache()
