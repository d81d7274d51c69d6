"""Rung 2: what reps commit to, corrected for the bias that each of them had."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._conformal import miss
from salesops_kit.analysis.forecast._history import COMMIT, Stretches
from salesops_kit.analysis.forecast._naive import spread_around
from salesops_kit.analysis.forecast._view import DUE, OVERDUE, View, due
from salesops_kit.data.as_of import gapless_memberships
from salesops_kit.data.engine import collect
from salesops_kit.estimators.predictive import Predictive
from salesops_kit.periods import Period
from salesops_kit.settings import NO_TEAM, Settings

# What all reps' own bias counts for beside one rep's, in quarters.
STRENGTH = 3.0
# How far one rep's corrected commit misses before any quarter was seen, and what that counts for in
# quarters.
# The misses of several reps partly cancel.
SPREAD, SPREAD_STRENGTH = 0.5, 3.0
LEVELS = ("rep", "manager", "executive")


@dataclass(frozen=True)
class Calls:
    """Submitted calls: ``owner_id``, ``level``, ``day`` (ordinal, business zone), ``period``, ``category``
    (without case and spaces) and ``amount``, in the order of submission."""

    rows: pd.DataFrame

    def standing(self, period: str, day: int, level: str, category: str = COMMIT) -> dict[str, float]:
        """The latest call of each person for a period at the end of a day; one person's deal types add up."""
        rows = self._groups.get((period, level, category))
        if rows is None:
            return {}
        rows = rows[rows["day"] <= day].drop_duplicates(["owner_id", "deal_type"], keep="last")
        return {str(key): float(value) for key, value in rows.groupby("owner_id")["amount"].sum().items()}

    def of_team(self, team: str) -> Calls:
        """The calls of one team's members."""
        return Calls(self.rows[self.rows["team"] == team])

    def __post_init__(self) -> None:
        groups = dict(list(self.rows.groupby(["period", "level", "category"], sort=False)))
        object.__setattr__(self, "_groups", groups)

    _groups: Mapping[tuple[str, str, str], pd.DataFrame] = None  # type: ignore[assignment]


def read_calls(
    forecast_calls: ir.Table | None, memberships: ir.Table | None, settings: Settings
) -> Calls | None:
    """The calls of a scope, each with the ``team`` its owner was in then; None where the data has none."""
    if forecast_calls is None:
        return None
    frame = collect(
        forecast_calls.select(
            *(name for name in ("owner_id", "level", "submitted_at", "period", "category")),
            deal_type=forecast_calls.deal_type,
            amount=forecast_calls.amount.cast("float64"),
        )
    )
    if frame.empty:
        return None
    moments = pd.to_datetime(frame["submitted_at"], utc=True)
    local = moments.dt.tz_convert(zoneinfo.ZoneInfo(settings.zone)).dt.tz_localize(None)
    epoch = dt.date(1970, 1, 1).toordinal()
    frame["team"] = _team_at(frame["owner_id"], moments, memberships, settings)
    frame["day"] = local.to_numpy().astype("datetime64[D]").astype(np.int64) + epoch
    frame["category"] = frame["category"].astype("str").str.casefold().str.replace("[ _-]", "", regex=True)
    frame["owner_id"] = frame["owner_id"].astype(object).where(frame["owner_id"].notna(), "").astype("str")
    frame["deal_type"] = frame["deal_type"].astype(object).where(frame["deal_type"].notna(), "").astype("str")
    frame["amount"] = frame["amount"].fillna(0.0)
    order = np.argsort(moments.to_numpy(), kind="stable")
    return Calls(frame.iloc[order].reset_index(drop=True))


def _team_at(
    owners: pd.Series, moments: pd.Series, memberships: ir.Table | None, settings: Settings
) -> list[str]:
    """The team of each owner at each moment, as slices cut rows."""
    if memberships is None:
        return [NO_TEAM] * len(owners)
    members = collect(memberships.select("owner_id", "team", "valid_from_date", "valid_to_date"))
    stays: dict[str, list[tuple[pd.Timestamp, str]]] = {}
    for row in gapless_memberships(members, settings.zone).itertuples():
        stays.setdefault(str(row.owner_id), []).append((row.from_at, str(row.team)))
    found = []
    for owner, moment in zip(owners, moments, strict=True):
        begun = [team for start, team in stays.get(str(owner), []) if start <= moment]
        found.append(begun[-1] if begun else NO_TEAM)
    return found


# What was committed of a past quarter, and what came of it, by rep.
_Past = tuple[dict[str, float], dict[str, float]]


@dataclass(frozen=True)
class RollUp:
    """``raw``: booked and what is committed beyond it; ``bias``: what each rep's remaining commit brings
    per money, ``rest``: what people without a call bring."""

    raw: float
    total: Predictive
    bias: Mapping[str, float]
    overall: float
    rest: float
    quarters: int


def commit_by_owner(view: View, calls: Calls | None, target: Period, day: int) -> dict[str, float]:
    """What each rep still commits to on a day beyond what is booked: by the calls, else open Commit deals."""
    owners = view.history.owners
    if calls is not None:
        booked = owner_sums(view.booked_on(target, day), owners)
        called = calls.standing(target.label, day, "rep")
        return {owner: max(amount - booked.get(owner, 0.0), 0.0) for owner, amount in called.items()}
    rows = view.standing(day)
    categories = view.history.categories
    code = categories.index(COMMIT) if COMMIT in categories else -1
    where = due(rows, target)
    return owner_sums(rows.take((rows.category == code) & ((where == DUE) | (where == OVERDUE))), owners)


def owner_sums(rows: Stretches, owners: Sequence[str]) -> dict[str, float]:
    """Amounts by owner id."""
    sums = np.bincount(rows.owner, weights=rows.amount, minlength=len(owners))
    present = np.bincount(rows.owner, minlength=len(owners))
    return {owners[int(place)]: float(sums[place]) for place in np.flatnonzero(present)}


def roll_up(view: View, calls: Calls | None) -> RollUp | None:
    """The commit of the target quarter, corrected by what commits on the same day brought before.

    A rep's remaining commit is multiplied by (won in the rest of past quarters / remaining commit then),
    pulled to all reps' ratio as if three more of the rep's quarters had brought that; but no commit is taken
    for more than it says and more than the rep ever brought in the rest of a past quarter. People without a
    call bring what such people brought on average. The range is that of past misses of this forecast.
    None without a past quarter in which anything was committed.
    """
    owners = view.history.owners
    pasts = []
    for each in view.past:
        told = commit_by_owner(view, calls, each.quarter, each.day)
        if not told or sum(told.values()) <= 0:
            continue
        final = owner_sums(view.won_in(each.quarter), owners)
        before = owner_sums(view.booked_on(each.quarter, each.day), owners)
        left = {name: max(value - before.get(name, 0.0), 0.0) for name, value in final.items()}
        pasts.append((told, left))
    if not pasts:
        return None
    bias, overall, rest = _learnt(pasts)
    now = commit_by_owner(view, calls, view.target, view.today)
    booked = view.booked(view.target)
    misses = []
    for place, (told, left) in enumerate(pasts):
        # Each past quarter is forecast from the others, so that its miss is one that could have been met.
        others = pasts[:place] + pasts[place + 1 :]
        if others and (guess := _corrected(told, *_learnt(others))) > 0:
            misses.append(miss(sum(left.values()), guess))
    bias = {**bias, **_bounded(now, bias, overall, pasts)}
    expected = _corrected(now, bias, overall, rest)
    prior = SPREAD / np.sqrt(max(len(now), 1))
    remaining = spread_around(expected, misses, prior, SPREAD_STRENGTH)
    return RollUp(
        raw=booked + sum(now.values()),
        total=remaining.shifted(booked),
        bias=bias,
        overall=overall,
        rest=rest,
        quarters=len(pasts),
    )


def _learnt(pasts: Sequence[_Past]) -> tuple[dict[str, float], float, float]:
    """From what was committed and what came: each rep's factor, that of all, and what others bring."""
    committed = sum(sum(told.values()) for told, _ in pasts)
    brought = sum(left.get(name, 0.0) for told, left in pasts for name in told)
    overall = brought / committed
    rest = float(np.mean([sum(v for n, v in left.items() if n not in told) for told, left in pasts]))
    return _shrunk(pasts, overall), overall, rest


def _bounded(
    now: Mapping[str, float], bias: Mapping[str, float], overall: float, pasts: Sequence[_Past]
) -> dict[str, float]:
    """What the remaining commit of each rep is multiplied by: a factor learnt where little was committed
    is not one for a whale."""
    most = {name: max(left.get(name, 0.0) for _told, left in pasts) for name in now}
    return {
        name: min(bias.get(name, overall), max(1.0, most[name] / value))
        for name, value in now.items()
        if value > 0
    }


def _corrected(told: Mapping[str, float], bias: Mapping[str, float], overall: float, rest: float) -> float:
    return sum(bias.get(name, overall) * value for name, value in told.items()) + rest


def _shrunk(pasts: Sequence[_Past], overall: float) -> dict[str, float]:
    told_sum: dict[str, float] = {}
    left_sum: dict[str, float] = {}
    count = 0
    for told, left in pasts:
        for name, value in told.items():
            told_sum[name] = told_sum.get(name, 0.0) + value
            left_sum[name] = left_sum.get(name, 0.0) + left.get(name, 0.0)
            count += 1
    usual = STRENGTH * sum(told_sum.values()) / max(count, 1)
    if not usual > 0:
        return {}
    return {name: (left_sum[name] + overall * usual) / (told_sum[name] + usual) for name in told_sum}
