"""The company behind the sample: products, stages, teams, people and who may own a new deal when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from salesops_kit.data.sample.draws import Draws, Ints
from salesops_kit.data.sample.names import person_names
from salesops_kit.data.sample.planted import Truths
from salesops_kit.data.sample.timeline import day_number, day_of
from salesops_kit.data.sample.write import Output, coded, dates, fixed, flags, keys, money, wholes, words

PIPELINE = "Sales"
STAGES = ["Prospecting", "Qualification", "Solution", "Proposal", "Negotiation", "Closed Won", "Closed Lost"]
STAGE_PROBABILITY = [0.10, 0.20, 0.35, 0.50, 0.75, 1.0, 0.0]
STAGE_CATEGORY = ["Pipeline", "Pipeline", "Pipeline", "Best Case", "Commit", "Closed", "Omitted"]
OPEN_STAGES, WON, LOST = 5, 5, 6

SEGMENTS = ["SMB", "Mid-Market", "Enterprise"]
CURRENCIES = ["USD", "EUR", "JPY"]
PRICE_BOOK = [1.0, 0.92, 150.0]

PRODUCTS = ["Core Platform", "Analytics Suite", "Automation Cloud", "Data Connect", "Onboarding Services"]
PRODUCT_IDS = ["P01", "P02", "P03", "P04", "P90"]
PRODUCT_FAMILIES = ["Platform", "Platform", "Platform", "Add-on", "Services"]
LIST_PRICES = [480, 360, 600, 240, 200]  # USD per seat and year; services per hour
PRODUCT_WEIGHTS = [0.40, 0.27, 0.21, 0.12]
PRODUCT_SIZE = [1.0, 0.8, 1.3, 0.6]
SERVICES = 4

_LEAVES = (
    ("US East", "Americas", "AMER", ("United States",), (0,)),
    ("US West", "Americas", "AMER", ("United States",), (0,)),
    ("Canada", "Americas", "AMER", ("Canada",), (0,)),
    ("EMEA North", "International", "EMEA", ("Germany", "Netherlands", "Finland", "Ireland"), (1, 1, 1, 1)),
    ("EMEA South", "International", "EMEA", ("France", "Italy", "Spain"), (1, 1, 1)),
    ("APAC", "International", "APAC", ("Japan", "South Korea", "China"), (2, 0, 0)),
)
PARENTS = ("Americas", "International")
COUNTRIES = sorted({country for leaf in _LEAVES for country in leaf[3]})

PINNED_SEATS = 3  # of each team stay as they are, as cases and moves are planted in them
_LONG_AGO = dt.date(2020, 2, 3)
NEVER = 2**40


@dataclass(frozen=True)
class Team:
    """One leaf team and the market that it sells to."""

    name: str
    parent: str
    region: str
    countries: tuple[str, ...]
    currencies: tuple[int, ...]


@dataclass
class Rep:
    """One person; days are since 1970, ``left`` is the first day away."""

    role: str
    team: int
    hired: int
    left: int = NEVER
    manager: int = -1
    stays: list[tuple[int, int, int]] = field(default_factory=list)


class World:
    """Teams and people of a company that works on about ``opportunities`` deals."""

    def __init__(self, opportunities: int, seed: int, truths: Truths) -> None:
        self.truths = truths
        self.end_day = day_number(truths.observed_until)
        extra = int((opportunities / 10_000) ** 0.5) - 1 if opportunities > 10_000 else 0
        count = min(40, len(_LEAVES) + extra)
        self.teams = [self._team(place) for place in range(count)]
        self.names = [team.name for team in self.teams]
        seats = max(4, min(opportunities // 200, 4_100) // count)
        self.reps: list[Rep] = []
        self.cases: dict[str, int] = {}
        draws = Draws(seed, 0)
        for team in range(count):
            self._hire_team(team, seats, draws)
        self._plant_people()
        self._transfer()
        self._promote_leaders(draws)
        self._build_pools()

    @staticmethod
    def _team(place: int) -> Team:
        name, parent, region, countries, currencies = _LEAVES[place % len(_LEAVES)]
        round_ = place // len(_LEAVES)
        return Team(f"{name} {round_ + 1}" if round_ else name, parent, region, countries, currencies)

    def _hire_team(self, team: int, seats: int, draws: Draws) -> None:
        first, end = day_number(self.truths.first_day), self.end_day
        grown = draws.happens(seats, 0.15)
        leaves = draws.happens(seats, 0.45)
        when = draws.uniform(seats)
        before = draws.whole(seats, 30, 1_200)
        gap = draws.whole(seats, 15, 80)
        for seat in range(seats):
            pinned = seat < PINNED_SEATS
            hired = first - int(before[seat])
            if grown[seat] and not pinned:
                hired = _payday(first + int(when[seat] * 0.6 * (end - first)))
            rep = Rep("Account Executive", team, hired)
            self.reps.append(rep)
            if leaves[seat] and not pinned:
                rep.left = _payday(max(hired + 200, first + 200 + int(when[seat] * (end - first - 400))))
                back = _payday(rep.left + int(gap[seat]))
                if back < end - 60:
                    self.reps.append(Rep("Account Executive", team, back))

    def _seat(self, team: str, seat: int) -> int:
        place = self.names.index(team)
        return [number for number, rep in enumerate(self.reps) if rep.team == place][seat]

    def _plant_people(self) -> None:
        def hire(team: str, day: dt.date) -> int:
            self.reps.append(Rep("Account Executive", self.names.index(team), day_number(day)))
            return len(self.reps) - 1

        leaver = self._seat("US West", 0)
        self.reps[leaver].left = day_number(dt.date(2026, 6, 17))
        self.cases = {
            "sandbagger": self._seat("US East", 0),
            "leaver_mid_quarter": leaver,
            "ramp_hire": hire("EMEA North", dt.date(2026, 2, 16)),
            "draw": hire("Canada", dt.date(2026, 5, 18)),
            "leave": self._seat("APAC", 0),
        }
        hire("US West", dt.date(2026, 8, 17))

    def _transfer(self) -> None:
        moved: dict[int, list[tuple[int, int]]] = {}
        moves = [(self.truths.reorganisation, move) for move in self.truths.reorganisation_moves]
        moves.append((self.truths.late_transfer, self.truths.late_transfer_move))
        for day, (source, target) in moves:
            place = self.names.index(source)
            taken = set(moved) | set(self.cases.values())
            number = next(
                n
                for n, rep in enumerate(self.reps)
                if rep.team == place and n not in taken and rep.left == NEVER
            )
            moved[number] = [(day_number(day), self.names.index(target))]
        self.movers = sorted(moved)
        self.cases["mid_period_transfer"] = max(moved, key=lambda n: moved[n][0][0])
        for number, rep in enumerate(self.reps):
            start, team = rep.hired, rep.team
            for moved_on, next_team in moved.get(number, []):
                rep.stays.append((team, start, moved_on))
                start, team = moved_on, next_team
            rep.stays.append((team, start, rep.left))

    def _promote_leaders(self, draws: Draws) -> None:
        self.sellers = len(self.reps)
        hired = day_number(_LONG_AGO)
        self.managers = list(range(self.sellers, self.sellers + len(self.teams)))
        directors = {name: self.managers[-1] + 1 + place for place, name in enumerate(PARENTS)}
        self.chief = self.managers[-1] + 1 + len(PARENTS)
        for rep in self.reps:
            rep.manager = self.managers[rep.stays[-1][0]]
        for place, team in enumerate(self.teams):
            leader = Rep(
                "Manager", place, hired + int(draws.whole(1, 0, 900)[0]), manager=directors[team.parent]
            )
            leader.stays = [(place, leader.hired, NEVER)]
            self.reps.append(leader)
        self.reps += [Rep("Director", -1, hired, manager=self.chief) for _ in PARENTS]
        self.reps.append(Rep("Vice President", -1, hired))

    def _build_pools(self) -> None:
        sellers = self.reps[: self.sellers]
        edges = {edge for rep in self.reps for stay in rep.stays for edge in stay[1:]}
        self.epochs = np.array(sorted(edge for edge in edges if edge < NEVER), dtype=np.int64)
        members: list[list[list[int]]] = [[[] for _ in self.epochs] for _ in self.teams]
        for number, rep in enumerate(sellers):
            for team, start, stop in rep.stays:
                low = int(np.searchsorted(self.epochs, start))
                high = int(np.searchsorted(self.epochs, stop))
                for epoch in range(low, high):
                    members[team][epoch].append(number)
        widest = max(len(pool) for team in members for pool in team)
        self.membership = np.full((len(self.reps), len(self.epochs)), -1, dtype=np.int64)
        for number, rep in enumerate(self.reps):
            for team, start, stop in rep.stays:
                low, high = np.searchsorted(self.epochs, (start, stop))
                self.membership[number, low:high] = team
        self.pool_size = np.array([[len(pool) for pool in team] for team in members], dtype=np.int64)
        self.pool = np.full((len(self.teams), len(self.epochs), widest), -1, dtype=np.int64)
        for team, pools in enumerate(members):
            for epoch, pool in enumerate(pools):
                self.pool[team, epoch, : len(pool)] = pool
        self.left_day = np.array([rep.left for rep in self.reps], dtype=np.int64)
        self.hired_day = np.array([rep.hired for rep in self.reps], dtype=np.int64)

    def owner(self, team: Ints, day: Ints, draws: Draws) -> Ints:
        """A seller drawn evenly from those in each team on each day."""
        epoch = np.maximum(np.searchsorted(self.epochs, day, side="right") - 1, 0)
        size = self.pool_size[team, epoch]
        assert (size > 0).all(), "a team has nobody to own a deal"
        return self.pool[team, epoch, (draws.uniform(len(team)) * size).astype(np.int64)]

    def team_on(self, owner: Ints, day: Ints) -> Ints:
        """The team of each owner on each day; -1 where there is none."""
        epoch = np.searchsorted(self.epochs, day, side="right") - 1
        return np.where(epoch >= 0, self.membership[owner, epoch], -1)

    def write(self, output: Output) -> None:
        """The tables of products, stages, teams, reps and memberships."""
        output.write(
            "products",
            {
                "product_id": words(PRODUCT_IDS),
                "name": words(PRODUCTS),
                "family": words(PRODUCT_FAMILIES),
                "list_price": money(np.array(LIST_PRICES) * 100),
                "currency": words(["USD"] * len(PRODUCTS)),
            },
        )
        order = sorted(range(len(STAGES)), key=lambda place: STAGES[place])
        output.write(
            "stages",
            {
                "pipeline": words([PIPELINE] * len(STAGES)),
                "stage": words([STAGES[place] for place in order]),
                "position": wholes(np.array(order) + 1),
                "is_closed": flags(np.array(order) >= OPEN_STAGES),
                "is_won": flags(np.array(order) == WON),
                "default_probability": fixed(np.array(STAGE_PROBABILITY)[order], 2),
                "forecast_category": words([STAGE_CATEGORY[place] for place in order]),
            },
        )
        rows: list[tuple[str, str | None, str | None]] = [
            (team.name, team.parent, team.region) for team in self.teams
        ]
        rows += [("Americas", None, "AMER"), ("International", None, None)]
        rows.sort(key=lambda row: row[0])
        output.write(
            "teams",
            {
                "team": words([row[0] for row in rows]),
                "parent_team": words([row[1] for row in rows]),
                "region": words([row[2] for row in rows]),
            },
        )
        self._write_people(output)

    def _write_people(self, output: Output) -> None:
        count = len(self.reps)
        numbers = np.arange(count, dtype=np.int64)
        manager = np.array([rep.manager for rep in self.reps], dtype=np.int64)
        left = np.where(self.left_day <= self.end_day, self.left_day, -1)
        output.write(
            "reps",
            {
                "owner_id": owner_keys(numbers),
                "employee_id": keys("E", numbers + 20_001, 6),
                "name": person_names(numbers),
                "role": words([rep.role for rep in self.reps]),
                "segment": words(["Commercial" if n < self.sellers else None for n in range(count)]),
                "is_quota_carrying": flags(numbers < self.sellers),
                "hired_date": dates(self.hired_day),
                "left_date": dates(left),
                "manager_id": owner_keys(manager),
                "country": words(
                    [self.teams[rep.team].countries[0] if rep.team >= 0 else None for rep in self.reps]
                ),
            },
        )
        stays = [(n, *stay) for n, rep in enumerate(self.reps) for stay in rep.stays]
        stop = np.array([stay[3] for stay in stays], dtype=np.int64)
        output.write(
            "team_memberships",
            {
                "owner_id": owner_keys(np.array([stay[0] for stay in stays])),
                "team": coded(np.array([stay[1] for stay in stays]), self.names),
                "valid_from_date": dates(np.array([stay[2] for stay in stays])),
                "valid_to_date": dates(np.where(stop <= self.end_day, stop, -1)),
            },
        )


def owner_keys(numbers: Ints) -> pa.Array:
    """Owner ids such as ``U0012``; a negative number is null."""
    return keys("U", numbers + 1, 5, numbers >= 0)


def _payday(day: int) -> int:
    """The 1st or 16th of the month of ``day``, when people start and leave."""
    date = day_of(day)
    return day_number(date.replace(day=1 if date.day < 16 else 16))
