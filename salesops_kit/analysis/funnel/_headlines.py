"""The funnel's first numbers, each with the quarter before and the same quarter a year ago."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.data.engine import collect, shared
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.intervals import median_interval, ratio, wilson
from salesops_kit.estimators.outcomes import (
    excluded_reasons,
    is_booked,
    is_qualified,
    outcome,
    qualified_positions,
)
from salesops_kit.estimators.states import at_end_of, days_between, falls_in, is_open, is_true
from salesops_kit.estimators.targets import team_targets, whole_target
from salesops_kit.language import _
from salesops_kit.periods import Period, prior_as_of
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
    "year_ago",
    "reason",
]
_BEFORE = ("prior", "year_ago")
_STATE = [
    "opportunity_id",
    "pipeline",
    "reached_position",
    "is_closed",
    "is_won",
    "is_deleted",
    "amount",
    "close_date",
    "valid_from_date",
    "valid_to_date",
]


@table()
def headlines(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
) -> pd.DataFrame:
    """The first numbers of a funnel report.

    Five rows: ``bookings_won`` (amount of deals won with a close date in the period), ``deals_won``,
    ``win_rate`` (as ``win_rate`` counts it), ``won_cycle_median`` (plain median of close date less
    created date over the won deals) and ``open_pipeline`` (amount of the deals open at the end of
    ``as_of``, whenever they are due). Columns: ``id``,
    ``label``, ``value``, ``unit`` (money, deals, rate, days), ``kind`` (additive over teams, rate or
    other), ``n`` the deals behind it, ``low`` and ``high`` the 95 % limits of what is estimated,
    ``definition``, ``target`` (of the bookings, as ``bookings`` finds it in plan or quotas; else missing),
    ``prior`` and ``year_ago`` the same figure for the quarter before and for that of the year before, and
    ``reason``, why a value is missing. ``attrs["prior_label"]`` and ``attrs["year_ago_label"]`` name these
    quarters, or their same point when they are seen from before their end.

    They are seen from the same distance: as many days after their end as ``as_of`` is after this
    period's, or as many days after their start. Where no deal was known on that day, or without a period,
    they are missing, as is the open pipeline of a day for which nobody knows what was open. A figure
    without any deal behind it is missing, but sums and counts are then 0.
    """
    reasons = excluded_reasons(opportunities, settings)
    positions = qualified_positions(stages, settings)
    views = {"now": View(as_of, period)}
    labels: dict[str, str] = {}
    target = np.nan
    if period is not None:
        fiscal = settings.fiscal
        for name, other in (("prior", fiscal.previous(period)), ("year_ago", fiscal.year_ago(period))):
            views[name] = View(prior_as_of(as_of, period, other), other)
            is_part = views[name].day < other.last_day
            labels[name] = (
                _("the same point of {period}").format(period=other.label) if is_part else other.label
            )
        by_team = team_targets(plan, quotas, reps, team_memberships, period, settings)
        target, _source = whole_target(by_team, teams)
    figures = _figures(opportunity_states, opportunities, views, reasons, positions)
    for name in _BEFORE:
        if name in figures and views[name].day < record.open_from:
            figures[name]["open_pipeline"] = _Figure(np.nan, 0)
    rows = []
    for identifier, (label, unit, kind, definition) in _texts().items():
        figure = figures["now"][identifier]
        missing = _("No deal to measure it by.") if np.isnan(figure.value) else ""
        before = [figures[name][identifier].value if name in figures else np.nan for name in _BEFORE]
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
                target if identifier == "bookings_won" else np.nan,
                *before,
                missing,
            )
        )
    result = pd.DataFrame(rows, columns=COLUMNS)
    result.attrs |= {f"{name}_label": labels.get(name, "") for name in _BEFORE}
    return result


@dataclass(frozen=True)
class View:
    """The deals due in a period, as they stood at the end of a day."""

    day: dt.date
    period: Period | None


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
    views: Mapping[str, View],
    reasons: list[str],
    positions: Mapping[str, int],
) -> dict[str, dict[str, _Figure]]:
    """The figures of each view that knows of any deal, all from one pass over the states that any sees."""
    has_created = opportunities is not None and "created_date" in opportunities.columns
    columns = [*(["loss_reason"] if reasons else []), *(["created_date"] if has_created else [])]
    seen = [at_end_of(states, view.day) for view in views.values()]
    kept = states.select(*_STATE).filter(functools.reduce(operator.or_, seen), ~is_true(states.is_deleted))
    rows = shared(join_dimensions(kept, (), {"opportunities": opportunities}, columns))
    became = outcome(rows, reasons, rows.loss_reason if reasons else None)
    is_counted = is_qualified(rows, positions)
    sums: dict[str, ir.Value] = {}
    won: dict[str, ir.BooleanValue] = {}
    for name, view in views.items():
        known = at_end_of(rows, view.day)
        closed = known & falls_in(rows.close_date, view.period) & is_true(rows.is_closed)
        won[name] = known & is_booked(rows, view.period)
        sums |= {
            f"{name}_known": known.sum(),
            f"{name}_won": won[name].sum(),
            f"{name}_amount": rows.amount.sum(where=won[name]),
            f"{name}_wins": (closed & is_counted & (became == "won")).sum(),
            f"{name}_losses": (closed & is_counted & (became == "lost")).sum(),
            f"{name}_open": (known & is_open(rows)).sum(),
            f"{name}_ahead": rows.amount.sum(where=known & is_open(rows)),
        }
    found = collect(rows.aggregate(**sums)).iloc[0]
    lengths = _lengths(rows, won) if has_created else dict.fromkeys(views, np.array([], dtype=float))
    figures = {}
    for name in views:
        if name != "now" and not _count(found[f"{name}_known"]):
            continue
        wins, losses, deals = (_count(found[f"{name}_{key}"]) for key in ("wins", "losses", "won"))
        low, high = wilson(wins, wins + losses)
        middle = float(np.median(lengths[name])) if len(lengths[name]) else float("nan")
        figures[name] = {
            "bookings_won": _Figure(_zero_if_missing(found[f"{name}_amount"]), deals),
            "deals_won": _Figure(float(deals), deals),
            "win_rate": _Figure(float(ratio(wins, wins + losses)), wins + losses, float(low), float(high)),
            "won_cycle_median": _Figure(middle, len(lengths[name]), *median_interval(lengths[name])),
            "open_pipeline": _Figure(_zero_if_missing(found[f"{name}_ahead"]), _count(found[f"{name}_open"])),
        }
    return figures


def _lengths(rows: ir.Table, won: Mapping[str, ir.BooleanValue]) -> dict[str, np.ndarray]:
    """The days from created to closed of the deals that each view saw won."""
    length = ibis.greatest(days_between(rows.close_date, rows.created_date), 0)
    is_dated = rows.close_date.notnull() & rows.created_date.notnull()
    dated = rows.filter(is_dated & functools.reduce(operator.or_, won.values())).select(length=length, **won)
    counts = collect(dated.group_by("length").aggregate(**{name: dated[name].sum() for name in won}))
    days = counts["length"].to_numpy(float)
    return {name: np.repeat(days, counts[name].fillna(0).to_numpy(int)) for name in won}


def _count(value: object) -> int:
    return int(_zero_if_missing(value))


def _zero_if_missing(value: object) -> float:
    return 0.0 if value is None or value != value else float(value)  # type: ignore[arg-type]
