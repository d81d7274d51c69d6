"""The first screen: bookings against plan and pace, where the period lands, and coverage of the gap."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._coverage import coverage
from salesops_kit.analysis.pipeline._facts import collected, open_due
from salesops_kit.analysis.pipeline._landing import counted, landing_notes, with_forecast
from salesops_kit.analysis.pipeline._pace import pace
from salesops_kit.analysis.pipeline._past import BOOKED, Past, past_quarters
from salesops_kit.analysis.pipeline._quarters import current_quarter
from salesops_kit.estimators.headlines import MISSING, Figure, headline_frame
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings


@table(needs={"outlook": "forecast.landing"})
def headlines(
    opportunity_states: ir.Table,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    outlook: pd.DataFrame,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The first numbers of a pipeline report, for its quarter (without one, that of ``as_of``).

    Seven rows: ``bookings_to_date`` against the plan and, as ``prior``, the quarter before on the same day
    of the quarter; ``landing``, where the period lands (``likely`` of ``pipeline.landing``, its 80 % range,
    ``prior`` what the quarter before ended with, the plan as ``target``); ``coverage`` of what the plan
    still lacks by the open pipeline due, with the coverage that past conversion requires as ``target``
    (``pipeline.coverage``); ``commit`` and ``best_case`` beside the landing; ``pace``, what the bookings come
    to if the rest goes as it usually did (``pipeline.pace``, with the range that past quarters saw); and
    ``landing_gap``, landing less plan, with the range moved by the plan.

    Columns as in ``funnel.headlines``: ``id``, ``label``, ``value``, ``unit``, ``kind`` (additive over teams,
    or other), ``n`` the deals behind it (for the pace past quarters), ``low`` and ``high``,
    ``definition``, ``target``, ``prior`` and ``reason``, why a value is missing. Sums over no deal are 0;
    whatever needs a plan or a past quarter that is not there is missing.
    """
    here = current_quarter(as_of, period, settings)
    past = past_quarters(opportunity_states, as_of, here, settings, 1)
    deals = collected(open_due(opportunity_states, as_of, here))
    facts = counted(past.of(BOOKED, past=False), deals, "")
    row = with_forecast(facts, outlook, "", is_over=as_of >= here.last_day).iloc[0]
    sources = (opportunity_states, plan, quotas, teams, reps, team_memberships)
    days: dict[str, Any] = {"as_of": as_of, "period": here, "settings": settings}
    cover = coverage(*sources, **days, reference=reference, by="").iloc[0]
    figures = _figures(row, cover, pace(opportunity_states, **days).iloc[0], past)
    if as_of < here.last_day:
        label = _("the same day of {period}").format(period=settings.fiscal.previous(here).label)
        figures["bookings_to_date"] = replace(figures["bookings_to_date"], prior_label=label)
    result = headline_frame(figures, _texts())
    result.attrs["notes"] = landing_notes(outlook, deals, here, as_of)
    result.attrs["prior_label"] = settings.fiscal.previous(here).label
    return result


def _figures(row: pd.Series, cover: pd.Series, paced: pd.Series, past: Past) -> dict[str, Figure]:
    plan, booked = float(cover["target"]), float(row["booked"])
    no_plan, no_past = _("There is no target."), _("There is no past quarter to learn from.")
    before, ended = _quarter_before(past)
    won, is_open = int(row["deals_booked"]), int(row["deals_open"])
    return {
        "bookings_to_date": Figure(booked, won, target=plan, prior=before),
        "pace": Figure(
            float(paced["pace"]),
            int(paced["quarters_observed"]),
            float(paced["pace_low"]),
            float(paced["pace_high"]),
            target=plan,
            reason=str(paced["reason"]),
        ),
        "landing": Figure(
            float(row["likely"]),
            won + is_open,
            float(row["low"]),
            float(row["high"]),
            target=plan,
            prior=ended,
            reason=no_past,
        ),
        "commit": Figure(float(row["commit"]), won + is_open, target=plan),
        "best_case": Figure(float(row["best_case"]), won + is_open, target=plan),
        "landing_gap": Figure(
            float(row["likely"]) - plan,
            won + is_open,
            float(row["low"]) - plan,
            float(row["high"]) - plan,
            reason=no_plan if np.isnan(plan) else no_past,
        ),
        "coverage": Figure(
            float(cover["coverage"]),
            is_open,
            target=float(cover["required_coverage"]),
            reason=str(cover["reason"]),
        ),
    }


def _quarter_before(past: Past) -> tuple[float, float]:
    """What the quarter before had booked by its day, and in the end; missing where it is not known."""
    if not past.here:
        return MISSING, MISSING
    rows = past.rows[past.rows["quarter"] == past.here - 1]
    return float(rows.loc[rows["kind"] == BOOKED, "amount"].sum()), float(rows["won_amount"].sum())


def _texts() -> dict[str, tuple[str, str, str, str]]:
    return {
        "bookings_to_date": (
            _("Bookings to date"),
            "money",
            "additive",
            _("Amount of the deals won with a close date in the period, against the plan for all of it."),
        ),
        "landing": (
            _("Likely landing"),
            "money",
            "other",
            _(
                "The expected bookings of the quarter: booked, and what is expected of open deals and of"
                " create-and-close by the method that past quarters did not beat. The range holds four times"
                " in five."
            ),
        ),
        "coverage": (
            _("Coverage of the remaining gap"),
            "ratio",
            "other",
            _("Open pipeline due in the period / (plan - booked), against what past conversion requires."),
        ),
        "commit": (
            _("Commit"),
            "money",
            "additive",
            _("Booked, and the open deals due in the period that are in Commit."),
        ),
        "best_case": (
            _("Best case"),
            "money",
            "additive",
            _("Commit, and the open deals due in the period that are in Best Case."),
        ),
        "pace": (
            _("At the usual pace"),
            "money",
            "other",
            _(
                "Bookings to date / the share of a quarter's bookings that is usually booked by this"
                " working day."
            ),
        ),
        "landing_gap": (
            _("Landing against plan"),
            "money",
            "other",
            _("The likely landing less the plan; negative when it falls short."),
        ),
    }
