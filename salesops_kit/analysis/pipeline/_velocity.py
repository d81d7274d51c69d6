"""Pipeline velocity: the money that a cohort of deals brings in per day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import (
    current_quarter,
    floats,
    quarter_number,
    span,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import Array, ratio, z_value
from salesops_kit.estimators.outcomes import (
    closed_or_open,
    excluded_reasons,
    is_qualified,
    missing_reason_note,
    outcome,
    qualified_positions,
)
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import days_between
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_SUMS = ["n", "won", "amount", "days", "amount_square", "days_square", "amount_days"]
_RESULT = [
    "quarter", "opportunities", "won", "win_rate", "mean_won_amount", "mean_cycle_days", "velocity", "low",
    "high",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["opportunities", "won"], "deals"),
        "win_rate": "rate",
        "mean_cycle_days": "days",
        **dict.fromkeys(["mean_won_amount", "velocity", "low", "high"], "money"),
    }
)
def velocity(
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
    quarters: int = 1,
) -> pd.DataFrame:
    """Pipeline velocity: opportunities x win rate x average deal / cycle, money per day.

    All four figures are of one cohort, the deals decided in a quarter as known at the end of ``as_of``: won
    or lost with a close date in it, from the first qualified stage on, without duplicates and deals entered
    in error (as ``funnel.win_rate`` counts). One row per group of ``by`` and quarter, for the ``quarters``
    that end with the report's, oldest first: ``opportunities`` (won + lost), ``won``, ``win_rate`` (0-1; won
    / opportunities), ``mean_won_amount`` (base currency), ``mean_cycle_days`` (close date less created date
    of the won deals, a negative length counting as 0) and ``velocity``, in base currency per calendar day,
    which is won amount / mean cycle.

    ``low`` and ``high`` are 95 % limits by the delta method on the logarithm, the deals of the cohort being
    draws from what might have been decided; missing with fewer than 2 won deals or a total that is not
    positive. ``velocity`` is missing without a won deal and where all won deals took 0 days. Won deals
    without an amount or without both dates are in none of the four figures, and are noted.

    Raises :class:`NotAvailableError` when the data has no creation dates, and :class:`InputError` for an
    unknown dimension or fewer than 1 quarter.

    Forty deals of which ten were won, at 25,000 and 50 days on average, are 40 x 25 % x 25,000 / 50:

    >>> sums = {"n": 40, "won": 10, "amount": 250_000.0, "days": 500.0}
    >>> float(velocity_of(pd.DataFrame([sums]))[0])
    5000.0
    """
    if opportunities is None or "created_date" not in opportunities.columns:
        raise NotAvailableError(_("The length of a cycle needs the date on which each deal was created."))
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    shown = trailing_quarters(current_quarter(as_of, period, settings), quarters, settings)
    reasons = excluded_reasons(opportunities, settings)
    columns = ["created_date", *(["loss_reason"] if reasons else [])]
    rows = join_dimensions(
        closed_or_open(opportunity_states, as_of, span(shown)), dimensions, tables, columns
    )
    rows = rows.filter(is_qualified(rows, qualified_positions(stages, settings)))
    rows = rows.mutate(
        outcome=outcome(rows, reasons, rows.loss_reason if reasons else None),
        number=quarter_number(rows.close_date, shown),
    )
    keys = [*(dimension.column_in_rows for dimension in dimensions), "number"]
    frame = floats(collect(_sums(rows, keys)), [*_SUMS, "unusable"])
    frame = label_groups(frame, dimensions, settings)
    grouped = frame.groupby([*names, "number"], as_index=False, dropna=False, sort=False)
    frame = grouped[[*_SUMS, "unusable"]].sum()
    if not names:
        every = pd.DataFrame({"number": range(len(shown))})
        frame = every.merge(frame, on="number", how="left").fillna(0.0)
    result = sort_groups(_rates(frame, shown), [*names, "number"])
    unusable = int(result["unusable"].sum())
    result = with_rep_names(result[[*names, *_RESULT]], reps)
    result.attrs["notes"] = missing_reason_note("loss_reason" in opportunities.columns)
    if unusable:
        text = ngettext(
            "{count} won deal without an amount or a creation date is left out.",
            "{count} won deals without an amount or a creation date are left out.",
            unusable,
        )
        result.attrs["notes"].append(text.format(count=unusable))
    return result


def velocity_of(sums: pd.DataFrame) -> Array:
    """Opportunities x win rate x average deal / average cycle from the cohort's sums: ``n``, ``won``,
    ``amount`` and ``days`` of the won deals."""
    rate, mean_amount = ratio(sums["won"], sums["n"]), ratio(sums["amount"], sums["won"])
    return sums["n"].to_numpy(float) * rate * ratio(mean_amount, ratio(sums["days"], sums["won"]))


def _sums(rows: ir.Table, keys: list[str]) -> ir.Table:
    amount = rows.amount.cast("float64")
    length = ibis.greatest(days_between(rows.close_date, rows.created_date), 0).cast("float64")
    is_won = rows.outcome == "won"
    usable = is_won & rows.amount.notnull() & rows.created_date.notnull()
    return rows.group_by(keys).aggregate(
        n=((rows.outcome == "lost") | usable).sum(),
        won=usable.sum(),
        amount=rows.amount.sum(where=usable),
        days=length.sum(where=usable),
        amount_square=(amount * amount).sum(where=usable),
        days_square=(length * length).sum(where=usable),
        amount_days=(amount * length).sum(where=usable),
        unusable=(is_won & ~usable).sum(),
    )


def _rates(sums: pd.DataFrame, shown: list[Period]) -> pd.DataFrame:
    result = sums.assign(
        quarter=[shown[int(number)].label for number in sums["number"]],
        opportunities=sums["n"].astype("int64"),
        won=sums["won"].astype("int64"),
        win_rate=ratio(sums["won"], sums["n"]),
        mean_won_amount=ratio(sums["amount"], sums["won"]),
        mean_cycle_days=ratio(sums["days"], sums["won"]),
        velocity=velocity_of(sums),
    )
    half = z_value() * np.sqrt(_log_variance(sums))
    result["low"], result["high"] = result["velocity"] * np.exp(-half), result["velocity"] * np.exp(half)
    return result


def _log_variance(sums: Mapping[str, pd.Series]) -> Array:
    """Variance of log(velocity) = log(sum of amounts) + log(won) - log(sum of days), the deals being a
    sample: with ``w`` the mark of a won deal, they are n times the means of w x amount, w and w x days."""
    n, won, amount, days = (sums[name].to_numpy(float) for name in ("n", "won", "amount", "days"))
    proper = (won >= 2) & (amount > 0) & (days > 0) & (n > 1)
    n, won, amount, days = (np.where(proper, values, np.nan) for values in (n, won, amount, days))
    # A deal's share in the logarithm is amount/mean + w/mean - days/mean, all of them divided by n; its
    # square summed over deals needs the sums of squares and products alone.
    a, w, c = n / amount, n / won, -n / days
    squares = (
        a**2 * sums["amount_square"].to_numpy(float)
        + w**2 * won
        + c**2 * sums["days_square"].to_numpy(float)
        + 2 * a * w * amount
        + 2 * w * c * days
        + 2 * a * c * sums["amount_days"].to_numpy(float)
    )
    mean = (a * amount + w * won + c * days) / n
    return np.maximum(squares / n - mean**2, 0) / (n - 1)
