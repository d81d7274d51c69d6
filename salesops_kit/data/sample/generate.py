"""The generator's main loop: blocks of accounts and deals first, then what sums over all of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from salesops_kit.data.sample import calls, customers, demand, dirt, money, people
from salesops_kit.data.sample.blocks import make_block
from salesops_kit.data.sample.deals import (
    Deals,
    deal_tables,
    make_deals,
    opportunity_keys,
    write_lines,
    write_splits,
)
from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.lifecycle import Block
from salesops_kit.data.sample.measures import Measures
from salesops_kit.data.sample.planted import Ledger, Truths
from salesops_kit.data.sample.timeline import day_of, month_number, quarter_from_day, quarter_label
from salesops_kit.data.sample.world import World, owner_keys
from salesops_kit.data.sample.write import Output, keys

BLOCK_DEALS = 20_000
CASES_SHOWN = 5
Progress = Callable[[int, int], None]


class Generator:
    """Writes blocks one after another; ids go on from block to block, so that files stay sorted."""

    def __init__(self, output: Output, opportunities: int, seed: int, truths: Truths) -> None:
        self.output, self.opportunities, self.seed = output, opportunities, seed
        self.world, self.ledger = World(opportunities, seed, truths), Ledger()
        self.totals, self.measures = money.Totals(self.world), Measures(self.world)
        self.pipeline = calls.DuePipeline(self.world, self.totals.quarters)
        self._account = self._lead = self._activity = self._order = 1

    def run(self, progress: Progress | None) -> Ledger:
        """Write every table and return what was planted."""
        self.world.write(self.output)
        for index, first in enumerate(range(0, self.opportunities, BLOCK_DEALS)):
            wanted = min(BLOCK_DEALS, self.opportunities - first)
            self._write_block(index, first + 1, wanted)
            if progress:
                progress(first + wanted, self.opportunities)
        self._write_sums()
        self.ledger.measured = self.measures.as_record()
        return self.ledger

    def _write_block(self, index: int, first: int, wanted: int) -> None:
        output, world, account = self.output, self.world, self._account

        def draws(topic: int) -> Draws:
            return Draws(self.seed, 1, index, topic)

        block = make_block(wanted, self.seed, index, world)
        deals = make_deals(block, first, world, draws(1))
        accounts, names, consumers = customers.account_table(block, account, world, draws(2))
        deal_names = names.take(pa.array(block.deals["account"]))
        deals.account = deals.account + account
        team = block.accounts["team"][block.deals["account"]]
        rows, history = deal_tables(deals, deal_names, world, draws(3))
        dirty = index == 0
        if dirty:
            accounts = dirt.soil_accounts(accounts, account, output.format, self.ledger)
            rows, history = dirt.soil_deals(rows, history, deals, world, output.format, self.ledger)
        output.write("accounts", accounts)
        output.write("opportunities", rows, quoted=dirty)
        output.write("opportunity_history", history)
        write_lines(output, deals, draws(4))
        threes = write_splits(output, deals, team, world, draws(5))
        customers.write_subscriptions(output, block, deals, account, world)
        customers.write_health(output, block, account, world, draws(6))
        customers.write_invoices(output, block, deals, account, world, draws(7))
        customers.write_surveys(output, block, account, world, draws(8))
        self._order += customers.write_orders(output, consumers, self._order, world, draws(9))
        self._lead += demand.write_leads(output, deals, deal_names, self._lead, world, draws(10))
        self._activity += demand.write_activities(output, deals, self._activity, world, draws(11))
        demand.write_territories(output, deals, team, world, draws(12))
        self.totals.add(deals)
        money.write_control_deals(output, self.totals, deals)
        self.pipeline.add(deals)
        self.measures.add(block, deals)
        if dirty:
            self._note_deal_cases(block, deals, threes, account)
        self._account += len(accounts)

    def _write_sums(self) -> None:
        output, world, totals = self.output, self.world, self.totals
        money.write_rates(output, world, Draws(self.seed, 2, 0))
        money.write_quotas(output, totals)
        money.write_plan(output, totals, Draws(self.seed, 2, 1))
        money.write_spend(output, totals, Draws(self.seed, 2, 2))
        money.write_control_totals(output, totals)
        calls.write_calls(output, totals, self.pipeline, Draws(self.seed, 2, 3))
        capped = people.capped_case(totals)
        people.write_plans(output, world, capped["owner"])
        people.write_absences(output, world, Draws(self.seed, 2, 4))
        people.write_trainings(output, world, Draws(self.seed, 2, 5))
        self._note_people(capped)

    def _note_people(self, capped: dict[str, object]) -> None:
        world = self.world
        for kind, number in world.cases.items():
            rep = world.reps[number]
            case = {"kind": kind, "owner_id": _owner(number), "team": world.names[rep.stays[-1][0]]}
            if kind == "leaver_mid_quarter":
                case["left_date"] = day_of(rep.left).isoformat()
            elif kind in ("ramp_hire", "draw"):
                case["hired_date"] = day_of(rep.hired).isoformat()
            elif kind == "leave":
                case["from_date"], case["to_date"] = (day.isoformat() for day in people.LEAVE)
            elif kind == "mid_period_transfer":
                case["from_team"], case["date"] = (
                    world.names[rep.stays[-2][0]],
                    day_of(rep.stays[-1][1]).isoformat(),
                )
            self.ledger.cases.append(case)
        owner = capped.pop("owner")
        assert isinstance(owner, int)
        self.ledger.cases.append({"kind": capped.pop("kind"), "owner_id": _owner(owner), **capped})
        for number in world.movers:
            for (source, _, _), (target, day, _) in pairwise(world.reps[number].stays):
                self.ledger.moves.append(
                    {
                        "owner_id": _owner(number),
                        "from_team": world.names[source],
                        "to_team": world.names[target],
                        "date": day_of(day).isoformat(),
                    }
                )

    def _note_deal_cases(self, block: Block, deals: Deals, threes: Ints, account: int) -> None:
        terms, world = block.terms, self.world
        quarter = int(quarter_from_day(np.array([world.end_day]))[0])
        if terms:
            seen = (
                terms["early"]
                & (terms["last"] <= month_number(world.truths.observed_until))
                & (terms["deal"] >= 0)
            )
            for row in np.flatnonzero(seen)[-CASES_SHOWN:]:
                deal, buyer = int(terms["deal"][row]), account + int(terms["account"][row])
                ended = np.array([terms["last"][row]]).astype("datetime64[M]").astype("datetime64[D]")[0]
                chain = np.array([buyer * 10 + terms["chain"][row]])
                self.ledger.cases.append(
                    {
                        "kind": "clawback",
                        "owner_id": _owner(int(deals.owner[deal])),
                        "opportunity_id": _deal(int(deals.number[deal])),
                        "subscription_id": keys("SB", chain, 9)[0].as_py(),
                        "won_date": day_of(deals.close_day[deal]).isoformat(),
                        "ended_date": str(ended),
                    }
                )
        won = deals.is_won[threes - deals.number[0]]
        for number in threes[won][-CASES_SHOWN:]:
            day = int(deals.close_day[number - deals.number[0]])
            label = quarter_label(min(int(quarter_from_day(np.array([day]))[0]), quarter))
            self.ledger.cases.append(
                {"kind": "split_in_three", "opportunity_id": _deal(int(number)), "quarter": label}
            )


def _owner(number: int) -> str:
    return str(owner_keys(np.array([number]))[0].as_py())


def _deal(number: int) -> str:
    return str(opportunity_keys(np.array([number]))[0].as_py())


def generate(
    output: Output, opportunities: int, seed: int, truths: Truths, progress: Progress | None = None
) -> Ledger:
    """Write every table of the sample and return what was planted."""
    return Generator(output, opportunities, seed, truths).run(progress)
