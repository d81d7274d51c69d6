"""What the generated rows themselves show of the planted truths, counted while they are made."""

from __future__ import annotations

from typing import Any

import numpy as np

from salesops_kit.data.sample.deals import Deals
from salesops_kit.data.sample.draws import Ints
from salesops_kit.data.sample.lifecycle import RENEWAL, Block
from salesops_kit.data.sample.timeline import day_from_ticks, day_number, month_number, quarter_from_day
from salesops_kit.data.sample.world import LOST, OPEN_STAGES, STAGES, WON, World

SALES_STAGES = OPEN_STAGES


class Measures:
    """Counts behind planted.json's ``measured``; each is a pair of hits and trials."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._counts: dict[str, Ints] = {}

    def _count(self, name: str, hits: np.ndarray, trials: np.ndarray) -> None:
        pair = np.array([int(hits[trials].sum()), int(trials.sum())])
        self._counts[name] = self._counts.get(name, np.zeros(2, dtype=np.int64)) + pair

    def add(self, block: Block, deals: Deals) -> None:
        """Count one block."""
        truths, changes = self.world.truths, deals.changes
        sales = deals.type != RENEWAL
        stage, deal = changes.stage, changes.deal
        fresh = np.append(True, (deal[1:] != deal[:-1]) | (stage[1:] != stage[:-1]))
        rows = np.flatnonzero(fresh)
        row_stage, row_deal = stage[rows], deal[rows]
        follows = np.append(row_deal[1:] == row_deal[:-1], False)
        after = np.append(row_stage[1:], 0)
        forward = follows & (after > row_stage) & (after != LOST)
        narrow = block.accounts["team"][block.deals["account"]] == self.world.names.index(
            truths.bottleneck_team
        )
        for place in range(SALES_STAGES):
            here = follows & (row_stage == place) & sales[row_deal]
            self._count(
                f"forward from {STAGES[place]}, {truths.bottleneck_team}", forward, here & narrow[row_deal]
            )
            self._count(f"forward from {STAGES[place]}, other teams", forward, here & ~narrow[row_deal])
        closed = (deals.stage >= OPEN_STAGES) & ~deals.is_deleted & sales
        late = deals.close_day >= day_number(truths.drop_from)
        self._count("win rate before the drop", deals.stage == WON, closed & ~late)
        self._count("win rate since the drop", deals.stage == WON, closed & late)
        same = quarter_from_day(day_from_ticks(deals.start)) == quarter_from_day(deals.close_day)
        self._count("won deals created in the quarter they closed in", same, deals.is_won)
        if block.terms:
            ended = block.terms["last"] <= month_number(truths.observed_until)
            regular = ended & ~block.terms["early"]
            self._count(
                "churn of terms with falling use", block.terms["churned"], regular & block.terms["falls"]
            )
            self._count("churn of other terms", block.terms["churned"], regular & ~block.terms["falls"])

    def as_record(self) -> dict[str, Any]:
        """Rates with their counts; a rate of nothing is null."""
        return {
            name: {
                "rate": round(int(hits) / int(trials), 4) if trials else None,
                "hits": int(hits),
                "n": int(trials),
            }
            for name, (hits, trials) in self._counts.items()
        }
