"""Blocks of exactly the wanted number of deals, in order of creation, cut from account lives."""

from __future__ import annotations

import numpy as np

from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.lifecycle import Block, Lifecycle, make_accounts
from salesops_kit.data.sample.paths import Paths
from salesops_kit.data.sample.timeline import ticks_from_day
from salesops_kit.data.sample.world import World

ACCOUNTS_PER_DEAL = 0.50
TERM_REFERENCES = ("deal", "renewal", "grown_deal")


def make_block(wanted: int, seed: int, index: int, world: World) -> Block:
    """A block of exactly ``wanted`` deals created by the end of the data; accounts by first contact."""
    end_tick = int(ticks_from_day(np.array([world.end_day + 1]))[0])
    supply = int(wanted * ACCOUNTS_PER_DEAL) + 8
    while True:
        draws = Draws(seed, 1, index, 0)
        block = Lifecycle(make_accounts(supply, world, draws), world, draws).run()
        seen = block.deals["start"] < end_tick
        per_account = np.bincount(block.deals["account"][seen], minlength=supply)
        chosen = _choose(per_account, wanted)
        if chosen is not None:
            return _cut(block, seen, chosen)
        supply = int(supply * 1.5)


def _choose(per_account: Ints, wanted: int) -> Ints | None:
    """Accounts whose deals number ``wanted``: the first ones, then later ones with a single deal."""
    reached = np.cumsum(per_account)
    head = int(np.searchsorted(reached, wanted, side="right"))
    missing = wanted - (int(reached[head - 1]) if head else 0)
    singles = head + np.flatnonzero(per_account[head:] == 1)
    if (head == len(per_account) and missing) or len(singles) < missing:
        return None
    return np.concatenate([np.arange(head), singles[:missing]])


def _cut(block: Block, seen: np.ndarray, chosen: Ints) -> Block:
    accounts = {name: values[chosen] for name, values in block.accounts.items()}
    order = np.argsort(accounts["first_day"], kind="stable")
    accounts = {name: values[order] for name, values in accounts.items()}
    new_account = np.full(len(block.accounts["team"]), -1)
    new_account[chosen[order]] = np.arange(len(chosen))

    kept = np.flatnonzero(seen & (new_account[block.deals["account"]] >= 0))
    kept = kept[np.lexsort((new_account[block.deals["account"][kept]], block.deals["start"][kept]))]
    new_deal = np.full(len(seen) + 1, -1)
    new_deal[kept] = np.arange(len(kept))
    deals = {name: values[kept] for name, values in block.deals.items()}
    deals["account"] = new_account[deals["account"]]

    paths = block.paths
    visit = new_deal[paths.deal] >= 0
    cut_paths = Paths(
        new_deal[paths.deal[visit]],
        paths.stage[visit],
        paths.tick[visit],
        paths.outcome[kept],
        paths.closed[kept],
    )
    terms = {}
    if block.terms:
        rows = np.flatnonzero(new_account[block.terms["account"]] >= 0)
        rows = rows[np.lexsort((block.terms["start"][rows], new_account[block.terms["account"][rows]]))]
        terms = {name: values[rows] for name, values in block.terms.items()}
        terms["account"] = new_account[terms["account"]]
        for name in TERM_REFERENCES:
            terms[name] = new_deal[terms[name]]
    return Block(accounts, deals, cut_paths, terms)
