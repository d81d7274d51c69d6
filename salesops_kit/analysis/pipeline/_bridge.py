"""The bookings bridge: why the bookings of a period differ from those of another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit import formats
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.decomposition import shapley_parts, whole_parts
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import CONFIDENCE, SIGNIFICANCE, Array, benjamini_hochberg
from salesops_kit.estimators.outcomes import (
    excluded_reasons,
    is_qualified,
    missing_reason_note,
    outcome,
    qualified_positions,
)
from salesops_kit.estimators.states import falls_in, is_open, is_true, known_states
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period, prior_as_of
from salesops_kit.registry import table
from salesops_kit.settings import Settings

FACTORS = ("volume", "timing", "win_rate", "deal_size")
STEPS = ("bookings_before", *FACTORS, "bookings_after")
_UNITS = ("money", "deals", "rate", "rate", "money", "money")
_COLUMNS = (
    "step", "amount", "low", "high", "is_evidence", "unit", "factor_before", "factor_after", "n_before",
    "n_after",
)  # fmt: skip
# A query over fewer columns takes the engine's translator less time than the engine itself.
_READ = (
    "opportunity_id", "team", "pipeline", "reached_position", "is_closed", "is_won", "is_deleted", "amount",
    "close_date", "valid_from_date", "valid_to_date",
)  # fmt: skip
_COUNTS = ("in_play", "decided", "won")
_SUMS = (*_COUNTS, "amount", "square", "unknown")
_DRAWS = 8_000
_SEED = 20_260_501
_CENTS = Decimal("0.01")


@table(units={**dict.fromkeys(["amount", "low", "high"], "money"), "n_before": "deals", "n_after": "deals"})
def bridge(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    by: str = "",
    against: Literal["previous", "year_ago"] = "previous",
) -> pd.DataFrame:
    """Why bookings changed: volume, timing, win rate and deal size, exactly.

    Bookings, the amount of the deals won with a close date in the period, are in each period the
    product of four factors:

    - ``volume``, deals in play: at some day's end of the period (or on the evening before it) open and
      due in it, in the team that has the deal at the cut-off, or decided in it;
    - ``timing``, the share of them that was decided: won or lost with a close date in the period. The
      others were pushed out, or are still open;
    - ``win_rate``, won / decided, as ``funnel.headlines`` counts it;
    - ``deal_size``, bookings / won deals; a won deal without an amount counts as 0 and is noted.

    Deals count from the first qualified stage on, without deleted ones and without those closed as
    duplicate or entered in error. The change is shared out by Shapley's rule, the average over all orders
    in which the four may change; no order is preferred. A factor without a denominator (nobody in
    play, nothing decided, nothing won) is unknown and taken as unchanged; a period without bookings
    is exact all the same, since an earlier factor is then 0.

    Six rows per group of ``by``: ``step`` (``bookings_before``, the four parts, ``bookings_after``);
    ``amount`` (base currency, at one plan rate for both periods): the two bookings and, in cents by
    largest remainder, the parts, which sum to the change; ``low`` and ``high`` of what is inferred;
    ``is_evidence``; ``factor_before`` and ``factor_after`` in ``unit`` (deals, rate, money), missing where
    unknown; ``n_before`` and ``n_after``, the deals that a factor rests on.

    Which part is chance: the two periods are taken as independent samples, the number of deals in play
    as Poisson, the shares as binomial, the mean size with a common coefficient of variation. ``low``
    and ``high`` hold all four parts at once with 95 % (each with 98.75 %), from 8,000 draws with a
    fixed seed; deals in play in both periods are not taken off, which makes them a little too wide.
    ``is_evidence`` is set where they exclude 0; over several groups only where that survives the false
    discovery rate of 5 % too. The limits are missing where nothing can be said: fewer than three won
    deals in both periods say nothing of the size.

    Seen from within the period, the other one is cut after as many days, its later days left out, and
    the notes say so; afterwards it is seen from as long after its end. ``against`` is the period
    before or the same one a year ago; without a period, the fiscal quarter of ``as_of`` is compared.
    Bookings and deals in play of teams sum to the company's; the parts do not, since a shift of
    business between teams is volume for them, and win rate or size for the company.

    Raises :class:`InputError` for an unknown dimension or qualified stage.

    Raises :class:`NotAvailableError` where the data has no history of close dates since then.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    here = period or settings.fiscal.quarter_of(as_of)
    other = settings.fiscal.previous(here) if against == "previous" else settings.fiscal.year_ago(here)
    record.need_changes(other.start)
    seen_on = prior_as_of(as_of, here, other)
    reasons = excluded_reasons(opportunities, settings)
    positions = qualified_positions(stages, settings)
    read = [*_READ, *(each.column for each in dimensions if each.table == "opportunity_states")]
    states = opportunity_states.select(*dict.fromkeys(read))
    both = in_play(states, other, seen_on).mutate(side=0).union(in_play(states, here, as_of).mutate(side=1))
    rows = join_dimensions(both, dimensions, tables, ["loss_reason"] if reasons else [])
    rows = rows.mutate(outcome=outcome(rows, reasons, rows.loss_reason if reasons else None))
    rows = rows.filter(is_qualified(rows, positions) & (rows.outcome != "excluded"))
    keys = ["side", *(dimension.column_in_rows for dimension in dimensions)]
    counted = _by_side(label_groups(collect(_sums(rows, keys)), dimensions, settings), names)
    parts = [_bridge(row, np.random.default_rng(_SEED)) for row in counted[list(_pairs())].to_dict("records")]
    labels = counted[names].loc[counted.index.repeat(len(STEPS))].reset_index(drop=True)
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_COLUMNS, "p_value"])
    result = pd.concat([labels, found], axis=1)
    if len(parts) > 1:
        result["is_evidence"] &= benjamini_hochberg(result["p_value"]) < SIGNIFICANCE
    result = result[[*names, *_COLUMNS]]
    result.attrs["notes"] = _notes(counted, bool(names), here, other, as_of, seen_on)
    if opportunities is None or "loss_reason" not in opportunities.columns:
        result.attrs["notes"] += missing_reason_note(reasons_known=False)
    result.attrs.update(period=here.label, against=other.label, seen_on=seen_on.isoformat())
    return result


def _sums(rows: ir.Table, keys: Sequence[str]) -> ir.Table:
    """Deals in play, decided and won, with the won amounts and their squares, per group."""
    is_won = rows.is_decided & (rows.outcome == "won")
    amount = ibis.coalesce(rows.amount, 0)
    number = amount.cast("float64")
    return rows.aggregate(
        by=keys,
        in_play=rows.count(),
        decided=rows.is_decided.cast("int32").sum(),
        won=is_won.cast("int32").sum(),
        amount=amount.sum(where=is_won),
        square=(number * number).sum(where=is_won),
        unknown=(is_won & rows.amount.isnull()).cast("int32").sum(),
    )


def in_play(states: ir.Table, period: Period, as_of: dt.date) -> ir.Table:
    """One row per deal in play in the period, as it stood at the end of ``as_of``, with ``is_decided``."""
    known = known_states(states, as_of)
    in_period = falls_in(known.close_date, period)
    # A deal that was open in the period and is closed now was closed after the period began.
    last = known.filter(is_open(known) | in_period | (known.valid_from_date >= ibis.literal(period.start)))
    last = last.mutate(is_decided=is_true(last.is_closed) & falls_in(last.close_date, period))
    begins, ends = states.valid_from_date, states.valid_to_date
    seen = (begins <= ibis.literal(min(as_of, period.last_day))) & (
        ends.isnull() | ((ends >= ibis.literal(period.start)) & (ends > begins))
    )
    due = states.filter(seen & is_open(states) & falls_in(states.close_date, period))
    due = due.select(due_id="opportunity_id", due_team="team").distinct()
    joined = last.left_join(due, [last.opportunity_id == due.due_id, last.team == due.due_team])
    return joined.filter(joined.is_decided | joined.due_id.notnull()).drop("due_id", "due_team")


def _pairs() -> list[str]:
    return [f"{name}_{side}" for side in (0, 1) for name in _SUMS]


def _by_side(sums: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """One row per group with each sum of either period; a period without the group counts 0."""
    sums["amount"] = [Decimal(0) if value is None or value != value else value for value in sums["amount"]]
    numbers = ["square", *_COUNTS, "unknown"]
    sums[numbers] = sums[numbers].fillna(0)
    if not names:
        # A whole without any deal is still a whole.
        nothing = {"side": [0, 1], "amount": Decimal(0), **dict.fromkeys(numbers, 0)}
        sums = pd.concat([sums, pd.DataFrame(nothing)], ignore_index=True)
    keys = [*names, "side"]
    sums = sums.groupby(keys, dropna=False, sort=False)[list(_SUMS)].sum().reset_index()
    sides = [
        sums[sums["side"] == side].drop(columns="side").rename(columns={n: f"{n}_{side}" for n in _SUMS})
        for side in (0, 1)
    ]
    merged = sides[0].merge(sides[1], how="outer" if names else "cross", on=names or None)
    for column in _pairs():
        zero = Decimal(0) if column.startswith("amount") else 0
        merged[column] = [zero if value != value else value for value in merged[column]]
    return sort_groups(merged, names)


def _bridge(sums: Mapping[str, Any], random: np.random.Generator) -> pd.DataFrame:
    known = [_factors(sums, side) for side in (0, 1)]
    before, after = _filled(known[0], known[1]), _filled(known[1], known[0])
    bookings = [Decimal(sums[f"amount_{side}"]).quantize(_CENTS, ROUND_HALF_UP) for side in (0, 1)]
    cents = whole_parts(
        [100 * part for part in shapley_parts(before, after)], int((bookings[1] - bookings[0]) * 100)
    )
    low, high, p_value = _chance(sums, known, [cent / 100 for cent in cents], random)
    rests_on = [
        [sums[f"{name}_{side}"] for name in ("in_play", "in_play", "decided", "won")] for side in (0, 1)
    ]
    factors = [[np.nan if value is None else float(value) for value in side] for side in known]

    def lines(first: Any, middle: Sequence[Any] | np.ndarray, last: Any) -> list[Any]:
        return [first, *middle, last]

    missing = float("nan")
    return pd.DataFrame(
        {
            "step": list(STEPS),
            "amount": lines(float(bookings[0]), [cent / 100 for cent in cents], float(bookings[1])),
            "low": lines(missing, low, missing),
            "high": lines(missing, high, missing),
            "is_evidence": lines(False, (low > 0) | (high < 0), False),
            "unit": list(_UNITS),
            "factor_before": lines(missing, factors[0], missing),
            "factor_after": lines(missing, factors[1], missing),
            "n_before": lines(int(sums["won_0"]), [int(n) for n in rests_on[0]], int(sums["won_0"])),
            "n_after": lines(int(sums["won_1"]), [int(n) for n in rests_on[1]], int(sums["won_1"])),
            "p_value": lines(missing, p_value, missing),
        }
    )


def _factors(sums: Mapping[str, Any], side: int) -> list[Fraction | None]:
    """The four factors of one period; None where there is no denominator."""
    in_play, decided, won = (int(sums[f"{name}_{side}"]) for name in _COUNTS)
    return [
        Fraction(in_play),
        Fraction(decided, in_play) if in_play else None,
        Fraction(won, decided) if decided else None,
        Fraction(sums[f"amount_{side}"]) / won if won else None,
    ]


def _filled(factors: Sequence[Fraction | None], others: Sequence[Fraction | None]) -> list[Fraction]:
    """Unknown factors taken from the other period, and as 0 where neither knows them."""
    pairs = zip(factors, others, strict=True)
    return [own if own is not None else other if other is not None else Fraction(0) for own, other in pairs]


def _chance(
    sums: Mapping[str, Any],
    known: Sequence[Sequence[Fraction | None]],
    parts: Sequence[float],
    random: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """The limits of the four parts and their two-sided p-values, from draws of the factors."""
    spread, freedom = _size_spread(sums)
    drawn: list[list[Array | None]] = [_draws(sums, side, spread, freedom, random) for side in (0, 1)]
    for place in range(len(FACTORS)):
        for side in (0, 1):
            if known[side][place] is None:
                drawn[side][place] = drawn[1 - side][place]
    if any(drawn[0][place] is None for place in range(len(FACTORS) - 1)):
        nothing = np.full(len(FACTORS), np.nan)
        return nothing, nothing.copy(), nothing.copy()
    zeros = np.zeros(_DRAWS)
    sides = [[zeros if values is None else values for values in side] for side in drawn]
    outcomes = np.array(shapley_parts(*sides))
    tail = (1 - CONFIDENCE) / 2 / len(FACTORS)
    low, high = np.quantile(outcomes, [tail, 1 - tail], axis=1)
    below, above = (outcomes <= 0).mean(axis=1), (outcomes >= 0).mean(axis=1)
    p_value = np.minimum(2 * np.minimum(below, above) + 1 / _DRAWS, 1)
    # What was counted lies within its own limits, also at the edge of what a share can be.
    low, high = np.minimum(low, parts), np.maximum(high, parts)
    if freedom < 1:
        low[-1], high[-1], p_value[-1] = np.nan, np.nan, np.nan
    return low, high, p_value


def _size_spread(sums: Mapping[str, Any]) -> tuple[float, int]:
    """The squared coefficient of variation of won amounts, both periods pooled, and its freedom."""
    total, deals = 0.0, 0
    for side in (0, 1):
        won, amount = int(sums[f"won_{side}"]), float(sums[f"amount_{side}"])
        if won and amount:
            mean = amount / won
            total += max(float(sums[f"square_{side}"]) / mean**2 - won, 0.0)
            deals += won - 1
    return (total / deals if deals else 0.0), deals


def _draws(
    sums: Mapping[str, Any], side: int, spread: float, freedom: int, random: np.random.Generator
) -> list[Array | None]:
    """What each factor of one period may really be; None where there is no denominator."""
    in_play, decided, won = (int(sums[f"{name}_{side}"]) for name in _COUNTS)
    size: Array | None = None
    if won:
        # On the scale of logarithms a mean stays positive, and ratios of means are symmetric.
        deviation = random.standard_t(freedom, _DRAWS) if freedom else np.zeros(_DRAWS)
        width = np.clip(deviation * np.sqrt(spread / won), -30, 30)
        size = float(sums[f"amount_{side}"]) / won * np.exp(width)
    # A half on either side is Jeffreys' prior: no certainty from a share of 0 or 1.
    return [
        random.gamma(in_play + 0.5, size=_DRAWS),
        random.beta(decided + 0.5, in_play - decided + 0.5, _DRAWS) if in_play else None,
        random.beta(won + 0.5, decided - won + 0.5, _DRAWS) if decided else None,
        size,
    ]


def _notes(
    counted: pd.DataFrame, has_groups: bool, here: Period, other: Period, as_of: dt.date, seen_on: dt.date
) -> list[str]:
    notes = []
    if seen_on < other.last_day:
        text = _("{period} up to {day} is compared with the same stretch of {other}, up to {other_day}.")
        notes.append(
            text.format(
                period=here.label,
                day=formats.date(as_of),
                other=other.label,
                other_day=formats.date(seen_on),
            )
        )
    if not counted["in_play_0"].sum():
        notes.append(_("No deal was in play in {period}.").format(period=other.label))
    unknown = int(counted["unknown_0"].sum() + counted["unknown_1"].sum())
    if unknown:
        text = ngettext(
            "{count} won deal has no amount and counts as 0.",
            "{count} won deals have no amount and count as 0.",
            unknown,
        )
        notes.append(text.format(count=unknown))
    if has_groups:
        notes.append(
            _(
                "Bookings add up over the groups; the parts do not, as a shift between groups changes"
                " the win rate and the deal size of the whole."
            )
        )
    return notes
