"""Rung 5: the weekly chances that an open deal is won or lost, to the end of the next quarter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from salesops_kit.analysis.forecast._conversion import AGES, RECENCY
from salesops_kit.analysis.forecast._history import Floats, History, Ints, Stretches
from salesops_kit.analysis.forecast._threads import one_thread
from salesops_kit.analysis.forecast._view import View
from salesops_kit.periods import Period

WON, LOST = "won", "lost"
# Prior precision of a coefficient around zero, and of a team's around the company's.
RIDGE, COMPANY_RIDGE = 2.0, 8.0
_AHEAD = (1, 2, 4, 8, 13)
_SPANS = (4, 13)
_DUE_DAYS = (-28, -7, 0, 28)
_WEEKS = 13
# Of more deals as they stood on all days together, an even share is read: their weeks say enough.
MOST_DEALS = 8_000
_STEPS, _TOLERANCE = 25, 1e-5
# Rows that are worked on at a time: what is computed of them stays in the processor's cache.
_ROWS = 8_192


@dataclass(frozen=True)
class Design:
    """How deals and weeks become columns: one for each value of each feature, named ``feature=value``."""

    names: tuple[str, ...]
    offsets: Mapping[str, int]
    history: History
    amounts: Floats

    @classmethod
    def of(cls, history: History, amounts: Floats) -> Design:
        """The columns for the stages, types and categories of a history; ``amounts`` bound the sizes."""
        stages = ["/".join(pair) for pair in history.stages]
        groups: list[tuple[str, Sequence[Any]]] = [
            ("base", [""]),
            ("week", range(_WEEKS + 2)),
            ("ahead", range(len(_AHEAD) + 1)),
            *((f"stage{span}", stages) for span in range(len(_SPANS) + 1)),
            ("due", range(len(_DUE_DAYS) + 2)),
            ("type", history.types),
            ("category", history.categories),
            ("age", range(len(AGES) + 1)),
            ("size", range(len(amounts) + 1)),
        ]
        names: list[str] = []
        offsets = {}
        for group, values in groups:
            offsets[group] = len(names)
            names += [f"{group}={value}" for value in values]
        return cls(tuple(names), offsets, history, amounts)

    def columns(
        self, rows: Stretches, day: int, ahead: Ints, quarters: Sequence[Period]
    ) -> tuple[list[Ints], Ints]:
        """The columns that are one for each deal and week ``ahead`` (1 is the week after ``day``), given in
        long form: one of each feature, and that of a year's end, which is beyond all names elsewhere."""
        last = day + 7 * ahead
        starts = np.array([quarter.start.toordinal() for quarter in quarters])
        place = np.clip(np.searchsorted(starts, last - 3, side="right") - 1, 0, len(quarters) - 1)
        ends = np.array([quarter.end.toordinal() for quarter in quarters])
        # Counted from the end: business closes by the end of a quarter, not by its beginning.
        week = np.clip((ends[place] - 1 - last + 6) // 7, 0, _WEEKS)
        year_end = np.array([quarter.label.endswith("Q4") for quarter in quarters])[place] & (week <= 1)
        away = np.where(
            rows.close_day < 0,
            len(_DUE_DAYS) + 1,
            np.searchsorted(_DUE_DAYS, last - 3 - rows.close_day, side="right"),
        )
        span = np.searchsorted(_SPANS, ahead, side="left")
        columns = {
            "base": np.zeros(len(rows), dtype=np.int64),
            "week": week,
            "ahead": np.searchsorted(_AHEAD, ahead, side="left"),
            "due": away,
            "type": self.history.type[rows.deal],
            "category": rows.category,
            "age": np.searchsorted(AGES, day - rows.stage_since, side="right"),
            "size": np.searchsorted(self.amounts, rows.amount, side="right"),
            "stage0": span * len(self.history.stages) + rows.stage,
        }
        every = [self.offsets[name] + code for name, code in columns.items()]
        year_end_column = self.offsets["week"] + _WEEKS + 1
        return every, np.where(year_end, year_end_column, len(self.names))

    def matrix(
        self, rows: Stretches, day: int, ahead: Ints, quarters: Sequence[Period]
    ) -> NDArray[np.float32]:
        """The columns as ones and zeros, one row per deal and week."""
        every, year_end = self.columns(rows, day, ahead, quarters)
        result = np.zeros((len(rows), len(self.names) + 1), dtype=np.float32)
        line = np.arange(len(rows))
        for column in (*every, year_end):
            result[line, column] = 1
        return result[:, :-1]


@dataclass(frozen=True)
class Hazard:
    """Coefficients of the weekly chance to be won and to be lost, by column."""

    design: Design
    won: Floats
    lost: Floats

    def figures(self) -> dict[str, dict[str, float]]:
        """The coefficients by column name, as the company's figures hold them."""
        return {
            kind: {
                name: round(float(value), 6) for name, value in zip(self.design.names, values, strict=True)
            }
            for kind, values in ((WON, self.won), (LOST, self.lost))
        }

    def chance(self, view: View, delay_days: int = 0) -> Floats:
        """The chance of each open deal to be won within the target quarter; with a delay, to be won so many
        days before its end."""
        rows = view.open_deals.rows
        if not len(rows):
            return np.zeros(0)
        start = view.target.start.toordinal()
        end = max(view.target.end.toordinal() - delay_days, view.today + 1)
        alive, total = np.ones(len(rows)), np.zeros(len(rows))
        for ahead in range(1, -(-(end - 1 - view.today) // 7) + 1):
            week = np.full(len(rows), ahead)
            every, year_end = self.design.columns(rows, view.today, week, view.quarters)
            scores = (np.append(values, 0.0) for values in (self.won, self.lost))
            won, lost = (
                special.expit(sum((score[column] for column in every), score[year_end])) for score in scores
            )
            # A week that straddles the quarters' border counts by the days that lie in the target.
            last, first = view.today + 7 * ahead, view.today + 7 * ahead - 6
            days = min(last, end - 1) - max(first, start) + 1
            total += alive * won * np.clip(days / 7 if last >= end or first < start else 1.0, 0, 1)
            alive *= np.clip(1 - won - lost, 0, 1)
        return np.clip(total, 0, 1)


@dataclass(frozen=True)
class _Spells:
    matrix: NDArray[np.float32]
    won: Floats
    lost: Floats
    weight: Floats


def fit(view: View, days: Sequence[int]) -> Hazard | None:
    """Two ridge-penalised logistic regressions on deal-weeks at risk, each week up to its end or the origin.

    Deals are taken as they stood on ``days`` (before the origin), followed to the end of the next quarter
    at most. A quarter counts ``RECENCY`` times the one after it. A team's coefficients are pulled to the
    company's where these are known. None without any win.
    """
    snapshots = thinned([(day, view.standing(day)) for day in days if day < view.today], MOST_DEALS)
    amounts = np.concatenate([rows.amount for _, rows in snapshots]) if snapshots else np.zeros(0)
    if not len(amounts):
        return None
    figures = (view.company or {}).get("hazard") or {}
    bounds = figures.get("sizes") or [round(float(v), 2) for v in np.quantile(amounts, [1 / 3, 2 / 3])]
    design = Design.of(view.history, np.array(bounds))
    # What is seen from after the last quarter that is looked at says nothing of any.
    after = view.quarters[-1].end.toordinal()
    parts = [_spells(view, design, day, rows) for day, rows in snapshots if len(rows) and day < after]
    if not parts:
        return None
    matrix = np.concatenate([part.matrix for part in parts])
    won, lost, weight = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("won", "lost", "weight")
    )
    if not won.any() or not len(matrix):
        return None
    found = []
    for kind, label in ((WON, won), (LOST, lost)):
        known = figures.get(kind) or {}
        centre = np.array([known.get(name, 0.0) for name in design.names])
        with one_thread():
            found.append(_logistic(matrix, label, weight, centre, COMPANY_RIDGE if known else RIDGE))
    return Hazard(design, found[0], found[1])


def thinned(snapshots: Sequence[tuple[int, Stretches]], most: int) -> list[tuple[int, Stretches]]:
    """Every n-th deal of each day, so that at most about ``most`` are left of all days together."""
    step = -(-sum(len(rows) for _day, rows in snapshots) // most)
    if step <= 1:
        return list(snapshots)
    return [(day, rows.take(np.arange(0, len(rows), step))) for day, rows in snapshots]


def _spells(view: View, design: Design, day: int, rows: Stretches) -> _Spells:
    """Deal-weeks from a day on, each deal until it closed, the next quarter ended or the origin came."""
    place = next(n for n, quarter in enumerate(view.quarters) if day < quarter.end.toordinal())
    horizon = min(view.quarters[min(place + 1, len(view.quarters) - 1)].end.toordinal() - 1, view.today)
    end, is_won = np.full(len(view.history.deals), horizon + 1), np.zeros(len(view.history.deals), dtype=bool)
    closed = view.closings
    end[closed.deal] = np.where(closed.is_won, closed.close_day, closed.begins)
    is_won[closed.deal] = closed.is_won
    ended = np.maximum(end[rows.deal], day + 1)
    happened = ended <= horizon
    event_week = -(-(np.minimum(ended, horizon) - day) // 7)
    # Weeks that the origin cuts short are left out, unless the deal had closed in them.
    full = np.where(happened, event_week, (horizon - day) // 7)
    count = np.maximum(full, 0).astype(np.int64)
    line = np.repeat(np.arange(len(rows)), count)
    ahead = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + 1
    at_event = happened[line] & (ahead == event_week[line])
    won = is_won[rows.deal][line]
    ago = (view.target.start.toordinal() - day) / 91
    return _Spells(
        design.matrix(rows.take(line), day, ahead, view.quarters),
        (at_event & won).astype(float),
        (at_event & ~won).astype(float),
        np.full(len(line), RECENCY ** max(ago, 0.0)),
    )


def _logistic(
    matrix: NDArray[np.float32], label: Floats, weight: Floats, centre: Floats, ridge: float
) -> Floats:
    """Penalised maximum likelihood by Newton's method; steps that would lose likelihood are halved."""
    penalty = np.full(matrix.shape[1], ridge)
    penalty[0] = 1e-3 if not centre.any() else ridge
    beta = centre.copy()
    if not centre.any():
        beta[0] = special.logit(np.clip(np.average(label, weights=weight), 1e-4, 0.5))
    best = _loss(matrix, label, weight, beta, centre, penalty)
    for _ in range(_STEPS):
        slope, curve = penalty * (beta - centre), np.diag(penalty)
        for part in _parts(matrix):
            x, w = matrix[part].astype(float), weight[part]
            chance = special.expit(x @ beta)
            slope += x.T @ (w * (chance - label[part]))
            curve += (x * (w * chance * (1 - chance))[:, None]).T @ x
        step = np.linalg.solve(curve, slope)
        scale = 1.0
        while scale > 1e-3:
            loss = _loss(matrix, label, weight, beta - scale * step, centre, penalty)
            if loss <= best + 1e-12:
                break
            scale /= 2
        beta = beta - scale * step
        gained, best = best - loss, loss
        if gained < _TOLERANCE * (1 + abs(best)):
            break
    return np.asarray(beta)


def _loss(
    matrix: NDArray[np.float32],
    label: Floats,
    weight: Floats,
    beta: Floats,
    centre: Floats,
    penalty: Floats,
) -> float:
    total = float((penalty * (beta - centre) ** 2).sum()) / 2
    for part in _parts(matrix):
        score = matrix[part].astype(float) @ beta
        total += float((weight[part] * (np.logaddexp(0, score) - label[part] * score)).sum())
    return total


def _parts(matrix: NDArray[np.float32]) -> Iterator[slice]:
    """A few thousand rows at a time."""
    return (slice(start, start + _ROWS) for start in range(0, len(matrix), _ROWS))
