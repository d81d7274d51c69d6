"""Forecast calls of sellers, managers and the chief, from what each of them knew on the day of the call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from salesops_kit.data.sample.deals import Deals
from salesops_kit.data.sample.draws import Draws, Floats, Ints
from salesops_kit.data.sample.events import NO_AMOUNT
from salesops_kit.data.sample.money import BASE_SCALE, Totals, base_amount
from salesops_kit.data.sample.timeline import instant, quarter_label, quarter_start, ticks_from_day
from salesops_kit.data.sample.world import OPEN_STAGES, STAGE_PROBABILITY, World, owner_keys
from salesops_kit.data.sample.write import Output, coded, instants, money, words

CALL_WEEKS = np.array([1, 3, 5, 7, 9, 11, 12])
CALL_SECOND = 36_000
# Quarters back that tell a seller what the rest of a quarter usually brings.
REMEMBERED = 4


def call_days(quarters: Ints) -> Ints:
    """The first Monday of each week of calls, quarters in rows."""
    starts = quarter_start(quarters)[:, None] + 7 * (CALL_WEEKS - 1)
    return starts + (4 - starts) % 7


class DuePipeline:
    """What sellers see on the days of calls: open deals due in the quarter, at their stage's probability.

    ``by_owner`` is in hundredths of :data:`BASE_SCALE`, by seller, quarter and call.
    """

    def __init__(self, world: World, quarters: Ints) -> None:
        self.world, self.quarters, self.days = world, quarters, call_days(quarters)
        self.by_owner = np.zeros((len(world.reps), *self.days.shape), dtype=np.int64)

    def add(self, deals: Deals) -> None:
        """Count a block's deals as they stood at the beginning of each day of calls."""
        changes = deals.changes
        follows = np.append(changes.deal[1:] == changes.deal[:-1], False)
        ends = np.where(follows, np.append(changes.tick[1:], 0), np.iinfo(np.int64).max)
        known = (changes.stage < OPEN_STAGES) & ~changes.is_deleted & (changes.amount != NO_AMOUNT)
        chance = np.rint(np.array(STAGE_PROBABILITY) * 100).astype(np.int64)[changes.stage]
        currency = deals.currency[changes.deal]
        for place, quarter in enumerate(self.quarters):
            due = np.flatnonzero(known & (changes.close_day < quarter_start(quarter + 1)))
            value = base_amount(changes.amount[due], currency[due], changes.close_day[due]) * chance[due]
            for turn, moment in enumerate(ticks_from_day(self.days[place])):
                open_then = (changes.tick[due] < moment) & (ends[due] >= moment)
                np.add.at(self.by_owner[:, place, turn], changes.owner[due[open_then]], value[open_then])


def expected_rest(final: Floats, closed: Floats, due: Floats, active: NDArray[np.bool_]) -> Floats:
    """What each seller may expect the rest of the quarter to bring, by what earlier quarters brought.

    Half of it is the seller's due pipeline at the money that the company's brought per money due, half
    what a seller's rest of the quarter usually was, both over the quarters before. In the first quarter
    it is the pipeline as it is. Arrays are by seller, quarter and call.
    """
    rest = (final - closed).sum(axis=0)
    result = np.empty_like(due)
    for place in range(due.shape[1]):
        before = slice(max(place - REMEMBERED, 0), place)
        seen, came = due[:, before].sum(axis=(0, 1)), rest[before].sum(axis=0)
        sellers = int(active[:, before].sum())
        factor = np.where(seen > 0, came / np.maximum(seen, 1e-9), 1.0)
        usual = came / sellers if sellers else 0.0
        own = due[:, place] * factor
        result[:, place] = own if not sellers else (own + usual * active[:, place, None]) / 2
    return result


def write_calls(output: Output, totals: Totals, pipeline: DuePipeline, draws: Draws) -> None:
    """Calls of sellers, managers and the chief, seven a quarter, by what was known on their day."""
    world, truths = totals.world, totals.world.truths
    sellers, quarters = world.sellers, totals.quarters[1:-1]
    weeks, days = len(CALL_WEEKS), call_days(quarters)
    booked = totals.by_week[:sellers, 1:-1].cumsum(axis=2) / BASE_SCALE
    before = np.concatenate([np.zeros((*booked.shape[:2], 1)), booked], axis=2)
    closed = before[:, :, CALL_WEEKS - 1]
    due = pipeline.by_owner[:sellers, 1:-1] / (BASE_SCALE * 100)
    active = totals.active_share()[:, 1:-1] > 0
    rest = expected_rest(booked[:, :, -1:], closed, due, active)
    shape, size = closed.shape, closed.size
    noise = np.linspace(truths.call_noise_first_week, truths.call_noise_last_week, weeks)
    habit = 0.96 * draws.lognormal(sellers, 0.10)
    habit[world.cases["sandbagger"]] = truths.sandbag_factor
    hope = np.maximum(draws.normal(size).reshape(shape), 0) * rest * 0.08
    hope[world.cases["sandbagger"]] = 0.0
    spread = np.ones(sellers)
    spread[world.cases["sandbagger"]] = truths.sandbag_noise
    error = np.exp(noise * spread[:, None, None] * draws.normal(size).reshape(shape))
    commit = closed + rest * habit[:, None, None] * error + hope
    best = commit * (1.15 + 0.25 * draws.uniform(size).reshape(shape))
    seller, quarter, week = (grid.ravel() for grid in np.indices(shape))
    team = world.team_on(seller, days[quarter, week])
    here = np.flatnonzero(team >= 0)
    by_team = np.zeros((2, len(world.teams), len(quarters), weeks))
    for kind, calls in enumerate((commit, best)):
        np.add.at(by_team[kind], (team[here], quarter[here], week[here]), calls.ravel()[here])
    judged = by_team * 0.97 * np.exp(0.05 * draws.normal(by_team.size)).reshape(by_team.shape)
    told = (
        judged.sum(axis=1)
        * 0.98
        * np.exp(0.03 * draws.normal(2 * len(quarters) * weeks)).reshape(2, len(quarters), weeks)
    )
    rows: list[tuple[Ints, Ints, Ints, Ints, Ints, Any]] = []
    for kind, calls in enumerate((commit, best)):
        fill = np.full(len(here), kind)
        rows.append((seller[here], fill * 0, quarter[here], week[here], fill, calls.ravel()[here]))
        group, when, turn = (grid.ravel() for grid in np.indices(judged[kind].shape))
        boss = np.array(world.managers)[group]
        rows.append((boss, np.ones_like(boss), when, turn, np.full(len(boss), kind), judged[kind].ravel()))
        when, turn = (grid.ravel() for grid in np.indices(told[kind].shape))
        chief = np.full(len(when), world.chief)
        rows.append((chief, chief * 0 + 2, when, turn, np.full(len(when), kind), told[kind].ravel()))
    owner, level, when, turn, kind_, amount = (np.concatenate(part) for part in zip(*rows, strict=True))
    order = np.lexsort((kind_, turn, owner, level, when))
    day = days[when, turn][order]
    output.write(
        "forecast_calls",
        {
            "owner_id": owner_keys(owner[order]),
            "level": coded(level[order], ["rep", "manager", "executive"]),
            "submitted_at": instants(instant(day, np.full(len(day), CALL_SECOND))),
            "period": coded(when[order], [quarter_label(q) for q in quarters]),
            "category": coded(kind_[order], ["Commit", "Best Case"]),
            "deal_type": words([None] * len(day)),
            "amount": money(np.rint(np.maximum(amount[order], 0) / 100).astype(np.int64) * 10_000),
            "currency": words(["USD"] * len(day)),
        },
    )
