"""The funnel's first numbers, each with the quarter before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._outcomes import excluded_reasons, qualified_positions
from salesops_kit.analysis.funnel._win_rate import closed_counts
from salesops_kit.data.engine import collect
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.intervals import median_interval, ratio, wilson
from salesops_kit.estimators.states import days_between, falls_in, is_open, is_true, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "id",
    "label",
    "value",
    "unit",
    "kind",
    "n",
    "low",
    "high",
    "definition",
    "target",
    "prior",
    "reason",
]


@table()
def headlines(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> pd.DataFrame:
    """The first numbers of a funnel report.

    Five rows: ``bookings_won`` (amount of deals won with a close date in the period), ``deals_won``,
    ``win_rate`` (as ``win_rate`` counts it), ``won_cycle_median`` (plain median of close date less
    created date over the won deals) and ``open_pipeline`` (amount of the deals open at the end of
    ``as_of``, whenever they are due). Columns: ``id``,
    ``label``, ``value``, ``unit`` (money, deals, rate, days), ``kind`` (additive over teams, rate or
    other), ``n`` the deals behind it, ``low`` and ``high`` the 95 % limits of what is estimated,
    ``definition``, ``target`` (missing here: the funnel has none), ``prior`` the same figure for the
    quarter before, and ``reason``, why a value is missing. ``attrs["prior_label"]`` names that quarter, with
    the day when it is seen from before its end.

    The prior is seen from the same distance: as many days after the previous period's end as ``as_of``
    is after this one's, or within the period as many days after its start. Without a period there is
    no prior. A figure without any deal behind it is missing, but sums and counts are then 0.
    """
    reasons = excluded_reasons(opportunities, settings)
    positions = qualified_positions(stages, settings)

    def figures(day: dt.date, days: Period | None) -> dict[str, _Figure]:
        return _figures(opportunity_states, opportunities, day, days, reasons, positions)

    now = figures(as_of, period)
    before: dict[str, _Figure] = {}
    prior_label = ""
    if period is not None:
        previous = settings.fiscal.previous(period)
        seen_on = prior_as_of(as_of, period, previous)
        before = figures(seen_on, previous)
        prior_label = previous.label
        if seen_on < previous.last_day:
            prior_label = _("{period} to {day}").format(period=previous.label, day=seen_on.isoformat())
    rows = []
    for identifier, (label, unit, kind, definition) in _texts().items():
        figure = now[identifier]
        missing = _("No deal to measure it by.") if np.isnan(figure.value) else ""
        prior = before[identifier].value if before else np.nan
        rows.append(
            (
                identifier,
                label,
                figure.value,
                unit,
                kind,
                figure.n,
                figure.low,
                figure.high,
                definition,
                np.nan,
                prior,
                missing,
            )
        )
    result = pd.DataFrame(rows, columns=COLUMNS)
    result.attrs["prior_label"] = prior_label
    return result


def prior_as_of(as_of: dt.date, period: Period, previous: Period) -> dt.date:
    """The day that lies as far into, or after, the previous period as ``as_of`` does for this one.

    >>> quarters = [Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1"),
    ...             Period(dt.date(2026, 4, 1), dt.date(2026, 7, 1), "2026-Q2")]
    >>> [prior_as_of(dt.date(2026, m, d), quarters[1], quarters[0]).isoformat()
    ...  for m, d in ((4, 1), (5, 15), (6, 30), (7, 3))]
    ['2026-01-01', '2026-02-14', '2026-03-31', '2026-04-03']
    """
    if as_of >= period.last_day:
        return previous.last_day + (as_of - period.last_day)
    return min(previous.start + (as_of - period.start), previous.last_day)


@dataclass(frozen=True)
class _Figure:
    value: float
    n: int
    low: float = float("nan")
    high: float = float("nan")


def _texts() -> dict[str, tuple[str, str, str, str]]:
    return {
        "bookings_won": (
            _("Bookings won"),
            "money",
            "additive",
            _("Amount of the deals won with a close date in the period."),
        ),
        "deals_won": (
            _("Deals won"),
            "deals",
            "additive",
            _("Deals won with a close date in the period."),
        ),
        "win_rate": (
            _("Win rate"),
            "rate",
            "rate",
            _(
                "Won deals / (won + lost deals) closed in the period, from the first qualified stage, without"
                " duplicates and deals entered in error."
            ),
        ),
        "won_cycle_median": (
            _("Median days to win"),
            "days",
            "other",
            _("Median of close date less created date over the deals won in the period."),
        ),
        "open_pipeline": (
            _("Open pipeline"),
            "money",
            "additive",
            _("Amount of every deal that is open at the cut-off, whenever it is due."),
        ),
    }


def _figures(
    states: ir.Table,
    opportunities: ir.Table | None,
    as_of: dt.date,
    period: Period | None,
    reasons: list[str],
    positions: Mapping[str, int],
) -> dict[str, _Figure]:
    has_created = opportunities is not None and "created_date" in opportunities.columns
    known = known_states(states, as_of)
    tables = {"opportunity_states": states, "opportunities": opportunities}
    due = known.filter(falls_in(known.close_date, period) & is_true(known.is_closed))
    closed = join_dimensions(due, (), tables, ["loss_reason"] if reasons else [])
    rate = closed_counts(closed, reasons, positions, ()).iloc[0]
    won = due.filter(is_true(due.is_won))
    bookings = collect(won.aggregate(amount=won.amount.sum(), deals=won.count())).iloc[0]
    ahead = known.filter(is_open(known))
    pipeline = collect(ahead.aggregate(amount=ahead.amount.sum(), deals=ahead.count())).iloc[0]
    closed_deals = int(rate["won"] + rate["lost"])
    low, high = wilson(rate["won"], closed_deals)
    lengths = np.array([], dtype=float)
    if has_created:
        lengths = _lengths(join_dimensions(won, (), tables, ["created_date"]))
    return {
        "bookings_won": _Figure(_zero_if_missing(bookings["amount"]), int(bookings["deals"])),
        "deals_won": _Figure(float(bookings["deals"]), int(bookings["deals"])),
        "win_rate": _Figure(float(ratio(rate["won"], closed_deals)), closed_deals, float(low), float(high)),
        "won_cycle_median": _Figure(
            float(np.median(lengths)) if len(lengths) else float("nan"),
            len(lengths),
            *median_interval(lengths),
        ),
        "open_pipeline": _Figure(_zero_if_missing(pipeline["amount"]), int(pipeline["deals"])),
    }


def _lengths(won: ir.Table) -> np.ndarray:
    dated = won.filter(won.close_date.notnull() & won.created_date.notnull())
    length = ibis.greatest(days_between(dated.close_date, dated.created_date), 0)
    counts = collect(dated.select(length=length).group_by("length").aggregate(deals=lambda t: t.count()))
    return np.repeat(counts["length"].to_numpy(float), counts["deals"].to_numpy(int))


def _zero_if_missing(value: object) -> float:
    return 0.0 if value is None or value != value else float(value)  # type: ignore[arg-type]
