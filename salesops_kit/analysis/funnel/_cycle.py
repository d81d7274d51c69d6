"""The length of the sales cycle, with the deals that are not over yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.analysis.funnel._transitions import window
from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.competing_risks import aalen_johansen, add_counts, quantiles
from salesops_kit.estimators.dimensions import (
    Dimension,
    join_dimensions,
    label_groups,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import median_interval, z_value
from salesops_kit.estimators.outcomes import (
    closed_or_open,
    excluded_reasons,
    missing_reason_note,
    outcome,
)
from salesops_kit.estimators.states import days_between, is_open, is_true, observation
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

ENDS = ("won", "lost")
_RESULT = [
    "outcome",
    "closed",
    "incidence",
    "p50",
    "p50_low",
    "p50_high",
    "p75",
    "closed_only_mean",
    "closed_only_median",
    "closed_only_low",
    "closed_only_high",
]
_LENGTHS = {
    "p50": (0.5, "middle"),
    "p50_low": (0.5, "earliest"),
    "p50_high": (0.5, "latest"),
    "p75": (0.75, "middle"),
}


@table(
    units={
        "closed": "deals",
        "incidence": "rate",
        **dict.fromkeys(["p50", "p50_low", "p50_high", "p75"], "days"),
        **dict.fromkeys([name for name in _RESULT if name.startswith("closed_only")], "days"),
    }
)
def cycle(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: str = "",
    trailing_quarters: int = 0,
) -> pd.DataFrame:
    """Days from created to won, and to lost, with and without the deals still open.

    Two rows per group of ``by``: ``outcome`` won and lost. ``closed`` deals ended so, as known at the end
    of ``as_of``, with a close date in the window (the period, the ``trailing_quarters`` that end with it, or
    all history).

    ``incidence`` (0-1) is the Aalen-Johansen share of deals that has ended so by the highest age seen;
    ``p50`` and ``p75`` are the ages in days by which half and three quarters *of those* have: open deals,
    transferred and deleted ones are censored, and so are duplicates. The day of an end is the day on
    which the deal was closed in the data. ``p50_low`` and ``p50_high`` are approximate 95 % limits, the
    ages at which half lies within the limits of the incidence.

    ``closed_only_mean`` and ``closed_only_median`` (with its 95 % limits ``closed_only_low``, ``_high``)
    are plain figures of close date less created date over the ``closed`` deals, a negative length
    counting as 0: they run short wherever long deals are still open. Missing where no deal closed.

    Deals without a creation date are left out and noted. Raises :class:`NotAvailableError` when the data
    has no creation dates.
    """
    if opportunities is None or "created_date" not in opportunities.columns:
        raise NotAvailableError(_("The length of a cycle needs the date on which each deal was created."))
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, _RESULT)
    names = [dimension.name for dimension in dimensions]
    reasons = excluded_reasons(opportunities, settings)
    columns = ["created_date", "loss_reason"] if reasons else ["created_date"]
    days = window(as_of, period, settings, trailing_quarters)
    # A deal that is closed may have a close date later in its quarter, which bookings count too.
    ends = period or settings.fiscal.quarter_of(days.last)
    closed_in = None if days.start is None else Period(days.start, ends.end, "")

    open_rows = opportunity_states.filter(is_open(opportunity_states))
    joined = join_dimensions(open_rows, dimensions, tables, columns)
    ended = is_true(joined.next_is_closed)
    if reasons:
        is_excluded = is_true(joined.loss_reason.isin(reasons)) & ~is_true(joined.next_is_won)
        ended &= ~is_excluded
    seen = observation(
        joined.filter(joined.created_date.notnull()), joined.created_date, ended, days.start, days.last
    )
    ages = _ages(seen, dimensions, settings)
    competing = _competing(ages, names)

    closed = join_dimensions(
        closed_or_open(opportunity_states, as_of, closed_in), dimensions, tables, columns
    )
    closed = closed.mutate(outcome=outcome(closed, reasons, closed.loss_reason if reasons else None))
    closed = closed.filter(closed.outcome.isin(ENDS))
    plain, unknown = _plain(closed, dimensions, settings)
    result = plain.merge(competing, on=[*names, "outcome"], how="outer", validate="one_to_one")
    result["closed"] = result["closed"].fillna(0).astype("int64")
    result["order"] = result["outcome"].map({end: place for place, end in enumerate(ENDS)})
    result = sort_groups(result, [*names, "order"])[[*names, *_RESULT]]
    notes = missing_reason_note("loss_reason" in opportunities.columns)
    if unknown:
        text = ngettext(
            "{count} closed deal has no creation or close date and is left out.",
            "{count} closed deals have no creation or close date and are left out.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    result.attrs["notes"] = notes
    return result


def _ages(seen: ir.Table, dimensions: Sequence[Dimension], settings: Settings) -> pd.DataFrame:
    keys = [dimension.column_in_rows for dimension in dimensions]
    won = seen.is_event & is_true(seen.next_is_won)
    entries = seen.group_by([*keys, "entry_age"]).aggregate(entered=seen.count())
    exits = seen.group_by([*keys, "exit_age"]).aggregate(
        left=seen.count(), events=seen.is_event.sum(), won=won.sum(), lost=(seen.is_event & ~won).sum()
    )
    parts = [
        label_groups(collect(part).rename(columns={name: "age"}), dimensions, settings)
        for part, name in ((entries, "entry_age"), (exits, "exit_age"))
    ]
    return add_counts(parts, ENDS, [dimension.name for dimension in dimensions])


def _competing(ages: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Incidence and quantiles of each end, one row per group and end."""
    curve = aalen_johansen(ages, ENDS, names)
    if not names:
        curve, names = curve.assign(group=0), ["group"]
    parts = []
    for end in ENDS:
        final = curve.groupby(list(names), dropna=False)[[end, f"{end}_variance"]].transform("last")
        # Shares of the deals that ended so, as a falling curve, so that quantiles read the same way.
        spread = z_value() * curve[f"{end}_variance"] ** 0.5
        falling = curve[[*names, "age"]].assign(
            middle=1 - curve[end] / final[end].where(final[end] > 0),
            earliest=1 - (curve[end] + spread) / final[end].where(final[end] > 0),
            latest=1 - (curve[end] - spread) / final[end].where(final[end] > 0),
        )
        lengths = quantiles(falling, _LENGTHS, names)
        reached = curve.groupby(list(names), dropna=False, sort=False)[end].last()
        parts.append(lengths.assign(incidence=reached.to_numpy(float), outcome=end))
    return pd.concat(parts, ignore_index=True).drop(columns="group", errors="ignore")


def _plain(closed: ir.Table, dimensions: Sequence[Dimension], settings: Settings) -> tuple[pd.DataFrame, int]:
    """Mean and median length of closed deals from the number of deals per length, and how many lack one."""
    keys = [dimension.column_in_rows for dimension in dimensions]
    length = ibis.greatest(days_between(closed.close_date, closed.created_date), 0)
    length = ibis.cases((closed.close_date.notnull() & closed.created_date.notnull(), length))
    lengths = closed.mutate(length=length).group_by([*keys, "outcome", "length"])
    frame = label_groups(collect(lengths.aggregate(deals=lambda t: t.count())), dimensions, settings)
    unknown = int(frame.loc[frame["length"].isna(), "deals"].sum())
    frame = frame[frame["length"].notna()]
    names = [dimension.name for dimension in dimensions]
    parts: list[Mapping[str, object]] = []
    for key, group in frame.groupby([*names, "outcome"], dropna=False, sort=False):
        values = group["length"].repeat(group["deals"].astype(int)).astype(float)
        low, high = median_interval(values)
        parts.append(
            {
                **dict(zip([*names, "outcome"], key, strict=True)),
                "closed": len(values),
                "closed_only_mean": values.mean(),
                "closed_only_median": values.median(),
                "closed_only_low": low,
                "closed_only_high": high,
            }
        )
    columns = [*names, "outcome", "closed", *(name for name in _RESULT if name.startswith("closed_only"))]
    return pd.DataFrame(parts, columns=columns), unknown
