"""What share of the leads of each month or quarter is converted by which age."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._cohort_periods import (
    Grain,
    ages,
    cohort_periods,
    end_of_day,
    place_of_instant,
    values_at,
)
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, unknown
from salesops_kit.estimators.competing_risks import aalen_johansen, add_counts, log_log_interval
from salesops_kit.estimators.dimensions import Dimension, label_groups, sort_groups
from salesops_kit.estimators.intervals import homogeneity, ratio
from salesops_kit.estimators.states import is_true
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_DAY_SECONDS = 86_400
_RESULT = [
    "leads",
    "converted",
    "age_months",
    "age_days",
    "converted_by_age",
    "conversion_rate",
    "low",
    "high",
    "is_mature",
]


@table(
    units={
        **dict.fromkeys(["leads", "converted", "converted_by_age"], "leads"),
        **dict.fromkeys(["conversion_rate", "low", "high"], "rate"),
        "age_days": "days",
    }
)
def leads(
    leads: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: str = "source",
    cohort: Grain = "quarter",
    how_many: int = 4,
    months: int = 3,
) -> pd.DataFrame:
    """Lead conversion by the quarter or month in which the leads were created, and by age.

    One row per group of ``by`` (comma-separated columns of the leads, empty for all together), cohort (the
    last ``how_many`` fiscal quarters or months up to the period's end or ``as_of``; cohorts before the
    first lead are left out) and age in months up to ``months``, as far as any lead of it is that old.

    ``leads`` were created in the cohort; ``converted`` of them had been by the end of ``as_of``, and
    ``converted_by_age`` within ``age_days`` days (whole days since creation; a conversion dated before it
    counts at 0). Where ``is_mature`` (every lead is that old) ``conversion_rate`` (0-1) is
    ``converted_by_age`` / ``leads``. A younger cohort shows its cumulative incidence to date, in which a
    lead counts for as long as it was seen (Kaplan-Meier): no final rate. ``low`` and ``high`` are 95 %
    limits. A lead that was disqualified is not converted, and stays in the denominator.

    A null in ``by`` is the group ``(none)``. ``attrs["test"]`` says whether the groups differ at the
    highest age that mature cohorts have reached. Raises :class:`InputError` for an unknown column.

    >>> table = ibis.memtable({
    ...     "lead_id": ["a", "b"], "source": ["Web", "Web"],
    ...     "created_at": [dt.datetime(2026, 1, 5, tzinfo=dt.UTC)] * 2,
    ...     "converted_at": [dt.datetime(2026, 1, 9, tzinfo=dt.UTC), None]})
    >>> shown = leads(table, as_of=dt.date(2026, 6, 30), period=None, settings=Settings(), how_many=2)
    >>> shown.iloc[0][["leads", "converted_by_age", "conversion_rate"]].astype(float).tolist()
    [2.0, 1.0, 0.5]
    """
    periods = cohort_periods(as_of, period, settings, cohort, how_many)
    dimensions = _dimensions(by, leads)
    names = [dimension.name for dimension in dimensions]
    groups = [*names, "cohort"]
    frame = label_groups(collect(_counted(leads, dimensions, periods, as_of, settings)), dimensions, settings)
    frame = frame.astype({"cohort": int})
    # What happens on a day that is not over for all leads of one age is left out of the estimate.
    is_event = frame["age"].notna() & frame["last_age"].isna()
    entries = frame[groups].assign(age=-1, entered=frame["leads"])
    exits = frame[groups].assign(
        age=frame["age"].where(is_event, frame["last_age"]).astype(int),
        left=frame["leads"],
        events=frame["leads"].where(is_event, 0),
    )
    exits["converted"] = exits["events"]
    curve = aalen_johansen(add_counts([entries, exits], ["converted"], groups), ["converted"], groups)
    totals = frame[[*groups, "leads"]].assign(converted=frame["leads"].where(frame["age"].notna(), 0))
    totals = totals.groupby(groups, as_index=False, dropna=False).sum()
    steps = pd.DataFrame({"age_months": range(1, months + 1), "age_days": ages(months)})
    result = totals.merge(steps, how="cross")
    known = values_at(curve, ["converted", "converted_variance"], result, result["age_days"], groups)
    result["conversion_rate"] = known["converted"].fillna(0.0)
    by_age = (
        frame[frame["age"].notna()].groupby([*groups, "age"], as_index=False, dropna=False)["leads"].sum()
    )
    by_age["so_far"] = by_age.groupby(groups, dropna=False)["leads"].cumsum()
    so_far = values_at(by_age, ["so_far"], result, result["age_days"], groups)["so_far"]
    result["converted_by_age"] = so_far.fillna(0).astype("int64")
    first = np.array([each.start.toordinal() for each in periods])[result["cohort"]]
    last = np.array([each.last_day.toordinal() for each in periods])[result["cohort"]]
    # The day of creation is age 0, and the day that reaches the age must be over.
    seen_until = as_of.toordinal() - result["age_days"] - 1
    result["is_mature"] = last <= seen_until
    mature = ratio(result["converted_by_age"], result["leads"])
    result["conversion_rate"] = np.where(result["is_mature"], mature, result["conversion_rate"])
    result["low"], result["high"] = log_log_interval(
        result["conversion_rate"], known["converted_variance"].fillna(0.0), n=result["leads"]
    )
    result = sort_groups(result[first <= seen_until], [*groups, "age_months"])
    test = _test(result, names)
    result["cohort"] = result["cohort"].map(dict(enumerate(each.label for each in periods)))
    result = result[[*groups, *_RESULT]]
    result.attrs["notes"] = _notes(result, test, by)
    if test:
        result.attrs["test"] = test
    return result


def _dimensions(by: str, leads: ir.Table) -> tuple[Dimension, ...]:
    names = [name.strip() for name in by.split(",")] if by.strip() else []
    known = list(leads.columns)
    wrong = [unknown("column of leads", name, known, column="by") for name in names if name not in known]
    if wrong:
        raise InputError(wrong)
    unique = dict.fromkeys(names)
    return tuple(Dimension(name, "leads", name, f"dimension_{n}") for n, name in enumerate(unique))


def _counted(
    leads: ir.Table,
    dimensions: Sequence[Dimension],
    periods: Sequence[Period],
    as_of: dt.date,
    settings: Settings,
) -> ir.Table:
    """How many leads of each group and cohort were converted at which age, or seen until which."""
    cutoff = ibis.literal(end_of_day(as_of, settings.zone))
    known = leads.filter(leads.created_at < cutoff)
    age = ibis.greatest(_whole_days(known.converted_at, known.created_at), 0)
    last_age = ibis.greatest(_whole_days(cutoff, known.created_at) - 1, -1)
    marked = known.select(
        **{dimension.column_in_rows: known[dimension.column] for dimension in dimensions},
        cohort=place_of_instant(known.created_at, periods, settings.zone),
        age=ibis.cases((known.converted_at < cutoff, age)),
        last_age=last_age,
    )
    marked = marked.filter(marked.cohort.notnull())
    is_seen = is_true(marked.age <= marked.last_age)
    marked = marked.mutate(last_age=ibis.cases((~is_seen, marked.last_age)))
    return marked.group_by(list(marked.columns)).aggregate(leads=lambda t: t.count())


def _whole_days(later: ir.Value, earlier: ir.Value) -> ir.IntegerValue:
    return ((later.epoch_seconds() - earlier.epoch_seconds()) // _DAY_SECONDS).cast("int64")


def _test(result: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Whether the groups convert differently at the highest age that a mature cohort has reached."""
    mature = result[result["is_mature"]]
    if not names or mature.empty:
        return {}
    oldest = mature[mature["age_days"] == mature["age_days"].max()]
    groups = oldest.groupby(list(names), dropna=False)[["converted_by_age", "leads"]].sum()
    test = homogeneity(groups["converted_by_age"], groups["leads"])
    return {
        "p_value": test.p_value,
        "statistic": test.statistic,
        "df": test.df,
        "groups": test.groups,
        "method": test.method,
        "evidence": test.evidence,
        "age_days": int(oldest["age_days"].iloc[0]),
    }


def _notes(result: pd.DataFrame, test: dict[str, Any], by: str) -> list[str]:
    notes = []
    young = result.loc[~result["is_mature"], "cohort"].nunique()
    if young:
        text = ngettext(
            "{count} cohort is young: where it is not mature, its rate is the one reached so far.",
            "{count} cohorts are young: where they are not mature, their rates are those reached so far.",
            young,
        )
        notes.append(text.format(count=young))
    if test and test["method"] != "none" and not test["evidence"]:
        text = _("No evidence of a difference in lead conversion by {by} (p = {p_value:.2f}).")
        test["note"] = text.format(by=by, p_value=test["p_value"])
        notes.append(test["note"])
    return notes
