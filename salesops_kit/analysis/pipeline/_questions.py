"""The few deals worth asking about: those whose answer narrows the landing most."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._commit_risks import IDLE_DAYS
from salesops_kit.analysis.pipeline._composition import unknown_amounts
from salesops_kit.analysis.pipeline._deals import as_shown
from salesops_kit.analysis.pipeline._facts import COMMIT, FACTS, deals_with_facts
from salesops_kit.analysis.pipeline._quarters import current_quarter
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

QUESTIONS = (
    "has_it_slipped", "why_commit_at_this_age", "what_is_the_next_step", "is_the_amount_agreed",
    "why_this_time", "why_so_long_in_stage", "is_it_alive", "why_not_commit", "what_is_left_to_do",
)  # fmt: skip
_OFTEN = 2
_COLUMNS = [
    "opportunity_id", "name", "owner_id", "team", "stage", "forecast_category", "amount", "close_date",
    "probability", "expected", "share", "question", *FACTS,
]  # fmt: skip


@table(
    needs={"chances": "forecast.chances"},
    units={
        **dict.fromkeys(["amount", "expected", "amount_30_days_ago"], "money"),
        **dict.fromkeys(["probability", "share"], "rate"),
        **dict.fromkeys([name for name in FACTS if "days" in name and "ago" not in name], "days"),
    },
)
def questions(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    activities: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    chances: pd.DataFrame,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    top: int = 10,
    trailing: int = 4,
) -> pd.DataFrame:
    """The few deals worth asking about, by how much an answer narrows where the period lands.

    One row per open deal due in the period (without one, in the fiscal quarter of ``as_of``), at most
    ``top``. ``probability`` (0-1), that it is won within the period, and ``share`` (0-1), its part of the
    variance of what open deals bring, which a sure answer would take away, are the ``chance`` and
    ``variance_share`` of ``forecast.deals``; ``expected`` is probability x amount. Rows are in the order of
    ``share``.

    ``question`` is the first that the facts raise: ``has_it_slipped`` (``days_past_due``),
    ``why_commit_at_this_age`` (in Commit, ``stage_age_days`` over ``stage_p90_days``),
    ``what_is_the_next_step`` (none, or ``days_past_next_step``), ``is_the_amount_agreed`` (other than
    ``amount_30_days_ago``), ``why_this_time`` (at least two ``pushes``), ``why_so_long_in_stage`` (over the
    P90, not in Commit), ``is_it_alive`` (``days_without_activity`` of 14 or more), ``why_not_commit`` (a
    probability of one half or more, not in Commit), else ``what_is_left_to_do``.

    The other columns: ``opportunity_id``, ``name``, ``owner_id`` with ``rep_name``, ``team``, ``stage``,
    ``forecast_category``, ``amount`` (base currency), ``close_date``, as of ``as_of``, and the facts, missing
    where there is none. A deal without an amount cannot move the landing and is only counted in a note;
    without a past quarter the probability is missing and the largest amounts come first. ``attrs``:
    ``deals`` in all and ``listed_share``, the sum of ``share``. After the period's last day there is no row.

    Raises :class:`InputError` when ``top`` or ``trailing`` is below 1.
    """
    if top < 1:
        raise InputError(Problem("no row", column="top", expected="1 or more", got=str(top)))
    here = current_quarter(as_of, period, settings)
    frame, notes = deals_with_facts(
        opportunity_states, opportunities, activities, as_of, here, settings, reference, trailing
    )
    unknown = int(frame["is_unknown"].sum())
    frame = frame[frame["amount"] != 0 if as_of < here.last_day else np.zeros(len(frame), bool)]
    known = chances.set_index("opportunity_id").reindex(frame["opportunity_id"])
    chance = known["chance"].to_numpy(float)
    frame = frame.assign(
        probability=chance,
        expected=chance * frame["amount"].to_numpy(float),
        share=known["variance_share"].to_numpy(float),
    )
    notes = unknown_amounts(unknown) + notes
    frame["question"] = [_question(deal) for deal in frame.to_dict("records")]
    keyed = frame.assign(narrows=frame["share"].fillna(0.0))
    listed = keyed.sort_values(
        ["narrows", "amount", "opportunity_id"], ascending=[False, False, True], kind="stable"
    ).head(top)
    shown = listed[_COLUMNS].reset_index(drop=True)
    result = as_shown(shown, money=["amount", "amount_30_days_ago"], dates=["close_date"])
    result = with_rep_names(result, reps)
    result.attrs.update(notes=notes, deals=len(frame), listed_share=float(result["share"].sum()))
    return result


def _question(deal: Mapping[str, Any]) -> str:
    """The first question of ``QUESTIONS`` that the facts raise; a missing fact raises none."""
    is_commit = deal["category"] == COMMIT
    is_old = deal["stage_age_days"] > deal["stage_p90_days"]
    lacks_step = deal["has_next_step"] is not None and not deal["has_next_step"]
    was = deal["amount_30_days_ago"]
    raised = (
        deal["days_past_due"] > 0,
        is_commit and is_old,
        lacks_step or deal["days_past_next_step"] > 0,
        was == was and was != deal["amount"],
        deal["pushes"] >= _OFTEN,
        is_old,
        deal["days_without_activity"] >= IDLE_DAYS,
        deal["probability"] >= 0.5 and not is_commit,
        True,
    )
    return QUESTIONS[raised.index(True)]
