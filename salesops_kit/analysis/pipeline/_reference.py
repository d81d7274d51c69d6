"""The company's pipeline figures that a team is compared with and shrunk to."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._ageing import LIMITS, TRAILING_QUARTERS
from salesops_kit.analysis.pipeline._quarters import current_quarter, trailing_quarters
from salesops_kit.analysis.pipeline._yield import company_yield, vantage
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.stage_times import stage_times
from salesops_kit.periods import Period
from salesops_kit.registry import reference
from salesops_kit.settings import NO_TEAM, Settings

# The quarters for which coverage is asked: the report's and the one after it.
_AHEAD = (0, 1)


@reference
def company_reference(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
) -> dict[str, Any]:
    """The company's conversion of due pipeline and its times in stage.

    ``teams``: teams that had a deal by ``as_of``. ``coverage``: for the report's quarter (``"0"``) and the
    next (``"1"``) the ``rate`` at which the amount due on this day of the eight quarters before was won in
    them by the team that had it, ``strength`` (beta-binomial over teams), ``due_amount``, and ``day`` and
    ``quarter_start`` as ordinal numbers. ``stage_times``: ``first_day`` and ``last_day`` as ordinal numbers
    and ``figures``, per pipeline and stage ``p50``, ``p75`` and ``p90`` in days over the four quarters that
    end with the report's. Unknown figures are None.
    """
    begun = opportunity_states.filter(opportunity_states.valid_from_date <= as_of)
    teams = set(collect(begun.select("team").distinct())["team"]) - {NO_TEAM}
    window = trailing_quarters(current_quarter(as_of, period, settings), TRAILING_QUARTERS, settings)
    times = stage_times(opportunity_states, window[0].start, as_of)
    figures: dict[str, dict[str, Any]] = {}
    for row in times.to_dict("records"):
        known = {name: None if pd.isna(row[name]) else float(row[name]) for name in LIMITS}
        figures.setdefault(str(row["pipeline"]), {})[str(row["stage"])] = known
    return {
        "teams": len(teams),
        "coverage": {
            str(ahead): company_yield(
                opportunity_states, vantage(as_of, period, settings, ahead), record.changes_from
            )
            for ahead in _AHEAD
        },
        "stage_times": {
            "first_day": window[0].start.toordinal(),
            "last_day": as_of.toordinal(),
            "figures": figures,
        },
    }
