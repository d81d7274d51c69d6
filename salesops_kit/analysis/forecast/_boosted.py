"""Rung 6: boosted trees of the chance to be won in the quarter, calibrated, where there are deals enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from salesops_kit.analysis.forecast._conversion import RECENCY
from salesops_kit.analysis.forecast._history import Floats, History, Ints, Stretches
from salesops_kit.analysis.forecast._simulation import SEED
from salesops_kit.analysis.forecast._view import Deals, PastQuarter, View
from salesops_kit.periods import Period

# Fewer rows, or wins among them, than this and trees only learn the sample.
FEWEST_DEALS, FEWEST_WINS = 1_200, 200
# Of more deals an even share is read: trees of this size learn no more from all.
MOST_DEALS = 12_000
_FOLDS = 3
_FAR_DAYS = 10_000
_YEAR_DAYS = 375


def features(history: History, rows: Stretches, day: int, target: Period) -> Floats:
    """What trees see of each deal on a day: nothing that is only known later.

    Every column has fewer values than trees have bins, so that no bins are looked for.
    """
    end = target.end.toordinal()
    # Far away rather than missing: a column without any known value cannot be cut into bins.
    dated = np.where(rows.close_day < 0, end + _FAR_DAYS, rows.close_day)
    return np.column_stack(
        [
            rows.stage, rows.category, history.type[rows.deal],
            np.round(np.log1p(np.maximum(rows.amount, 0)) * 8), _coarse(day - rows.stage_since),
            _coarse(dated - day), _coarse(dated - end), np.full(len(rows), end - day),
        ]
    ).astype(float)  # fmt: skip


def _coarse(days: Ints) -> Ints:
    """Steps of three days, those beyond a year as a year."""
    return np.clip(days, -_YEAR_DAYS, _YEAR_DAYS) // 3


def chances(view: View, past: Sequence[PastQuarter]) -> Floats | None:
    """The calibrated chance of each open deal; None where n does not allow it.

    The calibration (a logistic curve on the score) is learnt from predictions of deals that the trees had
    not seen: folds keep all snapshots of one deal together.
    """
    usable = _thinned([each for each in past if len(each.deals.rows)])
    label = np.concatenate([each.deals.won for each in usable]) if usable else np.zeros(0, dtype=bool)
    if len(label) < FEWEST_DEALS or label.sum() < FEWEST_WINS or label.all():
        return None
    matrix = np.concatenate([features(view.history, p.deals.rows, p.day, p.quarter) for p in usable])
    deal = np.concatenate([each.deals.rows.deal for each in usable])
    weight = np.concatenate([np.full(len(p.deals.rows), RECENCY ** (p.ago - 1)) for p in usable])
    held_out = np.full(len(label), np.nan)
    for train, test in GroupKFold(n_splits=_FOLDS).split(matrix, label, deal):
        if 0 < label[train].sum() < len(train):
            model = _trees().fit(matrix[train], label[train], sample_weight=weight[train])
            held_out[test] = model.predict_proba(matrix[test])[:, 1]
    known = ~np.isnan(held_out)
    curve = LogisticRegression(C=10.0).fit(_score(held_out[known]), label[known], sample_weight=weight[known])
    rows = view.open_deals.rows
    if not len(rows):
        return np.zeros(0)
    model = _trees().fit(matrix, label, sample_weight=weight)
    raw = model.predict_proba(features(view.history, rows, view.today, view.target))[:, 1]
    return np.asarray(curve.predict_proba(_score(raw))[:, 1])


def _thinned(past: Sequence[PastQuarter]) -> list[PastQuarter]:
    """Every n-th deal of each quarter, so that at most about ``MOST_DEALS`` are left."""
    step = max(-(-sum(len(each.deals.rows) for each in past) // MOST_DEALS), 1)
    return [
        replace(
            each,
            deals=Deals(
                each.deals.rows.take(np.arange(0, len(each.deals.rows), step)),
                each.deals.day,
                each.deals.won[::step],
                each.deals.won_amount[::step],
            ),
        )
        for each in past
    ]


def _trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=25, l2_regularization=5.0,
        categorical_features=[0, 1, 2], early_stopping=False, random_state=SEED,
    )  # fmt: skip


def _score(chance: Floats) -> Floats:
    return special.logit(np.clip(chance, 1e-4, 1 - 1e-4))[:, None]
