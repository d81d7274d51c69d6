"""What became of the deals that were due in a quarter when it opened."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import (
    DAY,
    current_quarter,
    day_of_quarter,
    first_known_day,
    floats,
    holds_on,
    quarter_number,
    trailing_quarters,
)
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import ratio
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import is_open, is_true
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

FATES = ("won", "lost", "moved_out", "still_due", "removed", "transferred")
_NEVER = dt.date(2262, 1, 1)
_AMOUNTS = ["due_amount", *(f"{fate}_amount" for fate in FATES)]
_DEALS = ["due_deals", *(f"{fate}_deals" for fate in FATES)]


@table(
    units={
        **dict.fromkeys([*_DEALS, "unknown_amount"], "deals"),
        **dict.fromkeys(_AMOUNTS, "money"),
        **dict.fromkeys(["slippage", "slippage_deals"], "rate"),
    }
)
def slippage(
    opportunity_states: ir.Table,
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
    quarters: int = 1,
) -> pd.DataFrame:
    """How much of what was due in a quarter at its open moved out of it.

    One row per group of ``by`` and quarter, for the ``quarters`` that end with the report's, oldest first.
    Due are the deals that were open at the end of the day before the quarter, with a close date in it;
    stage, owner, team and amount are those of that day. Each has one fate, as it stood at the end of the
    quarter's last day, or of ``as_of`` if that is sooner: ``won``, ``lost``, ``moved_out`` (open with a
    close date outside the quarter, or none), ``still_due`` (open, close date unmoved or moved inside it),
    ``removed`` (deleted) or ``transferred`` (with another team; what became of it there counts there, as
    in the waterfall, so that teams sum to the company).

    ``due_deals`` and ``due_amount`` are the sums of the ``<fate>_deals`` and ``<fate>_amount``, all at the
    amount of the opening, in base currency. ``slippage`` = ``moved_out_amount`` / ``due_amount`` (0-1) and
    ``slippage_deals`` = ``moved_out_deals`` / ``due_deals``: facts, without an interval; missing where
    nothing was due. ``unknown_amount`` deals had no amount and count as 0.

    Quarters that opened before the first day known have no row; without ``by`` every other quarter has one,
    with ``by`` a group has rows where something was due. Raises :class:`InputError` for an unknown
    dimension or fewer than 1 quarter.

    Quarters before the history of close dates have no row; raises :class:`NotAvailableError` where the
    report's is one of them.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    shown = trailing_quarters(current_quarter(as_of, period, settings), quarters, settings)
    record.need_changes(shown[-1].start)
    known_from = first_known_day(opportunity_states)
    keys = [dimension.column_in_rows for dimension in dimensions]
    opening = join_dimensions(_opening(opportunity_states, shown), dimensions, tables)
    opening = opening.select("opportunity_id", "team", "number", "amount", *keys)
    fates = _fates(opening, opportunity_states, shown, as_of)
    frame = collect(fates.group_by([*keys, "number", "fate"]).aggregate(
        deals=fates.count(), amount=fates.amount.sum(), unknown_amount=fates.amount.isnull().sum()
    ))  # fmt: skip
    frame = label_groups(floats(frame, ["amount", "unknown_amount"]), dimensions, settings)
    result = _wide(frame, names, shown)
    observed = [
        place
        for place, quarter in enumerate(shown)
        if known_from and quarter.start - DAY >= max(known_from, record.changes_from)
    ]
    result = sort_groups(result[result["number"].isin(observed)], [*names, "number"])
    result["slippage"] = ratio(result["moved_out_amount"], result["due_amount"])
    result["slippage_deals"] = ratio(result["moved_out_deals"], result["due_deals"])
    columns = [*names, "quarter", *_DEALS, *_AMOUNTS, "slippage", "slippage_deals", "unknown_amount"]
    unknown = int(result["unknown_amount"].sum())
    result = with_rep_names(result[columns], reps)
    result.attrs["notes"] = []
    if unknown:
        text = ngettext(
            "{count} deal had no amount when its quarter opened and counts as 0.",
            "{count} deals had no amount when their quarter opened and count as 0.",
            unknown,
        )
        result.attrs["notes"] = [text.format(count=unknown)]
    return result


def _opening(states: ir.Table, quarters: list[Period]) -> ir.Table:
    """The deals due in each quarter the day before it. A close date lies in one quarter only, so that one
    scan finds the openings of them all."""
    rows = states.filter(is_open(states))
    rows = rows.mutate(number=quarter_number(rows.close_date, quarters))
    rows = rows.filter(rows.number.notnull())
    day = day_of_quarter(rows.number, [quarter.start - DAY for quarter in quarters])
    return rows.filter(holds_on(rows, day))


def _fates(opening: ir.Table, states: ir.Table, quarters: list[Period], as_of: dt.date) -> ir.Table:
    ends = [min(as_of, quarter.last_day) for quarter in quarters]
    # Whatever was open before the first quarter and ended before it tells no fate.
    later = states.filter(
        states.valid_to_date.isnull() | (states.valid_to_date > ibis.literal(quarters[0].start - DAY))
    )
    later = later.select(
        later_id=later.opportunity_id,
        later_team=later.team,
        later_close_date=later.close_date,
        is_removed=is_true(later.is_deleted),
        is_closed=is_true(later.is_closed),
        is_won=is_true(later.is_won),
        from_date=later.valid_from_date,
        # A comparison of two columns can be part of a hash join, which "missing or later" cannot.
        to_date=ibis.coalesce(later.valid_to_date, ibis.literal(_NEVER)),
    )
    opening = opening.mutate(end_day=day_of_quarter(opening.number, ends))
    joined = opening.left_join(
        later,
        [
            opening.opportunity_id == later.later_id,
            opening.team == later.later_team,
            later.from_date <= opening.end_day,
            later.to_date > opening.end_day,
        ],
    )
    fate = ibis.cases(
        (joined.later_id.isnull(), "transferred"),
        (joined.is_removed, "removed"),
        (joined.is_closed & joined.is_won, "won"),
        (joined.is_closed, "lost"),
        (is_true(quarter_number(joined.later_close_date, quarters) == joined.number), "still_due"),
        else_="moved_out",
    )
    return joined.mutate(fate=fate)


def _wide(frame: pd.DataFrame, names: list[str], quarters: list[Period]) -> pd.DataFrame:
    """One row per group and quarter, with deals and amount of each fate."""
    groups = [*names, "number"]
    for fate in FATES:
        has_it = frame["fate"] == fate
        frame[f"{fate}_deals"] = frame["deals"].where(has_it, 0)
        frame[f"{fate}_amount"] = frame["amount"].where(has_it, 0.0)
    frame = frame.rename(columns={"deals": "due_deals", "amount": "due_amount"}).drop(columns="fate")
    result = frame.groupby(groups, as_index=False, dropna=False, sort=False).sum()
    if not names:
        every = pd.DataFrame({"number": range(len(quarters))})
        result = every.merge(result, on="number", how="left").fillna(0)
    result["quarter"] = [quarters[int(number)].label for number in result["number"]]
    result[_AMOUNTS] = result[_AMOUNTS].astype("float64")
    return result.astype(dict.fromkeys([*_DEALS, "unknown_amount"], "int64"))
