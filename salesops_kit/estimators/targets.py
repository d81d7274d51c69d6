"""Bookings targets of teams and reps: from the plan, else from quotas, for any quarter."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence

import ibis.expr.types as ir
import pandas as pd

from salesops_kit import formats
from salesops_kit.data.engine import collect
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.settings import NO_TEAM, Settings

MEASURE = "bookings"
PLAN, TEAM_QUOTA, REP_QUOTAS, MIXED = "plan", "team quota", "rep quotas", "several"
# Amounts that start at most so many days apart are monthly, or quarterly; else they are yearly.
_MONTH, _QUARTER = 45, 120


def owner_targets(quotas: ir.Table | None, quarter: Period) -> pd.DataFrame:
    """Each rep's quota for the quarter: columns ``owner_id``, ``target``, ``target_source``.

    Only the measure bookings (or none at all) counts; a quota that covers more than the quarter counts
    by its days. Reps without a quota have no row.
    """
    found = _quotas(quotas, quarter)
    found = found[found["owner_id"].notna()]
    result = found.groupby("owner_id", as_index=False)["target"].sum()
    return result.assign(target_source=REP_QUOTAS)


def team_targets(
    plan: ir.Table | None,
    quotas: ir.Table | None,
    reps: ir.Table | None,
    memberships: ir.Table | None,
    quarter: Period,
    settings: Settings,
) -> pd.DataFrame:
    """Each team's bookings target for the quarter: columns ``team``, ``target``, ``target_source``.

    The plan's budget, where the team has none its own quota, where it has none either the sum of its
    reps' quotas, each in the team in which the rep was when the quota began. A rep who manages another
    rep with a quota is left out of that sum, as both would count the same deals, and so is a rep who was
    in no team. ``target_source`` says which of the three (``plan``, ``team quota``, ``rep quotas``). A team
    without any has no row; a row without a team is left out.
    """
    parts = [_planned(plan, quarter, settings).assign(target_source=PLAN)]
    found = _quotas(quotas, quarter)
    by_team = found[found["owner_id"].isna()].groupby("team", as_index=False)["target"].sum()
    parts.append(by_team.assign(target_source=TEAM_QUOTA))
    of_reps = found[found["owner_id"].notna()]
    if len(of_reps):
        of_reps = of_reps[~of_reps["owner_id"].isin(_managers(reps, of_reps["owner_id"]))]
        teams = _team_at(memberships, of_reps)
        summed = of_reps.assign(team=teams).groupby("team", as_index=False)["target"].sum()
        parts.append(summed.assign(target_source=REP_QUOTAS))
    every = pd.concat(parts, ignore_index=True)
    every = every[every["team"] != NO_TEAM]
    return every.drop_duplicates("team", ignore_index=True)[["team", "target", "target_source"]]


def whole_target(targets: pd.DataFrame, teams: ir.Table | None) -> tuple[float, str]:
    """The target of all teams together and its source; missing and empty when no team has one.

    A parent's target counts only where no team below it has one, so that nothing counts twice.
    """
    parents = _parents(teams)
    with_target = set(targets["team"])
    above: set[str] = set()
    for team in with_target:
        parent, seen = parents.get(team), {team}
        while parent and parent not in seen:
            above.add(parent)
            seen.add(parent)
            parent = parents.get(parent)
    counted = targets[~targets["team"].isin(above)]
    if counted.empty:
        return float("nan"), ""
    sources = counted["target_source"].unique()
    return float(counted["target"].sum()), str(sources[0]) if len(sources) == 1 else MIXED


def target_notes(targets: pd.DataFrame, teams: ir.Table | None, memberships: ir.Table | None) -> list[str]:
    """What of the teams' targets may count twice or not at all, in words: those of names that no team has,
    and, where others have a plan, those of teams that the plan does not name."""
    notes = []
    known = _team_names(teams, memberships)
    strange = sorted(set(targets["team"]) - known) if known else []
    if strange:
        text = ngettext(
            "{teams} has a target and is no team that the data know; it counts beside the targets of the "
            "teams.",
            "{teams} have targets and are no teams that the data know; they count beside the targets of the "
            "teams.",
            len(strange),
        )
        notes.append(text.format(teams=formats.listed([formats.text(name) for name in strange])))
    is_planned = targets["target_source"] == PLAN
    unplanned = sorted(set(targets.loc[~is_planned, "team"]) - set(strange))
    if unplanned and is_planned.any():
        text = ngettext(
            "{teams} is not in the plan; the target comes from quotas.",
            "{teams} are not in the plan; their targets come from quotas.",
            len(unplanned),
        )
        notes.append(text.format(teams=formats.listed([formats.text(name) for name in unplanned])))
    return notes


def _team_names(teams: ir.Table | None, memberships: ir.Table | None) -> set[str]:
    found = [] if memberships is None else [_stays(memberships)["team"]]
    if teams is not None:
        found += [column for _, column in _hierarchy(teams).items()]
    return {str(name) for column in found for name in column.dropna()}


def _planned(plan: ir.Table | None, quarter: Period, settings: Settings) -> pd.DataFrame:
    """What of each team's budget falls into the quarter.

    The plan names only where an amount starts; how far apart the starts are tells months, quarters and
    years, and an amount that covers more than the quarter is spread over its days.
    """
    if plan is None:
        return pd.DataFrame({"team": [], "target": []})
    frame = _with_measure(collect(plan))
    frame = frame[frame["team"].notna()]
    starts = sorted({_day(value) for value in frame["period_start_date"]})
    gap = min(((b - a).days for a, b in itertools.pairwise(starts)), default=_QUARTER)
    fiscal = settings.fiscal
    holding = fiscal.month_of if gap <= _MONTH else fiscal.quarter_of if gap <= _QUARTER else fiscal.year_of
    ends = {start: holding(start).end for start in starts}
    frame = frame.assign(start=frame["period_start_date"].map(_day))
    frame["share"] = [_share(start, ends[start], quarter) for start in frame["start"]]
    frame["target"] = frame["amount"].astype("float64") * frame["share"]
    inside = frame[(frame["share"] > 0) & frame["target"].notna()]
    return inside.groupby("team", as_index=False)["target"].sum()


def _quotas(quotas: ir.Table | None, quarter: Period) -> pd.DataFrame:
    columns = ["owner_id", "team", "start", "target"]
    if quotas is None:
        return pd.DataFrame([], columns=columns)
    frame = _with_measure(collect(quotas))
    for name in ("owner_id", "team"):
        if name not in frame:
            frame[name] = None
    frame["start"] = frame["period_start_date"].map(_day)
    ends = frame["period_end_date"].map(_day)
    frame["share"] = [_share(start, end, quarter) for start, end in zip(frame["start"], ends, strict=True)]
    frame["target"] = frame["quota"].astype("float64") * frame["share"]
    return frame.loc[(frame["share"] > 0) & frame["target"].notna(), columns]


def _with_measure(frame: pd.DataFrame) -> pd.DataFrame:
    if "measure" not in frame:
        return frame.copy()
    named = frame["measure"].fillna(MEASURE).astype("str").str.strip().str.casefold()
    return frame[named == MEASURE].copy()


def _share(start: dt.date, end: dt.date, quarter: Period) -> float:
    """The share of the days from start to end (not included) that lie in the quarter."""
    days = (min(end, quarter.end) - max(start, quarter.start)).days
    return max(days, 0) / (end - start).days if end > start else 0.0


def _managers(reps: ir.Table | None, owners: Sequence[str]) -> set[str]:
    if reps is None or "manager_id" not in reps.columns:
        return set()
    frame = collect(reps.select("owner_id", "manager_id"))
    return set(frame.loc[frame["owner_id"].isin(set(owners)), "manager_id"].dropna())


def _team_at(memberships: ir.Table | None, quotas: pd.DataFrame) -> list[str]:
    """The team of each quota's owner on the day on which the quota begins."""
    stays: dict[str, list[tuple[dt.date, dt.date, str]]] = {}
    if memberships is not None:
        for row in _stays(memberships).itertuples():
            begins = dt.date.min if pd.isna(row.valid_from_date) else _day(row.valid_from_date)
            ends = dt.date.max if pd.isna(row.valid_to_date) else _day(row.valid_to_date)
            stays.setdefault(str(row.owner_id), []).append((begins, ends, str(row.team)))
    teams = []
    for owner, day in zip(quotas["owner_id"], quotas["start"], strict=True):
        held = [stay for stay in sorted(stays.get(str(owner), [])) if stay[0] <= day < stay[1]]
        teams.append(held[-1][2] if held else NO_TEAM)
    return teams


def _stays(memberships: ir.Table) -> pd.DataFrame:
    return collect(memberships.select("owner_id", "team", "valid_from_date", "valid_to_date"))


def _parents(teams: ir.Table | None) -> dict[str, str]:
    if teams is None or "parent_team" not in teams.columns:
        return {}
    frame = _hierarchy(teams)
    known = frame[frame["parent_team"].notna()]
    return {str(team): str(parent) for team, parent in zip(known["team"], known["parent_team"], strict=True)}


def _hierarchy(teams: ir.Table) -> pd.DataFrame:
    return collect(teams.select(*(name for name in ("team", "parent_team") if name in teams.columns)))


def _day(value: object) -> dt.date:
    return pd.Timestamp(value).date()  # type: ignore[arg-type]
