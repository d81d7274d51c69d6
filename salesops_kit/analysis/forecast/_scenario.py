"""What the forecast would be if deals, the win rate, the cycle or the team were different."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._ladder import Models, deal_chances, simulate
from salesops_kit.analysis.forecast._scope_outlook import Outlook, whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.errors import InputError, Problem, unknown
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

CURRENT, SCENARIO, DIFFERENCE = "current", "scenario", "difference"
_MONEY = ("p10", "p50", "p90", "mean", "booked", "open_deals", "create_and_close")
_MOST_DELAY = 365


@table(units=dict.fromkeys(_MONEY, "money"))
def scenario(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    won: str = "",
    lost: str = "",
    win_rate_factor: float = 1.0,
    delay_days: int = 0,
    hires: int = 0,
    hire_productivity: float = 0.4,
    ahead: int = 0,
) -> pd.DataFrame:
    """The quarter's forecast as it is and as it would be under assumptions.

    Three rows (``case``: current, scenario, difference) of ``p10``, ``p50``, ``p90``, ``mean``, ``booked``,
    ``open_deals`` and ``create_and_close``. The current case is ``forecast.outlook``; the difference is that
    between two simulations, scaled to it, that use the same random draws and differ by the assumptions alone.
    ``won`` and ``lost`` are ids of open deals, separated by
    commas, taken as closed at their amount in the quarter. ``win_rate_factor`` multiplies every chance and
    the number of create-and-close wins. ``delay_days`` (-365 to 365) lets every open deal close so many days
    later, and create-and-close lose that part of the days left. ``hires`` new reps add
    ``hire_productivity`` of a rep's create-and-close each, a rep being anyone with a deal open now.
    ``ahead`` 1 is the next quarter.

    Raises :class:`InputError` with every id that is no open deal, and every option out of range.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    models = source.models(source.here, source.as_of, 1 if ahead else 0, reference)
    problems: list[Problem] = []
    set_won, set_lost = (
        _open_ids(models, name, text, problems) for name, text in (("won", won), ("lost", lost))
    )
    if (set_won & set_lost).any():
        problems.append(Problem("a deal is both won and lost", column="lost", got=lost))
    for name, value, low, high in (
        ("win_rate_factor", win_rate_factor, 0, 10), ("delay_days", delay_days, -_MOST_DELAY, _MOST_DELAY),
        ("hires", hires, 0, 10_000), ("hire_productivity", hire_productivity, 0, 10), ("ahead", ahead, 0, 1),
    ):  # fmt: skip
        if not low <= value <= high:
            problems.append(Problem("out of range", column=name, expected=f"{low} to {high}", got=str(value)))
    if problems:
        raise InputError(problems)
    found = whole_outlook(source, reference, models.view.ahead)
    chance, amounts = _chances(models, source), models.amounts
    scale = _ratio(found.open_deals, float((chance * amounts).sum()))
    changed = np.clip(_delayed(models, chance, delay_days) * win_rate_factor, 0, 1)
    changed = np.where(set_won, 1.0, np.where(set_lost, 0.0, changed))
    money = np.where(set_won, models.view.open_deals.rows.amount, amounts * scale)
    factor = win_rate_factor * _left(models, delay_days) * _grown(models, hires, hire_productivity)
    later = _ratio(found.create_and_close, models.later.mean)
    before = _case(models, chance, amounts * scale, later)
    after = _case(models, changed, money, later * factor)
    change = {name: after[name] - before[name] for name in _MONEY}
    current = _current(found)
    result = pd.DataFrame([current, {name: current[name] + change[name] for name in _MONEY}, change])
    result.insert(0, "case", [CURRENT, SCENARIO, DIFFERENCE])
    result.insert(1, "period", models.view.target.label)
    return result


def _ratio(wanted: float, given: float) -> float:
    return float(np.nan_to_num(wanted)) / given if given > 0 else 0.0


def _current(found: Outlook) -> dict[str, float]:
    total = found.total
    return {
        "p10": total.quantile(0.1), "p50": total.quantile(0.5), "p90": total.quantile(0.9),
        "mean": total.mean, "booked": found.booked, "open_deals": found.open_deals,
        "create_and_close": found.create_and_close,
    }  # fmt: skip


def _open_ids(models: Models, name: str, text: str, problems: list[Problem]) -> np.ndarray:
    """Which open deals a comma-separated list names; unknown ids become problems."""
    history, rows = models.view.history, models.view.open_deals.rows
    known = {history.deals[deal]: place for place, deal in enumerate(rows.deal)}
    chosen = np.zeros(len(rows), dtype=bool)
    for one in (part.strip() for part in text.split(",") if part.strip()):
        if one in known:
            chosen[known[one]] = True
        else:
            problems.append(unknown("open deal", one, list(known), column=name))
    return chosen


def _chances(models: Models, source: Source) -> np.ndarray:
    chance = deal_chances(models)
    return chance * 0.0 if source.is_over and not models.view.ahead else chance


def _delayed(models: Models, chance: np.ndarray, delay_days: int) -> np.ndarray:
    """The chances when everything takes so many days longer, by the ratio of the weekly chances."""
    fitted, now = models.hazard_model, models.hazard
    if not delay_days or fitted is None or now is None:
        return chance
    return chance * fitted.chance(models.view, delay_days) / np.maximum(now, 1e-9)


def _left(models: Models, delay_days: int) -> float:
    """The share of the days left that a delay leaves."""
    days = max(models.view.target.end.toordinal() - 1 - models.view.today, 0)
    return max((days - delay_days) / days, 0.0) if days else 0.0


def _grown(models: Models, hires: int, productivity: float) -> float:
    reps = len(np.unique(models.view.open_deals.rows.owner))
    return 1 + hires * productivity / reps if reps else 1.0


def _case(models: Models, chance: np.ndarray, amounts: np.ndarray, later_factor: float) -> dict[str, float]:
    later = models.later
    # A copy of the models with other create-and-close; what was fitted otherwise is the same.
    changed = replace(models)
    changed.__dict__.update(models.__dict__)
    changed.__dict__["later"] = replace(later, deals=later.deals * later_factor)
    forecast = simulate(changed, chance, amounts)
    total = forecast.total
    return {
        "p10": total.quantile(0.1), "p50": total.quantile(0.5), "p90": total.quantile(0.9),
        "mean": total.mean, "booked": forecast.booked, "open_deals": forecast.open_mean,
        "create_and_close": forecast.later_mean,
    }  # fmt: skip
