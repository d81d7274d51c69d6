"""The first screen: where the quarter lands, how far from target, how likely that is, and what it takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._scope_outlook import Outlook, whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._targets import targets_by_team
from salesops_kit.analysis.forecast._view import View
from salesops_kit.estimators.headlines import MISSING, Figure, headline_frame
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings


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
    figures["coverage"] = Figure(
        float(cover["value"]), int(cover["n"]), target=float(cover["target"]), reason=str(cover["reason"])
    )
    texts = _texts(following.label)
    result = headline_frame(
        figures, {name: (label, unit, "other", text) for name, (label, unit, text) in texts.items()}
    )
    result.attrs["prior_label"] = settings.fiscal.previous(here).label
    result.attrs["notes"] = [text for text in (now.reason,) if text and not np.isnan(now.total.mean)]
    return result


def _before(source: Source, view: View) -> float:
    """What the quarter before booked; missing where its beginning is not known."""
    if not source.here:
        return MISSING
    quarter = source.quarters[source.here - 1]
    return view.booked(quarter) if quarter.start.toordinal() > source.history.first else MISSING


def _figures(now: Outlook, later: Outlook, goals: list[float], prior: float, n: int) -> dict[str, Figure]:
    total, target = now.total, goals[0]
    low, high = _limits(now)
    mean = round(total.mean, 2) if total.draws.size else MISSING
    no_target = _("There is no target.") if np.isnan(target) else now.reason
    next_low, next_high = _limits(later)
    return {
        "landing": Figure(mean, n, low, high, target, prior, now.reason),
        "target_gap": Figure(mean - target, n, low - target, high - target, reason=no_target),
        "target_chance": Figure(total.at_least(target), n, reason=no_target),
        "median": Figure(total.quantile(0.5), n, low, high, reason=now.reason),
        "open_deals": Figure(now.open_deals, now.deals, reason=now.reason),
        "create_and_close": Figure(now.create_and_close, n, reason=now.reason),
        "next_quarter": Figure(
            later.total.mean, later.deals, next_low, next_high, goals[1], reason=later.reason
        ),
    }


def _limits(found: Outlook) -> tuple[float, float]:
    """The range that holds four times in five; none where nothing is open to chance."""
    low, high = found.total.quantile(0.1), found.total.quantile(0.9)
    return (low, high) if found.total.draws.size > 1 else (MISSING, MISSING)


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
