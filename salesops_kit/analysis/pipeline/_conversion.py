"""The chance that an open deal due in the quarter is won in it, from past quarters on the same day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._past import CELL, DUE, Past
from salesops_kit.estimators.shrinkage import Prior, estimate_prior

STAGE = ("pipeline", "stage")
# Won deals that the ratio of money to deals must rest on to count half.
VALUE_STRENGTH = 20.0
# What quarters differ by in common is hard to tell from a few of them: this prior counts as four quarters.
SHOCK_PRIOR, SHOCK_STRENGTH = 0.15, 4.0


@dataclass(frozen=True)
class Conversion:
    """``rates``: per cell the past ``deals`` and ``won`` and the ``probability`` of being won in the quarter.

    ``value_factor``: booked money per money expected from the rates alone (large deals are won less
    often, and some shrink). ``shock``: how far whole quarters differ from what is expected, as a share,
    beyond the chance of single deals.
    """

    rates: pd.DataFrame
    value_factor: float
    shock: float

    def of(self, deals: pd.DataFrame) -> np.ndarray:
        """The probability of each deal by its cell, or its stage, or any deal; missing without a past."""
        keys = list(CELL)
        known = deals[keys].merge(self.rates[[*keys, "probability"]], on=keys, how="left")["probability"]
        by_stage = self.rates.groupby(list(STAGE), dropna=False)["stage_rate"].first().reset_index()
        stage = deals[list(STAGE)].merge(by_stage, on=list(STAGE), how="left")["stage_rate"]
        overall = self.rates["overall_rate"].iloc[0] if len(self.rates) else np.nan
        return known.fillna(stage).fillna(overall).to_numpy(float)


def conversion(past: Past, reference: Mapping[str, Any] | None = None) -> Conversion:
    """Conversion by stage and forecast category, each level pulled to the one above it.

    Won / deals over the past quarters, of the deals that were open and due on the quarter's day. The rate
    of a stage is shrunk to that of all deals, that of a category within a stage to the stage's, with
    the strength that the groups themselves suggest (beta-binomial). With the company's ``reference`` a
    stage is pulled to the company's rate of that stage instead, as strongly as its teams are alike.
    """
    due = past.of(DUE, past=True)
    cells = due.groupby(list(CELL), dropna=False, as_index=False)[["deals", "won"]].sum()
    overall = estimate_prior(*_by_stage(cells)) if len(cells) else Prior(float("nan"), 2.0)
    company = company_rates(reference, past)
    parts = []
    for (pipeline, stage), part in cells.groupby(list(STAGE), sort=True):
        known = company.get(str(pipeline), {}).get(str(stage))
        above = Prior(known["rate"], known["strength"]) if known else overall
        rate = _posterior(part["won"].sum(), part["deals"].sum(), above)
        within = Prior(rate, estimate_prior(part["won"], part["deals"]).strength)
        probability = [
            _posterior(won, deals, within) for won, deals in zip(part["won"], part["deals"], strict=True)
        ]
        parts.append(part.assign(stage_rate=rate, probability=probability))
    columns = [*CELL, "deals", "won", "stage_rate", "probability"]
    rates = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    rates = rates.assign(overall_rate=overall.mean)
    factor, shock = _money(due, rates)
    return Conversion(rates, factor, shock)


def company_conversion(past: Past) -> dict[str, Any]:
    """The company's rates for the reference, from past quarters grouped by ``team``.

    ``days``: the quarters' days as ordinal numbers. ``figures``: per pipeline and stage the ``rate`` at
    which due deals were won in the quarter, and ``strength``, how alike its teams are (beta-binomial).
    """
    due = past.of(DUE, past=True)
    figures: dict[str, dict[str, Any]] = {}
    for (pipeline, stage), part in due.groupby(list(STAGE), sort=True):
        teams = part.groupby("team", dropna=False)[["won", "deals"]].sum()
        prior = estimate_prior(teams["won"], teams["deals"])
        figures.setdefault(str(pipeline), {})[str(stage)] = {"rate": prior.mean, "strength": prior.strength}
    return {"days": [day.toordinal() for day in past.days], "figures": figures}


def company_rates(reference: Mapping[str, Any] | None, past: Past) -> Mapping[str, Mapping[str, Any]]:
    """The company's stage rates for exactly these quarters and days; empty where it has none."""
    figures = (reference or {}).get("deal_conversion") or {}
    same = figures.get("days") == [day.toordinal() for day in past.days]
    return figures["figures"] if same else {}


def _by_stage(cells: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    sums = cells.groupby(list(STAGE), dropna=False)[["won", "deals"]].sum()
    return sums["won"], sums["deals"]


def _posterior(won: float, deals: float, prior: Prior) -> float:
    return float((won + prior.mean * prior.strength) / (deals + prior.strength))


def _money(due: pd.DataFrame, rates: pd.DataFrame) -> tuple[float, float]:
    """The value factor and the shock, from what each past quarter's open deals brought in."""
    keys = list(CELL)
    rows = due.merge(rates[[*keys, "probability"]], on=keys, how="left")
    rows["expected"] = rows["probability"] * rows["amount"]
    rows["chance"] = rows["probability"] * (1 - rows["probability"]) * rows["square"]
    quarters = rows.groupby("quarter")[["expected", "chance", "won_amount", "won"]].sum()
    expected, won = float(quarters["expected"].sum()), float(quarters["won"].sum())
    raw = float(quarters["won_amount"].sum()) / expected if expected > 0 else 1.0
    factor = 1 + (raw - 1) * won / (won + VALUE_STRENGTH)
    usable = quarters[quarters["expected"] > 0]
    relative = ((usable["won_amount"] - factor * usable["expected"]) ** 2 - factor**2 * usable["chance"]) / (
        factor * usable["expected"]
    ) ** 2
    squared = (float(relative.sum()) + SHOCK_STRENGTH * SHOCK_PRIOR**2) / (len(relative) + SHOCK_STRENGTH)
    return factor, float(np.sqrt(max(squared, 0.0)))
