"""What is recorded of people: compensation plans, absences and trainings."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from salesops_kit.data.sample.draws import Draws
from salesops_kit.data.sample.money import BASE_SCALE, Totals, seller_quotas
from salesops_kit.data.sample.timeline import (
    day_from_month,
    day_number,
    day_of,
    fiscal_year,
    month_from_day,
    quarter_label,
)
from salesops_kit.data.sample.world import NEVER, World, owner_keys
from salesops_kit.data.sample.write import Output, coded, dates, fixed, money, words

RAMP_MONTHS = 6
FISCAL_YEARS = (2024, 2025, 2026, 2027)
TARGET_VARIABLE, MANAGER_VARIABLE = 80_000, 95_000
LEAVE = (dt.date(2026, 8, 10), dt.date(2026, 10, 5))


def capped_case(totals: Totals) -> dict[str, Any]:
    """The seller with the highest attainment of a quarter in the current year, put on a capped plan."""
    world, quota = totals.world, seller_quotas(totals)
    booked = totals.by_owner[: world.sellers] / BASE_SCALE
    year = fiscal_year(totals.quarters) == fiscal_year(np.array([totals.last_quarter]))[0]
    open_to = np.ones(world.sellers, dtype=bool)
    open_to[[number for name, number in world.cases.items()]] = False
    full = (quota == quota.max(axis=0)) & open_to[:, None] & year & (totals.quarters <= totals.last_quarter)
    attainment = np.where(full & (quota > 0), booked / np.maximum(quota, 1), -1.0)
    seller, place = np.unravel_index(int(np.argmax(attainment)), attainment.shape)
    return {
        "kind": "cap",
        "owner": int(seller),
        "quarter": quarter_label(int(totals.quarters[place])),
        "attainment": round(float(attainment[seller, place]), 4),
    }


def write_plans(output: Output, world: World, capped: int) -> None:
    """Compensation plans by fiscal year: new hires ramp, one draws, one is capped, managers differ."""
    truths = world.truths
    rows: list[tuple[int, str, int, int, int]] = []
    origin = day_number(truths.first_day)
    for owner, rep in enumerate(world.reps):
        if not rep.stays:
            continue
        special = rep.hired
        if rep.hired >= origin:
            month = int(month_from_day(np.array([rep.hired]))[0]) + RAMP_MONTHS
            special = int(day_from_month(np.array([month]))[0]) + day_of(rep.hired).day - 1
        first_plan = truths.draw_plan if owner == world.cases["draw"] else truths.ramp_plan
        for year in FISCAL_YEARS:
            opens = max(day_number(dt.date(year - 1, 2, 1)), origin, rep.hired)
            shuts = min(day_number(dt.date(year, 2, 1)), rep.left)
            usual = truths.manager_plan if rep.role == "Manager" else truths.standard_plan
            if owner == capped and year == FISCAL_YEARS[-1]:
                usual = truths.cap_plan
            variable = MANAGER_VARIABLE if rep.role == "Manager" else TARGET_VARIABLE
            variable += 2_500 * (year - FISCAL_YEARS[0])
            middle = min(max(special, opens), shuts)
            if opens < middle:
                rows.append((owner, first_plan, opens, middle, variable))
            if middle < shuts:
                rows.append((owner, usual, middle, shuts, variable))
    output.write(
        "comp_assignments",
        {
            "owner_id": owner_keys(np.array([row[0] for row in rows])),
            "plan": words([row[1] for row in rows]),
            "valid_from_date": dates(np.array([row[2] for row in rows])),
            "valid_to_date": dates(np.array([row[3] for row in rows])),
            "target_variable": money(np.array([row[4] for row in rows]) * 100),
            "currency": words(["USD"] * len(rows)),
        },
    )


def write_absences(output: Output, world: World, draws: Draws) -> None:
    """Holidays and sick days of sellers, and one long leave."""
    first = day_number(world.truths.first_day)
    each = 9
    owner = np.repeat(np.arange(world.sellers), each)
    start = draws.whole(len(owner), first, world.end_day - 15)
    sick = draws.happens(len(owner), 0.3)
    length = np.where(sick, draws.whole(len(owner), 1, 4), draws.whole(len(owner), 5, 12))
    there = (start >= world.hired_day[owner]) & (start + length <= world.left_day[owner])
    owner, start, stop = owner[there], start[there], (start + length)[there]
    kind = np.where(sick[there], 1, 0)
    leave = [day_number(day) for day in LEAVE]
    case = world.cases["leave"]
    clear = (owner != case) | (stop <= leave[0]) | (start >= leave[1])
    owner, start = np.append(owner[clear], case), np.append(start[clear], leave[0])
    stop, kind = np.append(stop[clear], leave[1]), np.append(kind[clear], 2)
    order = np.lexsort((start, owner))
    output.write(
        "absences",
        {
            "owner_id": owner_keys(owner[order]),
            "from_date": dates(start[order]),
            "to_date": dates(stop[order]),
            "kind": coded(kind[order], ["holiday", "sick", "parental leave"]),
        },
    )


def write_trainings(output: Output, world: World, draws: Draws) -> None:
    """Onboarding of new hires and one course a year; scores say nothing about results."""
    first = day_number(world.truths.first_day)
    rows: list[tuple[int, int, int]] = []
    jitter = draws.whole(world.sellers * len(FISCAL_YEARS), 20, 330).reshape(world.sellers, -1)
    for owner in range(world.sellers):
        hired, left = int(world.hired_day[owner]), int(min(world.left_day[owner], NEVER))
        if hired >= first:
            rows.append((owner, hired + 10, 0))
        for place, year in enumerate(FISCAL_YEARS):
            day = day_number(dt.date(year - 1, 2, 1)) + int(jitter[owner, place])
            if max(hired + 30, first) <= day <= min(left - 1, world.end_day):
                rows.append((owner, day, 1 + (owner + place) % 3))
    rows = sorted(row for row in rows if row[1] <= world.end_day)
    output.write(
        "trainings",
        {
            "owner_id": owner_keys(np.array([row[0] for row in rows])),
            "trained_date": dates(np.array([row[1] for row in rows])),
            "kind": coded(
                np.array([row[2] for row in rows]),
                ["onboarding", "discovery", "negotiation", "product update"],
            ),
            "score": fixed(np.rint(np.clip(80 + 9 * draws.normal(len(rows)), 40, 100)), 0),
        },
    )
