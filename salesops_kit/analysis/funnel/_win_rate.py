"""Win rate by any dimension, with what is too small to tell said so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._claims import CLAIM, against_the_others
from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.dimensions import join_dimensions, label_groups, sort_groups, tables_by_name
from salesops_kit.estimators.intervals import deals_needed, homogeneity, ratio, wilson
from salesops_kit.estimators.outcomes import (
    closed_or_open,
    excluded_reasons,
    is_qualified,
    missing_reason_note,
    outcome,
    qualified_positions,
)
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.shrinkage import Prior, estimate_prior, shrink
from salesops_kit.estimators.states import falls_in, known_states
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

Variant = Literal["count", "value", "cohort"]
VISIBLE_GAP = 0.10
_COUNTS = ["won", "lost", "excluded", "open"]
_SUMS = [*_COUNTS, "won_amount", "lost_amount", "won_square", "lost_square", "unknown_amount"]
_RESULT = [
    *_COUNTS,
    "n",
    "rate",
    "low",
    "high",
    "shrunk_rate",
    "shrunk_low",
    "shrunk_high",
    "won_amount",
    "lost_amount",
    "mean_won_amount",
]
COUNTED = ["pipeline", "reached_position", "is_closed", "is_won", "amount"]
_DIFFERENCE = ["difference", "difference_low", "difference_high"]


@table(
    units={
        **dict.fromkeys([*_COUNTS, "n"], "deals"),
        **dict.fromkeys(["rate", "low", "high", "shrunk_rate", "shrunk_low", "shrunk_high"], "rate"),
        **dict.fromkeys(["won_amount", "lost_amount", "mean_won_amount"], "money"),
        **dict.fromkeys(_DIFFERENCE, "rate"),
    }
)
def win_rate(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    by: str = "",
    variant: Variant = "count",
) -> pd.DataFrame:
    """Win rate of closed deals by any dimension.

    ``count``: won / (won + lost), over deals that are closed at the end of ``as_of``, whose close date
    lies in the period (without a period: all of them) and that reached the first qualified stage of
    the settings; a won deal counts as having reached it. ``value``: the same in money. ``cohort``: won
    / created, over the deals created in the period, those still open included, so that the rate of a
    young cohort still grows.

    One row per group of ``by`` (comma-separated dimensions), sorted, or one row in all. Columns: the
    dimensions; ``won``, ``lost``, ``excluded`` (closed as duplicate or entered in error: in no rate) and
    ``open`` (due in the period, for a cohort created in it) in deals; ``n`` the denominator in deals;
    ``rate`` (0-1) with its 95 % Wilson limits ``low`` and ``high``, for ``value`` at the effective
    number of deals; ``shrunk_rate`` with its 95 % credible limits, the rate pulled towards the
    reference, or towards all groups together where there is none; ``won_amount``, ``lost_amount`` and
    ``mean_won_amount`` in base currency, unknown amounts left out and noted.

    With ``by`` (never for ``value``) each group stands against all others together: ``difference`` of the
    rates with 95 % limits, ``p_value``, ``adjusted_p_value`` for as many groups (Benjamini-Hochberg), and
    ``evidence``: the adjusted one is below 0.05 and the limits leave out zero.

    By ``owner_id``, ``rep_name`` stands beside it where the reps are known.

    Zero deals give a missing rate, never 0. A dimension without a value is the group ``(none)``.
    ``attrs["test"]`` says whether the groups differ at all (never for ``value``), ``attrs["notes"]``
    what a reader must know. Raises :class:`InputError` for an unknown dimension or qualified stage and
    :class:`NotAvailableError` when a cohort is asked for and no deal has a creation date.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, [*_RESULT, *_DIFFERENCE, *CLAIM])
    names = [dimension.name for dimension in dimensions]
    reasons = excluded_reasons(opportunities, settings)
    positions = qualified_positions(stages, settings)
    reasons_known = opportunities is not None and "loss_reason" in opportunities.columns
    columns = ["loss_reason"] if reasons else []
    if variant == "cohort":
        if opportunities is None or "created_date" not in opportunities.columns:
            raise NotAvailableError(_("A cohort's win rate needs the date on which each deal was created."))
        known = known_states(opportunity_states, as_of)
        rows = join_dimensions(known, dimensions, tables, [*columns, "created_date"], only=COUNTED)
        rows = rows.filter(falls_in(rows.created_date, period))
    else:
        known = closed_or_open(opportunity_states, as_of, period)
        rows = join_dimensions(known, dimensions, tables, columns, only=COUNTED)
    rows = rows.filter(is_qualified(rows, positions))
    rows = rows.mutate(outcome=outcome(rows, reasons, rows.loss_reason if reasons else None))
    sums = _sums(rows, [dimension.column_in_rows for dimension in dimensions])
    groups = label_groups(sums, dimensions, settings)
    groups = groups.groupby(names, as_index=False, dropna=False, sort=False).sum() if names else groups
    result = _rates(sort_groups(groups, names), variant, reference if variant == "count" else None)
    notes = missing_reason_note(reasons_known) + _notes(result, variant)
    compared: list[str] = []
    if variant != "value" and names:
        _add_test(result, names, notes)
        compared = [*_DIFFERENCE, *CLAIM]
        result[compared] = against_the_others(result["won"], result["n"])
    result = with_rep_names(result[[*names, *_RESULT, *compared]], reps)
    result.attrs["notes"] = notes
    return result


def _sums(rows: ir.Table, keys: Sequence[str]) -> pd.DataFrame:
    amount = rows.amount.cast("float64")
    is_counted = rows.outcome.isin(["won", "lost"])
    sums = {name: (rows.outcome == name).sum() for name in _COUNTS}
    for name in ("won", "lost"):
        sums[f"{name}_amount"] = rows.amount.sum(where=rows.outcome == name)
        sums[f"{name}_square"] = (amount * amount).sum(where=rows.outcome == name)
    sums["unknown_amount"] = (is_counted & rows.amount.isnull()).sum()
    grouped = rows.group_by(list(keys)).aggregate(**sums) if keys else rows.aggregate(**sums)
    frame = collect(grouped)
    frame[_SUMS] = frame[_SUMS].astype("float64").fillna(0.0)
    return frame.astype(dict.fromkeys([*_COUNTS, "unknown_amount"], "int64"))


def _rates(groups: pd.DataFrame, variant: Variant, reference: Mapping[str, Any] | None) -> pd.DataFrame:
    result = groups.copy()
    closed = result["won"] + result["lost"]
    result["n"] = closed + (result["open"] if variant == "cohort" else 0)
    result["rate"] = ratio(result["won"], result["n"])
    size = result["n"].to_numpy(float)
    if variant == "value":
        amount = result["won_amount"] + result["lost_amount"]
        result["rate"] = ratio(result["won_amount"], amount)
        # Kish's effective number: a few large deals say less than as many equal ones.
        size = np.nan_to_num(ratio(amount**2, result["won_square"] + result["lost_square"]))
    successes = np.nan_to_num(result["rate"].to_numpy(float)) * size
    result["low"], result["high"] = wilson(successes, size)
    prior = _prior(successes, size, reference)
    result["shrunk_rate"], result["shrunk_low"], result["shrunk_high"] = shrink(successes, size, prior)
    result["mean_won_amount"] = ratio(result["won_amount"], result["won"])
    return result


def _prior(successes: np.ndarray, size: np.ndarray, reference: Mapping[str, Any] | None) -> Prior:
    known = (reference or {}).get("win_rate") or {}
    is_whole_company = len(size) == 1 and size.sum() >= known.get("won", 0) + known.get("lost", 0)
    if known.get("rate") is not None and not is_whole_company:
        return Prior(float(known["rate"]), float(known["prior_strength"]))
    if (size > 0).sum() < 2:
        # One group cannot be pulled towards itself: that would count its deals twice.
        return Prior(float("nan"), float("nan"))
    return estimate_prior(successes, size)


def _notes(result: pd.DataFrame, variant: Variant) -> list[str]:
    notes: list[str] = []
    if excluded := int(result["excluded"].sum()):
        text = ngettext(
            "{count} deal closed as duplicate or entered in error is in no rate.",
            "{count} deals closed as duplicate or entered in error are in no rate.",
            excluded,
        )
        notes.append(text.format(count=excluded))
    if unknown_amount := int(result["unknown_amount"].sum()):
        text = ngettext(
            "{count} closed deal has no amount and adds nothing to the money.",
            "{count} closed deals have no amount and add nothing to the money.",
            unknown_amount,
        )
        notes.append(text.format(count=unknown_amount))
    if variant == "cohort" and (still_open := int(result["open"].sum())):
        text = ngettext(
            "{count} deal of the cohort is still open: the rate is the share won to date.",
            "{count} deals of the cohort are still open: the rate is the share won to date.",
            still_open,
        )
        notes.append(text.format(count=still_open))
    return notes


def _add_test(result: pd.DataFrame, names: Sequence[str], notes: list[str]) -> None:
    test = homogeneity(result["won"], result["n"])
    pooled = ratio(result["won"].sum(), result["n"].sum())
    around = np.clip([pooled - VISIBLE_GAP / 2, pooled + VISIBLE_GAP / 2], 0, 1)
    needed = float(deals_needed(*around))
    result.attrs["test"] = {
        "p_value": test.p_value,
        "statistic": test.statistic,
        "df": test.df,
        "groups": test.groups,
        "method": test.method,
        "evidence": test.evidence,
        "deals_needed": needed,
    }
    if test.method != "none" and not test.evidence:
        text = _(
            "No evidence of a difference in win rate by {by} (p = {p_value:.2f}). A difference of"
            " {points:.0f} points between two groups shows with about {needed:.0f} closed deals in each."
        )
        note = text.format(by=", ".join(names), p_value=test.p_value, points=VISIBLE_GAP * 100, needed=needed)
        result.attrs["test"]["note"] = note
        notes.append(note)


def closed_counts(
    rows: ir.Table, reasons: list[str], positions: Mapping[str, int], keys: Sequence[str]
) -> pd.DataFrame:
    """Won and lost deals, and the money won with its squares, per group of columns, for deals that count."""
    counted = rows.filter(is_qualified(rows, positions))
    counted = counted.mutate(outcome=outcome(counted, reasons, counted.loss_reason if reasons else None))
    won, amount = counted.outcome == "won", counted.amount.cast("float64")
    sums = {
        "won": won.sum(),
        "lost": (counted.outcome == "lost").sum(),
        "won_with_amount": (won & counted.amount.notnull()).sum(),
        "won_amount": counted.amount.sum(where=won),
        "won_square": (amount * amount).sum(where=won),
    }
    frame = collect(counted.group_by(list(keys)).aggregate(**sums) if keys else counted.aggregate(**sums))
    money = ["won_amount", "won_square"]
    frame[money] = frame[money].astype("float64").fillna(0.0)
    return frame.fillna({"won": 0, "lost": 0, "won_with_amount": 0})
