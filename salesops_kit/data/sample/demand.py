"""What surrounds deals: leads, marketing touches, sellers' activities and account territories."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_kit.data.sample.deals import SOURCES, Deals, account_keys, opportunity_keys
from salesops_kit.data.sample.draws import Draws, Floats, Ints
from salesops_kit.data.sample.lifecycle import NEW
from salesops_kit.data.sample.names import CAMPAIGNS, mail_addresses, person_names
from salesops_kit.data.sample.timeline import (
    TICKS,
    day_from_ticks,
    day_number,
    end_of_day,
    instant,
    instant_from_ticks,
    ticks_from_day,
)
from salesops_kit.data.sample.world import OPEN_STAGES, World, owner_keys
from salesops_kit.data.sample.write import Output, coded, dates, flags, instants, keys

DAY = 86_400
CHANNELS = ["Website", "Webinar", "Event", "Email", "Paid Search", "Social"]
LEAD_STATUSES = ["new", "mql", "sal", "sql", "converted", "disqualified"]
TYPES = ["call", "email", "meeting"]
ACTIVITIES_FROM = dt.date(2026, 5, 1)
ACTIVITIES_PER_DAY = 0.26
MOST_SUCCESSIONS = 4


def write_leads(output: Output, deals: Deals, names: pa.Array, first: int, world: World, draws: Draws) -> int:
    """Leads that became deals and more that did not, with their touches; returns how many."""
    horizon = end_of_day(world.end_day)
    inbound = (deals.type == NEW) & ~np.isin(deals.lead_source, [2, 3])
    origin = np.flatnonzero(inbound & draws.happens(len(inbound), 0.85))
    won_at = instant_from_ticks(deals.start[origin])
    age = np.maximum(draws.exponential(len(origin), 18) * DAY, 3_600).astype(np.int64)
    extra = int(len(origin) * 1.4)
    start = day_number(world.truths.first_day)
    met = instant(draws.whole(extra, start, world.end_day + 1), draws.whole(extra, 25_200, 82_800))
    created = np.concatenate([won_at - age, met])
    deal = np.concatenate([origin, np.full(extra, -1)])
    order = np.lexsort((np.arange(len(created)), created))
    created, deal = created[order], deal[order]
    count, converted = len(created), deal >= 0
    end = np.where(converted, instant_from_ticks(deals.start[np.maximum(deal, 0)]), created + 45 * DAY)
    place = np.sort(draws.uniform(count * 3).reshape(count, 3), axis=1)
    steps = created[:, None] + (place * (end - created)[:, None]).astype(np.int64)
    goes = np.cumprod(draws.uniform(count * 3).reshape(count, 3) < np.array([0.45, 0.5, 0.4]), axis=1).astype(
        bool
    )
    steps = np.where((goes | converted[:, None]) & (steps < horizon), steps, -1)
    reached = (steps >= 0).sum(axis=1)
    stale = ~converted & (created < horizon - 120 * DAY) & draws.happens(count, 0.7)
    status = np.where(converted, 4, np.where(stale, 5, reached))
    source = np.where(
        converted, deals.lead_source[np.maximum(deal, 0)], np.array([0, 1, 4, 5])[draws.whole(count, 0, 4)]
    )
    day = np.maximum((created - 5 * 3_600) // DAY, start)
    owner = world.owner(draws.whole(count, 0, len(world.teams)), day, draws)
    owner = np.where(converted, deals.changes.owner[_first_rows(deals)][np.maximum(deal, 0)], owner)
    number = first + np.arange(count)
    elsewhere = names.take(pa.array(draws.whole(count, 0, len(names))))
    company = pc.if_else(pa.array(converted), names.take(pa.array(np.maximum(deal, 0))), elsewhere)
    output.write(
        "leads",
        {
            "lead_id": keys("LD", number, 8),
            "name": person_names(number * 31),
            "company": company,
            "email": mail_addresses(number * 31),
            "created_at": instants(created),
            "source": coded(source, SOURCES),
            "owner_id": owner_keys(owner),
            "mql_at": instants(steps[:, 0]),
            "sal_at": instants(steps[:, 1]),
            "sql_at": instants(steps[:, 2]),
            "converted_at": instants(np.where(converted, end, -1)),
            "opportunity_id": opportunity_keys(np.where(converted, deals.number[deal], -1)),
            "status": coded(status, LEAD_STATUSES),
        },
    )
    account = np.where(converted, deals.account[np.maximum(deal, 0)], -1)
    _write_touches(output, number, account, created, np.minimum(end, horizon - 1), draws)
    return count


def _first_rows(deals: Deals) -> Ints:
    return np.flatnonzero(np.append(True, deals.changes.deal[1:] != deals.changes.deal[:-1]))


def _write_touches(output: Output, lead: Ints, account: Ints, start: Ints, end: Ints, draws: Draws) -> None:
    """One to four touches a lead, the first when it was created."""
    touches = 1 + draws.pick(len(lead), (0.45, 0.30, 0.16, 0.09))
    row = np.repeat(np.arange(len(lead)), touches)
    turn = np.arange(len(row)) - np.repeat(np.cumsum(touches) - touches, touches)
    share: Floats = np.where(turn == 0, 0.0, draws.uniform(len(row)))
    at = start[row] + (share * np.maximum(end - start, 0)[row]).astype(np.int64)
    order = np.lexsort((at, row))
    row, at = row[order], at[order]
    output.write(
        "touches",
        {
            "lead_id": keys("LD", lead[row], 8),
            "account_id": account_keys(account[row]),
            "occurred_at": instants(at),
            "channel": coded(draws.pick(len(row), (0.26, 0.16, 0.12, 0.22, 0.14, 0.10)), CHANNELS),
            "campaign": coded(draws.whole(len(row), 0, len(CAMPAIGNS)), CAMPAIGNS),
        },
    )


def write_activities(output: Output, deals: Deals, first: int, world: World, draws: Draws) -> int:
    """Calls, e-mails and meetings on deals that were open since the calendar was connected."""
    opened = np.maximum(deals.start, ticks_from_day(np.array([day_number(ACTIVITIES_FROM)]))[0])
    end_tick = int(ticks_from_day(np.array([world.end_day + 1]))[0])
    done = (deals.stage >= OPEN_STAGES) | deals.is_deleted
    shut = np.where(done, deals.last_tick, end_tick)
    days = np.maximum(shut - opened, 0) / TICKS
    amount = (days * ACTIVITIES_PER_DAY + draws.uniform(len(days)) * (days > 0)).astype(np.int64)
    deal = np.repeat(np.arange(len(amount)), amount)
    tick = (opened[deal] + draws.uniform(len(deal)) * (shut - opened)[deal]).astype(np.int64)
    deal = deal[np.argsort(tick, kind="stable")]
    tick = np.sort(tick, kind="stable")
    owner = deals.owner[deal]
    present = world.team_on(owner, day_from_ticks(tick)) >= 0
    deal, tick, owner = deal[present], tick[present], owner[present]
    kind = draws.pick(len(deal), (0.34, 0.38, 0.28))
    copied = (kind == 2) & draws.happens(len(deal), 0.08)
    row = np.repeat(np.arange(len(deal)), 1 + copied)
    is_copy = np.append(False, row[1:] == row[:-1]) if len(row) else np.zeros(0, dtype=bool)
    team = np.maximum(world.team_on(owner, day_from_ticks(tick)), 0)
    boss = np.array(world.managers)[team]
    deal, tick, kind = deal[row], tick[row], kind[row]
    holder = np.where(is_copy & draws.happens(len(row), 0.5), boss[row], owner[row])
    started = instant_from_ticks(tick)
    minutes = np.where(
        kind == 2, np.array([30, 45, 60, 60])[draws.whole(len(row), 0, 4)], draws.whole(len(row), 3, 25)
    )
    minutes = np.where(is_copy, np.append(0, minutes[:-1]) if len(row) else minutes, minutes)
    outbound = draws.happens(len(row), 0.7)
    answered = started + (draws.exponential(len(row), 9) * 3_600).astype(np.int64)
    horizon = end_of_day(world.end_day)
    replied = (kind == 1) & outbound & draws.happens(len(row), 0.3) & (answered < horizon)
    inside = (kind == 2) & draws.happens(len(row), 0.15)
    inside = np.where(is_copy, np.append(False, inside[:-1]) if len(row) else inside, inside)
    output.write(
        "activities",
        {
            "activity_id": keys("AT", first + np.arange(len(row)), 8),
            "event_uid": keys("EV", first + row, 8),
            "owner_id": owner_keys(holder),
            "type": coded(kind, TYPES),
            "direction": coded(np.where(kind == 2, -1, outbound.astype(np.int64)), ["inbound", "outbound"]),
            "started_at": instants(started),
            "ended_at": instants(np.where(kind == 1, -1, started + minutes * 60)),
            "replied_at": instants(np.where(replied, answered, -1)),
            "opportunity_id": opportunity_keys(deals.number[deal]),
            "account_id": account_keys(deals.account[deal]),
            "lead_id": keys("LD", np.zeros(len(row), dtype=np.int64), 8, np.zeros(len(row), dtype=bool)),
            "is_customer_facing": flags(~inside),
        },
    )
    return len(row)


def write_territories(output: Output, deals: Deals, team: Ints, world: World, draws: Draws) -> None:
    """Who holds each account: the owner of its latest deal, and a colleague when that owner leaves."""
    row = np.lexsort((deals.start, deals.account))
    account, day = deals.account[row], day_from_ticks(deals.start[row])
    owner, place = deals.changes.owner[_first_rows(deals)][row], team[row]
    for _ in range(MOST_SUCCESSIONS):
        until = np.where(np.append(account[1:] == account[:-1], False), np.append(day[1:], 0), world.end_day)
        left = world.left_day[owner]
        gone = np.flatnonzero((left > day) & (left < until))
        if not len(gone):
            break
        heir = world.owner(place[gone], left[gone], draws)
        account, day = np.append(account, account[gone]), np.append(day, left[gone])
        owner, place = np.append(owner, heir), np.append(place, place[gone])
        order = np.lexsort((day, account))
        account, day, owner, place = account[order], day[order], owner[order], place[order]
    same_account = np.append(False, account[1:] == account[:-1])
    keep = ~(same_account & (np.append(-1, owner[:-1]) == owner))
    account, day, owner = account[keep], day[keep], owner[keep]
    keep = ~np.append((account[1:] == account[:-1]) & (day[1:] == day[:-1]), False)
    account, day, owner = account[keep], day[keep], owner[keep]
    until = np.where(np.append(account[1:] == account[:-1], False), np.append(day[1:], -1), -1)
    output.write(
        "territories",
        {
            "account_id": account_keys(account),
            "owner_id": owner_keys(owner),
            "valid_from_date": dates(day),
            "valid_to_date": dates(until),
            "kind": coded(np.zeros(len(day), dtype=np.int64), ["named account"]),
        },
    )
