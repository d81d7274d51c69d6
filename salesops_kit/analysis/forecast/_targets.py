"""The bookings target of a scope for each quarter that is forecast."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_kit.estimators.targets import team_targets, whole_target
from salesops_kit.periods import Period
from salesops_kit.settings import Settings


def targets_by_team(
    plan: ir.Table | None,
    quotas: ir.Table | None,
    teams: ir.Table | None,
    reps: ir.Table | None,
    memberships: ir.Table | None,
    quarter: Period,
    settings: Settings,
) -> tuple[float, dict[str, float]]:
    """The target of the whole scope, missing where there is none, and that of each team that has one."""
    found = team_targets(plan, quotas, reps, memberships, quarter, settings)
    whole = whole_target(found, teams)[0]
    each = {str(team): float(value) for team, value in zip(found["team"], found["target"], strict=True)}
    return (whole if whole > 0 else float("nan")), {team: value for team, value in each.items() if value > 0}
