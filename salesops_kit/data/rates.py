"""Plan exchange rates: one rate per currency and fiscal year, so that identities hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb
import ibis
import pandas as pd

from salesops_kit.data import engine
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import parquet, sql_text
from salesops_kit.errors import InputError, Problem
from salesops_kit.settings import Settings

_DEALS = ("opportunities", "opportunity_history")
_CODE = re.compile("[A-Z]{3}")


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


def with_base_currency(
    con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], settings: Settings
) -> Settings:
    """The settings with the one currency that all deals are in, where no base currency is set."""
    if "base_currency" in settings.model_fields_set:
        return settings
    parts = (f"SELECT currency FROM {parquet(cleaned[name])}" for name in _DEALS if name in cleaned)
    rows = con.execute(f"SELECT DISTINCT currency FROM ({' UNION ALL '.join(parts)})").fetchall()
    used = [currency for (currency,) in rows if currency]
    if len(used) != 1 or not _CODE.fullmatch(used[0]):
        return settings
    return settings.model_copy(update={"base_currency": used[0]})


def check_rates(con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], settings: Settings) -> list[str]:
    """Refuse amounts in a currency without any rate, in whichever table; returns notes."""
    used = {
        name: found for name in sorted(cleaned) if (found := _foreign(con, name, cleaned[name], settings))
    }
    if not used:
        return []
    rated: set[str] = set()
    if "fx_rates" in cleaned:
        table = engine.frame(con, f"SELECT * FROM {parquet(cleaned['fx_rates'])}")
        rated = set(plan_rates(table, settings)["currency"])
    problems = [
        Problem(
            f"amounts in {currency}, but no rate to {settings.base_currency}",
            file=name,
            column="currency",
            expected=f"{settings.base_currency}, or a currency that fx_rates holds",
            got=currency,
            next_step="Give fx_rates with a plan rate, or set base_currency if all share one currency.",
            count=rows,
        )
        for name, found in used.items()
        for currency, rows in found.items()
        # A history that was derived, or restates its deals, would only say it twice.
        if currency not in rated
        and not (name == "opportunity_history" and currency in used.get("opportunities", {}))
    ]
    if problems:
        raise InputError(problems)
    names = ", ".join(sorted({currency for found in used.values() for currency in found}))
    return [
        f"Amounts in {names} are converted to {settings.base_currency} "
        "at the plan rate of the report's fiscal year."
    ]


def _foreign(con: duckdb.DuckDBPyConnection, name: str, path: Path, settings: Settings) -> dict[str, int]:
    """Rows with money per currency that is not the base currency, of one table."""
    table = TABLES.get(name)
    money = [c.name for c in table.columns.values() if c.type == "money"] if table else []
    if table is None or "currency" not in table.columns or not money:
        return {}
    rows = con.execute(
        f"SELECT currency, count(*) FROM {parquet(path)} "
        f"WHERE currency <> {sql_text(settings.base_currency)} "
        f"AND coalesce({', '.join(money)}) IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return dict(rows)


def rates_of_year(rates: pd.DataFrame, fiscal_year: int) -> dict[str, float]:
    """The rate of each currency in a fiscal year; one that has no rate for it takes the nearest year's."""
    distance = (rates["fiscal_year"] - fiscal_year).abs()
    nearest = rates.assign(distance=distance).sort_values(["currency", "distance", "fiscal_year"])
    chosen = nearest.drop_duplicates("currency")
    return {str(row.currency): float(row.rate) for row in chosen.itertuples()}


def in_base_currency(table: ibis.Table, rates: Mapping[str, float], columns: tuple[str, ...]) -> ibis.Table:
    """The table with its money columns in base currency, at one rate per currency.

    Rows without a currency count as base currency.
    """
    if not rates:
        return table
    branches = [(table.currency == currency, ibis.literal(rate)) for currency, rate in rates.items()]
    rate = ibis.cases(*branches, else_=ibis.literal(1.0))
    return table.mutate(
        **{
            name: (table[name].cast("float64") * rate).cast("decimal(18, 4)")
            for name in columns
            if name in table.columns
        }
    )
