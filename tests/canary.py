"""A small company in which every row's text names the team that may see it.

Five teams, a reorganisation, deals that change hands: any word ``<team>only`` that turns up in
another team's report has leaked. What travels with a deal or a rep (its id, its account) has a
neutral name.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

TEAMS = ("ash", "birch", "cedar", "dogwood", "elm")
MOVER = "mover"
START = dt.date(2026, 1, 5)
REORGANISED = dt.date(2026, 5, 1)
SETTINGS = """\
name: canary
zone: Europe/Berlin
fiscal_start_month: 1
base_currency: EUR
first_qualified_stage: Qualify
observed_until: 2026-06-30
"""
STAGES = (
    ("Qualify", 1, "", ""),
    ("Propose", 2, "", ""),
    ("Won", 3, "true", "true"),
    ("Lost", 4, "true", "false"),
)


def mark(team: str, thing: str) -> str:
    """A text that only ``team`` may see."""
    return f"{thing}-{team}only"


def team_of(owner: str, day: dt.date) -> str:
    """The team of a rep on a day; the mover goes from ash to birch."""
    if owner == MOVER:
        return "ash" if day < REORGANISED else "birch"
    return owner.removesuffix("only").rpartition("-")[2]


def write_company(folder: Path, *, deals_per_team: int = 24) -> None:
    """Write the company's canonical CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yml").write_text(SETTINGS, encoding="utf-8")
    reps = [mark(team, f"rep{n}") for team in TEAMS for n in range(3)]
    reps[2] = MOVER
    _write(folder, "stages", ("stage", "position", "is_closed", "is_won"), STAGES)
    _write(folder, "teams", ("team", "parent_team"), [(team, "woods") for team in TEAMS])
    _write(folder, "reps", ("owner_id", "name"), [(rep, f"Name of {rep}") for rep in reps])
    stays = []
    for rep in reps:
        first, last = team_of(rep, START), team_of(rep, dt.date(2026, 6, 30))
        stays.append((rep, first, "", REORGANISED.isoformat() if first != last else ""))
        if first != last:
            stays.append((rep, last, REORGANISED.isoformat(), ""))
    _write(folder, "team_memberships", ("owner_id", "team", "valid_from_date", "valid_to_date"), stays)
    _write_deals(folder, reps, deals_per_team)


def _write_deals(folder: Path, reps: Sequence[str], deals_per_team: int) -> None:
    deals, history, accounts, activities = [], [], [], []
    for number in range(deals_per_team * len(TEAMS)):
        rep = reps[number % len(reps)]
        home = team_of(rep, START)
        travels = number % 5 == 0 or rep == MOVER
        deal = f"deal{number:04d}"
        account = f"account{number:04d}" if travels else mark(home, f"account{number:04d}")
        day = START + dt.timedelta(number % 90)
        close = day + dt.timedelta(20 + number % 60)
        stage, owner = "Qualify", rep
        amount = 1000 + 10 * number
        steps = [(day, "Qualify", rep, amount)]
        if number % 5 == 0:
            # The next rep of another team takes the deal over, at an amount only that team knows.
            owner = reps[(number + 4) % len(reps)]
            steps.append((day + dt.timedelta(8), "Qualify", owner, amount + 7))
            amount += 7
        if number % 3:
            stage = "Propose"
            steps.append((day + dt.timedelta(12), stage, owner, amount))
        if number % 4:
            stage = "Won" if number % 4 != 3 else "Lost"
            steps.append((close, stage, owner, amount))
        last = team_of(owner, close if stage in ("Won", "Lost") else dt.date(2026, 6, 30))
        history += [(deal, f"{d}T09:00:00Z", s, a, close, o) for d, s, o, a in steps]
        note = mark(last, f"note{number:04d}")
        deals.append((deal, account, owner, account, day, close, stage, amount, note, mark(last, "route")))
        accounts.append((account, f"Name of {account}"))
        activities.append(
            (mark(team_of(rep, day), f"call{number:04d}"), rep, "call", f"{day}T10:00:00Z", deal)
        )
    columns = (
        "opportunity_id", "account_id", "owner_id", "name", "created_date", "close_date", "stage", "amount",
        "next_step", "route",
    )  # fmt: skip
    _write(folder, "opportunities", columns, deals)
    names = ("opportunity_id", "changed_at", "stage", "amount", "close_date", "owner_id")
    _write(folder, "opportunity_history", names, history)
    _write(folder, "accounts", ("account_id", "name"), accounts)
    _write(
        folder, "activities", ("activity_id", "owner_id", "type", "started_at", "opportunity_id"), activities
    )


def _write(folder: Path, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def foreign_marks(team: str) -> Mapping[str, str]:
    """For each other team, the word that must not turn up in ``team``'s files."""
    return {other: f"{other}only" for other in TEAMS if other != team}
