"""What is known of accounts: who they are, what they subscribe to, how they use it, pay and answer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from salesops_kit.data.sample.deals import Deals, account_keys, opportunity_keys
from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.lifecycle import Block
from salesops_kit.data.sample.names import CHINESE, KOREAN, LATIN, company_names
from salesops_kit.data.sample.timeline import (
    day_from_month,
    end_of_day,
    instant,
    instant_from_ticks,
    month_number,
)
from salesops_kit.data.sample.world import (
    COUNTRIES,
    CURRENCIES,
    LIST_PRICES,
    PRICE_BOOK,
    PRODUCT_IDS,
    SEGMENTS,
    World,
)
from salesops_kit.data.sample.write import Output, coded, dates, fixed, instants, keys, money, wholes

INDUSTRIES = [
    "Manufacturing",
    "Retail",
    "Healthcare",
    "Financial Services",
    "Logistics",
    "Technology",
    "Education",
]
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
        country == COUNTRIES.index("China"),
        CHINESE,
        np.where(country == COUNTRIES.index("South Korea"), KOREAN, LATIN),
    )
    names = company_names(number, script)
    size = np.array([45, 420, 5_200])[segment] * draws.lognormal(count, 0.55)
    met = np.concatenate([block.accounts["first_day"], np.full(consumers, world.end_day - 400)])
    created = instant(met - draws.whole(count, 1, 60), draws.whole(count, 30_600, 64_800))
    child = draws.happens(count, 0.05) & (np.arange(count) >= 20) & (np.arange(count) < business)
    parent = np.where(
        child, first + (draws.uniform(count) * np.maximum(np.arange(count), 1)).astype(np.int64), -1
    )
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


def write_subscriptions(output: Output, block: Block, deals: Deals, first: int, world: World) -> None:
    """One row per stretch at one rate: each term, and what an expansion adds from its month on."""
    terms = block.terms
    if not terms:
        return
    end_month = month_number(world.truths.observed_until)
    grown = (terms["grown_at"] >= 0) & (terms["grown_at"] <= end_month)
    term = np.concatenate([np.arange(len(grown)), np.flatnonzero(grown)])
    is_step = np.concatenate([np.zeros(len(grown), dtype=bool), np.ones(int(grown.sum()), dtype=bool)])
    order = np.lexsort((is_step, term))
    term, is_step = term[order], is_step[order]
    grows = grown[term] & ~is_step
    start = np.where(is_step, terms["grown_at"][term], terms["start"][term])
    stop = np.where(grows, terms["grown_at"][term], terms["last"][term])
    acv = terms["acv"][term] + np.where(is_step, terms["grown_by"][term], 0)
    churned = terms["churned"][term] & ~grows
    renewal = terms["renewal"][term]
    notice = instant(np.maximum(terms["notice_day"][term], 1), np.full(len(term), 39_600))
    lost_at = instant_from_ticks(block.paths.closed[np.maximum(renewal, 0)])
    cancelled = np.where(renewal >= 0, lost_at, notice)
    known = churned & (cancelled < end_of_day(world.end_day))
    account = terms["account"][term]
    source = np.where(is_step, terms["grown_deal"][term], terms["deal"][term])
    output.write(
        "subscriptions",
        {
            "subscription_id": keys("SB", (first + account) * 10 + terms["chain"][term], 9),
            "account_id": account_keys(first + account),
            "opportunity_id": opportunity_keys(np.where(source >= 0, deals.number[source], -1)),
            "product_id": coded(terms["product"][term], PRODUCT_IDS),
            "start_date": dates(day_from_month(start)),
            "term_end_date": dates(day_from_month(terms["term_end"][term])),
            "ended_date": dates(np.where(stop <= end_month, day_from_month(stop), -1)),
            "cancelled_at": instants(np.where(known, cancelled, -1)),
            "mrr": money(np.rint(acv / 12).astype(np.int64)),
            "currency": coded(block.accounts["currency"][account], CURRENCIES),
        },
    )


def write_health(output: Output, block: Block, first: int, world: World, draws: Draws) -> None:
    """Seats, use, tickets and satisfaction of each customer in each month of each term."""
    terms, truths = block.terms, world.truths
    if not terms:
        return
    end_month = month_number(truths.observed_until)
    length = np.maximum(np.minimum(terms["last"], end_month + 1) - terms["start"], 0)
    term = np.repeat(np.arange(len(length)), length)
    month = terms["start"][term] + np.arange(len(term)) - np.repeat(np.cumsum(length) - length, length)
    count = len(term)
    account, product = terms["account"][term], terms["product"][term]
    book = np.array(PRICE_BOOK)[block.accounts["currency"][account]]
    grown = np.where(
        (terms["grown_at"][term] >= 0) & (month >= terms["grown_at"][term]), terms["grown_by"][term], 0
    )
    price = np.array(LIST_PRICES)[product] * book * 0.9 * 100
    seats = np.maximum(((terms["acv"][term] + grown) / price).astype(np.int64), 3)
    habit = draws.uniform(len(block.accounts["team"]), 0.60, 0.90)[account]
    months_left = terms["last"][term] - month
    fallen = np.clip((truths.usage_drop_months + 1 - months_left) / truths.usage_drop_months, 0, 1)
    fallen = np.where(terms["early"][term], 0.9, np.where(terms["falls"][term], fallen, 0.0))
    use = habit * (1 - (1 - truths.usage_drop_level) * fallen) * (1 + 0.04 * draws.normal(count))
    satisfaction = np.clip(4.2 - 1.1 * fallen + 0.35 * draws.normal(count), 1, 5)
    output.write(
        "account_health",
        {
            "account_id": account_keys(first + account),
            "month": dates(day_from_month(month)),
            "seats": wholes(seats),
            "active_users": wholes(np.clip((seats * use).astype(np.int64), 0, seats)),
            "support_tickets": wholes(draws.pick(count, (0.34, 0.34, 0.18, 0.08, 0.04, 0.02))),
            "satisfaction": fixed(satisfaction, 1, draws.happens(count, 0.7)),
        },
    )


def write_invoices(output: Output, block: Block, deals: Deals, first: int, world: World, draws: Draws) -> int:
    """Quarterly or yearly bills of each term and expansion, paid about a month later; returns their count."""
    terms = block.terms
    if not terms:
        return 0
    end_month = month_number(world.truths.observed_until)
    grown = np.flatnonzero(terms["grown_at"] >= 0)
    term = np.concatenate([np.arange(len(terms["start"])), grown])
    is_step = np.arange(len(term)) >= len(terms["start"])
    start = np.where(is_step, terms["grown_at"][term], terms["start"][term])
    acv = np.where(is_step, terms["grown_by"][term], terms["acv"][term])
    source = np.where(is_step, terms["grown_deal"][term], terms["deal"][term])
    every = np.where(draws.happens(len(block.accounts["team"]), 0.4), 3, 12)[terms["account"][term]]
    bills = np.maximum(-(-(np.minimum(terms["last"][term], end_month + 1) - start) // every), 0)
    line = np.repeat(np.arange(len(term)), bills)
    turn = np.arange(len(line)) - np.repeat(np.cumsum(bills) - bills, bills)
    month = start[line] + turn * every[line]
    covered = np.minimum(every[line], terms["term_end"][term[line]] - month)
    cents = np.rint(acv[line] * covered / 12).astype(np.int64)
    opening = (turn == 0) & ~is_step[line] & terms["fresh"][term[line]]
    cents += np.where(opening, deals.services[np.maximum(source[line], 0)], 0)
    issued = day_from_month(month) + draws.whole(len(line), 0, 5)
    paid = issued + np.maximum((32 * draws.lognormal(len(line), 0.45)).astype(np.int64), 3)
    settled = draws.happens(len(line), 0.985) & (paid <= world.end_day)
    seen = np.flatnonzero(issued <= world.end_day)
    seen = seen[np.lexsort((line[seen], issued[seen], terms["account"][term[line[seen]]]))]
    account, source = terms["account"][term[line[seen]]], source[line[seen]]
    output.write(
        "invoices",
        {
            "invoice_id": keys("IN", (first + account) * 1_000 + _running(account), 10),
            "account_id": account_keys(first + account),
            "opportunity_id": opportunity_keys(np.where(source >= 0, deals.number[source], -1)),
            "issued_date": dates(issued[seen]),
            "paid_date": dates(np.where(settled[seen], paid[seen], -1)),
            "amount": money(cents[seen]),
            "currency": coded(block.accounts["currency"][account], CURRENCIES),
        },
    )
    return len(seen)


def _running(groups: Ints) -> Ints:
    """1, 2, 3 ... within each group, in the order of the rows."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    fresh = np.append(True, sorted_groups[1:] != sorted_groups[:-1])
    position = np.arange(len(groups))
    out = np.empty(len(groups), dtype=np.int64)
    out[order] = position - np.maximum.accumulate(np.where(fresh, position, 0)) + 1
    return out


def write_surveys(output: Output, block: Block, first: int, world: World, draws: Draws) -> None:
    """Answers of customers in the middle of a term; those whose use falls answer lower."""
    terms = block.terms
    if not terms:
        return
    count = len(terms["start"])
    day = day_from_month(terms["start"]) + (
        draws.uniform(count, 0.3, 0.95) * 30 * (terms["last"] - terms["start"])
    ).astype(np.int64)
    rows = np.flatnonzero(draws.happens(count, 0.45) & (day <= world.end_day))
    kind = draws.pick(len(rows), (0.5, 0.5))
    low = terms["falls"][rows]
    net = np.clip(np.rint(8.3 - 2.5 * low + 1.4 * draws.normal(len(rows))), 0, 10)
    csat = np.clip(np.rint(4.3 - 1.0 * low + 0.6 * draws.normal(len(rows))), 1, 5)
    output.write(
        "surveys",
        {
            "account_id": account_keys(first + terms["account"][rows]),
            "surveyed_date": dates(day[rows]),
            "kind": coded(kind, ["csat", "nps"]),
            "score": fixed(np.where(kind == 0, csat, net), 0),
        },
    )


def write_orders(output: Output, consumers: Ints, first: int, world: World, draws: Draws) -> int:
    """Repeat purchases of the few consumer accounts over the last 400 days; returns their count."""
    if not len(consumers):
        return 0
    most = 14
    pace = draws.uniform(len(consumers), 20, 90)
    gaps = draws.exponential(len(consumers) * most, 1.0).reshape(-1, most) * pace[:, None]
    day = world.end_day - 400 + np.cumsum(gaps + 1, axis=1).astype(np.int64)
    buyer, turn = np.nonzero(day <= world.end_day)
    order = np.lexsort((buyer, day[buyer, turn]))
    buyer, turn = buyer[order], turn[order]
    cents = np.rint(6_000 * draws.lognormal(len(buyer), 0.6)).astype(np.int64)
    output.write(
        "orders",
        {
            "order_id": keys("OR", first + np.arange(len(buyer)), 8),
            "account_id": account_keys(consumers[buyer]),
            "ordered_date": dates(day[buyer, turn]),
            "amount": money(cents),
            "currency": coded(np.zeros(len(buyer), dtype=np.int64), CURRENCIES),
        },
    )
    return len(buyer)
