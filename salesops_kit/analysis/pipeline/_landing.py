"""Where the period's bookings land: what is booked and called certain, beside the forecast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._facts import BEST_CASE, COMMIT, collected, open_due
from salesops_kit.analysis.pipeline._past import BOOKED, past_quarters
from salesops_kit.analysis.pipeline._quarters import current_quarter
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.targets import owner_targets, target_notes, team_targets, whole_target
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_MONEY = (
    "booked", "commit", "best_case", "open_due", "expected_open", "expected_later", "likely", "low", "high",
    "target", "gap",
)  # fmt: skip
_FACTS = ("booked", "commit", "best_case", "open_due", "deals_booked", "deals_open")
_FORECAST = {"open_deals": "expected_open", "create_and_close": "expected_later", "mean": "likely",
             "p10": "low", "p90": "high"}  # fmt: skip
_COLUMNS = [*_MONEY, "deals_booked", "deals_open"]


@table(
    needs={"outlook": "forecast.landing"},
    units={**dict.fromkeys(_MONEY, "money"), "deals_booked": "deals", "deals_open": "deals"},
)
def landing(
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
    by: Literal["", "owner_id", "team"] = "",
) -> pd.DataFrame:
    """Where the bookings of the period land, beside what is booked and what is called certain.

    One row, or one per team or rep with a booking in the period, an open deal due in it, or anything
    expected. All amounts in base currency, as known at the end of ``as_of``; without a period, of its
    fiscal quarter. What is counted:

    - ``booked``: deals won with a close date in the period (``deals_booked``);
    - ``commit``: booked, and open deals due in the period of forecast category Commit; ``best_case``: the
      same with Best Case; ``open_due``: all open deals due in the period (``deals_open``), an unknown
      amount as 0.

    What is forecast is that of ``forecast.landing``, so that this and the forecast report say the same:

    - ``expected_open``: what open deals, whenever they are due, bring within the period;
    - ``expected_later``: what deals bring that are not open yet, create-and-close;
    - ``likely`` = booked + expected_open + expected_later, an expected value to the cent; rows sum to the
      whole, and a team's own page has the value of its row here;
    - ``low`` and ``high``, between which it lands with 80 %;
    - ``target``, as ``pipeline.coverage`` takes it from the plan or the quotas, missing where there is
      none, and ``gap`` = likely - target, negative when it lands short.

    With nothing open and no past quarter all that is expected is missing. After the period's last day
    nothing is expected any more, ``likely`` is ``booked`` and the range missing.
    """
    here = current_quarter(as_of, period, settings)
    deals = collected(open_due(opportunity_states, as_of, here))
    booked = bookings(opportunity_states, as_of, here, settings, [by] if by else [])
    result = with_forecast(counted(booked, deals, by), outlook, by, is_over=as_of >= here.last_day)
    told: list[str] = []
    if by == "owner_id":
        targets = owner_targets(quotas, here)
    else:
        targets = team_targets(plan, quotas, reps, team_memberships, here, settings)
        told = target_notes(targets, teams, team_memberships)
    if by:
        result["target"] = result[by].map(targets.set_index(by)["target"]).astype("float64")
    else:
        result["target"] = whole_target(targets, teams)[0]
    result["target"] = result["target"].where(result["target"] > 0)
    result["gap"] = result["likely"] - result["target"]
    result = with_rep_names(result[[*([by] if by else []), *_COLUMNS]], reps)
    result.attrs["notes"] = [*told, *landing_notes(outlook, deals, here, as_of)]
    return result


def bookings(
    states: ir.Table, as_of: dt.date, here: Period, settings: Settings, by: Sequence[str]
) -> pd.DataFrame:
    """Won deals of the period: ``won_amount`` and ``deals`` by the columns named."""
    return past_quarters(states, as_of, here, settings, 1, by).of(BOOKED, past=False)


def counted(booked: pd.DataFrame, deals: pd.DataFrame, by: str) -> pd.DataFrame:
    """What is booked and what open deals due are called, by part; one row without a part."""
    amount, category = deals["amount"].to_numpy(float), deals["category"].to_numpy()
    won = pd.DataFrame(
        {"part": _part(booked, by), "booked": booked["won_amount"], "deals_booked": booked["deals"]}
    )
    due = pd.DataFrame(
        {
            "part": _part(deals, by), "open_due": amount, "deals_open": 1,
            "of_commit": amount * (category == COMMIT), "of_best_case": amount * (category == BEST_CASE),
        }
    )  # fmt: skip
    sums = [frame.groupby("part", dropna=False).sum() for frame in (won, due)]
    result = sums[0].join(sums[1], how="outer").astype("float64").fillna(0.0)
    if not by:
        result = result.reindex([""], fill_value=0.0)
    result["commit"] = result["booked"] + result["of_commit"]
    result["best_case"] = result["commit"] + result["of_best_case"]
    return result[list(_FACTS)]


def _part(frame: pd.DataFrame, by: str) -> pd.Series:
    """Each row's part, empty text where it has none."""
    if not by:
        return pd.Series("", index=frame.index, dtype=object)
    return frame[by].astype(object).where(frame[by].notna(), "")


def with_forecast(facts: pd.DataFrame, outlook: pd.DataFrame, by: str, *, is_over: bool) -> pd.DataFrame:
    """The counted parts with what is forecast of each; parts without anything are left out."""
    mine = outlook[outlook["by"] == by]
    forecast = mine.set_index(_part(mine, "part") if by else pd.Index([""]))[list(_FORECAST)]
    forecast = forecast.rename(columns=_FORECAST).astype("float64")
    result = facts.join(forecast, how="outer")
    result[list(_FACTS)] = result[list(_FACTS)].fillna(0.0)
    if by:
        rests = result[["likely", "booked", "open_due", "deals_open"]].abs().sum(axis=1)
        result = result[rests > 0]
    result = result.astype({"deals_booked": "int64", "deals_open": "int64"})
    if is_over:
        result[["low", "high"]] = np.nan
    result = result.iloc[
        sorted(range(len(result)), key=lambda row: (not result.index[row], result.index[row]))
    ]
    named = [part or None for part in result.index]
    return result.reset_index(drop=True).assign(**({by: pd.Series(named, dtype=object)} if by else {}))


def landing_notes(outlook: pd.DataFrame, deals: pd.DataFrame, here: Period, as_of: dt.date) -> list[str]:
    """What a reader of a landing must know."""
    notes = []
    reason = str(outlook.loc[outlook["by"] == "", "reason"].iloc[0])
    if as_of >= here.last_day:
        notes.append(_("{period} is over: nothing more is expected.").format(period=here.label))
    elif reason:
        notes.append(reason)
    unknown = int(deals["is_unknown"].sum())
    if unknown:
        text = ngettext(
            "{count} open deal due in the period has no amount and counts as 0.",
            "{count} open deals due in the period have no amount and count as 0.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    return notes
