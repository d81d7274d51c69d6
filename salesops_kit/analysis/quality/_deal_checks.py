"""The checks of deals as engine expressions: which deals fail, and which were judged."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._sources import Sources
from salesops_kit.data.checks import NO_CURRENCY
from salesops_kit.data.engine import collect
from salesops_kit.data.predicates import holds, is_missing
from salesops_kit.data.stages import OPEN
from salesops_kit.estimators.stage_times import stage_times
from salesops_kit.estimators.states import days_between, is_true
from salesops_kit.language import _
from salesops_kit.policy.builtin import BUILTINS
from salesops_kit.policy.model import Check, Policy

YEAR = dt.timedelta(days=365)
TABLE = "opportunities"


class DealCheck(NamedTuple):
    """One check of deals: what fails, what is judged, the field in question, or why it is not made."""

    check: Check
    fails: ir.BooleanValue | None
    judged: str = "all"
    field: str = ""
    reason: str = ""


class _LackingError(Exception):
    """What a built-in check needs and the data lacks, in words."""


def deal_checks(data: Sources) -> list[DealCheck]:
    """Every check of deals that the policy asks for, those that cannot be made with the reason.

    ``required_fields`` gives one for each field that is required.
    """
    found: list[DealCheck] = []
    for check in data.policy.checks:
        if check.builtin and BUILTINS[check.builtin].table != TABLE:
            continue
        if not check.builtin and check.table != TABLE:
            continue
        if check.builtin == "required_fields":
            found += _required(check, data)
            continue
        try:
            fails = _BUILT_IN[check.builtin](check, data) if check.builtin else _conditions(check, data)
        except _LackingError as missing:
            found.append(DealCheck(check, None, reason=str(missing)))
            continue
        found.append(DealCheck(check, fails & _scope(check, data), _judged(check), check.field))
    return found


def thresholds(check: Check) -> Mapping[str, float]:
    """The thresholds of a built-in check, the kit's where the company sets none."""
    return {**BUILTINS[check.builtin].thresholds, **check.thresholds}


def _judged(check: Check) -> str:
    return check.state or ("open" if check.builtin in _OF_OPEN else "all")


def _scope(check: Check, data: Sources) -> ir.BooleanValue:
    """Which deals the check is about, by state and stage."""
    deals = data.deals
    parts = {
        "open": deals.is_open,
        "closed": ~deals.is_open,
        "won": ~deals.is_open & ~deals.is_lost,
        "lost": deals.is_lost,
    }
    wanted = [parts[state]] if (state := _judged(check)) in parts else []
    if check.stage:
        wanted.append(is_true(deals.stage.isin(list(check.stage))))
    if check.from_stage:
        wanted.append(_from_stage(deals, positions(data.stages), check.from_stage))
    return functools.reduce(operator.and_, wanted, ibis.literal(value=True))


def positions(stages: ir.Table | None) -> pd.DataFrame:
    """The stages with their places: ``pipeline``, ``stage``, ``position`` and whether each is closed."""
    if stages is None:
        return pd.DataFrame(columns=["pipeline", "stage", "position", "is_closed"])
    return collect(stages.select("pipeline", "stage", "position", "is_closed"))


def _from_stage(deals: ir.Table, places: pd.DataFrame, stage: str, pipeline: str = "") -> ir.BooleanValue:
    """Whether a deal is in the stage or a later one of its pipeline."""
    named = places[(places["stage"] == stage) & ((places["pipeline"] == pipeline) | (not pipeline))]
    if named.empty:
        return ibis.literal(value=False)
    branches = [
        (deals.pipeline == row.pipeline, deals.stage_position >= row.position) for row in named.itertuples()
    ]
    return is_true(ibis.cases(*branches, else_=False))


def _columns(check: Check) -> set[str]:
    others = {
        v.removeprefix("@") for c in check.where for v in [c.value] if isinstance(v, str) and v[:1] == "@"
    }
    return {condition.column for condition in check.where} | others


def _conditions(check: Check, data: Sources) -> ir.BooleanValue:
    lacking = [name for name in sorted(_columns(check)) if name not in data.deals.columns]
    if lacking:
        raise _LackingError(_("The data has no {columns}.").format(columns=", ".join(lacking)))
    for condition in check.where:
        if condition.operator == "empty":
            _refuse_unfilled(data.policy, TABLE, condition.column)
    return holds(data.deals, check.where, data.as_of)


def _refuse_unfilled(policy: Policy, table: str, column: str) -> None:
    if f"{table}.{column}" in policy.unfilled:
        raise _LackingError(
            _("No record has a {column}, so it is taken as not exported.").format(column=column)
        )


def required_fields(data: Sources) -> list[tuple[str, ir.BooleanValue]]:
    """Each field that the process requires, with the open deals that need it."""
    deals, process, places = data.deals, data.policy.process, positions(data.stages)
    needed: dict[str, list[ir.BooleanValue]] = {}
    for column in process.required:
        needed.setdefault(column, []).append(ibis.literal(value=True))
    first = data.settings.first_qualified_stage
    for column in process.required_qualified:
        everywhere = ibis.literal(value=True)
        needed.setdefault(column, []).append(_from_stage(deals, places, first) if first else everywhere)
    for rules in process.stages:
        for column in rules.required:
            needed.setdefault(column, []).append(_from_stage(deals, places, rules.stage, rules.pipeline))
    return [(column, functools.reduce(operator.or_, parts)) for column, parts in needed.items()]


def _required(check: Check, data: Sources) -> list[DealCheck]:
    found = []
    for column, where in required_fields(data):
        if column not in data.deals.columns or f"{TABLE}.{column}" in data.policy.unfilled:
            reason = _("No record has a {column}, so it is taken as not exported.").format(column=column)
            found.append(DealCheck(check, None, field=column, reason=reason))
            continue
        fails = data.deals.is_open & where & is_missing(data.deals[column])
        found.append(DealCheck(check, fails & _scope(check, data), "open", column))
    return found


def _over_stage_days(check: Check, data: Sources) -> ir.BooleanValue:
    deals = data.deals
    age = days_between(ibis.literal(data.as_of), deals.stage_since_date)
    limits = [
        (deals.stage == rules.stage)
        & ((deals.pipeline == rules.pipeline) if rules.pipeline else True)
        & (age > rules.most_days)
        for rules in data.policy.process.stages
        if rules.most_days is not None
    ]
    if not limits:
        raise _LackingError(_("The process sets no limit of days for a stage."))
    return functools.reduce(operator.or_, limits)


def _stage_regression(check: Check, data: Sources) -> ir.BooleanValue:
    return is_true(data.deals.stage_position < data.deals.reached_position)


def stage_limits(data: Sources, share: float, fewest: float) -> dict[tuple[str, str], float]:
    """The days that ``share`` of a stage's visits of the last year stayed below: the stage's own where at
    least ``fewest`` visits ended, else the company's."""
    times = stage_times(data.states, data.as_of - YEAR, data.as_of)
    column = {0.5: "p50", 0.75: "p75"}.get(share, "p90")
    company = (data.reference or {}).get("stage_days", {}).get(column, {})
    limits: dict[tuple[str, str], float] = {}
    for row in times.itertuples():
        own = getattr(row, column)
        if pd.isna(own) or row.left < fewest:
            own = company.get(str(row.pipeline), {}).get(str(row.stage))
        if own is not None:
            limits[str(row.pipeline), str(row.stage)] = float(own)
    return limits


def _stale(check: Check, data: Sources) -> ir.BooleanValue:
    limit = thresholds(check)
    limits = stage_limits(data, limit["share"], limit["fewest"])
    if not limits:
        raise _LackingError(_("Too few visits of stages have ended to say what is long."))
    deals = data.deals
    age = days_between(ibis.literal(data.as_of), deals.stage_since_date)
    branches = [
        ((deals.pipeline == pipeline) & (deals.stage == stage), age > days)
        for (pipeline, stage), days in sorted(limits.items())
    ]
    return is_true(ibis.cases(*branches, else_=False))


def _pushes(check: Check, data: Sources) -> ir.BooleanValue:
    return is_true(data.deals.pushes >= int(thresholds(check)["at_least"]))


def _outlier_amount(check: Check, data: Sources) -> ir.BooleanValue:
    deals, limit = data.deals, thresholds(check)
    kind = ibis.coalesce(deals.type, "") if "type" in deals.columns else ibis.literal("")
    priced = deals.mutate(kind=kind).filter(deals.amount > 0)
    amount = priced.amount.cast("float64")
    kind = ibis.coalesce(deals.type, "") if "type" in deals.columns else ibis.literal("")
    grouped = priced.group_by("kind").aggregate(
        n=priced.count(), low=amount.quantile(0.25), high=amount.quantile(0.75)
    )
    branches = []
    for row in collect(grouped).itertuples():
        # Tukey's fences on the logarithm, since amounts are spread by factors.
        if row.n >= limit["fewest"] and row.high > row.low > 0:
            reach = (row.high / row.low) ** limit["spread"]
            outside = (deals.amount > row.high * reach) | (deals.amount < row.low / reach)
            branches.append((kind == row.kind, outside & (deals.amount > 0)))
    if not branches:
        raise _LackingError(_("Too few deals have an amount to say which is far out."))
    return is_true(ibis.cases(*branches, else_=False))


def _inactive_owner(check: Check, data: Sources) -> ir.BooleanValue:
    if data.reps is None or "left_date" not in data.reps.columns:
        raise _LackingError(_("The data does not say which reps have left."))
    gone = data.reps.filter(data.reps.left_date <= ibis.literal(data.as_of)).select("owner_id")
    return is_true(data.deals.owner_id.isin(gone.owner_id))


def _missing_currency(check: Check, data: Sources) -> ir.BooleanValue:
    _refuse_unfilled(data.policy, TABLE, "currency")
    deals = data.deals
    if "currency" not in deals.columns:
        raise _LackingError(_("The data has no {columns}.").format(columns="currency"))
    lacking = is_missing(deals.currency) & deals.amount.notnull()
    if data.exclusions is None:
        return lacking
    # The history may tell the currency of a deal whose own record lacks it.
    flagged = data.exclusions.filter(data.exclusions.problem == NO_CURRENCY)
    return lacking | is_true(deals.opportunity_id.isin(flagged.opportunity_id))


def _orphan_account(check: Check, data: Sources) -> ir.BooleanValue:
    _refuse_unfilled(data.policy, TABLE, "account_id")
    if "account_id" not in data.deals.columns:
        raise _LackingError(_("The data has no {columns}.").format(columns="account_id"))
    none = is_missing(data.deals.account_id)
    if data.accounts is None:
        return none
    return none | is_true(data.deals.account_id.notin(data.accounts.account_id))


def _unknown_stage(check: Check, data: Sources) -> ir.BooleanValue:
    if data.stages is None:
        raise _LackingError(_("There is no list of stages."))
    wanted = {"default_probability", "forecast_category"} & set(data.stages.columns)
    listed = collect(data.stages.select("pipeline", "stage", *sorted(wanted)))
    named = {stage.stage for stage in data.settings.stages}
    # A stage that the import had to add has a name and nothing else.
    has_more = listed[sorted(wanted)].notna().any(axis=1)
    is_declared = listed["stage"].isin(named) if named else has_more
    if not is_declared.any():
        raise _LackingError(_("There is no list of stages."))
    strange = listed[~is_declared & (listed["stage"] != OPEN)]
    places = [
        (data.deals.pipeline == row.pipeline) & (data.deals.stage == row.stage)
        for row in strange.itertuples()
    ]
    return functools.reduce(operator.or_, places, ibis.literal(value=False))


def _month_end_default(check: Check, data: Sources) -> ir.BooleanValue:
    deals, limit = data.deals, thresholds(check)
    never_moved = is_true(deals.least_close_date == deals.most_close_date)
    at_end = is_true((deals.close_date + ibis.interval(days=1)).day() == 1)
    judged = deals.mutate(at_end=at_end).filter(deals.is_open & never_moved)
    found = collect(judged.aggregate(n=judged.count(), ends=judged.at_end.cast("int32").sum())).iloc[0]
    n, ends = int(found["n"]), 0 if pd.isna(found["ends"]) else int(found["ends"])
    if n < limit["fewest"] or ends < limit["least_share"] * n:
        return ibis.literal(value=False)
    return never_moved & at_end


def _back_dated(check: Check, data: Sources) -> ir.BooleanValue:
    if "created_date" not in data.deals.columns:
        raise _LackingError(_("The data has no {columns}.").format(columns="created_date"))
    late = days_between(data.deals.first_seen_date, data.deals.created_date)
    return is_true(late > int(thresholds(check)["days"]))


def _import_spike(check: Check, data: Sources) -> ir.BooleanValue:
    deals, limit = data.deals, thresholds(check)
    if "created_date" not in deals.columns:
        raise _LackingError(_("The data has no {columns}.").format(columns="created_date"))
    days = collect(deals.group_by("created_date").aggregate(n=deals.count())).dropna()
    if days.empty:
        return ibis.literal(value=False)
    least = max(limit["fewest"], limit["times"] * float(days["n"].median()))
    spikes = days.loc[days["n"] > least, "created_date"]
    return is_true(deals.created_date.isin([pd.Timestamp(day).date() for day in spikes]))


_BUILT_IN: dict[str, Callable[[Check, Sources], ir.BooleanValue]] = {
    "over_stage_days": _over_stage_days,
    "stage_regression": _stage_regression,
    "stale": _stale,
    "pushes": _pushes,
    "outlier_amount": _outlier_amount,
    "missing_currency": _missing_currency,
    "inactive_owner": _inactive_owner,
    "orphan_account": _orphan_account,
    "unknown_stage": _unknown_stage,
    "month_end_default": _month_end_default,
    "back_dated": _back_dated,
    "import_spike": _import_spike,
}
_OF_OPEN: Sequence[str] = (
    "over_stage_days", "stage_regression", "stale", "pushes", "inactive_owner", "month_end_default",
)  # fmt: skip
