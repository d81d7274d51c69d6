"""Where declared and computed bookings part: the deals that make or may make the difference."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._restatements import HALF_CENT
from salesops_kit.analysis.quality._tie_out import declared_bookings
from salesops_kit.data.engine import collect
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import is_true, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table

COLUMNS = [
    "source", "opportunity_id", "name", "owner_id", "close_date", "declared", "computed", "difference", "why",
    "explains",
]  # fmt: skip
NEAR_DAYS = 7
MOST_CANDIDATES = 400


@table(units={**dict.fromkeys(["declared", "computed", "difference"], "money"), "close_date": "date"})
def tie_out_deals(
    opportunity_states: ir.Table,
    control_totals: ir.Table | None = None,
    control_deals: ir.Table | None = None,
    opportunities: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    top: int = 100,
) -> pd.DataFrame:
    """The deals behind a control total that does not tie.

    For a source that declares its deals (``control_deals``: source, period, opportunity_id, value) one row
    per deal whose ``declared`` and ``computed`` bookings differ (a missing deal counts as 0), the largest
    ``difference`` (computed - declared) first; they sum to the difference of the totals.

    For a source that declares a total alone the deals are not known, and candidates are listed: deals of
    the rows that could be counted there in another way, since they closed within seven days of either end
    of the quarter, changed after the quarter ended, were set aside on import, or have the very amount of
    the difference. ``difference`` is what the deal would take away from it, ``explains`` marks a deal, or
    two together, that make exactly the whole difference; these stand first. ``declared`` is missing then.

    No row without a period, before it has ended, or where all ties. At most ``top`` rows per source.
    """
    if period is None or as_of < period.last_day or control_totals is None:
        return _finish([], reps)
    known = known_states(opportunity_states, as_of)
    booked = _named(known.filter(is_booked(known, period)), opportunities)
    total = collect(booked.aggregate(amount=booked.amount.sum()))["amount"].iloc[0]
    computed = 0.0 if pd.isna(total) else float(total)
    parts = []
    for source, value in declared_bookings(control_totals, period).itertuples(index=False):
        apart = computed - value
        if abs(apart) < HALF_CENT or pd.isna(apart):
            continue
        listed = _declared(control_deals, source, period)
        if listed is not None:
            part = _by_deal(listed, booked)
        else:
            part = _candidates(opportunity_states, known, opportunities, exclusions, period, apart)
        parts.append(part.head(top).assign(source=source))
    return _finish(parts, reps)


def _finish(parts: list[pd.DataFrame], reps: ir.Table | None) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    frame = pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=COLUMNS)
    frame = frame.reindex(columns=COLUMNS).astype(
        dict.fromkeys(["declared", "computed", "difference"], float)
    )
    result = with_rep_names(frame.astype({"explains": bool}), reps)
    result.attrs["empty"] = _("No declared total is left to explain.")
    return result


def _named(rows: ir.Table, opportunities: ir.Table | None) -> ir.Table:
    """The deals' ids, names, owners, dates and amounts."""
    rows = rows.select("opportunity_id", "owner_id", "close_date", amount=ibis.coalesce(rows.amount, 0))
    if opportunities is None or "name" not in opportunities.columns:
        return rows.mutate(name=ibis.null("string"))
    names = opportunities.select(named_id="opportunity_id", name="name")
    return rows.left_join(names, rows.opportunity_id == names.named_id).drop("named_id")


def _declared(control_deals: ir.Table | None, source: str, period: Period) -> ir.Table | None:
    if control_deals is None:
        return None
    mine = control_deals.filter(control_deals.source == source, control_deals.period == period.label)
    found = collect(mine.aggregate(n=mine.count()))["n"].iloc[0]
    return mine.group_by(declared_id="opportunity_id").aggregate(declared=mine.value.sum()) if found else None


def _by_deal(listed: ir.Table, booked: ir.Table) -> pd.DataFrame:
    both = collect(listed.outer_join(booked, listed.declared_id == booked.opportunity_id))
    both["opportunity_id"] = both["opportunity_id"].where(both["opportunity_id"].notna(), both["declared_id"])
    declared, computed = (both[name].astype(float).fillna(0.0) for name in ("declared", "amount"))
    frame = both.assign(declared=declared, computed=computed, difference=computed - declared, explains=True)
    frame = frame[frame["difference"].abs() >= HALF_CENT]
    words = {(True, False): _("declared, not booked here"), (False, True): _("booked here, not declared")}
    missing = zip(frame["amount"].isna(), frame["declared_id"].isna(), strict=True)
    frame["why"] = [words.get(pair, _("another amount")) for pair in missing]
    order = frame["difference"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order]


def _candidates(
    states: ir.Table,
    known: ir.Table,
    opportunities: ir.Table | None,
    exclusions: ir.Table | None,
    period: Period,
    apart: float,
) -> pd.DataFrame:
    near = dt.timedelta(days=NEAR_DAYS)
    won = known.filter(is_true(known.is_closed) & is_true(known.is_won))
    window = won.filter(
        (won.close_date >= ibis.literal(period.start - near))
        & (won.close_date < ibis.literal(period.end + near))
    )
    before = known_states(states, period.last_day)
    told = before.filter(is_booked(before, period)).select(told_id="opportunity_id", told=before.amount)
    rows = _named(window, opportunities)
    rows = rows.outer_join(told, rows.opportunity_id == told.told_id)
    inside = (rows.close_date >= ibis.literal(period.start)) & (rows.close_date < ibis.literal(period.end))
    at_edge = (rows.close_date < ibis.literal(period.start + near)) | (
        rows.close_date >= ibis.literal(period.end - near)
    )
    is_same = (rows.amount.cast("float64").abs() - abs(apart)).abs() < HALF_CENT
    rows = rows.mutate(
        inside=is_true(inside),
        at_edge=is_true(at_edge),
        changed=is_true(inside & (rows.told_id.isnull() | (rows.told != rows.amount)))
        | is_true(~inside & rows.told_id.notnull())
        | rows.opportunity_id.isnull(),
        is_same=is_true(is_same),
    )
    rows = rows.filter(rows.at_edge | rows.changed | rows.is_same)
    frame = collect(rows.limit(20 * MOST_CANDIDATES))
    frame["opportunity_id"] = frame["opportunity_id"].where(frame["opportunity_id"].notna(), frame["told_id"])
    amount, told_amount = (frame[name].astype(float).fillna(0.0) for name in ("amount", "told"))
    frame["computed"] = amount.where(frame["inside"], 0.0)
    # What the total here would lose if the deal were counted as it is not here.
    shift = frame["computed"] - told_amount
    other = amount.where(frame["inside"], -amount)
    frame["difference"] = shift.where(frame["changed"] & (shift.abs() >= HALF_CENT), other)
    frame["why"] = [_reason(row) for row in frame.itertuples()]
    frame = pd.concat([frame, _aside(exclusions)], ignore_index=True)
    frame["explains"] = _explaining(frame["difference"].tolist(), apart)
    frame["declared"] = float("nan")
    frame = frame.assign(size=frame["difference"].abs())
    frame = frame.sort_values(["explains", "size", "opportunity_id"], ascending=[False, False, True])
    # Where some deals make the whole difference, the others need not be looked at.
    return frame[frame["explains"]] if frame["explains"].any() else frame


def _reason(row: object) -> str:
    if row.changed:  # type: ignore[attr-defined]
        return _("changed since the quarter ended")
    if row.inside:  # type: ignore[attr-defined]
        return _("closed near the quarter's end or start") if row.at_edge else _("the same amount")  # type: ignore[attr-defined]
    return _("closed just outside the quarter")


def _aside(exclusions: ir.Table | None) -> pd.DataFrame:
    """Deals with an amount that the import set aside."""
    if exclusions is None:
        return pd.DataFrame()
    rows = exclusions.filter(
        (exclusions.action == "set aside")
        & (exclusions.table_name == "opportunities")
        & exclusions.amount.notnull()
    )
    frame = collect(rows.select("opportunity_id", "owner_id", "amount").distinct())
    amount = frame["amount"].astype(float)
    return frame[["opportunity_id", "owner_id"]].assign(
        computed=0.0, difference=-amount, why=_("set aside on import")
    )


def _explaining(differences: list[float], apart: float) -> list[bool]:
    """Which of the differences are the whole one, alone or, where none is, two together."""
    alone = [abs(value - apart) < HALF_CENT for value in differences]
    if any(alone) or len(differences) > MOST_CANDIDATES:
        return alone
    cents: dict[int, list[int]] = {}
    for place, value in enumerate(differences):
        cents.setdefault(round(value * 100), []).append(place)
    found: set[int] = set()
    whole = round(apart * 100)
    for value, places in cents.items():
        others = cents.get(whole - value, [])
        pair = [(a, b) for a in places for b in others if a != b]
        # Several ways to make it up say nothing about any of them.
        if len(pair) in (1, 2):
            found |= set(pair[0])
    return [place in found for place in range(len(differences))] if len(found) == 2 else alone
