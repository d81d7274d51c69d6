"""The generator's main loop: blocks of accounts and deals first, then what sums over all of them."""

from __future__ import annotations

from collections.abc import Callable

from salesops_kit.data.sample import customers, money
from salesops_kit.data.sample.blocks import make_block
from salesops_kit.data.sample.deals import make_deals, write_deals
from salesops_kit.data.sample.draws import Draws
from salesops_kit.data.sample.planted import Ledger, Truths
from salesops_kit.data.sample.world import World
from salesops_kit.data.sample.write import Output

BLOCK_DEALS = 20_000
Progress = Callable[[int, int], None]


def generate(
    output: Output, opportunities: int, seed: int, truths: Truths, progress: Progress | None = None
) -> Ledger:
    """Write every table and return what was planted."""
    world, ledger = World(opportunities, seed, truths), Ledger()
    world.write(output)
    totals = money.Totals(world)
    first_account = 1
    for index, first in enumerate(range(0, opportunities, BLOCK_DEALS)):
        wanted = min(BLOCK_DEALS, opportunities - first)
        block = make_block(wanted, seed, index, world)
        accounts, names, _ = customers.account_table(block, first_account, world, Draws(seed, 1, index, 2))
        deals = make_deals(block, first + 1, world, Draws(seed, 1, index, 1))
        deals.account = deals.account + first_account
        team = block.accounts["team"][block.deals["account"]]
        rows = write_deals(
            output, deals, names.take(block.deals["account"]), team, world, Draws(seed, 1, index, 3)
        )
        totals.add(deals)
        output.write("accounts", {name: accounts[name].combine_chunks() for name in accounts.column_names})
        output.write("opportunities", {name: rows[name].combine_chunks() for name in rows.column_names})
        first_account += len(accounts)
        if progress:
            progress(first + wanted, opportunities)
    money.write_rates(output, world, Draws(seed, 2, 0))
    money.write_quotas(output, totals)
    money.write_plan(output, totals, Draws(seed, 2, 1))
    money.write_spend(output, totals, Draws(seed, 2, 2))
    money.write_control_totals(output, totals)
    return ledger


