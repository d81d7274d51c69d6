"""How deals move through the stages: a marked Markov path per deal, with planted effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salesops_kit.data.sample.draws import Draws, Floats, Ints
from salesops_kit.data.sample.planted import Truths
from salesops_kit.data.sample.timeline import (
    TICKS,
    day_from_ticks,
    day_number,
    fiscal_year,
    quarter_from_day,
    quarter_start,
    ticks_from_day,
)
from salesops_kit.data.sample.world import LOST, OPEN_STAGES, STAGES, WON

Mask = NDArray[np.bool_]

LAST_OPEN = OPEN_STAGES - 1
SHORTEST_VISIT = TICKS // 60
MOST_VISITS = 24
DELETED = -2


@dataclass
class Paths:
    """Stage visits in long form, and how and when each deal ended.

    ``deal``, ``stage`` and ``tick`` have one element per stage entered, closings and reopenings among
    them. ``outcome`` is WON, LOST or DELETED, ``closed`` the tick of that last event.
    """

    deal: Ints
    stage: Ints
    tick: Ints
    outcome: Ints
    closed: Ints


def forward_rates(truths: Truths, in_bottleneck_team: Mask, stage: Ints) -> Floats:
    """The chance that a visit ends forward, before the drop."""
    rates = np.array(truths.forward_rates)[stage]
    narrow = in_bottleneck_team & (stage == STAGES.index(truths.bottleneck_stage))
    return np.where(narrow, truths.bottleneck_forward_rate, rates)


def _pull_to_quarter_end(ticks: Ints, truths: Truths, draws: Draws) -> Ints:
    """Some decisions wait for the quarter's last days, more of them in a year's last quarter."""
    days = day_from_ticks(ticks)
    quarter = quarter_from_day(days)
    last = quarter_start(quarter + 1) - 1
    year_end = fiscal_year(quarter) != fiscal_year(quarter + 1)
    chance = np.where(year_end, truths.year_end_pull, truths.quarter_end_pull)
    waits = draws.happens(len(ticks), chance) & (last - days <= truths.pull_reach_days)
    early = (draws.exponential(len(ticks), 2.5) * TICKS).astype(np.int64)
    target = ticks_from_day(last - 2) + TICKS - early
    return np.where(waits, np.maximum(ticks, target), ticks)


def sales_paths(
    start: Ints, first_stage: Ints, bottleneck: Mask, pace: Floats, truths: Truths, draws: Draws
) -> Paths:
    """Paths of new business and expansions, from their first stage to their end (censored later)."""
    dwell = np.array(truths.dwell_days)
    dropped = ticks_from_day(np.array([day_number(truths.drop_from)]))[0]
    active, stage, tick = np.arange(len(start)), first_stage.copy(), start.copy()
    entered = [(active, stage, tick)]
    outcome, closed = np.full(len(start), LOST), start.copy()
    for _ in range(MOST_VISITS):
        if not len(active):
            break
        count = len(active)
        days = dwell[stage] * pace[active] * draws.lognormal(count, truths.dwell_sigma)
        chance = draws.uniform(count)
        forward = forward_rates(truths, bottleneck[active], stage)
        leaves = tick + np.maximum((days * TICKS).astype(np.int64), SHORTEST_VISIT)
        decides = stage == LAST_OPEN
        leaves = np.where(decides, _pull_to_quarter_end(leaves, truths, draws), leaves)
        forward = np.where(decides & (leaves >= dropped), forward * truths.drop_factor, forward)
        ahead = chance < forward
        back = ~ahead & (chance < forward + truths.regress_rate) & (stage > 0)
        removed = ~ahead & ~back & (chance >= 1 - truths.delete_rate)
        lost = ~(ahead | back | removed)
        slow = (days * (truths.lost_dwell_factor - 1) * TICKS).astype(np.int64)
        leaves = np.where(lost & ~decides, leaves + slow, leaves)
        skips = (chance < forward * truths.skip_share) & (stage < LAST_OPEN - 1)
        target = np.where(ahead, stage + 1 + skips, np.where(back, stage - 1, np.where(lost, LOST, DELETED)))
        reopens = lost & draws.happens(count, truths.reopen_rate)
        pause = (draws.uniform(count, 8, 35) * TICKS).astype(np.int64)
        entered.append((active, target, leaves))
        again = leaves + pause
        entered.append((active[reopens], stage[reopens], again[reopens]))
        outcome[active], closed[active] = target, leaves
        goes_on = ((target >= 0) & (target < OPEN_STAGES)) | reopens
        tick = np.where(reopens, again, leaves)[goes_on]
        stage = np.where(reopens, stage, target)[goes_on]
        active = active[goes_on]
    entered.append((active, np.full(len(active), LOST), tick + TICKS))
    outcome[active], closed[active] = LOST, tick + TICKS
    deal, visited, ticks = (np.concatenate(parts) for parts in zip(*entered, strict=True))
    return Paths(deal, visited, ticks, outcome, closed)


def renewal_paths(start: Ints, deadline: Ints, won: Mask, draws: Draws) -> Paths:
    """Paths of renewals: every stage in order, decided before the term ends."""
    count = len(start)
    steps = draws.uniform(count * OPEN_STAGES, 0.4, 1.6).reshape(count, OPEN_STAGES).cumsum(axis=1)
    spent = draws.uniform(count, 0.55, 0.97)
    share = steps / steps[:, -1:] * spent[:, None]
    ticks = start[:, None] + np.maximum((share * (deadline - start)[:, None]).astype(np.int64), 1)
    ticks += np.arange(OPEN_STAGES) + 1
    outcome = np.where(won, WON, LOST)
    stages = np.tile(np.arange(1, OPEN_STAGES + 1), (count, 1))
    stages[:, -1] = outcome
    deals = np.repeat(np.arange(count), OPEN_STAGES + 1)
    full_stages = np.hstack([np.zeros((count, 1), dtype=np.int64), stages])
    full_ticks = np.hstack([start[:, None], ticks])
    return Paths(deals, full_stages.ravel(), full_ticks.ravel(), outcome, ticks[:, -1])


def hasten(paths: Paths, start: Ints, latest: Ints) -> Paths:
    """The same paths, those that would end after ``latest`` squeezed evenly to end there."""
    late = paths.closed > latest
    scale = np.where(late, (latest - start) / np.maximum(paths.closed - start, 1), 1.0)
    tick = start[paths.deal] + (scale[paths.deal] * (paths.tick - start[paths.deal])).astype(np.int64)
    closed = start + (scale * (paths.closed - start)).astype(np.int64)
    return Paths(paths.deal, paths.stage, tick, paths.outcome, closed)


def join(parts: list[tuple[Paths, Ints]]) -> Paths:
    """One set of paths from several, each with the deal numbers of its members."""
    size = sum(len(numbers) for _, numbers in parts)
    outcome, closed = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    for paths, numbers in parts:
        outcome[numbers], closed[numbers] = paths.outcome, paths.closed
    return Paths(
        np.concatenate([numbers[paths.deal] for paths, numbers in parts]),
        np.concatenate([paths.stage for paths, _ in parts]),
        np.concatenate([paths.tick for paths, _ in parts]),
        outcome,
        closed,
    )
