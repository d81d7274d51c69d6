"""The deals' histories as arrays: how each stood on chosen days, and when it closed, in one query each."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from salesops_kit.data.engine import collect_columns
from salesops_kit.estimators.states import is_open, is_true

# Codes and days take half the memory of numpy's usual integers; there are millions of both.
Ints = NDArray[np.signedinteger[Any]]
Floats = NDArray[np.float64]
FOREVER = dt.date.max.toordinal()
COMMIT, BEST_CASE, PIPELINE = "commit", "bestcase", "pipeline"
_EPOCH = dt.date(1970, 1, 1).toordinal()
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
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
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
    stretches = collect_columns(
        rows.select(
            *_LABELS, "valid_from_date", "valid_to_date", "stage_since_date", "close_date",
            amount=ibis.coalesce(rows.amount, 0).cast("float64"),
            is_open=is_open(rows),
            is_won=is_true(rows.is_won) & ~is_true(rows.is_deleted),
        )
    )  # fmt: skip
    births = collect_columns(
        started.group_by("opportunity_id", "team").aggregate(day=started.valid_from_date.min())
    )
    return _arrays(stretches, births, opportunities, frozenset(day.toordinal() for day in wanted))


def _arrays(
    stretches: pa.Table, births: pa.Table, opportunities: ir.Table | None, days: frozenset[int]
) -> History:
    deals, born = _coded(births["opportunity_id"])
    teams, born_team = _coded(births["team"])
    born_day = _ordinals(births["day"])
    order = np.lexsort((born_team, born, born_day))
    owners, owner = _coded(stretches["owner_id"])
    categories, category = _renamed(*_coded(stretches["forecast_category"]), _plain_category)
    pipelines, pipeline = _coded(stretches["pipeline"])
    names, name = _coded(stretches["stage"])
    pairs, stage = np.unique(pipeline * len(names) + name, return_inverse=True)
    every = Stretches(
        deal=_codes(stretches["opportunity_id"], deals),
        team=_codes(stretches["team"], teams),
        owner=owner,
        stage=stage.astype(np.int32),
        category=category,
        begins=_ordinals(stretches["valid_from_date"]),
        ends=_ordinals(stretches["valid_to_date"], FOREVER),
        stage_since=_ordinals(stretches["stage_since_date"]),
        close_day=_ordinals(stretches["close_date"]),
        amount=stretches["amount"].to_numpy(),
        is_won=stretches["is_won"].to_numpy(),
    )
    is_open_ = stretches["is_open"].to_numpy()
    by_deal = np.lexsort((every.begins, every.deal))
    types, kind = _types(deals, opportunities)
    return History(
        open=every.take(by_deal[is_open_[by_deal]]),
        closed=every.take(by_deal[~is_open_[by_deal]]),
        births=Births(born[order], born_team[order], born_day[order]),
        type=kind,
        deals=deals,
        teams=teams,
        owners=owners,
        stages=tuple((pipelines[pair // len(names)], names[pair % len(names)]) for pair in pairs),
        categories=categories,
        types=types,
        first=int(born_day.min()) if len(born_day) else 0,
        days=days,
    )


def _types(deals: tuple[str, ...], opportunities: ir.Table | None) -> tuple[tuple[str, ...], Ints]:
    """Each deal's type; one unnamed type where the data has none."""
    if opportunities is None or "type" not in opportunities.columns:
        return ("",), np.zeros(len(deals), dtype=np.int32)
    found = collect_columns(opportunities.select("opportunity_id", "type"))
    types, code = _coded(found["type"])
    if "" not in types:
        types, code = ("", *types), code + 1
    place = _codes(found["opportunity_id"], deals)
    kind = np.full(len(deals), types.index(""), dtype=np.int32)
    # The first row of a deal counts, as everywhere.
    kind[place[place >= 0][::-1]] = code[place >= 0][::-1]
    return _renamed(types, kind, str)


def _plain_category(text: str) -> str:
    """A forecast category without case, blanks and signs; an unknown one is in the pipeline."""
    return re.sub("[ _-]", "", text.casefold()) if text else PIPELINE


def _coded(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Ints]:
    """Distinct values in order, and the position of each row's among them; null counts as empty text."""
    texts = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()
    order = pc.sort_indices(texts.dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return tuple(texts.dictionary.take(order).to_pylist()), place[texts.indices.to_numpy()]


def _renamed(
    names: tuple[str, ...], codes: Ints, rename: Callable[[str], str]
) -> tuple[tuple[str, ...], Ints]:
    """The same under other names, those that occur, in order."""
    used = np.unique(codes)
    new = sorted({rename(names[code]) for code in used})
    moved = np.zeros(len(names), dtype=np.int32)
    moved[used] = [new.index(rename(names[code])) for code in used]
    return tuple(new), moved[codes]


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> Ints:
    """The position of each row's value among the names, -1 for any other; null counts as empty text."""
    texts = pc.fill_null(column.cast(pa.string()), "")
    found = pc.fill_null(pc.index_in(texts, value_set=pa.array(names, pa.string())), -1)
    return np.asarray(found.to_numpy(), dtype=np.int32)


def _ordinals(column: pa.ChunkedArray, missing: int = -1) -> Ints:
    """Dates as proleptic ordinals."""
    days = column.cast(pa.date32()).cast(pa.int32())
    ordinals = pc.add(days, pa.scalar(_EPOCH, pa.int32()))
    return pc.fill_null(ordinals, pa.scalar(missing, pa.int32())).to_numpy()
