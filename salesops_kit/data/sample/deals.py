"""The deal tables of a block: opportunities, their history, lines and splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.events import NO_AMOUNT, Changes, build
from salesops_kit.data.sample.lifecycle import NEW, RENEWAL, TYPES, Block, round_amount
from salesops_kit.data.sample.timeline import day_from_ticks, instant, instant_from_ticks
from salesops_kit.data.sample.world import (
    CURRENCIES,
    LIST_PRICES,
    LOST,
    OPEN_STAGES,
    PIPELINE,
    PRICE_BOOK,
    PRODUCT_IDS,
    PRODUCTS,
    SERVICES,
    STAGE_CATEGORY,
    STAGE_PROBABILITY,
    STAGES,
    WON,
    World,
    owner_keys,
)
from salesops_kit.data.sample.write import (
    Output,
    coded,
    dates,
    fixed,
    flags,
    instants,
    keys,
    money,
    nulls,
    wholes,
)

Mask = NDArray[np.bool_]

SOURCES = ["Website", "Event", "Partner", "Outbound", "Referral", "Paid Search"]
SOURCE_WEIGHTS = (0.28, 0.14, 0.12, 0.24, 0.10, 0.12)
PARTNERS = ["Northbridge Alliance", "Kelpie Consulting", "Orison Systems"]
LOSS_REASONS = [
    "price",
    "no decision",
    "competitor",
    "missing feature",
    "timing",
    "duplicate",
    "entered in error",
]
LOSS_WEIGHTS = (0.24, 0.26, 0.22, 0.12, 0.10, 0.035, 0.025)
COMPETITORS = ["Vantorix", "Bluepeak", "Hexalia"]
NEXT_STEPS = ["Send proposal", "Book a demo", "Call the sponsor", "Security review", "Agree the terms"]
CATEGORIES = ["Pipeline", "Best Case", "Commit", "Closed", "Omitted"]
MOTIONS = ["inbound", "outbound", "partner"]


@dataclass
class Deals:
    """The deals of a block as arrays, in id order, for the tables that refer to them."""

    number: Ints
    account: Ints
    type: Ints
    currency: Ints
    product: Ints
    term: Ints
    start: Ints
    amount: Ints
    services: Ints
    stage: Ints
    close_day: Ints
    owner: Ints
    is_deleted: Mask
    last_tick: Ints
    lead_source: Ints
    changes: Changes

    @property
    def is_won(self) -> Mask:
        """Won and not deleted."""
        return (self.stage == WON) & ~self.is_deleted


def opportunity_keys(numbers: Ints, valid: Mask | None = None) -> pa.Array:
    """Deal ids such as ``OP00000017``; a negative number is null."""
    return keys("OP", numbers, 8, numbers >= 0 if valid is None else valid)


def account_keys(numbers: Ints) -> pa.Array:
    """Account ids such as ``AC0000017``; a negative number is null."""
    return keys("AC", numbers, 7, numbers >= 0)


def make_deals(block: Block, first: int, world: World, draws: Draws) -> Deals:
    """Draw every change of the block's deals; ``first`` is the number of its first deal."""
    deals, account = block.deals, block.deals["account"]
    count, currency = len(account), block.accounts["currency"][account]
    value = deals["amount"]
    has_services = draws.happens(count, np.where(deals["type"] == NEW, 0.35, 0.05))
    services = round_amount(value / 100 * draws.uniform(count, 0.06, 0.18), currency)
    services = np.where(has_services & (services * 4 < value), services, 0)
    changes = build(block, value + services, world, draws)
    last = changes.last
    return Deals(
        number=np.arange(first, first + count),
        account=account,
        type=deals["type"],
        currency=currency,
        product=deals["product"],
        term=deals["term"],
        start=deals["start"],
        amount=changes.amount[last],
        services=services,
        stage=changes.stage[last],
        close_day=changes.close_day[last],
        owner=changes.owner[last],
        is_deleted=changes.is_deleted[last],
        last_tick=changes.tick[last],
        lead_source=draws.pick(count, SOURCE_WEIGHTS),
        changes=changes,
    )


def _category(stage: Ints, mood: NDArray[np.float64]) -> Ints:
    """The forecast category that an owner of this mood (0-1 per deal) gives to each stage."""
    usual = np.array([CATEGORIES.index(name) for name in STAGE_CATEGORY])[stage]
    cautious = (stage == 4) & (mood > 0.75) | (stage == 3) & (mood > 0.70)
    bold = (stage == 2) & (mood < 0.15)
    return np.where(cautious, usual - 1, np.where(bold, 1, usual))


def deal_tables(deals: Deals, names: pa.Array, world: World, draws: Draws) -> tuple[pa.Table, pa.Table]:
    """The opportunities and their history; dirt goes in before they are written."""
    mood = draws.uniform(len(deals.number))
    return _opportunities(deals, mood, names, world, draws), _history(deals, mood)


def _history(deals: Deals, mood: NDArray[np.float64]) -> pa.Table:
    changes = deals.changes
    count = len(changes.deal)
    return pa.table(
        {
            "opportunity_id": opportunity_keys(deals.number[changes.deal]),
            "changed_at": instants(instant_from_ticks(changes.tick)),
            "observed_at": nulls(count),
            "changed_date": dates(day_from_ticks(changes.tick)),
            "stage": coded(changes.stage, STAGES),
            "amount": money(changes.amount, changes.amount != NO_AMOUNT),
            "currency": coded(deals.currency[changes.deal], CURRENCIES),
            "close_date": dates(changes.close_day),
            "forecast_category": coded(_category(changes.stage, mood[changes.deal]), CATEGORIES),
            "owner_id": owner_keys(changes.owner),
            "is_deleted": flags(changes.is_deleted),
            "source": coded(np.zeros(count, dtype=np.int64), ["crm"]),
        },
    )


def _opportunities(
    deals: Deals, mood: NDArray[np.float64], names: pa.Array, world: World, draws: Draws
) -> pa.Table:
    count = len(deals.number)
    known = deals.amount != NO_AMOUNT
    recurring = np.maximum(deals.amount - deals.services, 0)
    is_open = (deals.stage < OPEN_STAGES) & ~deals.is_deleted
    lead_source = deals.lead_source
    partner = np.where(lead_source == 2, draws.whole(count, 0, len(PARTNERS)), -1)
    motion = np.where(lead_source == 2, 2, np.where(lead_source == 3, 1, 0))
    reason = np.where(deals.stage == LOST, draws.pick(count, LOSS_WEIGHTS), -1)
    unreal = (reason >= 5) & (deals.changes.stage[np.maximum(deals.changes.last - 1, 0)] > 2)
    reason = np.where(unreal, 1, reason)
    rival = np.where(draws.happens(count, 0.35) | (reason == 2), draws.whole(count, 0, len(COMPETITORS)), -1)
    start_day = day_from_ticks(deals.start)
    last_at = instant_from_ticks(deals.last_tick)
    quiet = (draws.exponential(count, 9) * 86_400).astype(np.int64)
    closing_time = instant(np.array([world.end_day]), np.array([64_800]))[0]
    active_at = np.where(is_open, np.maximum(last_at, closing_time - quiet), last_at)
    step = np.where(is_open & draws.happens(count, 0.85), draws.whole(count, 0, len(NEXT_STEPS)), -1)
    step_day = np.where(step >= 0, world.end_day + draws.whole(count, -10, 25), -1)
    title = pc.binary_join_element_wise(names, coded(deals.product, PRODUCTS), " - ")
    columns: dict[str, Any] = {
        "opportunity_id": opportunity_keys(deals.number),
        "account_id": account_keys(deals.account),
        "owner_id": owner_keys(deals.owner),
        "name": title,
        "type": coded(deals.type, TYPES),
        "pipeline": coded(np.zeros(count, dtype=np.int64), [PIPELINE]),
        "lead_source": coded(lead_source, SOURCES),
        "product_id": coded(deals.product, PRODUCT_IDS),
        "partner": coded(partner, PARTNERS),
        "created_at": instants(instant_from_ticks(deals.start)),
        "created_date": dates(start_day),
        "close_date": dates(deals.close_day),
        "stage": coded(deals.stage, STAGES),
        "amount": money(deals.amount, known),
        "acv": money(recurring, known),
        "tcv": money(recurring * deals.term // 12 + deals.services, known),
        "term_months": wholes(deals.term),
        "currency": coded(deals.currency, CURRENCIES),
        "is_tax_included": flags(np.zeros(count, dtype=bool)),
        "probability": fixed(np.array(STAGE_PROBABILITY)[deals.stage], 2),
        "forecast_category": coded(_category(deals.stage, mood), CATEGORIES),
        "next_step": coded(step, NEXT_STEPS),
        "next_step_date": dates(step_day),
        "last_activity_at": instants(active_at),
        "is_closed": flags(deals.stage >= OPEN_STAGES),
        "is_won": flags(deals.stage == WON),
        "is_deleted": flags(deals.is_deleted),
        "loss_reason": coded(reason, LOSS_REASONS),
        "competitor": coded(rival, COMPETITORS),
        "sales_motion": coded(motion, MOTIONS),
    }
    return pa.table(columns)


def write_lines(output: Output, deals: Deals, draws: Draws) -> None:
    """One product line, and one of services where the deal has them; they sum to the amount."""
    known = deals.amount != NO_AMOUNT
    both = np.flatnonzero(known & (deals.services > 0))
    place = np.concatenate([np.flatnonzero(known), both])
    services = np.concatenate([np.zeros(int(known.sum()), dtype=bool), np.ones(len(both), dtype=bool)])
    order = np.lexsort((services, place))
    place, services = place[order], services[order]
    product = np.where(services, SERVICES, deals.product[place])
    amount = np.where(services, deals.services[place], (deals.amount - deals.services)[place])
    book = np.array(PRICE_BOOK)[deals.currency[place]]
    price = np.rint(np.array(LIST_PRICES)[product] * book).astype(np.int64) * 100
    rebate = np.array([0.0, 0.05, 0.10, 0.15, 0.20, 0.25])[draws.pick(len(place), (30, 15, 20, 15, 12, 8))]
    quantity = np.ceil(amount / (price * (1 - rebate))).astype(np.int64)
    output.write(
        "opportunity_lines",
        {
            "opportunity_id": opportunity_keys(deals.number[place]),
            "product_id": coded(product, PRODUCT_IDS),
            "quantity": fixed(quantity, 0),
            "list_price": money(price),
            "discount": fixed(1 - amount / (price * quantity), 4),
            "amount": money(amount),
        },
    )


def write_splits(output: Output, deals: Deals, team: Ints, world: World, draws: Draws) -> Ints:
    """Shares of revenue that sum to 1 for one closed deal in twelve, overlays for one in thirty."""
    count = len(deals.number)
    closed = (deals.stage >= OPEN_STAGES) & ~deals.is_deleted & (deals.type != RENEWAL)
    shared = np.flatnonzero(closed & draws.happens(count, 1 / 12))
    overlaid = np.flatnonzero(closed & draws.happens(count, 1 / 30))
    way = draws.pick(len(shared), (0.5, 0.3, 0.2))
    second = world.owner(team[shared], deals.close_day[shared], draws)
    third = world.owner(team[shared], deals.close_day[shared], draws)
    specialist = world.owner(team[overlaid], deals.close_day[overlaid], draws)
    shares = np.array([[50, 50, 0], [70, 30, 0], [34, 33, 33]])[way]
    owners = np.stack([deals.owner[shared], second, third], axis=1)
    clash = (owners[:, 0] == owners[:, 1]) | (way == 2) & (
        (owners[:, 0] == owners[:, 2]) | (owners[:, 1] == owners[:, 2])
    )
    real = (shares > 0) & ~clash[:, None]
    row, column = np.nonzero(real)
    extra = specialist != deals.owner[overlaid]
    deal = np.concatenate([shared[row], overlaid[extra]])
    owner = np.concatenate([owners[row, column], specialist[extra]])
    share = np.concatenate([shares[row, column], np.full(int(extra.sum()), 50)])
    kind = np.concatenate([np.zeros(len(row), dtype=np.int64), np.ones(int(extra.sum()), dtype=np.int64)])
    order = np.lexsort((owner, kind, deal))
    output.write(
        "splits",
        {
            "opportunity_id": opportunity_keys(deals.number[deal[order]]),
            "owner_id": owner_keys(owner[order]),
            "share": fixed(share[order] / 100, 2),
            "kind": coded(kind[order], ["revenue", "overlay"]),
        },
    )
    return deals.number[shared[(way == 2) & ~clash]]
