"""The life of a block of accounts: attempts, first sale, terms, expansions, renewals and churn."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salesops_kit.data.sample.draws import Draws, Floats, Ints
from salesops_kit.data.sample.paths import Paths, hasten, join, renewal_paths, sales_paths
from salesops_kit.data.sample.timeline import (
    TICKS,
    day_from_month,
    day_from_ticks,
    day_number,
    month_from_day,
    ticks_from_day,
)
from salesops_kit.data.sample.world import (
    PRICE_BOOK,
    PRODUCT_SIZE,
    PRODUCT_WEIGHTS,
    WON,
    World,
)

NEW, EXPANSION, RENEWAL = 0, 1, 2
TYPES = ["new", "expansion", "renewal"]
SEGMENT_WEIGHTS = (0.50, 0.33, 0.17)
SEGMENT_MEDIANS = (11_000.0, 34_000.0, 105_000.0)  # USD a year
TERM_MONTHS, TERM_WEIGHTS = np.array([6, 12, 24]), (0.16, 0.70, 0.14)
STEP_CENTS = np.array([5, 100, 100_000])  # amounts come in 5 cents, whole euros, 1,000 yen
MOST_ROUNDS = 16


@dataclass
class Block:
    """Accounts, deals and terms of one block; deals refer to accounts, terms to both, by position."""

    accounts: dict[str, Ints]
    deals: dict[str, Any]
    paths: Paths
    terms: dict[str, Any]


def round_amount(local: Floats, currency: Ints) -> Ints:
    """Cents of an amount in its currency, in that currency's usual steps and at least one step."""
    step = STEP_CENTS[currency]
    return np.maximum(np.rint(local * 100 / step).astype(np.int64), 1) * step


def make_accounts(count: int, world: World, draws: Draws) -> dict[str, Ints]:
    """Market, size and first contact of each account."""
    team = draws.whole(count, 0, len(world.teams))
    place = draws.uniform(count)
    market = np.array([len(t.countries) for t in world.teams])[team]
    country = (place * market).astype(np.int64)
    currency = np.array([[*t.currencies, *[0] * (4 - len(t.currencies))] for t in world.teams])[team, country]
    segment = draws.pick(count, SEGMENT_WEIGHTS)
    first, end = day_number(world.truths.first_day), world.end_day
    early = draws.happens(count, 0.28)
    reach = np.where(early, draws.uniform(count, 0, 0.25), draws.uniform(count, 0, 1))
    return {
        "team": team,
        "country": country,
        "currency": currency,
        "segment": segment,
        "first_day": first + (reach * (end - first)).astype(np.int64),
    }


class Lifecycle:
    """Simulates a block of accounts round by round: one attempt or one term each."""

    def __init__(self, accounts: dict[str, Ints], world: World, draws: Draws) -> None:
        self.accounts, self.world, self.truths, self.draws = accounts, world, world.truths, draws
        self.end_month = int(month_from_day(np.array([world.end_day]))[0])
        self.end_tick = int(ticks_from_day(np.array([world.end_day + 1]))[0])
        self._deals: dict[str, list[NDArray[Any]]] = defaultdict(list)
        self._terms: dict[str, list[NDArray[Any]]] = defaultdict(list)
        self._paths: list[tuple[Paths, Ints]] = []
        self._count = 0

    def run(self) -> Block:
        """Every deal and term of the block, also those after the end of the data."""
        size = len(self.accounts["team"])
        state = {
            "next_tick": ticks_from_day(self.accounts["first_day"])
            + (self.draws.uniform(size) * TICKS).astype(np.int64),
            "alive": np.ones(size, dtype=bool),
            "customer": np.zeros(size, dtype=bool),
            "chain": np.zeros(size, dtype=np.int64),
            "acv": np.zeros(size, dtype=np.int64),
            "deal": np.full(size, -1),
            "product": np.zeros(size, dtype=np.int64),
            "term": np.zeros(size, dtype=np.int64),
            "start": np.zeros(size, dtype=np.int64),
            "fresh": np.zeros(size, dtype=bool),
        }
        for _ in range(MOST_ROUNDS):
            known = np.where(
                state["customer"], state["start"] <= self.end_month, state["next_tick"] < self.end_tick
            )
            active = np.flatnonzero(state["alive"] & known)
            if not len(active):
                break
            buyers = state["customer"][active]
            self._attempt(state, active[~buyers])
            self._serve(state, active[buyers])
        deals = {name: np.concatenate(parts) for name, parts in self._deals.items()}
        terms = {name: np.concatenate(parts) for name, parts in self._terms.items()} if self._terms else {}
        return Block(self.accounts, deals, join(self._paths), terms)

    def _open(self, account: Ints, kind: int, start: Ints, amount: Ints, product: Ints, term: Ints) -> Ints:
        """Record new deals and return their numbers."""
        number = np.arange(self._count, self._count + len(account))
        self._count += len(account)
        values = {
            "account": account,
            "type": np.full(len(account), kind),
            "start": start,
            "amount": amount,
            "product": product,
            "term": term,
        }
        for name, value in values.items():
            self._deals[name].append(value)
        return number

    def _sales(self, account: Ints, start: Ints) -> Paths:
        bottleneck = self.world.names.index(self.truths.bottleneck_team)
        pace = np.array(self.truths.segment_pace)[self.accounts["segment"][account]]
        first = self.draws.happens(len(account), 0.15).astype(np.int64)
        team = self.accounts["team"][account]
        return sales_paths(start, first, team == bottleneck, pace, self.truths, self.draws)

    def _attempt(self, state: dict[str, Any], account: Ints) -> None:
        """One new-business deal of each prospect, and what follows from its end."""
        count, draws = len(account), self.draws
        start = state["next_tick"][account]
        segment, currency = self.accounts["segment"][account], self.accounts["currency"][account]
        product = draws.pick(count, PRODUCT_WEIGHTS)
        usd = (
            np.array(SEGMENT_MEDIANS)[segment] * np.array(PRODUCT_SIZE)[product] * draws.lognormal(count, 0.6)
        )
        amount = round_amount(usd * np.array(PRICE_BOOK)[currency], currency)
        term = TERM_MONTHS[draws.pick(count, TERM_WEIGHTS)]
        paths = self._sales(account, start)
        number = self._open(account, NEW, start, amount, product, term)
        self._paths.append((paths, number))
        won = paths.outcome == WON
        buyer = account[won]
        state["customer"][buyer], state["fresh"][buyer] = True, True
        state["chain"][buyer] += 1
        for name, value in (("acv", amount), ("product", product), ("term", term), ("deal", number)):
            state[name][buyer] = value[won]
        state["start"][buyer] = month_from_day(day_from_ticks(paths.closed[won])) + 1
        loser = account[~won]
        state["alive"][loser] = draws.happens(len(loser), 0.80)
        state["next_tick"][loser] = paths.closed[~won] + (draws.exponential(len(loser), 110) * TICKS).astype(
            np.int64
        )

    def _serve(self, state: dict[str, Any], account: Ints) -> None:
        """One term of each customer: usage, an expansion, and renewal or churn at its end."""
        count, draws, truths = len(account), self.draws, self.truths
        start, term = state["start"][account], state["term"][account]
        end = start + term
        falls = draws.happens(count, truths.usage_drop_rate)
        churns = draws.happens(count, np.where(falls, truths.churn_after_drop, truths.churn_otherwise))
        leaves_early = state["fresh"][account] & draws.happens(count, truths.early_churn_rate)
        acv, grown_at, grown_by, grown_deal = self._expand(state, account, falls, leaves_early)
        last = np.where(leaves_early, start + draws.whole(count, 1, 4), end)
        churns |= leaves_early
        managed = draws.happens(count, 0.35) & ~leaves_early & (term >= 12)
        deal = self._renew(state, account, end, acv, managed, churns)
        notice_day = day_from_month(last) - draws.whole(count, 20, 55)
        notice_day = np.maximum(notice_day, day_from_month(start) + 1)
        self._terms_append(
            account=account,
            chain=state["chain"][account],
            product=state["product"][account],
            start=start,
            term_end=end,
            last=last,
            churned=churns,
            falls=falls,
            fresh=state["fresh"][account],
            early=leaves_early,
            notice_day=np.where(churns, notice_day, -1),
            renewal=deal,
            acv=state["acv"][account],
            deal=state["deal"][account],
            grown_at=grown_at,
            grown_by=grown_by,
            grown_deal=grown_deal,
        )
        self._next_term(state, account, churns, last, acv, deal)

    def _expand(
        self, state: dict[str, Any], account: Ints, falls: NDArray[np.bool_], leaves: NDArray[np.bool_]
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Expansion deals in the first third of a term; the annual value at its end, and the step."""
        count, draws = len(account), self.draws
        start, term = state["start"][account], state["term"][account]
        acv = state["acv"][account].copy()
        grown_at, grown_by, grown_deal = (
            np.full(count, -1),
            np.zeros(count, dtype=np.int64),
            np.full(count, -1),
        )
        wants = draws.happens(count, np.where(falls, 0.15, 0.45)) & (term >= 12) & ~leaves
        begins = ticks_from_day(
            day_from_month(start) + (draws.uniform(count) * term * 10).astype(np.int64)
        ) + (draws.uniform(count) * TICKS).astype(np.int64)
        rows = np.flatnonzero(wants & (begins < self.end_tick))
        if not len(rows):
            return acv, grown_at, grown_by, grown_deal
        buyer, begin = account[rows], begins[rows]
        currency = self.accounts["currency"][buyer]
        product = draws.pick(len(rows), (0.25, 0.25, 0.20, 0.30))
        wanted = acv[rows] / 100 * 0.40 * draws.lognormal(len(rows), 0.5)
        amount = round_amount(wanted, currency)
        latest = ticks_from_day(day_from_month(start[rows] + term[rows]) - 45)
        paths = hasten(self._sales(buyer, begin), begin, latest)
        number = self._open(buyer, EXPANSION, begin, amount, product, term[rows])
        self._paths.append((paths, number))
        won = paths.outcome == WON
        done = rows[won]
        acv[done] += amount[won]
        grown_at[done] = month_from_day(day_from_ticks(paths.closed[won])) + 1
        grown_by[done], grown_deal[done] = amount[won], number[won]
        return acv, grown_at, grown_by, grown_deal

    def _renew(
        self, state: dict[str, Any], account: Ints, end: Ints, acv: Ints, managed: NDArray[np.bool_],
        churns: NDArray[np.bool_],
    ) -> Ints:  # fmt: skip
        """Renewal deals of the accounts that do not renew by themselves."""
        draws = self.draws
        deadline = ticks_from_day(day_from_month(end) - 3)
        begin = deadline - (draws.uniform(len(account), 40, 75) * TICKS).astype(np.int64)
        rows = np.flatnonzero(managed & (begin < self.end_tick))
        deal = np.full(len(account), -1)
        if len(rows):
            paths = renewal_paths(begin[rows], deadline[rows], ~churns[rows], draws)
            buyer = account[rows]
            deal[rows] = self._open(
                buyer, RENEWAL, begin[rows], acv[rows], state["product"][buyer], state["term"][buyer]
            )
            self._paths.append((paths, deal[rows]))
        return deal

    def _next_term(
        self,
        state: dict[str, Any],
        account: Ints,
        churns: NDArray[np.bool_],
        last: Ints,
        acv: Ints,
        deal: Ints,
    ) -> None:
        draws, count = self.draws, len(account)
        shrinks = draws.happens(count, 0.12) & (deal < 0)
        factor = np.where(
            shrinks, draws.uniform(count, 0.55, 0.9), 1 + np.maximum(draws.uniform(count, -0.04, 0.07), 0)
        )
        factor = np.where(deal < 0, factor, 1.0)
        currency = self.accounts["currency"][account]
        state["acv"][account] = round_amount(acv / 100 * factor, currency)
        state["start"][account], state["fresh"][account] = last, False
        state["deal"][account] = np.where(deal >= 0, deal, state["deal"][account])
        gone = account[churns]
        state["customer"][gone] = False
        state["alive"][gone] = draws.happens(len(gone), 0.25)
        away = (draws.uniform(len(gone), 60, 240) * TICKS).astype(np.int64)
        state["next_tick"][gone] = ticks_from_day(day_from_month(last[churns])) + away

    def _terms_append(self, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self._terms[name].append(value)
