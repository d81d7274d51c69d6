"""Where the period's bookings land: likely, with a range, beside the commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._conversion import Conversion, conversion
from salesops_kit.analysis.pipeline._facts import BEST_CASE, COMMIT, collected, open_due
from salesops_kit.analysis.pipeline._past import BOOKED, LATER, Past, past_quarters
from salesops_kit.analysis.pipeline._quarters import current_quarter
from salesops_kit.estimators.intervals import Array
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.targets import owner_targets, team_targets, whole_target
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

RANGE = 0.80
QUARTERS = 8
_DRAWS = 4_000
_SEED = 20_260_731
# The deals that are drawn one by one; of the others together the sum is as good as normal.
_SINGLE = 300
_MONEY = (
    "booked", "commit", "best_case", "open_due", "expected_open", "expected_later", "likely", "low", "high",
    "target", "gap",
)  # fmt: skip
_COLUMNS = [*_MONEY, "deals_booked", "deals_open"]


@table(units={**dict.fromkeys(_MONEY, "money"), "deals_booked": "deals", "deals_open": "deals"})
def landing(
    opportunity_states: ir.Table,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    by: Literal["", "owner_id", "team"] = "",
    quarters: int = QUARTERS,
) -> pd.DataFrame:
    """Where the bookings of the period land, in all or per team or rep.

    One row, or one per team or rep with a booking in the period or an open deal due in it. All amounts in
    base currency, as known at the end of ``as_of``; without a period, of its fiscal quarter:

    - ``booked``: deals won with a close date in the period (``deals_booked``);
    - ``commit``: booked, and open deals due in the period of forecast category Commit; ``best_case``: the
      same with Best Case; ``open_due``: all open deals due in the period (``deals_open``), an unknown
      amount as 0;
    - ``expected_open``: what of ``open_due`` is won within the period, by the chance of each deal (its
      stage and forecast category on the same day of past quarters, see ``pipeline.questions``) times its
      amount, times the money that past quarters brought per money so expected;
    - ``expected_later``: create-and-close and pulled-in business, the mean over past quarters of what was
      won in the rest of the quarter from deals that on that day were not yet due in it. By rep or
      team its own mean; what those without a row had is shared out in proportion;
    - ``likely`` = booked + expected_open + expected_later, an expected value; rows sum to the whole, and
      the likely values of a team's own page may differ a little from its row here;
    - ``target``, as ``pipeline.coverage`` takes it from the plan or the quotas, missing where there is
      none, and ``gap`` = likely - target, negative when it lands short;
    - ``low`` and ``high``, between which it lands with 80 %, from 4,000 draws with a fixed seed: each deal
      is won or not, all open deals share one shock as large as past quarters differed beyond chance,
      and later business varies as it did. They never lie below ``booked``.

    ``quarters`` is how many past quarters are read; those whose beginning the history does not know are
    left out. Without any, all that is expected is missing. After the period's last day nothing is
    expected any more, ``likely`` is ``booked`` and the range missing. Raises :class:`InputError` when
    ``quarters`` is below 1.
    """
    here = current_quarter(as_of, period, settings)
    groups = [by] if by else []
    past = past_quarters(opportunity_states, as_of, here, settings, quarters, groups)
    rates = conversion(past, reference)
    deals = collected(open_due(opportunity_states, as_of, here))
    result = land(past, rates, deals, groups, is_over=as_of >= here.last_day)
    if by == "owner_id":
        targets = owner_targets(quotas, here)
    else:
        targets = team_targets(plan, quotas, reps, team_memberships, here, settings)
    if by:
        result["target"] = result[by].map(targets.set_index(by)["target"]).astype("float64")
    else:
        result["target"] = whole_target(targets, teams)[0]
    result["target"] = result["target"].where(result["target"] > 0)
    result["gap"] = result["likely"] - result["target"]
    result = with_rep_names(result, reps)
    result.attrs["notes"] = landing_notes(past, deals, here, as_of)
    return result


@dataclass(frozen=True)
class Later:
    """What is still to come from deals not yet due: its mean, and how it varied, over past quarters."""

    mean: float
    deviation: float
    quarters: int

    @property
    def variance(self) -> float:
        """Of the next such quarter: its own, and that of the mean it is predicted by."""
        return self.deviation**2 * (1 + 1 / self.quarters) if self.quarters else float("nan")


def later_business(past: Past) -> Later:
    """The later business of a whole scope, quarter by quarter."""
    return _later(_by_quarter(past, np.zeros(len(past.of(LATER, past=True)), dtype=int), 1)[0])


def _later(values: Array) -> Later:
    count = len(values)
    deviation = float(values.std(ddof=1)) if count > 1 else float(np.abs(values).sum())
    return Later(float(values.mean()) if count else float("nan"), deviation, count)


def _by_quarter(past: Past, place: np.ndarray, groups: int) -> Array:
    """Later business by group and past quarter; ``place`` gives each row's group, -1 for none of them."""
    rows = past.of(LATER, past=True)
    found = np.zeros((groups, past.here))
    mine = place >= 0
    np.add.at(found, (place[mine], rows["quarter"].to_numpy()[mine]), rows["won_amount"].to_numpy()[mine])
    return found


def land(
    past: Past, rates: Conversion, deals: pd.DataFrame, groups: Sequence[str], *, is_over: bool
) -> pd.DataFrame:
    """The rows of ``landing`` from what is known of the past and the open deals."""
    names = list(groups)
    booked = past.of(BOOKED, past=False)
    keys = _keys(booked, deals, names)
    count = len(keys)
    won_place, place = _places(booked, keys, names), _places(deals, keys, names)
    amount, category = deals["amount"].to_numpy(float), deals["category"].to_numpy()

    def summed(where: np.ndarray, values: Array) -> Array:
        return np.bincount(where, weights=values, minlength=count).astype(float)

    result = pd.DataFrame(
        {name: [key[at] for key in keys] for at, name in enumerate(names)}, index=range(count)
    )
    result["booked"] = summed(won_place, booked["won_amount"].to_numpy(float))
    result["commit"] = result["booked"] + summed(place, amount * (category == COMMIT))
    result["best_case"] = result["commit"] + summed(place, amount * (category == BEST_CASE))
    result["open_due"] = summed(place, amount)
    result["deals_booked"] = summed(won_place, booked["deals"].to_numpy(float)).astype("int64")
    result["deals_open"] = np.bincount(place, minlength=count)
    if is_over:
        result = result.assign(expected_open=0.0, expected_later=0.0, likely=result["booked"])
        return result.reindex(columns=[*names, *_COLUMNS])
    chance = rates.of(deals)
    money = rates.value_factor * amount
    result["expected_open"] = summed(place, chance * money)
    later = _shared_later(past, keys, names)
    result["expected_later"] = [each.mean for each in later]
    result["likely"] = result["booked"] + result["expected_open"] + result["expected_later"]
    order = np.argsort(place, kind="stable")
    cuts = np.searchsorted(place[order], np.arange(1, count))
    members = np.split(order, cuts) if count else []
    limits = [
        _range(chance[mine], money[mine], rates.shock, each)
        for mine, each in zip(members, later, strict=True)
    ]
    for at, name in enumerate(("low", "high")):
        result[name] = result["booked"] + np.array([each[at] for each in limits], dtype=float)
    return result.reindex(columns=[*names, *_COLUMNS])


def _keys(booked: pd.DataFrame, deals: pd.DataFrame, names: list[str]) -> list[tuple[Any, ...]]:
    if not names:
        return [()]
    name = names[0]
    found = {value for frame in (booked, deals) for value in _values(frame[name])}
    return [(value,) for value in sorted(found, key=lambda value: (value is None, str(value)))]


def _places(frame: pd.DataFrame, keys: list[tuple[Any, ...]], names: list[str]) -> np.ndarray:
    """The position of each row's group, -1 where it is none of them."""
    if not names:
        return np.zeros(len(frame), dtype=int)
    position = {key[0]: place for place, key in enumerate(keys)}
    return np.array([position.get(value, -1) for value in _values(frame[names[0]])], dtype=int)


def _values(column: pd.Series) -> list[Any]:
    return column.astype(object).where(column.notna(), None).tolist()


def _shared_later(past: Past, keys: list[tuple[Any, ...]], names: list[str]) -> list[Later]:
    """Each group's own later business, scaled so that the groups sum to the whole."""
    whole = later_business(past)
    if not names:
        return [whole]
    place = _places(past.of(LATER, past=True), keys, names)
    found = [_later(values) for values in _by_quarter(past, place, len(keys))]
    own = sum(later.mean for later in found)
    if not whole.quarters or not own > 0:
        share = 1 / max(len(keys), 1)
        return [Later(whole.mean * share, whole.deviation * share, whole.quarters) for _key in keys]
    scale = whole.mean / own
    return [Later(scale * later.mean, scale * later.deviation, later.quarters) for later in found]


def _range(chance: Array, money: Array, shock: float, later: Later) -> tuple[float, float]:
    """The limits of what the rest of the period brings; missing where nothing is known of the past."""
    if not later.quarters or np.isnan(chance).any():
        return float("nan"), float("nan")
    random = np.random.default_rng(_SEED)
    variance = chance * (1 - chance) * money**2
    order = np.argsort(-variance, kind="stable")
    single, rest = order[:_SINGLE], order[_SINGLE:]
    drawn = (random.random((_DRAWS, len(single))) < chance[single]) @ money[single]
    drawn += (chance[rest] * money[rest]).sum()
    drawn += random.standard_normal(_DRAWS) * np.sqrt(variance[rest].sum())
    drawn += random.standard_normal(_DRAWS) * shock * (chance * money).sum()
    others = later.mean + random.standard_t(max(later.quarters - 1, 1), _DRAWS) * np.sqrt(later.variance)
    total = np.maximum(drawn, 0) + np.maximum(others, 0)
    low, high = np.quantile(total, [(1 - RANGE) / 2, (1 + RANGE) / 2])
    return float(low), float(high)


def landing_notes(past: Past, deals: pd.DataFrame, here: Period, as_of: dt.date) -> list[str]:
    """What a reader of a landing must know."""
    notes = []
    if as_of >= here.last_day:
        notes.append(_("{period} is over: nothing more is expected.").format(period=here.label))
    elif not past.here:
        notes.append(_("No earlier quarter is known from its beginning, so that nothing can be expected."))
    elif past.here < 4:
        text = ngettext(
            "Only {count} past quarter says what is usual.",
            "Only {count} past quarters say what is usual.",
            past.here,
        )
        notes.append(text.format(count=past.here))
    unknown = int(deals["is_unknown"].sum())
    if unknown:
        text = ngettext(
            "{count} open deal due in the period has no amount and counts as 0.",
            "{count} open deals due in the period have no amount and count as 0.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    return notes
