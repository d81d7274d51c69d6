"""Why the forecast moved between two days, deal by deal, to the cent."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._ladder import Models, deal_chances
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.errors import InputError, Problem
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

CREATE_AND_CLOSE, ALL = "create_and_close", "all"
_COLUMNS = ["opportunity_id", "kind", "before", "after", "change"]


@table(units=dict.fromkeys(["before", "after", "change"], "money"))
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
    since: str = "",
    top: int = 20,
) -> pd.DataFrame:
    """What moved the expected bookings of the quarter since an earlier day (empty: a week before).

    One row per deal whose part of the simulation's expected value changed, the largest first: ``before``
    and ``after`` are its amount where it is booked, chance x amount x value factor where it is open, else
    0; ``kind``: won, lost (closed, deleted or moved to another team), new, or reassessed (still open). Deals
    beyond ``top`` (0 for all) are summed in one row without an id, then come ``create_and_close`` and
    ``all``, to which the rows sum exactly. Each day's values come from what the scope's own rows told on
    it. Raises
    :class:`InputError` when ``since`` is no ISO date, lies outside the quarter or is not before ``as_of``.
    """
    context: dict[str, Any] = {"settings": settings}
    tables = (opportunity_states, opportunities, stages, forecast_calls, team_memberships)
    now = read_source(*tables, as_of=as_of, period=period, **context)
    here = now.quarters[now.here]
    first = _day(since, as_of, here)
    then = read_source(*tables, as_of=first, period=here, **context)
    old, new = _values(then), _values(now)
    frame = pd.DataFrame({"before": old[0], "after": new[0]}).fillna(0.0)
    frame["change"] = frame["after"] - frame["before"]
    frame["kind"] = [_kind(str(name), old, new) for name in frame.index]
    frame = frame[frame["change"] != 0].rename_axis("opportunity_id").reset_index()
    frame["size"] = frame["change"].abs()
    frame = frame.sort_values(["size", "opportunity_id"], ascending=[False, True], ignore_index=True)
    shown = frame.head(top) if top else frame
    rest = frame.iloc[len(shown) :]
    sums = [
        *([_sum(None, "others", rest)] if len(rest) else []),
        _record(None, CREATE_AND_CLOSE, old[3], new[3]),
        _record(None, ALL, float(old[0].sum()) + old[3], float(new[0].sum()) + new[3]),
    ]
    parts = [*shown[_COLUMNS].to_dict("records"), *sums]
    return pd.DataFrame(parts, columns=_COLUMNS)


_Values = tuple["pd.Series[float]", set[str], set[str], float]


def _values(source: Source) -> _Values:
    """What each deal brings, which are open, which are booked, and create-and-close."""
    models = source.models(source.here, source.as_of)
    names = np.array(source.history.deals, dtype=object)
    view, rows = models.view, models.view.open_deals.rows
    opened = _expected(models, source)
    start, end = view.target.start.toordinal(), view.target.end.toordinal()
    won = view.bookings.take((view.bookings.close_day >= start) & (view.bookings.close_day < end))
    values = np.concatenate([opened, won.amount])
    index = np.concatenate([names[rows.deal], names[won.deal]])
    later = 0.0 if source.is_over else models.later.mean
    series = pd.Series(values, index=index, dtype="float64")
    return series, set(names[rows.deal]), set(names[won.deal]), later


def _expected(models: Models, source: Source) -> Floats:
    rows = models.view.open_deals.rows
    return np.zeros(len(rows)) if source.is_over else deal_chances(models) * models.amounts


def _kind(name: str, old: _Values, new: _Values) -> str:
    if name in new[2]:
        return "won"
    if name in new[1]:
        return "reassessed" if name in old[1] or name in old[2] else "new"
    return "lost"


def _sum(name: str | None, kind: str, rows: pd.DataFrame) -> dict[str, Any]:
    return _record(name, kind, float(rows["before"].sum()), float(rows["after"].sum()))


def _record(name: str | None, kind: str, before: float, after: float) -> dict[str, Any]:
    return {"opportunity_id": name, "kind": kind, "before": before, "after": after, "change": after - before}


def _day(text: str, as_of: dt.date, here: Period) -> dt.date:
    try:
        day = dt.date.fromisoformat(text) if text else max(as_of - dt.timedelta(days=7), here.start)
    except ValueError:
        day = as_of
    if not here.start <= day < as_of or (text and len(text) != 10):
        last = as_of - dt.timedelta(days=1)
        raise InputError(
            Problem(
                "no earlier day of the quarter",
                column="since",
                expected=f"{here.start} to {last}",
                got=text or str(day),
            )
        )
    return day
