"""What the open pipeline of past quarters came to, seen from the same day of the quarter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import (
    DAY,
    current_quarter,
    day_of_quarter,
    first_known_day,
    floats,
    holds_on,
    quarter_number,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED
from salesops_kit.estimators.intervals import Array, ratio
from salesops_kit.estimators.shrinkage import Prior, estimate_prior
from salesops_kit.estimators.states import at_end_of, is_open, is_true
from salesops_kit.periods import Period
from salesops_kit.settings import Settings

By = Literal["", "team", "owner_id"]
PAST_QUARTERS = 8
FIGURES = ["due_deals", "due_amount", "due_square", "converted", "booked", "unknown_amount", "final"]


@dataclass(frozen=True)
class Vantage:
    """A quarter, the quarters before it, and the day of each from which it is seen; the last one is the
    quarter itself, and ``ahead`` says how many quarters after the report's it lies."""

    quarters: tuple[Period, ...]
    days: tuple[dt.date, ...]
    ahead: int

    @property
    def quarter(self) -> Period:
        """The quarter in question."""
        return self.quarters[-1]


def vantage(
    as_of: dt.date, period: Period | None, settings: Settings, ahead: int, past: int = PAST_QUARTERS
) -> Vantage:
    """The quarter ``ahead`` of the report's and the quarters before it back to the ``past``-th that is over,
    each seen from the day that is as far into it, or as long before it, as ``as_of`` is; never from later
    than its last day."""
    quarter = current_quarter(as_of, period, settings)
    for _step in range(ahead):
        quarter = settings.fiscal.next(quarter)
    quarters = trailing_quarters(quarter, past + 1, settings)
    while sum(each.last_day <= as_of for each in quarters[:-1]) < past:
        quarters.insert(0, settings.fiscal.previous(quarters[0]))
    is_over = as_of >= quarter.last_day
    offset = (as_of - quarter.start).days
    days = [
        each.last_day if is_over else min(each.start + DAY * offset, each.last_day) for each in quarters[:-1]
    ]
    return Vantage(tuple(quarters), (*days, as_of), ahead)


def seen_from(
    states: ir.Table, view: Vantage, by: By, changes_from: dt.date = RECORDED.changes_from
) -> pd.DataFrame:
    """Per group and quarter what was to be seen on its day, and what became of it.

    Columns: the group, ``number`` (position of the quarter), ``due_deals`` and ``due_amount`` (open, with a
    close date in the quarter), ``due_square`` (sum of squared amounts), ``converted`` (of ``due_amount``,
    what the same group won in the quarter), ``booked`` (won by then with a close date in the quarter),
    ``unknown_amount`` (deals) and ``final`` (all that the group won in the quarter). What was won is as known
    on the last of the days; deals without an owner are the group of the empty text. Quarters whose day lies
    before the first one known are left out, and past ones before ``changes_from``: of what was due then only
    what never closed would be known.
    """
    quarters, as_of = list(view.quarters), view.days[-1]
    rows = states.filter(~is_true(states.is_deleted))
    if by:
        # A group of its own; a null would be none, and equal to no other.
        rows = rows.mutate(**{by: rows[by].fill_null("")})
    rows = rows.mutate(number=quarter_number(rows.close_date, quarters))
    rows = rows.filter(rows.number.notnull())
    # The close date tells the quarter and with it the day, so that one scan looks at every quarter; deals
    # are then matched with their ends by grouping, which needs no join.
    is_won = is_true(rows.is_closed) & is_true(rows.is_won)
    on_day = holds_on(rows, day_of_quarter(rows.number, view.days))
    rows = rows.mutate(
        due=on_day & is_open(rows), booked=on_day & is_won, final=at_end_of(rows, as_of) & is_won
    )
    rows = rows.filter(rows.due | rows.booked | rows.final)
    keys = [by] if by else []
    deals = rows.group_by(["opportunity_id", "number", *keys]).aggregate(
        is_due=rows.due.cast("int32").max(),
        is_final=rows.final.cast("int32").max(),
        due_amount=rows.amount.max(where=rows.due),
        booked=rows.amount.max(where=rows.booked),
        final=rows.amount.max(where=rows.final),
    )
    amount = deals.due_amount.cast("float64")
    seen = deals.group_by([*keys, "number"]).aggregate(
        due_deals=deals.is_due.sum(),
        due_amount=deals.due_amount.sum(),
        due_square=(amount * amount).sum(),
        converted=deals.due_amount.sum(where=deals.is_final == 1),
        booked=deals.booked.sum(),
        unknown_amount=((deals.is_due == 1) & deals.due_amount.isnull()).sum(),
        final=deals.final.sum(),
    )
    result = floats(collect(seen), FIGURES)
    first = first_known_day(states)
    observed = [place for place, day in enumerate(view.days) if first is not None and day >= first]
    observed = [
        place for place in observed if view.days[place] >= changes_from or place == len(view.days) - 1
    ]
    return result[result["number"].isin(observed)].reset_index(drop=True)


@dataclass(frozen=True)
class Yield:
    """What past quarters of one group say: deals won by weight of money, and what came from elsewhere.

    ``successes`` of ``size`` effective deals were won; ``elsewhere`` is the mean amount per quarter that was
    booked after the day without having been due then, with its standard error (missing for one quarter).
    """

    successes: float
    size: float
    elsewhere: float
    elsewhere_error: float
    quarters: int


def yields_by_group(past: pd.DataFrame, group: str, numbers: list[int]) -> dict[Any, Yield]:
    """The yield of each group from its past quarters; ``numbers`` are those that were observed at all."""
    labels, codes = list(dict.fromkeys(past[group])), {number: at for at, number in enumerate(numbers)}
    place = {label: at for at, label in enumerate(labels)}
    sums = np.zeros((len(labels), len(numbers), len(FIGURES)))
    at = [place[label] for label in past[group]], [codes[int(number)] for number in past["number"]]
    sums[at] = past[FIGURES].to_numpy(float)
    first = {label: int(number) for label, number in past.groupby(group)["number"].min().items()}
    return {label: _yield(sums[place[label], codes[first[label]] :]) for label in labels}


def _yield(sums: Array) -> Yield:
    """The yield of one group from its quarters' sums (a column per figure), from its first quarter on.

    Amounts weigh deals, so Kish's effective number stands for their count, divided by how much more the
    shares of the quarters differ than chance alone would have it: deals of one quarter share its fortune.
    """
    due, squares, converted, booked, final = (
        sums[:, FIGURES.index(name)] for name in ("due_amount", "due_square", "converted", "booked", "final")
    )
    size = float(np.nan_to_num(ratio(due.sum() ** 2, squares.sum())))
    rate = float(np.clip(np.nan_to_num(ratio(converted.sum(), due.sum())), 0, 1))
    sizes = np.nan_to_num(ratio(due**2, squares))
    shares = np.nan_to_num(ratio(converted, due))
    active = int((sizes > 0).sum())
    excess = 1.0
    if active > 1 and 0 < rate < 1:
        chi_square = float((sizes * (shares - rate) ** 2).sum() / (rate * (1 - rate)))
        excess = max(chi_square / (active - 1), 1.0)
    later = final - booked - converted
    return Yield(
        successes=rate * size / excess,
        size=size / excess,
        elsewhere=float(later.mean()),
        elsewhere_error=float(later.std(ddof=1) / np.sqrt(len(later))) if len(later) > 1 else float("nan"),
        quarters=active,
    )


def past_numbers(seen: pd.DataFrame, view: Vantage) -> list[int]:
    """The positions of the past quarters that are over, so that all is known of what became of their
    pipeline, and that were observed, by anybody."""
    numbers = sorted({int(number) for number in seen["number"]} - {len(view.quarters) - 1})
    return [number for number in numbers if view.quarters[number].last_day <= view.days[-1]]


def company_yield(
    states: ir.Table, view: Vantage, changes_from: dt.date = RECORDED.changes_from
) -> dict[str, Any]:
    """The company's conversion for the reference: plain numbers, and how far its teams differ."""
    seen = seen_from(states, view, "team", changes_from)
    numbers = past_numbers(seen, view)
    past = seen[seen["number"].isin(numbers)]
    teams = yields_by_group(past, "team", numbers).values()
    sums = past[["due_amount", "converted"]].sum()
    rate = float(ratio(sums["converted"], sums["due_amount"]))
    prior = estimate_prior([team.successes for team in teams], [team.size for team in teams])
    return {
        "day": view.days[-1].toordinal(),
        "quarter_start": view.quarter.start.toordinal(),
        "due_amount": float(sums["due_amount"]),
        "rate": None if np.isnan(rate) else rate,
        "strength": prior.strength,
    }


def prior_of(
    groups: list[Yield], due_amount: float, reference: Mapping[str, Any] | None, view: Vantage
) -> Prior | None:
    """What is known of a group's conversion beforehand: the company's, seen from the same day, unless the
    rows are the whole company; else what the groups say together; None for one group without a company."""
    known = ((reference or {}).get("coverage") or {}).get(str(view.ahead)) or {}
    same = (known.get("day"), known.get("quarter_start")) == (
        view.days[-1].toordinal(),
        view.quarter.start.toordinal(),
    )
    is_whole_company = len(groups) == 1 and due_amount >= known.get("due_amount", 0.0) * (1 - 1e-9)
    if same and known.get("rate") is not None and not is_whole_company:
        return Prior(float(known["rate"]), float(known["strength"]))
    if sum(group.size > 0 for group in groups) < 2:
        return None
    return estimate_prior(_column(groups, "successes"), _column(groups, "size"))


def _column(groups: list[Yield], name: str) -> Array:
    return np.array([getattr(group, name) for group in groups], dtype=float)
