"""What became of the deals created in each quarter or month, by their age."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._cohort_periods import (
    Grain,
    ages,
    cohort_periods,
    place_of_date,
    values_at,
)
from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.competing_risks import aalen_johansen, add_counts, log_log_interval
from salesops_kit.estimators.dimensions import (
    Dimension,
    join_dimensions,
    label_groups,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import ratio, wilson
from salesops_kit.estimators.outcomes import (
    excluded_reasons,
    is_qualified,
    missing_reason_note,
    outcome,
    qualified_positions,
)
from salesops_kit.estimators.states import at_end_of, days_between, is_true
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

ENDS = ("won", "lost")
_COUNTS = [*ENDS, "open", "excluded"]
_SEEN = [*ENDS, "open", "transferred"]
_STATE = (
    "opportunity_id",
    "state_no",
    "pipeline",
    "reached_position",
    "is_closed",
    "is_won",
    "is_deleted",
    "close_date",
    "valid_from_date",
    "valid_to_date",
    "stage_since_date",
)
_PERIOD = ["period_won", "period_lost", "period_rate", "period_low", "period_high"]
_SHARES = [f"{end}_{kind}" for end in ENDS for kind in ("share", "low", "high")]
_RESULT = [
    "deals",
    "deals_seen",
    *_COUNTS,
    "age_months",
    "age_days",
    "at_risk",
    *_SHARES,
    "open_share",
    "is_mature",
    *_PERIOD,
]


@table(
    units={
        **dict.fromkeys(["deals", "deals_seen", *_COUNTS, "at_risk", "period_won", "period_lost"], "deals"),
        **dict.fromkeys([*_SHARES, "open_share", "period_rate", "period_low", "period_high"], "rate"),
        "age_days": "days",
    }
)
def cohorts(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: str = "",
    cohort: Grain = "quarter",
    how_many: int = 8,
    months: int = 12,
) -> pd.DataFrame:
    """Deals by the quarter or month of their creation, and what share is won and lost by each age.

    One row per group of ``by``, cohort (``how_many`` fiscal quarters or months, the last one that of the
    period's end or of ``as_of``; cohorts before the first deal are left out) and age in months up to
    ``months``, as far as any deal of the cohort is that old; ``age_days`` is the age in days.

    ``deals`` were created in the cohort: ``won``, ``lost`` and ``open`` at the end of ``as_of`` sum to it.
    ``excluded`` ones (duplicates, entered in error) are in no figure, nor are deleted ones. ``won_share`` and
    ``lost_share`` (0-1, 95 % limits ``_low`` and ``_high``) are Aalen-Johansen incidences of the deals by
    that age; with ``open_share`` they sum to 1. They rest on the ``deals_seen``: the deals, and those that
    another team has taken over since. An end dates from the day on which the deal was closed in
    the data; a closing that was undone by ``as_of`` is none. Deals that another team took over are
    censored on that day, and deals taken over count from that day on. ``at_risk`` deals were seen open
    at that age. ``is_mature``: every deal of the cohort is that old, so that no share grows any more at
    that age; before, the shares are those reached so far.

    The period view stands beside it: of the deals closed in the same quarter or month, whenever they were
    created, ``period_won`` and ``period_lost`` as ``win_rate`` counts them, and ``period_rate`` = won /
    (won + lost) with its Wilson limits.

    No deals give no row; no closed deal a missing ``period_rate``. Raises :class:`NotAvailableError` where
    the data has no creation dates.
    """
    if opportunities is None or "created_date" not in opportunities.columns:
        raise NotAvailableError(_("Cohorts need the date on which each deal was created."))
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    periods = cohort_periods(as_of, period, settings, cohort, how_many)
    view = _View(periods, ages(months), grouping(by, tables, ["cohort", *_RESULT]), as_of, settings)
    deals = _deals(opportunity_states, tables, stages, view)
    counts, totals = _counts(deals, view)
    result = _with_period_view(_shares(counts, totals, view), deals, view)
    notes = missing_reason_note("loss_reason" in opportunities.columns)
    result.attrs["empty"] = _("No deal is known to have been created in these periods.")
    result.attrs["notes"] = notes + _notes(result, view)
    return result


@dataclass(frozen=True)
class _View:
    """What one call asks for: the cohorts' periods, the ages in days, the dimensions, the cut-off."""

    periods: Sequence[Period]
    ages: Sequence[int]
    dimensions: Sequence[Dimension]
    as_of: dt.date
    settings: Settings

    @property
    def names(self) -> list[str]:
        return [*(dimension.name for dimension in self.dimensions), "cohort"]


def _deals(
    states: ir.Table, tables: Mapping[str, ir.Table | None], stages: ir.Table, view: _View
) -> pd.DataFrame:
    """How many deals of each group, cohort and period of closing came into sight and left it at which age.

    One query; a deal is taken as it is at the cut-off, or as it was when another team took it over.
    ``_kind`` is won, lost, open, excluded, deleted or transferred; ages are days since creation.
    """
    opportunities = tables["opportunities"]
    reasons = excluded_reasons(opportunities, view.settings)
    last = ibis.literal(view.as_of)
    is_here = at_end_of(states, view.as_of)
    begins = (states.entry != "continued") & (states.valid_from_date <= last)
    hands_over = is_true((states.exit == "transferred") & (states.valid_to_date <= last))
    own = [d.column for d in view.dimensions if d.table == "opportunity_states"]
    own += ["owner_id", "team"] if view.dimensions else []
    seen = states.filter(begins | hands_over | is_here).select(*dict.fromkeys([*_STATE, *own]))
    deal = ibis.window(group_by=seen.opportunity_id)
    marked = seen.mutate(
        seen_from=seen.valid_from_date.min().over(deal), last_state=seen.state_no.max().over(deal)
    )
    final = marked.filter(marked.state_no == marked.last_state)
    columns = ["created_date", *(["loss_reason"] if reasons else [])]
    rows = join_dimensions(final, view.dimensions, tables, columns)
    became = outcome(rows, reasons, rows.loss_reason if reasons else None)
    is_gone = is_true(rows.valid_to_date <= last)
    kind = ibis.cases((is_gone, "transferred"), (is_true(rows.is_deleted), "deleted"), else_=became)
    until = ibis.cases(
        (is_gone, rows.valid_to_date), (is_true(rows.is_closed), rows.stage_since_date), else_=last
    )
    # The day on which a deal comes into sight counts; the day of a hand-over counts in the other team.
    came = ibis.greatest(days_between(rows.seen_from, rows.created_date) - 1, -1)
    went = ibis.greatest(days_between(until, rows.created_date), 0) - ibis.cases((is_gone, 1), else_=0)
    grouped = rows.select(
        *(dimension.column_in_rows for dimension in view.dimensions),
        cohort=place_of_date(rows.created_date, view.periods),
        _closed_in=ibis.cases((is_true(rows.is_closed), place_of_date(rows.close_date, view.periods))),
        _is_counted=is_qualified(rows, qualified_positions(stages, view.settings)),
        _kind=kind,
        _came=came,
        _went=went,
    )
    keys = list(grouped.columns)
    found = collect(grouped.group_by(keys).aggregate(deals=lambda t: t.count()))
    return label_groups(found, view.dimensions, view.settings)


def _counts(deals: pd.DataFrame, view: _View) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The count table of the estimators per group and cohort, and deals by outcome at the cut-off."""
    created = deals[deals["cohort"].notna()].astype({"cohort": int})
    real = created[~created["_kind"].isin(["excluded", "deleted"])]
    entries = real.rename(columns={"_came": "age", "deals": "entered"})[[*view.names, "age", "entered"]]
    exits = real.rename(columns={"_went": "age", "deals": "left"})[[*view.names, "age", "left", "_kind"]]
    for end in ENDS:
        exits[end] = exits["left"].where(exits["_kind"] == end, 0)
    exits["events"] = exits["won"] + exits["lost"]
    counts = add_counts([entries, exits.drop(columns="_kind")], ENDS, view.names)
    totals = created[view.names].copy()
    totals["deals_seen"] = created["deals"].where(created["_kind"].isin(_SEEN), 0)
    for kind in _COUNTS:
        totals[kind] = created["deals"].where(created["_kind"] == kind, 0)
    totals = totals.groupby(view.names, as_index=False, dropna=False).sum()
    totals.insert(len(view.names), "deals", totals["won"] + totals["lost"] + totals["open"])
    return counts, totals


def _shares(counts: pd.DataFrame, totals: pd.DataFrame, view: _View) -> pd.DataFrame:
    """One row per group, cohort and age that some deal of the cohort has reached."""
    curve = aalen_johansen(counts, ENDS, view.names).drop(columns="at_risk")
    curve = curve.rename(columns={"survival": "open_share", **{end: f"{end}_share" for end in ENDS}})
    estimates = ["open_share", "effective_n", *(f"{e}_{k}" for e in ENDS for k in ("share", "variance"))]
    seen = counts.groupby(view.names, dropna=False)
    under_way = counts[[*view.names, "age"]].assign(
        at_risk=seen["entered"].cumsum() - seen["left"].cumsum(), oldest=seen["age"].transform("max")
    )
    steps = pd.DataFrame({"age_months": range(1, len(view.ages) + 1), "age_days": view.ages})
    result = totals[totals["deals"] > 0].merge(steps, how="cross")
    day_before = result["age_days"] - 1
    result[["at_risk", "oldest"]] = values_at(
        under_way, ["at_risk", "oldest"], result, day_before, view.names
    )
    result[estimates] = values_at(curve, estimates, result, result["age_days"], view.names)
    observed = view.as_of.toordinal() - result["age_days"].to_numpy()
    first = np.array([period.start.toordinal() for period in view.periods])[result["cohort"]]
    last = np.array([period.last_day.toordinal() for period in view.periods])[result["cohort"]]
    result["is_mature"] = last <= observed
    # Nothing is known of an age that no deal was seen at, unless every deal of the cohort has ended.
    is_known = result["is_mature"] | (result["oldest"] >= result["age_days"]) | (result["open"] == 0)
    result = result[is_known & (first <= observed)].reset_index(drop=True)
    result["at_risk"] = result["at_risk"].fillna(0).astype("int64")
    result["open_share"] = result["open_share"].fillna(1.0)
    size = result[["effective_n", "deals_seen"]].min(axis="columns")
    for end in ENDS:
        result[f"{end}_share"] = result[f"{end}_share"].fillna(0.0)
        result[f"{end}_low"], result[f"{end}_high"] = log_log_interval(
            result[f"{end}_share"], result[f"{end}_variance"].fillna(0.0), n=size
        )
    return result


def _with_period_view(result: pd.DataFrame, deals: pd.DataFrame, view: _View) -> pd.DataFrame:
    """The result with the deals closed in the same quarter or month beside it, labelled and sorted."""
    closed = deals[deals["_closed_in"].notna() & deals["_is_counted"]]
    closed = closed.assign(cohort=closed["_closed_in"].astype(int))
    beside = closed[view.names].copy()
    for end in ENDS:
        beside[f"period_{end}"] = closed["deals"].where(closed["_kind"] == end, 0)
    beside = beside.groupby(view.names, as_index=False, dropna=False).sum()
    together = result.merge(beside, on=view.names, how="left", validate="many_to_one")
    for end in ENDS:
        together[f"period_{end}"] = together[f"period_{end}"].fillna(0).astype("int64")
    size = together["period_won"] + together["period_lost"]
    together["period_rate"] = ratio(together["period_won"], size)
    together["period_low"], together["period_high"] = wilson(together["period_won"], size)
    ordered = sort_groups(together, [*view.names, "age_months"])
    ordered["cohort"] = ordered["cohort"].map(dict(enumerate(period.label for period in view.periods)))
    return ordered[[*view.names, *_RESULT]]


def _notes(result: pd.DataFrame, view: _View) -> list[str]:
    oldest = result.groupby(view.names, dropna=False)[["age_months", "is_mature"]].last()
    young = int((~(oldest["is_mature"] & (oldest["age_months"] == len(view.ages)))).sum())
    if not young:
        return []
    text = ngettext(
        "{count} cohort is not yet {months} months old throughout: its shares are those reached so far.",
        "{count} cohorts are not yet {months} months old throughout: their shares are those reached so far.",
        young,
    )
    return [text.format(count=young, months=len(view.ages))]
