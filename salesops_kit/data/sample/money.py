"""What the company measures money with: exchange rates, totals, quotas, plan, spend, control totals."""

from __future__ import annotations

import numpy as np

from salesops_kit.data.sample.deals import Deals, opportunity_keys
from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.timeline import (
    day_from_month,
    day_number,
    fiscal_year,
    month_from_day,
    quarter_from_day,
    quarter_from_month,
    quarter_label,
    quarter_start,
)
from salesops_kit.data.sample.world import CURRENCIES, World, owner_keys
from salesops_kit.data.sample.write import Output, coded, dates, fixed, flags, money, words

FIRST_RATE_YEAR = 2024
PLAN_RATES = {  # USD for one unit, in ten-thousandths, by fiscal year from FY2024
    "EUR": (10_800, 10_850, 10_700, 11_200),
    "JPY": (72, 67, 66, 69),
}
BASE_SCALE = 10_000
FIRST_REPORTED_QUARTER = "2025-Q1"
DASHBOARD = "crm dashboard"
TEAM_QUOTA_SHARE = 0.92
ROUND_QUOTA = 5_000
WEEKS = 14


def plan_rates(quarters: Ints, currency: Ints) -> Ints:
    """Ten-thousandths of a dollar per unit at the plan rate of the quarter's fiscal year."""
    table = np.array([[BASE_SCALE] * len(PLAN_RATES["EUR"]), PLAN_RATES["EUR"], PLAN_RATES["JPY"]])
    year = np.clip(fiscal_year(quarters) - FIRST_RATE_YEAR, 0, table.shape[1] - 1)
    return table[currency, year]


def base_amount(cents: Ints, currency: Ints, day: Ints) -> Ints:
    """Ten-thousandths of a dollar; exact, as euros come whole and yen in thousands."""
    return cents * plan_rates(quarter_from_day(day), currency) // 100


class Totals:
    """Bookings by owner, team and time, added up while the blocks go by."""

    def __init__(self, world: World) -> None:
        self.world = world
        start = np.array([day_number(world.truths.first_day), world.end_day])
        self.first_quarter, self.last_quarter = (int(q) for q in quarter_from_day(start))
        self.quarters = np.arange(self.first_quarter, self.last_quarter + 2)
        people = len(world.reps)
        self.by_owner = np.zeros((people, len(self.quarters)), dtype=np.int64)
        self.by_team = np.zeros((len(world.teams), len(self.quarters)), dtype=np.int64)
        self.by_week = np.zeros((people, len(self.quarters), WEEKS), dtype=np.int64)

    def add(self, deals: Deals) -> None:
        """Count a block's won deals at their closing date, in base currency."""
        won = deals.is_won
        day, owner = deals.close_day[won], deals.owner[won]
        value = base_amount(deals.amount[won], deals.currency[won], day)
        quarter = quarter_from_day(day) - self.first_quarter
        np.add.at(self.by_owner, (owner, quarter), value)
        week = np.minimum((day - quarter_start(quarter + self.first_quarter)) // 7, WEEKS - 1)
        np.add.at(self.by_week, (owner, quarter, week), value)
        team = self.world.team_on(owner, day)
        np.add.at(self.by_team, (team[team >= 0], quarter[team >= 0]), value[team >= 0])

    def active_share(self) -> np.ndarray:
        """Share of each quarter that each seller was employed, sellers in rows."""
        starts, ends = quarter_start(self.quarters), quarter_start(self.quarters + 1)
        sellers = slice(0, self.world.sellers)
        begin = np.maximum(self.world.hired_day[sellers, None], starts)
        stop = np.minimum(self.world.left_day[sellers, None], ends)
        return np.clip((stop - begin) / (ends - starts), 0, 1)


def write_rates(output: Output, world: World, draws: Draws) -> None:
    """Monthly plan rates, constant within a fiscal year, and actual rates that wander around them."""
    first = int(month_from_day(np.array([day_number(world.truths.first_day)]))[0])
    last = int(month_from_day(np.array([world.end_day]))[0]) + 3
    months = np.arange(first, last + 1)
    quote, base, month, kind, rate = [], [], [], [], []
    for place, currency in enumerate(CURRENCIES):
        if currency == "USD":
            continue
        plan = plan_rates(quarter_from_month(months), np.full(len(months), place))
        drift = np.cumsum(draws.normal(len(months)) * 0.008)
        actual = np.rint(plan * (1 + drift) * 100).astype(np.int64)
        known = months <= last - 3
        for source, values, rows in (("actual", actual, known), ("plan", plan * 100, months > 0)):
            count = int(rows.sum())
            base += [currency] * count
            quote += ["USD"] * count
            month.append(months[rows])
            kind += [source] * count
            rate.append(values[rows])
    order = np.lexsort((np.array(kind), np.concatenate(month), np.array(base)))
    output.write(
        "fx_rates",
        {
            "base": words([base[place] for place in order]),
            "quote": words([quote[place] for place in order]),
            "month": dates(day_from_month(np.concatenate(month)[order])),
            "kind": words([kind[place] for place in order]),
            "rate": fixed(np.concatenate(rate)[order] / 1e6, 6),
        },
    )


def ramp_share(months_of_tenure: Ints) -> np.ndarray:
    """The share of a full quota that a new hire carries in the first months."""
    return np.array([0.0, 0.25, 0.5, 0.75, 1.0])[np.clip(months_of_tenure, 0, 4)]


def seller_quotas(totals: Totals) -> Ints:
    """Dollars per seller and quarter: the company's average per active seller, ramped, rounded."""
    share = totals.active_share()
    booked = totals.by_owner[: totals.world.sellers].sum(axis=0) / BASE_SCALE
    active = np.maximum(share.sum(axis=0), 0.5)
    years = fiscal_year(totals.quarters)
    level = np.zeros(len(years))
    for year in np.unique(years):
        rows = (years == year) & (totals.quarters <= totals.last_quarter)
        level[years == year] = booked[rows].sum() / active[rows].sum() * 1.03
    month = month_from_day(quarter_start(totals.quarters))
    tenure = month - month_from_day(totals.world.hired_day[: totals.world.sellers])[:, None]
    ramp = (ramp_share(tenure) + ramp_share(tenure + 1) + ramp_share(tenure + 2)) / 3
    quota = np.maximum(np.rint(level / ROUND_QUOTA), 1) * ROUND_QUOTA * ramp * (share > 0)
    return (np.rint(quota / 500) * 500).astype(np.int64)


def write_quotas(output: Output, totals: Totals) -> None:
    """Quotas of sellers and of teams (somewhat below the sum of their sellers), per quarter."""
    world, quota = totals.world, seller_quotas(totals)
    seller, place = np.nonzero(quota)
    middle = (quarter_start(totals.quarters) + quarter_start(totals.quarters + 1)) // 2
    team = world.team_on(seller, np.maximum(middle[place], world.hired_day[seller]))
    by_team = np.zeros((len(world.teams), len(totals.quarters)), dtype=np.int64)
    np.add.at(by_team, (team[team >= 0], place[team >= 0]), quota[seller, place][team >= 0])
    by_team = (np.rint(by_team * TEAM_QUOTA_SHARE / 1_000) * 1_000).astype(np.int64)
    group, when = np.nonzero(by_team)
    owner = np.concatenate([seller, np.full(len(group), -1)])
    name = np.concatenate([np.full(len(seller), -1), group])
    quarter = totals.quarters[np.concatenate([place, when])]
    output.write(
        "quotas",
        {
            "owner_id": owner_keys(owner),
            "team": coded(name, world.names),
            "period_start_date": dates(quarter_start(quarter)),
            "period_end_date": dates(quarter_start(quarter + 1)),
            "measure": words(["bookings"] * len(owner)),
            "quota": money(np.concatenate([quota[seller, place], by_team[group, when]]) * 100),
            "currency": words(["USD"] * len(owner)),
        },
    )


def write_plan(output: Output, totals: Totals, draws: Draws) -> None:
    """The budget of each team and quarter: last year's level with growth, apart from quotas."""
    world = totals.world
    years = fiscal_year(totals.quarters)
    season = np.array([0.92, 0.98, 1.0, 1.10])[totals.quarters % 4]
    level = np.zeros(totals.by_team.shape)
    for year in np.unique(years):
        rows = (years == year) & (totals.quarters <= totals.last_quarter)
        mean = totals.by_team[:, rows].sum(axis=1) / BASE_SCALE / rows.sum()
        level[:, years == year] = (mean * (1 + 0.08 * draws.normal(len(world.teams))))[:, None]
    amount = (np.rint(level * season / 5_000) * 5_000).astype(np.int64)
    team, place = np.nonzero(amount >= 0)
    output.write(
        "plan",
        {
            "team": coded(team, world.names),
            "period_start_date": dates(quarter_start(totals.quarters[place])),
            "measure": words(["bookings"] * len(team)),
            "amount": money(amount[team, place] * 100),
            "currency": words(["USD"] * len(team)),
        },
    )


def write_spend(output: Output, totals: Totals, draws: Draws) -> None:
    """Monthly sales cost, paid marketing and other marketing of each team."""
    world = totals.world
    first = int(month_from_day(np.array([day_number(world.truths.first_day)]))[0])
    months = np.arange(first, int(month_from_day(np.array([world.end_day]))[0]) + 1)
    teams = len(world.teams)
    level = totals.by_team.sum(axis=1) / BASE_SCALE / len(months)
    kinds = [("marketing", False, 0.10), ("marketing", True, 0.14), ("sales", False, 0.34)]
    month, team, kind = (
        grid.ravel() for grid in np.meshgrid(months, np.arange(teams), np.arange(3), indexing="ij")
    )
    share = np.array([kind[2] for kind in kinds])[kind]
    amount = np.rint(level[team] * share * (1 + 0.12 * draws.normal(len(team)))).astype(np.int64)
    output.write(
        "spend",
        {
            "month": dates(day_from_month(month)),
            "team": coded(team, world.names),
            "kind": coded(kind, [name for name, _, _ in kinds]),
            "is_paid": flags(np.array([paid for _, paid, _ in kinds])[kind]),
            "amount": money(np.maximum(amount, 0) * 100),
            "currency": words(["USD"] * len(team)),
        },
    )


def control_totals(totals: Totals) -> dict[str, int]:
    """Bookings per fiscal quarter in ten-thousandths of a dollar, from the first full year on."""
    booked = totals.by_owner.sum(axis=0)
    return {
        quarter_label(quarter): int(booked[place])
        for place, quarter in enumerate(totals.quarters.tolist())
        if quarter_label(quarter) >= FIRST_REPORTED_QUARTER and quarter <= totals.last_quarter
    }


def write_control_deals(output: Output, totals: Totals, deals: Deals) -> None:
    """The deals of a block that the dashboard counts in the last quarter."""
    quarter = quarter_from_day(deals.close_day)
    rows = np.flatnonzero(deals.is_won & (quarter == totals.last_quarter))
    value = base_amount(deals.amount[rows], deals.currency[rows], deals.close_day[rows])
    output.write(
        "control_deals",
        {
            "source": words([DASHBOARD] * len(rows)),
            "period": words([quarter_label(totals.last_quarter)] * len(rows)),
            "opportunity_id": opportunity_keys(deals.number[rows]),
            "value": fixed(value.astype(np.float64) / BASE_SCALE, 4),
        },
    )


def write_control_totals(output: Output, totals: Totals) -> None:
    """What the company's own dashboard shows as bookings, per quarter."""
    figures = control_totals(totals)
    output.write(
        "control_totals",
        {
            "source": words([DASHBOARD] * len(figures)),
            "period": words(list(figures)),
            "measure": words(["bookings"] * len(figures)),
            "value": fixed(np.array(list(figures.values()), dtype=np.float64) / BASE_SCALE, 4),
        },
    )
