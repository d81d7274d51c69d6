"""Every rung at every past origin, scored against what came, and the rung that ships."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._coefficients import coefficients
from salesops_kit.analysis.forecast._ladder import (
    RUNGS,
    SHIPPED,
    SIMULATION,
    Forecast,
    Models,
    Rung,
)
from salesops_kit.analysis.forecast._source import WEEKS, Source, origin_key, origin_of
from salesops_kit.analysis.forecast._threads import one_thread
from salesops_kit.analysis.forecast._view import View

SHARES = {"p2_5": 0.025, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p97_5": 0.975}
COLUMNS = [
    "quarter",
    "week",
    "origin",
    "method",
    "rung",
    "chosen",
    "actual",
    "booked",
    "mean",
    *SHARES,
    "crps",
]
# The limits of the groups of chances that are compared with what came.
GROUPS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
# Before so many quarters were scored the simulation ships; a simpler rung ships when its CRPS is at most
# this much above the best, and within one standard error of it.
FEWEST_QUARTERS, TOLERANCE = 3, 0.05


def score(source: Source, ahead: int = 0, company: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """One row per past quarter, week and rung that has a forecast; columns ``COLUMNS`` without shipped rows.

    A quarter is scored when it had ended by ``as_of`` and a quarter before it was known. A source is
    scored once; that of several teams is that of the company where its figures hold it.
    """
    key = (ahead, None if company is None else id(company))
    if key not in source.scored:
        known = (company or {}).get("backtest") if ahead == 0 and source.is_all_of(company) else None
        if known is None:
            source.versions[key] = _score(source, ahead, company)
            is_last = source.versions[key].pop("is_last")
            source.scored[key] = source.versions[key][is_last].reset_index(drop=True)
        else:
            source.scored[key] = from_figures(known)
    return source.scored[key]


def _said(source: Source, place: int, origin: dt.date, forecast: Forecast) -> pd.DataFrame:
    """The chance that each deal was given at an origin, and whether the quarter won it."""
    final = View(source.history, source.quarters, place, source.as_of)
    then = final.as_it_stood(origin.toordinal(), source.quarters[place], 1).deals
    chance = np.zeros(0) if forecast.chance is None else forecast.chance
    group = np.digitize(chance, GROUPS)
    return pd.DataFrame({"group": group, "chance": chance, "won": then.won, "deal": then.rows.deal})


def outcomes(source: Source, company: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """What became of the chances that deals were given at past origins, by group of chances.

    Columns ``group`` (a place among ``GROUPS``), ``n`` (deals at origins), ``deals`` (each counted once),
    ``predicted`` and ``observed``, the mean chance and the share won in the quarter.
    """
    if source.is_all_of(company) and "said" in (company or {}):
        return pd.DataFrame((company or {})["said"])
    score(source, 0, company)
    columns = ["group", "n", "deals", "predicted", "observed"]
    said = source.said[None if company is None else id(company)]
    if not said:
        return pd.DataFrame([], columns=columns).astype("float64")
    rows = pd.concat(said, ignore_index=True).groupby("group")
    return rows.agg(
        n=("chance", "size"),
        deals=("deal", "nunique"),
        predicted=("chance", "mean"),
        observed=("won", "mean"),
    ).reset_index()[columns]


def as_figures(scored: pd.DataFrame) -> dict[str, list[Any]]:
    """Scores as plain numbers, column by column."""
    return scored.assign(origin=[day.isoformat() for day in scored["origin"]]).to_dict("list")


def from_figures(figures: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Scores from plain numbers."""
    frame = pd.DataFrame(dict(figures))
    return frame.assign(
        origin=pd.Series([dt.date.fromisoformat(day) for day in frame["origin"]], dtype=object)
    )


def _score(source: Source, ahead: int, company: Mapping[str, Any] | None) -> pd.DataFrame:
    """The scores against what each quarter booked as known at ``as_of`` (``is_last``), and where it was
    corrected after its end, against what was known of it when later quarters began."""
    rows = []
    said = source.said.setdefault(None if company is None else id(company), [])
    with one_thread():
        for place, quarter in enumerate(source.quarters[: source.here + 1]):
            target = source.quarters[place + ahead]
            if target.last_day > source.as_of:
                continue
            actual = source.actual(place + ahead)
            earlier = {source.actual(place + ahead, day) for day in _eves(source) if day >= target.last_day}
            actuals = [actual, *sorted(earlier - {actual})]
            for week in WEEKS:
                origin = origin_of(quarter, week)
                models = source.models(place, origin, ahead, company)
                if not models.view.past:
                    continue
                for rung in RUNGS:
                    forecast = rung.forecast(models)
                    if forecast is not None:
                        rows += [_row(forecast, rung, target.label, week, origin, one) for one in actuals]
                        rows[-len(actuals)]["is_last"] = True
                    if forecast is not None and rung.name == SIMULATION and ahead == 0:
                        said.append(_said(source, place, origin, forecast))
                if company is None:
                    source.learnt[origin_key(origin, ahead)] = coefficients(models)
    names = [name for name in COLUMNS if name != "chosen"]
    frame = pd.DataFrame(rows, columns=[*names, "is_last"])
    return frame.assign(is_last=frame["is_last"].notna())


def _eves(source: Source) -> list[dt.date]:
    """The day before each quarter."""
    return [quarter.start - dt.timedelta(days=1) for quarter in source.quarters]


def _row(
    forecast: Forecast, rung: Rung, label: str, week: int, origin: dt.date, actual: float
) -> dict[str, Any]:
    total = forecast.total
    return {
        "quarter": label, "week": week, "origin": origin, "method": rung.name, "rung": rung.number,
        "actual": actual, "booked": forecast.booked, "mean": total.mean,
        **{name: total.quantile(share) for name, share in SHARES.items()}, "crps": total.crps(actual),
    }  # fmt: skip


def choose(scored: pd.DataFrame) -> str:
    """The simplest rung that past quarters did not beat on CRPS.

    A quarter's scores are divided by its mean actual and averaged over its weeks. Of the rungs that have
    a score for each of these origins, the one of the lowest number ships whose mean CRPS is within one
    standard error (of the difference over quarters) and 5 % of the best. Before three quarters were
    scored it is the simulation.
    """
    rungs = scored[scored["rung"] > 0]
    if rungs["quarter"].nunique() < FEWEST_QUARTERS or not (rungs["actual"] > 0).any():
        return SIMULATION
    order = rungs.drop_duplicates("method").set_index("method")["rung"].sort_values()
    relative = rungs.assign(crps=rungs["crps"] / rungs["actual"].abs().mean())
    table = relative.pivot_table(index=["quarter", "week"], columns="method", values="crps")
    table = table[[name for name in order.index if table[name].notna().all()]]
    quarters = table.groupby(level="quarter").mean()
    best = str(quarters.mean().idxmin())
    for name in order.index:
        if name not in quarters:
            continue
        worse = quarters[name] - quarters[best]
        error = float(worse.std(ddof=1)) / np.sqrt(len(worse))
        if worse.mean() <= min(error, TOLERANCE * quarters[best].mean()) + 1e-15:
            return str(name)
    return best


def choices(source: Source, ahead: int = 0, company: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The rung that ships for each quarter, by the scores of quarters that had ended before it began, and
    by what was known then of their bookings."""
    score(source, ahead, company)
    versions = source.versions[ahead, None if company is None else id(company)]
    labels, eves = [quarter.label for quarter in source.quarters], _eves(source)
    found = {}
    for place, label in enumerate(labels):
        # The origin lies `ahead` quarters before the target.
        begun = max(place - ahead, 0)
        known = {labels[before]: source.actual(before, eves[begun]) for before in range(begun)}
        found[label] = choose(versions[versions["actual"] == versions["quarter"].map(known)])
    return found


def with_shipped(scored: pd.DataFrame, chosen: Mapping[str, str]) -> pd.DataFrame:
    """The rows with one more per origin, ``shipped``: that of the rung chosen for its quarter.

    Where the scope has no such forecast, that of the simulation.
    """
    parts = []
    for (label, _week), rows in scored.groupby(["quarter", "week"], sort=False):
        name = chosen.get(str(label), SIMULATION)
        own = rows[rows["method"] == name]
        if own.empty:
            own = rows[rows["method"] == SIMULATION]
        parts.append(own.assign(chosen=own["method"], method=SHIPPED, rung=0))
    every = (
        pd.concat([scored.assign(chosen=""), *parts], ignore_index=True)
        if parts
        else scored.assign(chosen="")
    )
    order = {rung.name: place for place, rung in enumerate(RUNGS)} | {SHIPPED: len(RUNGS)}
    every = every.assign(place=every["method"].map(order))
    every = every.sort_values(["origin", "place"], ignore_index=True)
    return every[COLUMNS]


def shipped_forecast(models: Models, name: str) -> tuple[str, Forecast | None]:
    """The forecast of the chosen rung, else of the simulation; and which of the two it is."""
    with one_thread():
        for wanted in (name, SIMULATION):
            rung = next(rung for rung in RUNGS if rung.name == wanted)
            forecast = rung.forecast(models)
            if forecast is not None:
                return wanted, forecast
    return "", None
