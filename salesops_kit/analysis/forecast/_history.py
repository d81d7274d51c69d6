"""The deals' histories as arrays: how each stood on chosen days, and when it closed, in one query each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from salesops_kit.data.engine import collect
from salesops_kit.estimators.states import is_open, is_true

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
FOREVER = dt.date.max.toordinal()
COMMIT, BEST_CASE, PIPELINE = "commit", "bestcase", "pipeline"
_EPOCH = dt.date(1970, 1, 1).toordinal()
_BETWEEN = "\x1f"
_LABELS = ("opportunity_id", "team", "owner_id", "pipeline", "stage", "forecast_category")


@dataclass(frozen=True)
class Stretches:
    """Stretches of days, half-open as ordinals, in which a deal did not change; one element each.

    ``deal``, ``team`` and ``owner`` are positions in the names that the history holds. ``stage`` is a
    position in ``History.stages``. An unknown amount is 0, an unknown close date -1.
    """

    deal: Ints
    team: Ints
    owner: Ints
    stage: Ints
    category: Ints
    begins: Ints
    ends: Ints
    stage_since: Ints
    close_day: Ints
    amount: Floats
    is_won: NDArray[np.bool_]

    def take(self, chosen: NDArray[Any]) -> Stretches:
        """The chosen stretches, by mask or position."""
        return Stretches(**{name: value[chosen] for name, value in vars(self).items()})

    def __len__(self) -> int:
        return len(self.deal)


@dataclass(frozen=True)
class Births:
    """The first day, as an ordinal, on which each team had each deal; in the order of days."""

    deal: Ints
    team: Ints
    day: Ints


@dataclass(frozen=True)
class History:
    """What the forecast reads of the past.

    ``open`` holds the open stretches that cover one of the days asked for, ``closed`` every stretch in
    which a deal was won, lost or deleted. ``type`` is the type of each deal, a position in ``types``.
    ``first`` is the first day that the data knows, ``days``
    those for which the open stretches are complete.
    """

    open: Stretches
    closed: Stretches
    births: Births
    type: Ints
    deals: tuple[str, ...]
    teams: tuple[str, ...]
    owners: tuple[str, ...]
    stages: tuple[tuple[str, str], ...]
    categories: tuple[str, ...]
    types: tuple[str, ...]
    first: int
    days: frozenset[int]

    @cached_property
    def teams_present(self) -> tuple[str, ...]:
        """The teams that had a deal."""
        return tuple(self.teams[code] for code in np.unique(self.births.team))

    @cached_property
    def born_days(self) -> Ints:
        """The first day of each deal, in order."""
        _deals, first = np.unique(self.births.deal, return_index=True)
        return np.sort(self.births.day[first])

    def of_team(self, name: str) -> History:
        """The same history with one team's rows alone."""
        code = self.teams.index(name) if name in self.teams else -1
        mine = self.births.team == code
        births = Births(self.births.deal[mine], self.births.team[mine], self.births.day[mine])
        return replace(
            self,
            open=self.open.take(self.open.team == code),
            closed=self.closed.take(self.closed.team == code),
            births=births,
            first=int(births.day.min()) if len(births.day) else 0,
        )


def read_history(
    states: ir.Table, opportunities: ir.Table | None, days: Sequence[dt.date], as_of: dt.date
) -> History:
    """The histories of all deals up to ``as_of``, their open stretches for the days asked for.

    The engine keeps of the open stretches only those that hold on one of the days.
    """
    wanted = sorted({*days, as_of})
    started = states.filter(states.valid_from_date <= ibis.literal(as_of))
    known = started.filter(started.valid_to_date.isnull() | (started.valid_to_date > started.valid_from_date))
    following = ibis.cases(
        *((known.valid_from_date <= ibis.literal(day), ibis.literal(day)) for day in wanted)
    )
    rows = known.filter(~is_open(known) | known.valid_to_date.isnull() | (known.valid_to_date > following))
    frame = collect(
        rows.select(
            *_LABELS, "valid_from_date", "valid_to_date", "stage_since_date", "close_date",
            amount=ibis.coalesce(rows.amount, 0).cast("float64"),
            is_open=is_open(rows),
            is_won=is_true(rows.is_won) & ~is_true(rows.is_deleted),
        )
    )  # fmt: skip
    births = collect(started.group_by("opportunity_id", "team").aggregate(day=started.valid_from_date.min()))
    return _arrays(frame, births, opportunities, frozenset(day.toordinal() for day in wanted))


def _arrays(
    frame: pd.DataFrame, births: pd.DataFrame, opportunities: ir.Table | None, days: frozenset[int]
) -> History:
    frame = frame.sort_values(["opportunity_id", "valid_from_date"], ignore_index=True)
    deals, born = _coded(births["opportunity_id"])
    teams, born_team = _coded(births["team"])
    born_day = _ordinals(births["day"])
    order = np.lexsort((born_team, born, born_day))
    owners, owner = _coded(frame["owner_id"])
    words = frame["forecast_category"].astype("str").str.casefold().str.replace("[ _-]", "", regex=True)
    categories, category = _coded(words.where(frame["forecast_category"].notna(), PIPELINE))
    pairs = frame["pipeline"].astype("str") + _BETWEEN + frame["stage"].astype("str")
    stages, stage = _coded(pairs)
    every = Stretches(
        deal=_codes(frame["opportunity_id"], deals),
        team=_codes(frame["team"], teams),
        owner=owner,
        stage=stage,
        category=category,
        begins=_ordinals(frame["valid_from_date"]),
        ends=_ordinals(frame["valid_to_date"], FOREVER),
        stage_since=_ordinals(frame["stage_since_date"]),
        close_day=_ordinals(frame["close_date"]),
        amount=frame["amount"].to_numpy(float),
        is_won=frame["is_won"].to_numpy(bool),
    )
    is_open_ = frame["is_open"].to_numpy(bool)
    types, kind = _types(deals, opportunities)
    return History(
        open=every.take(is_open_),
        closed=every.take(~is_open_),
        births=Births(born[order], born_team[order], born_day[order]),
        type=kind,
        deals=deals,
        teams=teams,
        owners=owners,
        stages=tuple((text.partition(_BETWEEN)[0], text.partition(_BETWEEN)[2]) for text in stages),
        categories=categories,
        types=types,
        first=int(born_day.min()) if len(born_day) else 0,
        days=days,
    )


def _types(deals: tuple[str, ...], opportunities: ir.Table | None) -> tuple[tuple[str, ...], Ints]:
    """Each deal's type; one unnamed type where the data has none."""
    if opportunities is None or "type" not in opportunities.columns:
        return ("",), np.zeros(len(deals), dtype=np.int64)
    frame = collect(opportunities.select("opportunity_id", "type"))
    known = frame.drop_duplicates("opportunity_id").set_index("opportunity_id")["type"]
    return _coded(known.reindex(list(deals)).fillna(""))


def _coded(column: pd.Series) -> tuple[tuple[str, ...], Ints]:
    """Distinct values in order, and the position of each row's among them; null counts as empty text."""
    codes, names = pd.factorize(column.astype(object).where(column.notna(), "").astype("str"), sort=True)
    return tuple(str(name) for name in names), codes.astype(np.int64)


def _codes(column: pd.Series, names: tuple[str, ...]) -> Ints:
    return pd.Index(names).get_indexer(pd.Index(column.astype("str"))).astype(np.int64)


def _ordinals(column: pd.Series, missing: int = -1) -> Ints:
    """Dates as proleptic ordinals."""
    days = pd.to_datetime(column).to_numpy().astype("datetime64[D]")
    numbers = days.astype(np.int64) + _EPOCH
    return np.where(np.isnat(days), missing, numbers)
