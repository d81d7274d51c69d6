"""How long the open deals have been in their stage, against what is usual for that stage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._composition import unknown_amounts
from salesops_kit.analysis.pipeline._quarters import current_quarter, floats, trailing_quarters
from salesops_kit.data.engine import collect
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.stage_times import STAGE_KEYS, stage_times
from salesops_kit.estimators.states import days_between, is_open, known_states
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

# The year of visits by which a stage is judged, unless a reader asks for another window.
TRAILING_QUARTERS = 4
LIMITS = ("p50", "p75", "p90")
BANDS = ("up_to_p50", "p50_to_p75", "p75_to_p90", "over_p90", "no_benchmark")
_RESULT = [
    "pipeline", "stage", "deals", "amount", *LIMITS, "benchmark", "median_age_days", *BANDS,
    *(f"{band}_amount" for band in BANDS), "over_p90_share", "unknown_amount",
]  # fmt: skip
_DEALS = [
    "opportunity_id", "name", "owner_id", "team", "pipeline", "stage", "amount", "age_days", "p90_days",
    "days_over", "close_date",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["deals", *BANDS, "unknown_amount"], "deals"),
        **dict.fromkeys(["amount", *(f"{band}_amount" for band in BANDS)], "money"),
        **dict.fromkeys([*LIMITS, "median_age_days"], "days"),
        "over_p90_share": "rate",
    }
)
def ageing(
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
    reference: Mapping[str, Any] | None = None,
    by: str = "",
    trailing: int = TRAILING_QUARTERS,
) -> pd.DataFrame:
    """Open deals by their days in the current stage, against that stage's own times.

    One row per group of ``by``, pipeline and stage with an open deal at the end of ``as_of``. A deal's age
    is the number of days from the one on which it entered its current stage to ``as_of``. ``p50``, ``p75``
    and ``p90`` are the days by which half, three quarters and nine in ten of the stage's visits have ended
    in any way, by competing risks over the ``trailing`` quarters that end with the report's, as far as
    known at ``as_of``: visits that are still under way count as far as they got. They are the stage's own
    in the rows at hand, whatever ``by`` says; where these do not reach the ninetieth percent, all three
    are the company's. ``benchmark`` says which: ``own``, ``company`` or ``none``.

    ``deals`` and ``amount`` (base currency) fall into bands, a limit belonging to the band below it:
    ``up_to_p50``, ``p50_to_p75``, ``p75_to_p90``, ``over_p90`` and, without limits, ``no_benchmark``, in
    deals, and the same with ``_amount`` in money. Bands sum to the row. ``over_p90_share`` (0-1) is
    ``over_p90`` / (``deals`` - ``no_benchmark``), missing where that is 0. ``median_age_days`` is the plain
    median of the ages. ``unknown_amount`` deals have no amount and count as 0.

    A stage without open deals has no row. Raises :class:`InputError` for an unknown dimension or fewer
    than 1 quarter.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    record.need_stages(_first_day(as_of, period, settings, trailing))
    limits = stage_limits(opportunity_states, as_of, period, settings, reference, trailing)
    rows = join_dimensions(_open_with_age(opportunity_states, as_of), dimensions, tables)
    keys = [*(dimension.column_in_rows for dimension in dimensions), *STAGE_KEYS, "age_days"]
    counts = rows.group_by(keys).aggregate(
        deals=rows.count(), amount=rows.amount.sum(), unknown_amount=rows.amount.isnull().sum()
    )
    frame = floats(label_groups(collect(counts), dimensions, settings), ["amount", "unknown_amount"])
    frame = frame.merge(limits, on=list(STAGE_KEYS), how="left", validate="many_to_one")
    frame = _with_bands(frame)
    groups = [*names, *STAGE_KEYS]
    summed = ["deals", "amount", "unknown_amount", *BANDS, *(f"{band}_amount" for band in BANDS)]
    grouped = frame.groupby(groups, dropna=False, sort=False)
    result = grouped[summed].sum()
    result[[*LIMITS, "benchmark"]] = grouped[[*LIMITS, "benchmark"]].first()
    result["median_age_days"] = [_weighted_median(part["age_days"], part["deals"]) for _key, part in grouped]
    result = result.reset_index().astype(dict.fromkeys(["deals", "unknown_amount", *BANDS], "int64"))
    judged = (result["deals"] - result["no_benchmark"]).astype(float)
    result["over_p90_share"] = result["over_p90"] / judged.where(judged > 0)
    result = sort_groups(result, [*names, "pipeline", "stage_position"])[[*names, *_RESULT]]
    notes = _benchmark_notes(result) + unknown_amounts(int(result["unknown_amount"].sum()))
    result = with_rep_names(result, reps)
    result.attrs["notes"] = notes
    return result


@table(
    units={
        "amount": "money",
        **dict.fromkeys(["age_days", "p90_days", "days_over"], "days"),
        "close_date": "date",
    }
)
def aged_deals(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    reference: Mapping[str, Any] | None = None,
    trailing: int = TRAILING_QUARTERS,
    all_deals: bool = False,
    top: int = 200,
) -> pd.DataFrame:
    """The open deals that have been in their stage longer than nine in ten visits last.

    One row per open deal whose age is over the stage's ``p90`` as ``ageing`` gives it, the largest amount
    first, at most ``top`` rows (the rest is counted in a note); with ``all_deals`` every open deal.
    Columns: ``opportunity_id``, ``name`` (where the deals have one), ``owner_id`` with ``rep_name``,
    ``team``, ``pipeline``, ``stage``, ``amount`` (base currency, missing where unknown), ``age_days`` in the
    stage, ``p90_days``, ``days_over`` (their difference; missing without a benchmark) and ``close_date``, all
    as they stood at the end of ``as_of``. Raises :class:`InputError` when ``top`` is below 1.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    if top < 1:
        raise InputError(Problem("no row", column="top", expected="1 or more", got=str(top)))
    record.need_stages(_first_day(as_of, period, settings, trailing))
    limits = stage_limits(opportunity_states, as_of, period, settings, reference, trailing)
    rows = _open_with_age(opportunity_states, as_of)
    p90 = _as_column(rows, limits)
    rows = rows.mutate(p90_days=p90)
    if not all_deals:
        rows = rows.filter(rows.age_days > rows.p90_days)
    has_name = opportunities is not None and "name" in opportunities.columns
    tables = {"opportunity_states": opportunity_states, "opportunities": opportunities}
    rows = join_dimensions(rows, (), tables, ["name"] if has_name else [])
    wanted = [name for name in _DEALS if name not in ("days_over", "name") or (name == "name" and has_name)]
    rows = rows.select(*wanted, found=rows.count().over(ibis.window()))
    order = [ibis.coalesce(rows.amount, 0).desc(), rows.age_days.desc(), rows.opportunity_id]
    result = collect(rows.order_by(order).limit(top))
    hidden = (int(result["found"].iloc[0]) if len(result) else 0) - len(result)
    result["amount"] = result["amount"].astype("float64")
    result["p90_days"] = result["p90_days"].astype("float64")
    result["days_over"] = result["age_days"] - result["p90_days"]
    result = with_rep_names(result[[name for name in _DEALS if name in result]], reps)
    if hidden > 0:
        text = ngettext("{count} more deal is not listed.", "{count} more deals are not listed.", hidden)
        result.attrs["notes"] = [text.format(count=hidden)]
    return result


def stage_limits(
    states: ir.Table,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None,
    trailing: int,
) -> pd.DataFrame:
    """Per pipeline and stage the limits of ``ageing`` and whose they are (``benchmark``)."""
    start = _first_day(as_of, period, settings, trailing)
    limits = stage_times(states, start, as_of).drop(columns="left")
    company = company_limits(reference, start, as_of)
    limits["benchmark"] = np.where(limits["p90"].notna(), "own", "none")
    for row in limits.index[limits["p90"].isna()]:
        figures = company.get(str(limits.loc[row, "pipeline"]), {}).get(str(limits.loc[row, "stage"]), {})
        limits.loc[row, list(LIMITS)] = np.nan
        if figures.get("p90") is not None:
            limits.loc[row, list(LIMITS)] = [figures[name] for name in LIMITS]
            limits.loc[row, "benchmark"] = "company"
    return limits


def _first_day(as_of: dt.date, period: Period | None, settings: Settings, trailing: int) -> dt.date:
    """The first day of the quarters that the limits rest on."""
    quarters = trailing_quarters(current_quarter(as_of, period, settings), trailing, settings, "trailing")
    return quarters[0].start


def company_limits(
    reference: Mapping[str, Any] | None, start: dt.date, as_of: dt.date
) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """The company's limits over exactly these days; empty where the reference has none."""
    figures = (reference or {}).get("stage_times") or {}
    same = (figures.get("first_day"), figures.get("last_day")) == (start.toordinal(), as_of.toordinal())
    return figures["figures"] if same else {}


def _open_with_age(states: ir.Table, as_of: dt.date) -> ir.Table:
    rows = known_states(states, as_of)
    rows = rows.filter(is_open(rows))
    return rows.mutate(age_days=days_between(ibis.literal(as_of), rows.stage_since_date))


def _with_bands(frame: pd.DataFrame) -> pd.DataFrame:
    """Deals and amount of each row under the name of its band, 0 under the others."""
    age = frame["age_days"]
    band = np.select(
        [frame["p90"].isna(), age > frame["p90"], age > frame["p75"], age > frame["p50"]],
        ["no_benchmark", "over_p90", "p75_to_p90", "p50_to_p75"],
        default="up_to_p50",
    )
    frame = frame.assign(benchmark=frame["benchmark"].fillna("none"))
    for name in BANDS:
        frame[name] = frame["deals"].where(band == name, 0)
        frame[f"{name}_amount"] = frame["amount"].where(band == name, 0.0)
    return frame


def _as_column(rows: ir.Table, limits: pd.DataFrame) -> ir.IntegerValue:
    known = limits[limits["p90"].notna()]
    branches = [
        ((rows.pipeline == row.pipeline) & (rows.stage == row.stage), int(row.p90))
        for row in known.itertuples()
    ]
    return ibis.cases(*branches).cast("int64") if branches else ibis.null("int64")


def _weighted_median(values: pd.Series, weights: pd.Series) -> float:
    return float(np.median(np.repeat(values.to_numpy(float), weights.to_numpy(int))))


def _benchmark_notes(result: pd.DataFrame) -> list[str]:
    notes = []
    borrowed = result.loc[result["benchmark"] == "company", "stage"].unique()
    if len(borrowed):
        text = _("Too few visits have ended here, so that the company's times are used: {stages}.")
        notes.append(text.format(stages=", ".join(map(str, borrowed))))
    without = result.loc[result["benchmark"] == "none", "stage"].unique()
    if len(without):
        text = _("Too few visits have ended to say what is usual: {stages}.")
        notes.append(text.format(stages=", ".join(map(str, without))))
    return notes
