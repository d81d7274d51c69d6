"""What the problems do to the numbers: each figure with all rows, and without those in question."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import find
from salesops_kit.analysis.quality._scores import with_problems
from salesops_kit.analysis.quality._sources import Sources, sources
from salesops_kit.data.engine import collect
from salesops_kit.estimators.intervals import ratio, wilson
from salesops_kit.estimators.outcomes import excluded_reasons, is_qualified, outcome, qualified_positions
from salesops_kit.estimators.states import falls_in
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = ["measure", "with_all", "without", "difference", "low", "high", "affected"]
MEASURES = ("bookings", "open_pipeline", "weighted_pipeline", "win_rate")


@table(units={"affected": "deals"})
def effect(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
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
    """Figures of the page with all deals, and without those that an error or a warning touches.

    One row per ``measure``: ``bookings`` (amount won with a close date in the period), ``open_pipeline``
    (amount open at the end of ``as_of``), ``weighted_pipeline`` (the same, each deal times its stage's own
    default probability; missing where stages have none), all in base currency, an unknown amount counting
    as 0; and ``win_rate`` (0-1: won / (won + lost) of the deals closed in the period that reached the first
    qualified stage, without those closed as duplicates or in error). ``difference`` = ``without`` -
    ``with_all``; ``affected`` deals are left out. ``low`` and ``high`` are the 95 % Wilson limits of the win
    rate with all rows: a smaller difference is within what chance does to it.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    wrong = with_problems(find(data))["record_id"].astype(str).tolist()
    rows = _marked(data, stages, opportunities)
    everything = _figures(rows)
    listed = ibis.memtable({"wrong_id": wrong}, schema={"wrong_id": "string"})
    taken = _figures(rows.semi_join(listed, rows.opportunity_id == listed.wrong_id))
    result = pd.DataFrame(index=list(MEASURES), columns=COLUMNS[1:], dtype=float)
    for name in ("bookings", "open_pipeline", "weighted_pipeline"):
        whole, part = everything[name], taken[name]
        result.loc[name, ["with_all", "without", "affected"]] = [whole, whole - part, taken[f"{name}_deals"]]
    won, lost = everything["won"], everything["lost"]
    rate = ratio(
        pd.Series([won, won - taken["won"]]),
        pd.Series([won + lost, won + lost - taken["won"] - taken["lost"]]),
    )
    low, high = wilson(pd.Series([won]), pd.Series([won + lost]))
    affected = taken["won"] + taken["lost"]
    limits = [float(low[0]), float(high[0])]
    result.loc["win_rate"] = [float(rate[0]), float(rate[1]), float("nan"), *limits, affected]
    if not everything["probabilities"]:
        result.loc["weighted_pipeline", ["with_all", "without"]] = float("nan")
    result["difference"] = result["without"] - result["with_all"]
    result = result.rename_axis("measure").reset_index().astype({"affected": "int64"})
    return result[COLUMNS]


def _marked(data: Sources, stages: ir.Table, opportunities: ir.Table | None) -> ir.Table:
    deals = data.deals
    reasons = excluded_reasons(opportunities, data.settings)
    qualified = is_qualified(deals, qualified_positions(stages, data.settings))
    reason = deals.loss_reason if "loss_reason" in deals.columns else None
    kind = outcome(deals, reasons, reason)
    counts = falls_in(deals.close_date, data.period) & qualified
    rows = deals.select(
        "opportunity_id",
        "pipeline",
        "stage",
        "is_open",
        "is_booked",
        "shown_amount",
        is_won_counted=counts & (kind == "won"),
        is_lost_counted=counts & (kind == "lost"),
    )
    chances = stages.select(
        stage_pipeline="pipeline", stage_name="stage", chance=stages.default_probability.cast("float64")
    )
    return rows.left_join(
        chances, [rows.pipeline == chances.stage_pipeline, rows.stage == chances.stage_name]
    )


def _figures(rows: ir.Table) -> dict[str, float]:
    expected = rows.shown_amount.cast("float64") * rows.chance.fill_null(0.0)
    found = collect(
        rows.aggregate(
            bookings=rows.shown_amount.sum(where=rows.is_booked).cast("float64"),
            bookings_deals=rows.is_booked.cast("int32").sum(),
            open_pipeline=rows.shown_amount.sum(where=rows.is_open).cast("float64"),
            open_pipeline_deals=rows.is_open.cast("int32").sum(),
            weighted_pipeline=expected.sum(where=rows.is_open),
            weighted_pipeline_deals=rows.is_open.cast("int32").sum(),
            won=rows.is_won_counted.cast("int32").sum(),
            lost=rows.is_lost_counted.cast("int32").sum(),
            probabilities=rows.chance.count(),
        )
    ).iloc[0]
    return {str(name): 0.0 if pd.isna(value) else float(value) for name, value in found.items()}
