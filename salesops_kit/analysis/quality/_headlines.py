"""The first numbers of a data-quality report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import find
from salesops_kit.analysis.quality._fix_list import LISTED, to_fix
from salesops_kit.analysis.quality._scores import with_problems
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.data.engine import collect
from salesops_kit.estimators.headlines import MISSING, Figure, headline_frame
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings


@table()
def headlines(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The first numbers of a data-quality report.

    Four rows: ``quality_score`` (as ``scores`` counts it, of all deals at hand; missing without a deal),
    ``problems`` (errors and warnings, each record and field once per check), ``deals_with_problem`` (deals
    open at the end of ``as_of``, or closed in the period, that an error or warning touches) and
    ``amount_with_problem`` (base currency, of those open or booked in the period). Columns as in every
    table of headlines: ``id``, ``label``, ``value``, ``unit``, ``kind``, ``n`` the deals judged, ``low``,
    ``high``, ``definition``, ``target``, ``prior`` and ``reason``; nothing here is estimated.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    found = find(data)
    judged = data.deals.filter(data.deals.is_judged)
    n = int(collect(judged.aggregate(n=judged.count()))["n"].iloc[0])
    wrong = with_problems(found)
    wrong = wrong[wrong["is_judged"]]
    # Checks of outliers compare with the deals at hand: figures of teams need not add up to the company's.
    texts = {
        "quality_score": (
            _("Quality score"), "rate", "other",
            _("Share of the deals that are open, or closed in the period, that no error or warning touches."),
        ),
        "problems": (
            _("Problems to mend"), "", "other",
            _("Errors and warnings of the checks, each record and field once per check."),
        ),
        "deals_with_problem": (
            _("Deals with a problem"), "deals", "other",
            _("Deals that are open, or closed in the period, which an error or warning touches."),
        ),
        "amount_with_problem": (
            _("Money exposed"), "money", "other",
            _("The amount of the deals with a problem that are open or booked in the period."),
        ),
    }  # fmt: skip
    score = 1 - len(wrong) / n if n else MISSING
    values = (
        score,
        float(len(to_fix(found, LISTED["warning"]))),
        float(len(wrong)),
        float(wrong["amount"].sum()),
    )
    reason = _("No deal to measure it by.")
    figures = {name: Figure(value, n, reason=reason) for name, value in zip(texts, values, strict=True)}
    frame = headline_frame(figures, texts)
    frame.attrs["prior_label"] = ""
    return frame
