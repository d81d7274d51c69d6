"""Why the forecast moved between two days, deal by deal, to the cent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._ladder import deal_chances
from salesops_kit.analysis.forecast._scope_outlook import whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source, week_before
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

CREATE_AND_CLOSE, OTHERS, UNCHANGED, ALL = "create_and_close", "others", "unchanged", "all"
KINDS = ("won", "new", "rose", "fell", "lost")
_COLUMNS = ["opportunity_id", "name", "kind", "before", "after", "change"]


@table(units={**dict.fromkeys(["before", "after", "change"], "money"), "deals": "deals"})
def changes(
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
    by: Literal["deal", "kind"] = "deal",
    since: str = "",
    top: int = 20,
) -> pd.DataFrame:
    """What moved the forecast of the quarter since an earlier day (empty: a week before).

    One row per deal whose part of the expected value changed, the largest first: ``before`` and ``after`` are
    its amount where it is booked, its part of the forecast's open deals (chance x amount, scaled as
    ``forecast.outlook`` scales them) where it is open, else 0; ``kind``: won, lost (closed, deleted or moved
    to another team), new, or reassessed (still open). Deals beyond ``top`` (0 for all) are summed in one row
    without an id (``others``), then come ``unchanged``, ``create_and_close`` and ``all``: the forecasts of
    the two days, as ``forecast.outlook`` gives them, to which the rows sum exactly. With ``by`` "kind" one
    row for each of won, new, rose, fell (both still open), lost, unchanged, ``create_and_close`` and ``all``.
    Each day's values come from what was known on it; the earlier day's is reconciled with the company only a
    week before. On the first day of the quarter there is no row. Raises :class:`InputError` when ``since`` is
    no ISO date, lies outside the quarter or is not before ``as_of``.
    """
    tables = (opportunity_states, opportunities, stages, forecast_calls, team_memberships)
    now = read_source(*tables, as_of=as_of, period=period, settings=settings)
    here = now.quarters[now.here]
    first = _day(since, as_of, here)
    if first >= as_of:
        result = pd.DataFrame([], columns=_COLUMNS)
        result.attrs["empty"] = _(
            "The quarter has only begun, so that there is no earlier day to compare with."
        )
        return result
    is_week = first == week_before(as_of, here)
    before = (
        now.standing_on(first)
        if is_week
        else read_source(*tables, as_of=first, period=here, settings=settings)
    )
    old, new = _parts(before, reference), _parts(now, reference)
    frame = pd.DataFrame({"before": old.values, "after": new.values}).fillna(0.0)
    frame["change"] = frame["after"] - frame["before"]
    frame["kind"] = [_kind(str(name), old, new) for name in frame.index]
    same = frame[frame["change"] == 0]
    still = (UNCHANGED, float(same["before"].sum()), float(same["after"].sum()))
    frame = frame[frame["change"] != 0].rename_axis("opportunity_id").reset_index()
    frame["size"] = frame["change"].abs()
    frame = frame.sort_values(["size", "opportunity_id"], ascending=[False, True], ignore_index=True)
    if by == "kind":
        return _by_kind(frame, still, old, new, first)
    shown = frame.head(top) if top else frame
    rest = frame.iloc[len(shown) :]
    sums = [
        *([_record(OTHERS, float(rest["before"].sum()), float(rest["after"].sum()))] if len(rest) else []),
        _record(*still),
        _record(CREATE_AND_CLOSE, old.later, new.later),
        _record(ALL, old.total, new.total),
    ]
    named = _named(shown, opportunities)
    result = pd.DataFrame([*named[_COLUMNS].to_dict("records"), *sums], columns=_COLUMNS)
    result.attrs["since"] = first.isoformat()
    return result


def _by_kind(
    frame: pd.DataFrame, still: tuple[str, float, float], old: _Parts, new: _Parts, first: dt.date
) -> pd.DataFrame:
    moved = np.where(frame["change"] > 0, "rose", "fell")
    kind = frame["kind"].where(frame["kind"] != "reassessed", pd.Series(moved, index=frame.index))
    sums = frame.groupby(kind)[["before", "after"]].sum().reindex(list(KINDS)).fillna(0.0)
    rows = [
        (name, float(row.before), float(row.after))
        for name, row in zip(KINDS, sums.itertuples(), strict=True)
    ]
    rows += [still, (CREATE_AND_CLOSE, old.later, new.later), (ALL, old.total, new.total)]
    counts = kind.value_counts()
    result = pd.DataFrame(
        [(name, int(counts.get(name, 0)), before, after, after - before) for name, before, after in rows],
        columns=["kind", "deals", "before", "after", "change"],
    )
    result.loc[result["kind"] == ALL, "deals"] = len(frame)
    result.attrs["since"] = first.isoformat()
    return result


@dataclass(frozen=True)
class _Parts:
    """What a forecast is made of on a day: ``values`` by deal, and which deals are open and booked."""

    values: pd.Series[float]
    is_open: set[str]
    is_booked: set[str]
    later: float

    @property
    def total(self) -> float:
        return float(self.values.sum()) + self.later


def _parts(source: Source, reference: Mapping[str, Any] | None) -> _Parts:
    found = whole_outlook(source, reference, 0)
    models = source.models(source.here, source.as_of, 0, reference)
    names = np.array(source.history.deals, dtype=object)
    rows, won = models.view.open_deals.rows, models.view.won_in(models.view.target)
    expected = deal_chances(models) * models.amounts
    whole = float(expected.sum())
    opened, later = np.nan_to_num(found.open_deals), float(np.nan_to_num(found.create_and_close))
    scale = opened / whole if whole > 0 else 0.0
    values = np.concatenate([expected * scale, won.amount])
    series = pd.Series(values, index=np.concatenate([names[rows.deal], names[won.deal]]), dtype="float64")
    # A method that expects something of a scope without an open deal expects it of create-and-close.
    rest = later if whole > 0 else later + float(opened)
    return _Parts(series, set(names[rows.deal]), set(names[won.deal]), rest)


def _kind(name: str, old: _Parts, new: _Parts) -> str:
    if name in new.is_booked:
        return "won"
    if name in new.is_open:
        return "reassessed" if name in old.is_open or name in old.is_booked else "new"
    return "lost"


def _record(kind: str, before: float, after: float) -> dict[str, Any]:
    return {
        "opportunity_id": None, "name": None, "kind": kind, "before": before, "after": after,
        "change": after - before,
    }  # fmt: skip


def _named(shown: pd.DataFrame, opportunities: ir.Table | None) -> pd.DataFrame:
    if opportunities is None or "name" not in opportunities.columns or shown.empty:
        return shown.assign(name=None)
    wanted = opportunities.filter(opportunities.opportunity_id.isin(list(shown["opportunity_id"])))
    names = collect(wanted.select("opportunity_id", "name")).set_index("opportunity_id")["name"]
    return shown.assign(name=shown["opportunity_id"].map(names))


def _day(text: str, as_of: dt.date, here: Period) -> dt.date:
    if not text:
        return week_before(as_of, here)
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = as_of
    if not here.start <= day < as_of or len(text) != 10:
        last = as_of - dt.timedelta(days=1)
        raise InputError(
            Problem(
                "no earlier day of the quarter", column="since", expected=f"{here.start} to {last}", got=text
            )
        )
    return day
