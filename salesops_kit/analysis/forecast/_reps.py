"""What each rep is expected to bring to a scope's forecast, so that the reps sum to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._ladder import COMMON_LATER, Models, deal_chances
from salesops_kit.analysis.forecast._scope_outlook import Outlook, moved, whole_outlook
from salesops_kit.analysis.forecast._simulation import later_draws, open_draws, shocks
from salesops_kit.analysis.forecast._source import Source
from salesops_kit.estimators.predictive import Predictive
from salesops_kit.estimators.reconciliation import to_cents


def rep_outlooks(source: Source, reference: Mapping[str, Any] | None) -> dict[str, Outlook]:
    """The forecast of each rep with a booking in the quarter or an open deal, by owner id.

    A rep's open deals bring chance x amount, scaled as the scope's forecast scales them; of its
    create-and-close a rep gets the share that he or she had of it in past quarters, pulled to an equal one
    as if one more quarter had been shared out equally.
    """
    total = whole_outlook(source, reference, 0)
    models = source.models(source.here, source.as_of, 0, reference)
    owners, rows = source.history.owners, models.view.open_deals.rows
    won = models.view.won_in(models.view.target)
    count = len(owners)
    booked = np.bincount(won.owner, weights=won.amount, minlength=count)
    deals = np.bincount(rows.owner, minlength=count)
    listed = np.flatnonzero((deals > 0) | (np.bincount(won.owner, minlength=count) > 0))
    if source.is_over or not total.total.draws.size:
        return {
            owners[code]: Outlook(
                Predictive.of([booked[code]] if source.is_over else []),
                float(booked[code]), *((0.0, 0.0) if source.is_over else (np.nan, np.nan)),
                (0.0, 0.0, 0.0), int(deals[code]), total.method, total.reason,
            )
            for code in listed
        }  # fmt: skip
    chance = deal_chances(models)
    expected = chance * models.amounts
    has_open = float(expected.sum()) > 0
    scale = total.open_deals / float(expected.sum()) if has_open else 0.0
    opened = np.bincount(rows.owner, weights=expected * scale, minlength=count)
    later = _later_shares(models, listed, count) * (
        total.create_and_close + (0.0 if has_open else total.open_deals)
    )
    means = booked + opened + later
    # Who is not listed has neither; the cents are shared out among those who are.
    _sum, cents = to_cents(means[listed])
    found = {}
    for code, mean in zip(listed, cents, strict=True):
        mine = rows.owner == code
        draws = booked[code] + _draws(models, chance[mine], models.amounts[mine] * scale, float(later[code]))
        base = Outlook(
            Predictive.of(draws), float(booked[code]), float(opened[code]), float(later[code]),
            (0.0, 0.0, float(opened[code])), int(deals[code]), total.method, total.reason,
        )  # fmt: skip
        found[owners[code]] = moved(base, float(mean))
    return found


def _later_shares(models: Models, listed: np.ndarray, count: int) -> Floats:
    """The share of create-and-close of each listed rep, 0 for all others."""
    own = np.zeros(count)
    for past in models.view.past:
        own += np.bincount(past.later_owner, weights=past.later, minlength=count)
    kept = np.zeros(count)
    kept[listed] = own[listed]
    quarters = max(len(models.view.past), 1)
    equal = kept.sum() / quarters if kept.sum() > 0 else 1.0
    kept[listed] += equal / max(len(listed), 1)
    return kept / kept.sum() if kept.sum() > 0 else kept


def _draws(models: Models, chance: Floats, money: Floats, later: float) -> Floats:
    shock = shocks()
    opened = open_draws(chance, money, models.shared_variance, shock)
    usual = models.later.amounts
    size = float(usual.mean()) if len(usual) else 0.0
    wins = later / size if size > 0 else 0.0
    return opened + later_draws(wins, models.later.spread, usual, shock, COMMON_LATER)
