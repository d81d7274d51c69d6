"""A scope's forecast of one quarter: its own, what it is reconciled to, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from salesops_kit.analysis.forecast._company import company_figures
from salesops_kit.analysis.forecast._history import BEST_CASE, COMMIT
from salesops_kit.analysis.forecast._ladder import SIMULATION, Forecast, Models, deal_chances
from salesops_kit.analysis.forecast._scores import choices, shipped_forecast
from salesops_kit.analysis.forecast._source import Source, origin_key
from salesops_kit.estimators.predictive import Predictive
from salesops_kit.estimators.reconciliation import CENT
from salesops_kit.language import _, ngettext

# Fewer wins than this in past quarters, and the forecast says so.
FEW_WINS = 10


@dataclass(frozen=True)
class Outlook:
    """One scope's forecast of one quarter: its distribution and what the mean is made of."""

    total: Predictive
    booked: float
    open_deals: float
    create_and_close: float
    by_category: tuple[float, float, float]
    deals: int
    method: str
    reason: str = ""


def whole_outlook(source: Source, reference: Mapping[str, Any] | None, ahead: int) -> Outlook:
    """The forecast of all that the source holds: the sum of its teams where it has several."""
    parts = team_outlooks(source, reference, ahead)
    if len(parts) < 2:
        return next(iter(parts.values())) if parts else reconciled_team(source, reference, ahead)
    figures = reference or company_figures(source)
    return summed(scope_outlook(source, reference, figures, ahead), list(parts.values()))


def team_outlooks(source: Source, reference: Mapping[str, Any] | None, ahead: int) -> dict[str, Outlook]:
    """Each team's reconciled forecast; computed once for a source."""
    key = (ahead, None if reference is None else id(reference))
    if key not in source.outlooks:
        if source.is_one_team:
            found = {team: reconciled_team(source, reference, ahead) for team in source.history.teams_present}
        else:
            figures = reference or company_figures(source)
            found = {
                team: reconciled_team(source.of_team(team), figures, ahead)
                for team in source.history.teams_present
            }
        source.outlooks[key] = found
    return source.outlooks[key]


def scope_outlook(
    source: Source, reference: Mapping[str, Any] | None, figures: Mapping[str, Any] | None, ahead: int
) -> Outlook:
    """A scope's own forecast, not yet reconciled; ``figures`` say which rung ships."""
    models = source.models(source.here, source.as_of, ahead, reference)
    booked = models.booked
    deals = len(models.view.open_deals.rows)
    nothing = (0.0, 0.0, 0.0)
    if source.has_ended(ahead):
        return Outlook(
            Predictive.of([booked]), booked, 0.0, 0.0, nothing, deals, "", _("The quarter is over.")
        )
    method, forecast = shipped_forecast(models, _chosen(source, figures, ahead))
    if forecast is None and booked > 0:
        reason = _("No deal is open and no earlier quarter is known: what is booked is all that can be told.")
        return Outlook(Predictive.of([booked]), booked, 0.0, 0.0, nothing, deals, "", reason)
    if forecast is None:
        missing = float("nan")
        reason = _("No deal is open and no earlier quarter is known, so that nothing can be forecast.")
        return Outlook(Predictive.of([]), booked, missing, missing, (missing,) * 3, deals, "", reason)
    simulated = forecast if method == SIMULATION else shipped_forecast(models, SIMULATION)[1]
    opened, later = _split(forecast, simulated, float(models.amounts.sum()))
    return Outlook(
        forecast.total,
        booked,
        opened,
        later,
        _by_category(models, opened),
        deals,
        method,
        _reason(models, forecast.total),
    )


def _chosen(source: Source, figures: Mapping[str, Any] | None, ahead: int) -> str:
    if ahead:
        return SIMULATION
    label = source.quarters[source.here].label
    chosen = figures["chosen"] if figures else choices(source)
    return str(chosen.get(label, SIMULATION))


def reconciled_team(source: Source, figures: Mapping[str, Any] | None, ahead: int) -> Outlook:
    """A team's forecast moved by its share of the gap, its mean a whole number of cents."""
    base = scope_outlook(source, figures, figures, ahead)
    shared = (figures or {}).get("gap_per_variance") or {}
    gap = float(shared.get(origin_key(source.as_of, ahead), 0.0))
    if not base.total.draws.size:
        return base
    return moved(base, base.total.mean + gap * base.total.deviation**2)


def moved(base: Outlook, mean: float) -> Outlook:
    """The forecast with another mean, rounded to the cent and never below what is booked."""
    wanted = round(max(mean, base.booked) / float(CENT)) * float(CENT)
    draws = base.total.draws
    rest, left = draws - base.booked, wanted - base.booked
    spread = float(rest.mean())
    # Stretched rather than shifted, so that nothing falls below what is booked.
    draws = (
        base.booked + rest * (left / spread)
        if spread > 0 and rest.min() >= 0
        else draws - draws.mean() + wanted
    )
    scale = (
        left / (base.open_deals + base.create_and_close)
        if base.open_deals + base.create_and_close > 0
        else 0.0
    )
    return Outlook(
        Predictive.of(draws),
        base.booked,
        base.open_deals * scale,
        base.create_and_close * scale,
        (base.by_category[0] * scale, base.by_category[1] * scale, base.by_category[2] * scale),
        base.deals,
        base.method,
        base.reason,
    )


def summed(base: Outlook, parts: list[Outlook]) -> Outlook:
    """The company's forecast with the mean that its teams sum to."""
    known = [part for part in parts if part.total.draws.size]
    if not known or not base.total.draws.size:
        return base
    cents = sum(round(part.total.mean / float(CENT)) for part in known)
    total = moved(base, cents * float(CENT))
    opened = sum(part.open_deals for part in known)
    later = sum(part.create_and_close for part in known)
    categories = tuple(sum(part.by_category[place] for part in known) for place in range(3))
    return Outlook(
        total.total, base.booked, opened, later, (categories[0], categories[1], categories[2]),
        base.deals, base.method, base.reason,
    )  # fmt: skip


def _split(forecast: Forecast, simulated: Forecast | None, most: float) -> tuple[float, float]:
    """What the mean expects of open deals, at most what they are worth if all are won, and of
    create-and-close."""
    rest = forecast.total.mean - forecast.booked
    opened, later = (1.0, 0.0) if simulated is None else (simulated.open_mean, simulated.later_mean)
    share = opened / (opened + later) if opened + later > 0 else 1.0
    of_deals = min(rest * share, most)
    return of_deals, rest - of_deals


def _by_category(models: Models, opened: float) -> tuple[float, float, float]:
    """What open deals bring, by Commit, Best Case and all others."""
    rows = models.view.open_deals.rows
    value = deal_chances(models) * rows.amount
    if not value.sum() > 0:
        return (0.0, 0.0, opened)
    names = np.array(models.view.history.categories)[rows.category]
    share = value * opened / value.sum()
    commit, best = float(share[names == COMMIT].sum()), float(share[names == BEST_CASE].sum())
    return commit, best, opened - commit - best


def _reason(models: Models, total: Predictive) -> str:
    won = sum(int(past.deals.won.sum()) + len(past.later) for past in models.view.past)
    if not models.view.past:
        return _("No earlier quarter is known from its beginning, so that the forecast is wide.")
    if won >= FEW_WINS:
        return ""
    if not won:
        known = _("No win after this day of a past quarter is known")
    else:
        known = ngettext(
            "Only {count} win after this day of a past quarter is known",
            "Only {count} wins after this day of a past quarter are known",
            won,
        ).format(count=won)
    text = _("{known}, so that the forecast is wide.")
    if total.quantile(0.9) <= total.quantile(0.1):
        text = _("{known}, which is no evidence that nothing more comes.")
    return text.format(known=known)
