"""What is known of accounts: who they are, what they subscribe to, how they use it, pay and answer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from salesops_kit.data.sample.deals import account_keys
from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.lifecycle import Block
from salesops_kit.data.sample.names import CHINESE, KOREAN, LATIN, company_names
from salesops_kit.data.sample.timeline import instant
from salesops_kit.data.sample.world import COUNTRIES, SEGMENTS, World
from salesops_kit.data.sample.write import coded, instants, wholes

INDUSTRIES = ["Manufacturing", "Retail", "Healthcare", "Financial Services", "Logistics", "Technology", "Education"]
TIERS = ["A", "B", "C"]
CONSUMER_SHARE = 0.03


def account_table(block: Block, first: int, world: World, draws: Draws) -> tuple[pa.Table, pa.Array, Ints]:
    """The accounts of a block (a few consumers at the end), the names, and the consumers' numbers."""
    business = len(block.accounts["team"])
    consumers = int(business * CONSUMER_SHARE)
    count = business + consumers
    number = first + np.arange(count)
    team = np.concatenate([block.accounts["team"], draws.whole(consumers, 0, len(world.teams))])
    place = np.concatenate([block.accounts["country"], np.zeros(consumers, dtype=np.int64)])
    countries = np.array([[COUNTRIES.index((t.countries * 4)[c]) for c in range(4)] for t in world.teams])
    country = countries[team, place]
    regions = sorted({t.region for t in world.teams})
    region = np.array([regions.index(t.region) for t in world.teams])[team]
    segment = np.concatenate([block.accounts["segment"], np.zeros(consumers, dtype=np.int64)])
    script = np.where(
        country == COUNTRIES.index("China"), CHINESE, np.where(country == COUNTRIES.index("South Korea"), KOREAN, LATIN)
    )
    names = company_names(number, script)
    size = np.array([45, 420, 5_200])[segment] * draws.lognormal(count, 0.55)
    met = np.concatenate([block.accounts["first_day"], np.full(consumers, world.end_day - 400)])
    created = instant(met - draws.whole(count, 1, 60), draws.whole(count, 30_600, 64_800))
    child = draws.happens(count, 0.05) & (np.arange(count) >= 20) & (np.arange(count) < business)
    parent = np.where(child, first + (draws.uniform(count) * np.maximum(np.arange(count), 1)).astype(np.int64), -1)
    is_consumer = (np.arange(count) >= business).astype(np.int64)
    table = pa.table(
        {
            "account_id": account_keys(number),
            "name": names,
            "segment": coded(np.where(is_consumer, -1, segment), SEGMENTS),
            "industry": coded(np.where(is_consumer, -1, draws.whole(count, 0, len(INDUSTRIES))), INDUSTRIES),
            "region": coded(region, regions),
            "country": coded(country, COUNTRIES),
            "employees": wholes(np.maximum(size.astype(np.int64), 1), is_consumer == 0),
            "parent_id": account_keys(parent),
            "created_at": instants(created),
            "business_model": coded(is_consumer, ["B2B", "B2C"]),
            "tier": coded(draws.pick(count, (0.2, 0.4, 0.4)), TIERS),
        }
    )
    return table, names, number[business:]
