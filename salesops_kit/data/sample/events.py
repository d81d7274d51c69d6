"""Every change of a block of deals in time order, with the deal's full state after each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.lifecycle import RENEWAL, Block, round_amount
from salesops_kit.data.sample.paths import DELETED
from salesops_kit.data.sample.timeline import (
    TICKS,
    day_from_month,
    day_from_ticks,
    month_from_day,
    quarter_from_day,
    quarter_start,
    ticks_from_day,
)
from salesops_kit.data.sample.world import NEVER, OPEN_STAGES, World

Mask = NDArray[np.bool_]

UNSET, NO_AMOUNT = -9, -1
MOST_PUSHES = 12
MOST_HANDOVERS = 4
_DEAL_WIDTH = 2**28  # more ticks than the data spans, so that deals never touch on one joint axis


@dataclass
class Changes:
    """Changes sorted by deal and tick; every array has one element per change."""

    deal: Ints
    tick: Ints
    stage: Ints
    amount: Ints
    close_day: Ints
    owner: Ints
    is_deleted: Mask

    @property
    def last(self) -> Ints:
        """The position of each deal's last change; every deal has one."""
        return np.flatnonzero(np.append(self.deal[1:] != self.deal[:-1], True))


class _Parts:
    """Changes of one or more fields, gathered in any order."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, ...]] = []

    def add(
        self,
        deal: Ints,
        tick: Ints,
        *,
        stage: Ints | int = UNSET,
        amount: Ints | int = UNSET,
        close_day: Ints | int = UNSET,
        owner: Ints | int = UNSET,
    ) -> None:
        fields = (stage, amount, close_day, owner)
        size = len(deal)
        self._parts.append(
            (deal, tick, *(np.broadcast_to(np.asarray(f, dtype=np.int64), (size,)) for f in fields))
        )

    def columns(self) -> list[Ints]:
        return [np.concatenate(column) for column in zip(*self._parts, strict=True)]


def _carry(values: Ints) -> Ints:
    """Each unset value replaced by the last set one before it; a deal's first change sets them all."""
    place = np.where(values != UNSET, np.arange(len(values)), 0)
    return values[np.maximum.accumulate(place)]


def build(block: Block, amount: Ints, world: World, draws: Draws) -> Changes:
    """All changes up to the end of the data. ``amount`` is each deal's final amount in cents."""
    end_tick = int(ticks_from_day(np.array([world.end_day + 1]))[0])
    paths, start = block.paths, block.deals["start"]
    parts = _Parts()
    team = block.accounts["team"][block.deals["account"]]
    currency = block.accounts["currency"][block.deals["account"]]
    owner = world.owner(team, day_from_ticks(start), draws)
    amounts = _amount_changes(parts, block, amount, currency, draws)
    expected = _pushes(parts, block, draws)
    _handovers(parts, block, owner, world, draws)
    _visits(parts, block, amounts, expected, owner, amount)

    deal, tick, stage, value, close_day, holder = parts.columns()
    seen = (tick < end_tick) & (tick >= start[deal]) & (tick <= paths.closed[deal])
    order = np.flatnonzero(seen)
    order = order[np.lexsort((stage[order] == UNSET, tick[order], deal[order]))]
    deal, tick, stage, value, close_day, holder = (
        column[order] for column in (deal, tick, stage, value, close_day, holder)
    )
    # Before rows go: what was handed over or put off while a deal was lost holds when it is reopened.
    holder, close_day = _carry(holder), _carry(close_day)
    moved = stage != UNSET
    keep = moved | (_carry(stage) < OPEN_STAGES) & (_carry(stage) >= 0)
    deal, tick, stage, value, close_day, holder = (
        column[keep] for column in (deal, tick, stage, value, close_day, holder)
    )
    place = np.arange(len(deal))
    axis = np.maximum.accumulate(deal * _DEAL_WIDTH + tick - place) + place
    tick = axis % _DEAL_WIDTH
    removed = stage == DELETED
    stage = _carry(np.where(removed, UNSET, stage))
    close_day = np.where(stage >= OPEN_STAGES, day_from_ticks(tick), close_day)
    return Changes(deal, tick, stage, _carry(value), close_day, holder, removed)


def _visits(
    parts: _Parts, block: Block, first_amount: Ints, expected: Ints, owner: Ints, amount: Ints
) -> None:
    """Stage changes; the first of a deal sets every field, a closing one settles the amount."""
    paths = block.paths
    opens = paths.tick == block.deals["start"][paths.deal]
    closes = (paths.tick == paths.closed[paths.deal]) & (paths.stage != DELETED)
    parts.add(
        paths.deal,
        paths.tick,
        stage=paths.stage,
        amount=np.where(opens, first_amount[paths.deal], np.where(closes, amount[paths.deal], UNSET)),
        close_day=np.where(opens, expected[paths.deal], UNSET),
        owner=np.where(opens, owner[paths.deal], UNSET),
    )


def _amount_changes(parts: _Parts, block: Block, final: Ints, currency: Ints, draws: Draws) -> Ints:
    """Zero, one or two changes on the way to the final amount; returns the amount at creation."""
    count = len(final)
    changes = draws.pick(count, (0.58, 0.28, 0.14))
    start, span = block.deals["start"], block.paths.closed - block.deals["start"]
    early, late = np.sort(draws.uniform(2 * count).reshape(count, 2), axis=1).T
    rough = round_amount(final / 100 * draws.lognormal(count, 0.22), currency)
    middle = round_amount(final / 100 * draws.lognormal(count, 0.12), currency)
    empty = draws.happens(count, 0.12) & (changes > 0)
    once, twice = np.flatnonzero(changes >= 1), np.flatnonzero(changes == 2)
    first_value = np.where(changes == 2, middle, final)
    parts.add(once, (start + early * span).astype(np.int64)[once], amount=first_value[once])
    parts.add(twice, (start + late * span).astype(np.int64)[twice], amount=final[twice])
    return np.where(empty, NO_AMOUNT, np.where(changes > 0, rough, final))


def _snap(day: Ints, draws: Draws) -> Ints:
    """Half of the expected dates are put at a month's end, a quarter at the fiscal quarter's."""
    way = draws.uniform(len(day))
    month_end = day_from_month(month_from_day(day) + 1) - 1
    quarter_end = quarter_start(quarter_from_day(day) + 1) - 1
    return np.where(way < 0.5, month_end, np.where(way < 0.75, quarter_end, day))


def _pushes(parts: _Parts, block: Block, draws: Draws) -> Ints:
    """Close dates moved later shortly before they pass; returns the date expected at creation."""
    start, closed = block.deals["start"], block.paths.closed
    pace = np.array([0.7, 1.0, 1.5])[block.accounts["segment"][block.deals["account"]]]
    days = np.where(block.deals["type"] == RENEWAL, 110, 80 * pace * draws.lognormal(len(start), 0.35))
    expected = _snap(day_from_ticks(start) + np.maximum(days.astype(np.int64), 12), draws)
    active, due = np.arange(len(start)), expected.copy()
    for _ in range(MOST_PUSHES):
        warning = (draws.uniform(len(active), 0.1, 6) * TICKS).astype(np.int64)
        tick = np.maximum(ticks_from_day(due) - warning, start[active] + TICKS // 3)
        late = (due < day_from_ticks(closed[active])) & (tick < closed[active])
        active, tick = active[late], tick[late]
        if not len(active):
            break
        due = _snap(due[late] + draws.whole(len(active), 12, 60), draws)
        parts.add(active, tick, close_day=due)
    return expected


def _handovers(parts: _Parts, block: Block, owner: Ints, world: World, draws: Draws) -> None:
    """Open deals of a leaver go to the team the day before; a few deals change hands for no reason."""
    start, closed = block.deals["start"], block.paths.closed
    some = np.flatnonzero(draws.happens(len(owner), 0.02))
    tick = (start + draws.uniform(len(owner)) * (closed - start)).astype(np.int64)[some]
    team = block.accounts["team"][block.deals["account"]]
    taker = world.owner(team[some], day_from_ticks(tick), draws)
    leaves_first = ticks_from_day(np.minimum(world.left_day[owner[some]], world.end_day + 30)) <= tick
    some, tick, taker = some[~leaves_first], tick[~leaves_first], taker[~leaves_first]
    changes = taker != owner[some]
    parts.add(some[changes], tick[changes], owner=taker[changes])
    holder, since = owner.copy(), start.copy()
    holder[some], since[some] = taker, tick
    active = np.arange(len(owner))
    for _ in range(MOST_HANDOVERS):
        left = world.left_day[holder[active]]
        known = left < NEVER
        active, left = active[known], left[known]
        weekday = (left + 2) % 7  # of the day before; Monday is 0
        last_day = left - 1 - np.maximum(weekday - 4, 0)
        last_tick = ticks_from_day(last_day) + TICKS - 1
        hands = (last_tick > since[active]) & (last_tick < closed[active])
        active, last_tick, left, last_day = active[hands], last_tick[hands], left[hands], last_day[hands]
        if not len(active):
            break
        taker = world.owner(team[active], left, draws)
        starts_that_day = world.hired_day[taker] > last_day
        when = np.where(starts_that_day, ticks_from_day(left), last_tick)
        parts.add(active, when, owner=taker)
        holder[active], since[active] = taker, when
