"""How clean the deals of each team or owner are, as one figure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import DEALS, Findings, find
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.data.engine import collect
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = ["deals", "with_problem", "score", "amount", "amount_with_problem", "amount_score"]
ACTED_UPON = ("error", "warning")


@table(
    units={
        **dict.fromkeys(["deals", "with_problem"], "deals"),
        **dict.fromkeys(["amount", "amount_with_problem"], "money"),
        **dict.fromkeys(["score", "amount_score"], "rate"),
    }
)
def scores(
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
    by: Literal["team", "owner_id"] = "team",
) -> pd.DataFrame:
    """The score of each team or owner: the share of the deals that are open, or closed in the period, which
    no error or warning touches.

    One row per ``by``, the lowest score first. ``deals`` are open at the end of ``as_of`` or have a close
    date in the period, won or lost; ``with_problem`` of them fail a check of severity error or warning,
    each counted once; ``score`` = (deals - with_problem) / deals (0-1). ``amount`` (base currency) is that
    of the deals that are open or booked in the period, and ``amount_score`` the same share of it; missing
    where the amount is not above 0. ``attrs["total"]`` holds the same figures of all rows together.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    judged = data.deals.filter(data.deals.is_judged)
    grouped = judged.group_by(by).aggregate(
        deals=judged.count(), amount=judged.shown_amount.sum(where=judged.is_counted).cast("float64")
    )
    # Where no deal has an owner, a column of nothing but missing texts is taken for numbers.
    frame = collect(grouped).fillna({"amount": 0.0}).astype({by: object})
    wrong = with_problems(find(data))
    wrong = (
        wrong[wrong["is_judged"]]
        .groupby(by, dropna=False, as_index=False)
        .agg(with_problem=("record_id", "size"), amount_with_problem=("amount", "sum"))
    )
    wrong = wrong.astype({by: object})
    frame = frame.merge(wrong, on=by, how="left", validate="one_to_one")
    frame = frame.fillna({"with_problem": 0, "amount_with_problem": 0.0}).astype({"with_problem": "int64"})
    total = _scored(frame[["deals", "with_problem", "amount", "amount_with_problem"]].sum().to_frame().T)
    frame = _scored(frame)
    frame[by] = frame[by].astype(object).where(frame[by].notna(), _("(none)"))
    frame = frame.sort_values(["score", "deals", by], ascending=[True, False, True], ignore_index=True)
    result = with_rep_names(frame[[by, *COLUMNS]], reps)
    result.attrs["total"] = {name: float(total[name].iloc[0]) for name in COLUMNS}
    return result


def _scored(frame: pd.DataFrame) -> pd.DataFrame:
    deals, amount = frame["deals"].where(frame["deals"] > 0), frame["amount"].where(frame["amount"] > 0)
    return frame.assign(
        score=1 - frame["with_problem"] / deals,
        amount_score=1 - frame["amount_with_problem"] / amount,
    ).astype({"score": float, "amount_score": float})


def with_problems(found: Findings) -> pd.DataFrame:
    """The deals that an error or a warning touches, each once."""
    listed = [check.id for check in found.checks if check.severity in ACTED_UPON]
    records = found.records
    mine = records[(records["table"] == DEALS) & records["check_id"].isin(listed)]
    # What was set aside is no deal of any figure.
    aside = [check.id for check in found.checks if check.builtin == "set_aside"]
    once = mine[~mine["check_id"].isin(aside)].drop_duplicates("record_id")
    return once.astype({"is_judged": bool, "is_counted": bool, "amount": float})
