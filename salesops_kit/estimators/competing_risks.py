"""Time to one of several ends: Aalen-Johansen and Kaplan-Meier on counts per integer age.

Records are half-open stretches under observation: the entry age is exclusive, the exit age inclusive,
so that a record that starts fresh has entry -1 and may end at age 0. Late entries (left truncation)
and several records for one deal are allowed. Records are reduced to a *count table* with one row per
group and age before anything is estimated:

======== ==================================================================================
age      whole days; -1 for fresh starts
entered  records whose entry age this is
left     records whose exit age this is, with or without an event
events   records that end with an event at this age
<cause>  events of this cause; causes may overlap (a union of causes is a cause too)
======== ==================================================================================
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from salesops_kit.estimators.intervals import Array, Numbers, ratio, wilson, z_value

LEAST_RECORDS = 5
_ROUNDING = 1e-12


def count_table(records: pd.DataFrame, causes: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """The count table of single records: columns ``entry``, ``exit``, ``cause`` (null = censored).

    >>> records = pd.DataFrame({"entry": [-1, -1], "exit": [3, 5], "cause": ["won", None]})
    >>> count_table(records, ["won"]).to_dict("list")
    {'age': [-1, 3, 5], 'entered': [2, 0, 0], 'left': [0, 1, 1], 'events': [0, 1, 0], 'won': [0, 1, 0]}
    """
    keys = [records[name] for name in by]
    starts = pd.DataFrame({**dict(zip(by, keys, strict=True)), "age": records["entry"], "entered": 1})
    ends = pd.DataFrame({**dict(zip(by, keys, strict=True)), "age": records["exit"], "left": 1})
    ends["events"] = records["cause"].notna().astype(int)
    for cause in causes:
        ends[cause] = (records["cause"] == cause).astype(int)
    return add_counts([starts, ends], causes, by)


def add_counts(parts: Sequence[pd.DataFrame], causes: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Adds up partial count tables; a column that a part lacks counts zero in it."""
    values = ["entered", "left", "events", *causes]
    together = pd.concat(parts, ignore_index=True).reindex(columns=[*by, "age", *values])
    together[values] = together[values].fillna(0).astype("int64")
    together["age"] = together["age"].astype("int64")
    return together.groupby([*by, "age"], as_index=False, dropna=False)[values].sum()


def aalen_johansen(counts: pd.DataFrame, causes: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """Cumulative incidence of each cause by age, per group.

    One row per group and age of the count table, sorted, ages below 0 left out: the ``by`` columns,
    ``age`` (days), ``at_risk`` (records under observation at that age), ``events``, ``survival``
    (share with no event yet), ``survival_variance`` (Greenwood) and for each cause ``<cause>``
    (cumulative incidence, 0-1) and ``<cause>_variance`` (delta method). ``effective_n`` is the number of
    records that the curve rests on so far: at risk / share with no event yet, the least over the ages with
    an event (the effective sample size of Dorey and Korn, Statistics in Medicine 6, 1987). It is the
    number of records where all are seen from the first day to their end, smaller where few were under
    observation when the curve fell, and infinite before the first event.

    The incidences of disjoint causes and the survival sum to 1 at every age. After an age at which
    everyone at risk had an event the survival stays 0, also when others enter later.

    >>> records = pd.DataFrame(
    ...     {"entry": -1, "exit": [10, 20, 20, 30, 40, 50, 60, 70], "cause": list("WL.WLW.L")}
    ... ).replace(".", None)
    >>> curve = aalen_johansen(count_table(records, ["W", "L"]), ["W", "L"])
    >>> curve.iloc[-1][["W", "L"]].astype(float).round(3).to_dict()
    {'W': 0.425, 'L': 0.575}
    """
    keys = list(by)
    table = counts.sort_values([*keys, "age"], ignore_index=True)
    if keys:
        group = table.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    else:
        group = np.zeros(len(table), dtype=int)
    entered, left, events = (table[name].to_numpy(float) for name in ("entered", "left", "events"))
    # Where a group changes during a day, an event may fall on a day of which the group has no record.
    at_risk = np.maximum(_before(entered - left, group), events)
    hazard = np.nan_to_num(ratio(events, at_risk))
    survival = _running_product(1 - hazard, group)
    survival_before = _shifted(survival, group, 1.0)
    # Zero where all at risk fail: from there on every incidence is constant and the term drops out.
    greenwood = np.nan_to_num(ratio(events, at_risk * (at_risk - events)))
    greenwood_sum = _running_sum(greenwood, group)
    result = table[[*keys, "age"]].copy()
    result["at_risk"] = at_risk.astype("int64")
    result["events"] = table["events"].astype("int64")
    result["survival"] = survival
    result["survival_variance"] = survival**2 * greenwood_sum
    falls = (events > 0) & (survival_before > 0)
    rests_on = np.where(falls, ratio(at_risk, survival_before), np.inf)
    result["effective_n"] = _running(np.minimum, rests_on, group)
    for cause in causes:
        died = table[cause].to_numpy(float)
        incidence = _running_sum(survival_before * np.nan_to_num(ratio(died, at_risk)), group)
        own = survival_before**2 * np.nan_to_num(ratio((at_risk - died) * died, at_risk**3))
        cross = survival_before * np.nan_to_num(ratio(died, at_risk**2))
        variance = (
            incidence**2 * greenwood_sum
            - 2 * incidence * _running_sum(greenwood * incidence, group)
            + _running_sum(greenwood * incidence**2, group)
            + _running_sum(own, group)
            - 2 * (incidence * _running_sum(cross, group) - _running_sum(cross * incidence, group))
        )
        result[cause] = incidence
        result[f"{cause}_variance"] = np.maximum(variance, 0)
    return result[result["age"] >= 0].reset_index(drop=True)


def kaplan_meier(counts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Share still under way by age, per group: columns ``age``, ``at_risk``, ``events``, ``survival``,
    ``survival_variance``, ``effective_n``, and the limits ``low`` and ``high`` on the log(-log) scale.
    Where nobody is left the upper limit is Wilson's for ``effective_n`` records."""
    curve = aalen_johansen(counts, (), by)
    size = curve["effective_n"].where(curve["survival"] <= 0)
    curve["low"], curve["high"] = log_log_interval(curve["survival"], curve["survival_variance"], n=size)
    return curve


def log_log_interval(probability: Numbers, variance: Numbers, n: Numbers = np.nan) -> tuple[Array, Array]:
    """The 95 % limits of a probability on the complementary log-log scale, so that they stay within 0 and 1.

    Where the probability is 0 or 1 or the variance 0 that scale has no width; there Wilson's interval
    for ``n`` records is given when ``n`` is known, else the point itself.
    """
    share, spread, size = np.broadcast_arrays(
        np.asarray(probability, float), np.asarray(variance, float), np.asarray(n, float)
    )
    inner = (share > _ROUNDING) & (share < 1 - _ROUNDING) & (spread > 0)
    safe = np.where(inner, share, 0.5)
    width = z_value() * np.sqrt(np.where(inner, spread, 0)) / np.abs(safe * np.log(safe))
    # Beyond e^30 the limits are 0 and 1 to the last bit, and the exponential would overflow.
    low, high = safe ** np.exp(np.minimum(width, 30)), safe ** np.exp(-width)
    edge_low, edge_high = wilson(share * size, size)
    edge_low, edge_high = (np.where(np.isnan(edge), share, edge) for edge in (edge_low, edge_high))
    return np.where(inner, low, edge_low), np.where(inner, high, edge_high)


def at_age(curve: pd.DataFrame, age: float, by: Sequence[str] = ()) -> pd.DataFrame:
    """Each group's last row at or before ``age``; a group observed only later is left out."""
    reached = curve[curve["age"] <= age]
    if not by:
        return reached.tail(1).reset_index(drop=True)
    return reached.groupby(list(by), dropna=False, sort=False).tail(1).reset_index(drop=True)


def quantile(
    curve: pd.DataFrame, share: float, column: str = "survival", by: Sequence[str] = ()
) -> pd.Series:
    """The first age at which ``share`` of a group has ended: ``column`` is at most ``1 - share``.

    Indexed by group (by 0 without groups); missing where the curve does not come down that far.
    ``column`` may be a limit of the curve: ``low`` gives the lower limit of the age, ``high`` the upper.
    """
    ages = quantiles(curve, {"age": (share, column)}, by)
    return ages.set_index(list(by))["age"] if by else ages["age"]


def records_needed(share: float) -> float:
    """How many records a quantile must rest on to be told: 5, and so many that one is expected beyond it.

    >>> [round(records_needed(share), 6) for share in (0.5, 0.75, 0.9)]
    [5, 5, 10.0]
    """
    return max(LEAST_RECORDS, 1 / (1 - share))


def quantiles(
    curve: pd.DataFrame,
    wanted: Mapping[str, tuple[float, str]],
    by: Sequence[str] = (),
    *,
    only_if_known: bool = False,
) -> pd.DataFrame:
    """Several of :func:`quantile` side by side: the ``by`` columns, one row per group in the order of the
    curve (one row without groups), and a column per name with its share and column of the curve.

    With ``only_if_known`` an age is missing where ``effective_n`` of the curve at that age is below
    :func:`records_needed`: a quantile of two records is an anecdote.
    """
    keys = list(by)
    if keys:
        group = curve.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
        result = curve[keys].drop_duplicates(ignore_index=True)
    else:
        group, result = np.zeros(len(curve), dtype=int), pd.DataFrame(index=range(1))
    ages = curve["age"].to_numpy(float)
    for name, (share, column) in wanted.items():
        found = np.full(len(result), np.inf)
        # A tolerance, because .2 = 1 - .8 and a product of shares rarely agree in the last bit.
        there = curve[column].to_numpy(float) <= 1 - share + _ROUNDING
        np.minimum.at(found, group[there], ages[there])
        if only_if_known:
            too_few = curve["effective_n"].to_numpy(float) < records_needed(share) - 1e-6
            found[group[too_few & (ages == found[group])]] = np.inf
        result[name] = np.where(np.isinf(found), np.nan, found)
    return result


def _before(values: Array, group: np.ndarray) -> Array:
    """The running sum within each group up to, and without, each row."""
    return _running_sum(values, group) - values


def _running_sum(values: Array, group: np.ndarray) -> Array:
    return _running(np.add, values, group)


def _running_product(values: Array, group: np.ndarray) -> Array:
    return _running(np.multiply, values, group)


def _running(operation: np.ufunc, values: Array, group: np.ndarray) -> Array:
    """The running result of an operation within each group; rows of a group stand together."""
    result = np.empty(len(values))
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1), len(values)]
    for first, end in itertools.pairwise(edges):
        operation.accumulate(values[first:end], out=result[first:end])
    return result


def _shifted(values: Array, group: np.ndarray, first: float) -> Array:
    result = np.full(len(values), first)
    goes_on = np.diff(group) == 0
    result[1:][goes_on] = values[:-1][goes_on]
    return result
