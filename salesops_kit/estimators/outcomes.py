"""What became of deals: won, lost, excluded or open as of a date, and which of them count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, unknown
from salesops_kit.estimators.states import falls_in, is_true, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.settings import Settings


def excluded_reasons(opportunities: ir.Table | None, settings: Settings) -> list[str]:
    """The loss reasons, as the data spells them, of deals that were never real; compared without case."""
    if opportunities is None or "loss_reason" not in opportunities.columns:
        return []
    listed = {reason.strip().casefold() for reason in settings.excluded_loss_reasons}
    present = collect(opportunities.select("loss_reason").distinct())["loss_reason"].dropna()
    return sorted(reason for reason in present if reason.strip().casefold() in listed)


def qualified_positions(stages: ir.Table, settings: Settings) -> Mapping[str, int]:
    """The position of the first qualified stage in each pipeline that has it; empty when none is set.

    Raises :class:`InputError` when the setting names a stage that no pipeline has.
    """
    name = settings.first_qualified_stage
    if not name:
        return {}
    frame = collect(stages.select("pipeline", "stage", "position"))
    found = frame[frame["stage"] == name]
    if found.empty:
        raise InputError(
            unknown(
                "stage", name, sorted(set(frame["stage"])), file="settings", column="first_qualified_stage"
            )
        )
    return {str(row.pipeline): int(row.position) for row in found.itertuples()}


def is_qualified(states: ir.Table, positions: Mapping[str, int]) -> ir.BooleanValue:
    """Whether the deal reached its pipeline's first qualified stage; a won deal passed every stage.

    In a pipeline without that stage every deal counts.
    """
    if not positions:
        return ibis.literal(value=True)
    by_pipeline = ibis.cases(
        *((states.pipeline == name, states.reached_position >= place) for name, place in positions.items()),
        else_=True,
    )
    return is_true(by_pipeline) | is_true(states.is_won)


def outcome(states: ir.Table, reasons: list[str], loss_reason: ir.StringValue | None) -> ir.StringValue:
    """One of ``won``, ``lost``, ``excluded`` and ``open``, as a column."""
    closed, won = is_true(states.is_closed), is_true(states.is_won)
    branches = [(~closed, "open"), (won, "won")]
    if reasons and loss_reason is not None:
        branches.append((is_true(loss_reason.isin(reasons)), "excluded"))
    return ibis.cases(*branches, else_="lost")


def closed_or_open(states: ir.Table, as_of: dt.date, period: Period | None) -> ir.Table:
    """One row per deal at the end of ``as_of`` whose close date, actual or expected, is in the period."""
    known = known_states(states, as_of)
    return known.filter(falls_in(known.close_date, period))


def is_booked(known: ir.Table, period: Period | None) -> ir.BooleanValue:
    """Whether a state, known at some day, is a booking of the period: won, with its close date in it.

    A deal is booked on its close date, at its amount, in the team that won it.
    """
    return falls_in(known.close_date, period) & is_true(known.is_closed) & is_true(known.is_won)


def won_in(known: ir.Table, period: Period | None) -> ir.Table:
    """The bookings of a period, of the states known at some day."""
    return known.filter(is_booked(known, period))


def missing_reason_note(reasons_known: bool) -> list[str]:
    """The note that says when duplicates cannot be told from losses."""
    if reasons_known:
        return []
    return [_("Loss reasons are not known, so that duplicates and deals entered in error count as lost.")]
