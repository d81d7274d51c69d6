"""The first screen: where the quarter lands, how far from target, how likely that is, and what it takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._scope_outlook import Outlook, whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._targets import targets_by_team
from salesops_kit.analysis.forecast._view import View
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "id", "label", "value", "unit", "kind", "n", "low", "high", "definition", "target", "prior", "reason",
]  # fmt: skip
_MISSING = float("nan")


@dataclass(frozen=True)
class _Figure:
    value: float
    n: int
    low: float = _MISSING
    high: float = _MISSING
    target: float = _MISSING
    prior: float = _MISSING
    reason: str = ""


@table(needs={"pipeline": "pipeline.headlines"})
def headlines(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    pipeline: pd.DataFrame,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The first numbers of a forecast report, for its quarter (without one, that of ``as_of``).

    Eight rows: ``landing``, the expected bookings of ``forecast.outlook`` with the range that holds four
    times in five (P10 to P90), the target and, as ``prior``, what the quarter before booked;
    ``target_gap``, landing less target with the range moved by it; ``target_chance``, the share of the
    distribution at or above the target; ``coverage``, what ``pipeline.headlines`` has, open pipeline per unit
    of the gap against what past conversion requires; ``median``, the P50; ``open_deals`` and
    ``create_and_close``, the two parts of what is expected beyond what is booked; and ``next_quarter``, the
    expected bookings of the quarter after it with their range.

    Columns as in ``pipeline.headlines``; ``n`` are the deals behind a figure: won in the quarter, and open.
    Whatever needs a target or a past quarter that is not there is missing, with the ``reason``.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    here, following = source.quarters[source.here], source.quarters[source.here + 1]
    goals = [
        targets_by_team(plan, quotas, teams, reps, team_memberships, quarter, settings)[0]
        for quarter in (here, following)
    ]
    now, later = (whole_outlook(source, reference, ahead) for ahead in (0, 1))
    view = View(source.history, source.quarters, source.here, source.as_of)
    n = now.deals * (not source.is_over) + len(view.won_in(here))
    figures = _figures(now, later, goals, _before(source, view), n)
    cover = pipeline.set_index("id").loc["coverage"]
    figures["coverage"] = _Figure(
        float(cover["value"]), int(cover["n"]), target=float(cover["target"]), reason=str(cover["reason"])
    )
    rows = [
        (
            name, label, figure.value, unit, "other", figure.n, figure.low, figure.high, definition,
            figure.target, figure.prior, figure.reason if np.isnan(figure.value) else "",
        )
        for name, (label, unit, definition) in _texts(following.label).items()
        for figure in [figures[name]]
    ]  # fmt: skip
    result = pd.DataFrame(rows, columns=COLUMNS)
    result.attrs["prior_label"] = settings.fiscal.previous(here).label
    result.attrs["notes"] = [text for text in (now.reason,) if text and not np.isnan(now.total.mean)]
    return result


def _before(source: Source, view: View) -> float:
    """What the quarter before booked; missing where its beginning is not known."""
    if not source.here:
        return _MISSING
    quarter = source.quarters[source.here - 1]
    return view.booked(quarter) if quarter.start.toordinal() > source.history.first else _MISSING


def _figures(now: Outlook, later: Outlook, goals: list[float], prior: float, n: int) -> dict[str, _Figure]:
    total, target = now.total, goals[0]
    low, high = _limits(now)
    mean = round(total.mean, 2) if total.draws.size else _MISSING
    no_target = _("There is no target.") if np.isnan(target) else now.reason
    next_low, next_high = _limits(later)
    return {
        "landing": _Figure(mean, n, low, high, target, prior, now.reason),
        "target_gap": _Figure(mean - target, n, low - target, high - target, reason=no_target),
        "target_chance": _Figure(total.at_least(target), n, reason=no_target),
        "median": _Figure(total.quantile(0.5), n, low, high, reason=now.reason),
        "open_deals": _Figure(now.open_deals, now.deals, reason=now.reason),
        "create_and_close": _Figure(now.create_and_close, n, reason=now.reason),
        "next_quarter": _Figure(
            later.total.mean, later.deals, next_low, next_high, goals[1], reason=later.reason
        ),
    }


def _limits(found: Outlook) -> tuple[float, float]:
    """The range that holds four times in five; none where nothing is open to chance."""
    low, high = found.total.quantile(0.1), found.total.quantile(0.9)
    return (low, high) if found.total.draws.size > 1 else (_MISSING, _MISSING)


def _texts(following: str) -> dict[str, tuple[str, str, str]]:
    return {
        "landing": (
            _("Likely landing"),
            "money",
            _(
                "The expected bookings of the quarter: booked, and what is expected of open deals and of"
                " create-and-close by the method that past quarters did not beat. The range holds four times"
                " in five."
            ),
        ),
        "target_gap": (
            _("Landing against plan"),
            "money",
            _("The likely landing less the plan; negative when it falls short."),
        ),
        "target_chance": (
            _("Chance to reach the plan"),
            "rate",
            _("The share of the outcomes that the forecast holds possible in which the plan is reached."),
        ),
        "coverage": (
            _("Coverage of the remaining gap"),
            "ratio",
            _("Open pipeline due in the period / (plan - booked), against what past conversion requires."),
        ),
        "median": (
            _("Even odds"),
            "money",
            _("The bookings (P50) that are as likely to be exceeded as to be missed."),
        ),
        "open_deals": (
            _("Expected of open deals"),
            "money",
            _("What the likely landing counts on from deals that are open now."),
        ),
        "create_and_close": (
            _("Expected of create-and-close"),
            "money",
            _("What the likely landing counts on from deals that are not open yet."),
        ),
        "next_quarter": (
            _("Likely in {period}").format(period=following),
            "money",
            _("The expected bookings of the next quarter by simulation; the range holds four times in five."),
        ),
    }
