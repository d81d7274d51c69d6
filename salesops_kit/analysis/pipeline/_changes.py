"""What changed in the pipeline between two as-of dates, deal by deal."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._days import between
from salesops_kit.analysis.pipeline._deals import as_shown, with_columns
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.waterfall import MOVES, exact, flows, refuse_broken, stays
from salesops_kit.periods import DAY, Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

# Changes that move no money of the pipeline, after those of the waterfall.
QUIET = ("postponed", "advanced", "stage_moved", "recategorised")
CHANGES = (*MOVES, *QUIET)
_BACK = dt.timedelta(days=7)
_FIELDS = ("stage", "amount", "close_date", "forecast_category")
_SIDES = [f"{field}_{side}" for field in _FIELDS for side in ("before", "after")]
_COLUMNS = ["opportunity_id", "name", "owner_id", "team", "change", "effect", *_SIDES]
_ALSO = ("stage", "close_date", "forecast_category", "owner_id", "team")
_EVER = dt.date(9999, 1, 1)


@table(units=dict.fromkeys(["effect", "amount_before", "amount_after"], "money"))
def changes(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    since: str = "",
    until: str = "",
) -> pd.DataFrame:
    """What changed in the pipeline due in the period between two as-of dates, deal by deal.

    One row per deal, stay in a team and ``change``; a deal with several changes has several rows. The
    changes of ``pipeline.waterfall`` carry their ``effect`` (base currency) on the open pipeline due in
    the period, so that the effects of a change sum to its line, and all of them to closing less opening,
    to the cent: ``created``, ``pulled_in``, ``transferred_in``, ``up``, ``reopened``, ``won``, ``lost``,
    ``pushed`` (out of the period), ``transferred_out``, ``down``, ``removed``. The others have effect 0:
    ``postponed`` and ``advanced`` (close date moved without entering or leaving the period),
    ``stage_moved``, ``recategorised``, and ``up`` and ``down`` of a deal that leaves at its old amount.

    Columns: ``opportunity_id``, ``name``, ``owner_id`` and ``team`` (at the end of the stay), ``change``,
    ``effect``, and ``stage``, ``amount``, ``close_date`` and ``forecast_category`` each with ``_before``
    (missing for a created deal; for one handed over as it came) and ``_after``. Largest effect of a deal
    first.

    The states compared are those at the end of ``since`` and of ``until`` (ISO dates; empty: seven days
    before the later date, and ``as_of``). Only deals on a line of the waterfall are listed: due in the
    period on either date, or won or lost from it; without a period all. What is undone between the two
    dates is no change. An unknown amount is missing and counts as 0.

    Raises :class:`InputError` for a date that is none, lies after ``as_of`` or is out of order.

    Raises :class:`NotAvailableError` where the data has no history of close dates since then.
    """
    first, last = between(since, until, as_of, lambda later: later - _BACK)
    record.need_changes(first)
    stayed = stays(opportunity_states, first + DAY, last, period, also=_ALSO)
    found = flows(stayed, also=_told(stayed.columns))
    listed = found.filter(_is_listed(found) | found.is_broken)
    frame = collect(with_columns(listed, opportunities, ["name"]))
    refuse_broken(int(frame["is_broken"].sum()))
    rows = [row for stay in frame.to_dict("records") for row in _rows_of(stay)]
    result = as_shown(
        pd.DataFrame(rows, columns=_COLUMNS),
        money=["effect", "amount_before", "amount_after"],
        dates=["close_date_before", "close_date_after"],
    )
    result = _largest_first(result)
    result.attrs.update(since=first.isoformat(), until=last.isoformat())
    return result


def _told(columns: tuple[str, ...]) -> list[str]:
    """The columns of a stay that say what it was like before and after."""
    return [name for name in columns if name not in ("stay", "is_broken")]


def _is_listed(rows: ir.Table) -> ir.BooleanValue:
    """On a line of the waterfall, and not the same as before in every respect."""
    moved = functools.reduce(operator.or_, [rows[step].notnull() for step in MOVES])
    on_a_line = moved | rows.opening.notnull() | rows.closing.notnull()
    differs = (
        (rows.s_stage != rows.e_stage)
        | (rows.s_forecast_category.fill_null("") != rows.e_forecast_category.fill_null(""))
        | (
            rows.s_close_date.fill_null(ibis.literal(_EVER))
            != rows.e_close_date.fill_null(ibis.literal(_EVER))
        )
    )
    return on_a_line & (moved | differs)


def _rows_of(stay: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one stay, those with an effect first."""
    is_new = stay["kind"] == "created"
    amounts = {
        side: None if stay[f"{side}_unknown"] else exact(stay[f"{side}_amount"]) for side in ("s", "e")
    }
    sides: dict[str, Any] = {}
    for field in _FIELDS:
        before, after = (
            amounts[side] if field == "amount" else _known(stay[f"{side}_{field}"]) for side in ("s", "e")
        )
        sides |= {f"{field}_before": None if is_new else before, f"{field}_after": after}
    shared = {
        "opportunity_id": stay["opportunity_id"],
        "name": _known(stay["name"]),
        "owner_id": _known(stay["e_owner_id"]),
        "team": stay["e_team"],
        **sides,
    }
    effects = {step: exact(stay[step]) for step in MOVES if _known(stay[step]) is not None}
    if not is_new and stay["s_open"] and stay["e_open"]:
        effects |= dict.fromkeys(_quiet(sides, effects), Decimal(0))
    for change, effect in effects.items():
        yield {**shared, "change": change, "effect": effect}


def _quiet(sides: Mapping[str, Any], effects: Mapping[str, Decimal]) -> Iterator[str]:
    """The changes of a deal that stayed open which move no money of the pipeline."""
    before, after = (sides[f"amount_{side}"] or Decimal(0) for side in ("before", "after"))
    if before != after and not {"up", "down"} & set(effects):
        yield "up" if after > before else "down"
    due_before, due_after = (sides[f"close_date_{side}"] or _EVER for side in ("before", "after"))
    if due_before != due_after and not {"pushed", "pulled_in"} & set(effects):
        yield "postponed" if due_after > due_before else "advanced"
    if sides["stage_before"] != sides["stage_after"]:
        yield "stage_moved"
    if sides["forecast_category_before"] != sides["forecast_category_after"]:
        yield "recategorised"


def _known(value: Any) -> Any:
    return None if value is None or value is pd.NaT or value != value else value


def _largest_first(rows: pd.DataFrame) -> pd.DataFrame:
    largest = rows["effect"].abs().groupby(rows["opportunity_id"]).transform("max")
    order = rows["change"].map({change: place for place, change in enumerate(CHANGES)})
    keyed = rows.assign(largest=largest, order=order)
    keyed = keyed.sort_values(
        ["largest", "opportunity_id", "order", "team"], ascending=[False, True, True, True], kind="stable"
    )
    return keyed[_COLUMNS].reset_index(drop=True)
