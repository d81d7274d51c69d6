"""Plan exchange rates: one rate per currency and fiscal year, so that identities hold."""

from __future__ import annotations

from pathlib import Path

import duckdb
import ibis
import pandas as pd

from salesops_kit.data import engine
from salesops_kit.data.engine import parquet
from salesops_kit.errors import InputError, Problem
from salesops_kit.settings import Settings


def plan_rates(fx_rates: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Units of base currency per unit of each currency: columns currency, fiscal_year, rate.

    Takes the contract's fx_rates (base, quote, month, kind, rate; 1 base = rate quote), in either
    direction. Plan rates win; a year without one takes the mean of its actual rates.
    """
    base = settings.base_currency
    fiscal = settings.fiscal
    rows = []
    for row in fx_rates.itertuples():
        if row.quote == base and row.base != base:
            currency, rate = row.base, row.rate
        elif row.base == base and row.quote != base and row.rate:
            currency, rate = row.quote, 1 / row.rate
        else:
            continue
        rows.append((currency, fiscal.year_number(pd.Timestamp(row.month).date()), row.kind, rate))
    frame = pd.DataFrame(rows, columns=["currency", "fiscal_year", "kind", "rate"])
    means = frame.groupby(["currency", "fiscal_year", "kind"], as_index=False)["rate"].mean()
    means = means.sort_values("kind", key=lambda kind: kind != "plan", kind="stable")
    return means.drop_duplicates(["currency", "fiscal_year"])[["currency", "fiscal_year", "rate"]]


def check_rates(con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], settings: Settings) -> list[str]:
    """Refuse amounts in a currency without any rate; returns notes."""
    used: dict[str, int] = {}
    for name in ("opportunities", "opportunity_history"):
        rows = con.execute(
            f"SELECT currency, count(*) FROM {parquet(cleaned[name])} "
            "WHERE currency IS NOT NULL AND amount IS NOT NULL GROUP BY 1"
        ).fetchall()
        for currency, count in rows:
            used[currency] = used.get(currency, 0) + count
    foreign = {currency: count for currency, count in used.items() if currency != settings.base_currency}
    if not foreign:
        return []
    rated: set[str] = set()
    if "fx_rates" in cleaned:
        table = engine.frame(con, f"SELECT * FROM {parquet(cleaned['fx_rates'])}")
        rated = set(plan_rates(table, settings)["currency"])
    missing = {currency: count for currency, count in foreign.items() if currency not in rated}
    if missing:
        raise InputError(
            Problem(
                f"amounts in {currency}, but no rate to {settings.base_currency}",
                file="fx_rates",
                column="rate",
                count=count,
                next_step="Give fx_rates with a plan rate, or set base_currency if all amounts share one currency.",
            )
            for currency, count in sorted(missing.items())
        )
    names = ", ".join(sorted(foreign))
    return [
        f"Amounts in {names} are converted to {settings.base_currency} at the plan rate of the report's fiscal year."
    ]


def in_base_currency(
    table: ibis.Table, rates: pd.DataFrame, fiscal_year: int, columns: tuple[str, ...]
) -> ibis.Table:
    """The table with its money columns in base currency, at one rate per currency.

    A currency that has no rate for the year takes the nearest year's. Rows without a currency count
    as base currency.
    """
    if rates.empty:
        return table
    distance = (rates["fiscal_year"] - fiscal_year).abs()
    nearest = rates.assign(distance=distance).sort_values(["currency", "distance", "fiscal_year"])
    chosen = nearest.drop_duplicates("currency")
    branches = [
        (table.currency == row.currency, ibis.literal(round(row.rate, 8)).cast("decimal(18, 8)"))
        for row in chosen.itertuples()
    ]
    rate = ibis.cases(*branches, else_=ibis.literal(1).cast("decimal(18, 8)"))
    return table.mutate(
        **{
            name: (table[name] * rate).round(4).cast("decimal(18, 4)")
            for name in columns
            if name in table.columns
        }
    )
