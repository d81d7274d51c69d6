"""The complete list of stages: from the data's own table, its settings, or what the deals show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import pandas as pd

from salesops_kit.data.engine import frame, parquet, sql_name, write_parquet
from salesops_kit.data.outcome_words import LOST, WON, says_only
from salesops_kit.settings import Settings

COLUMNS = {
    "pipeline": "VARCHAR",
    "stage": "VARCHAR",
    "position": "BIGINT",
    "is_closed": "BOOLEAN",
    "is_won": "BOOLEAN",
    "default_probability": "DOUBLE",
    "forecast_category": "VARCHAR",
}
# The stage of a deal that is known to be open when its stage is not known.
OPEN = "(open)"
CLOSED = "closed_stages"
# SQL that is true for a deal in one of the stages of :func:`find_closed`.
IS_CLOSED = f"(coalesce(pipeline, ''), stage) IN (SELECT (pipeline, stage) FROM {CLOSED})"


def find_closed(con: duckdb.DuckDBPyConnection, tables: Mapping[str, Path], settings: Settings) -> None:
    """Create the temporary table ``closed_stages`` (pipeline, stage): those in which a deal is over, as
    :func:`complete_stages` has them, from the deals and, where there is one, the table of stages."""
    listed = {name: tables[name] for name in ("opportunities", "stages") if name in tables}
    merged = _listed(con, listed, settings, ()).stages
    con.register("closed_frame", merged.loc[merged["is_closed"], ["pipeline", "stage"]])
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {CLOSED} AS "
        "SELECT pipeline::VARCHAR AS pipeline, stage::VARCHAR AS stage FROM closed_frame"
    )
    con.unregister("closed_frame")


def complete_stages(
    con: duckdb.DuckDBPyConnection,
    cleaned: dict[str, Path],
    settings: Settings,
    *,
    also: tuple[str, ...],
    folder: Path,
) -> list[str]:
    """Write ``stages.parquet`` with every (pipeline, stage) that occurs or that ``also`` names, in
    order; returns what had to be assumed, as sentences. Deals without a pipeline have the pipeline ``''``."""
    found = _listed(con, cleaned, settings, also)
    notes = []
    names = ", ".join(found.guessed[:8])
    if names and not found.is_given:
        notes.append(
            f"No stage list is given: stages, their order and what is won or lost are inferred ({names})."
        )
    elif names:
        notes.append(f"Stages that the stage list lacks are placed before its first stage: {names}.")
    # Positions 1, 2, ... per pipeline: open stages in order, then the closed ones.
    merged = found.stages.sort_values(["pipeline", "is_closed", "position", "stage"], kind="stable")
    merged["position"] = merged.groupby("pipeline").cumcount() + 1
    stages = merged[list(COLUMNS)].sort_values(["pipeline", "position"]).reset_index(drop=True)
    con.register("stages_frame", stages)
    casts = ", ".join(f"{sql_name(name)}::{type_} AS {sql_name(name)}" for name, type_ in COLUMNS.items())
    cleaned["stages"] = folder / "stages.parquet"
    write_parquet(con, f"SELECT {casts} FROM stages_frame ORDER BY pipeline, position", cleaned["stages"])
    con.unregister("stages_frame")
    return notes


class _Listed(NamedTuple):
    """Every stage; the names, in order, of those that had to be guessed; whether a list was given."""

    stages: pd.DataFrame
    guessed: list[str]
    is_given: bool


def _listed(
    con: duckdb.DuckDBPyConnection, tables: Mapping[str, Path], settings: Settings, also: tuple[str, ...]
) -> _Listed:
    seen = _seen(con, tables)
    pipelines = sorted(seen["pipeline"].unique())
    extra = pd.DataFrame(
        [(pipeline, stage) for pipeline in pipelines for stage in also], columns=["pipeline", "stage"]
    )
    seen = seen.merge(extra, on=["pipeline", "stage"], how="outer")
    known = _known(con, tables, settings, pipelines)
    merged = seen.merge(known, on=["pipeline", "stage"], how="outer", suffixes=("_seen", ""))
    missing = merged["position"].isna()
    if missing.any():
        guessed = _guess(merged[missing])
        for column in ("is_closed", "is_won"):
            merged.loc[missing, column] = guessed[column]
        # Before all others, so that a mistyped stage does not stand between two that follow each other.
        merged.loc[missing, "position"] = guessed["rank"] - len(guessed) - 1
    for column in ("is_closed", "is_won"):
        merged[column] = merged[column].fillna(value=False).astype(bool)
    # The stage of deals whose stage is not known has no name that anybody gave.
    names = sorted(set(merged.loc[missing, "stage"]) - {OPEN})
    return _Listed(merged, names, is_given=not known.empty)


def _seen(con: duckdb.DuckDBPyConnection, cleaned: Mapping[str, Path]) -> pd.DataFrame:
    """Every (pipeline, stage) of deals and history, with what the deals say of it."""
    deals = parquet(cleaned["opportunities"])
    # Where is_won is left empty for some deals, those that have it are the closed ones.
    decided = (
        f"CASE WHEN (SELECT bool_or(is_won IS NULL) FROM {deals}) THEN avg((is_won IS NOT NULL)::INT) END"
    )
    query = (
        f"SELECT coalesce(pipeline, '') AS pipeline, stage, coalesce(avg(is_closed::INT), "
        f"CASE WHEN bool_or(is_won IS NOT NULL) THEN {decided} END) AS closed_share, "
        f"avg(is_won::INT) AS won_share, avg(probability) AS mean_probability FROM {deals} "
        "WHERE stage IS NOT NULL GROUP BY 1, 2"
    )
    if "opportunity_history" in cleaned:
        history = parquet(cleaned["opportunity_history"])
        query = (
            f"SELECT pipeline, stage, max(closed_share) AS closed_share, max(won_share) AS won_share, "
            f"max(mean_probability) AS mean_probability FROM (({query}) UNION ALL (SELECT DISTINCT "
            f"coalesce(d.pipeline, ''), h.stage, NULL, NULL, NULL FROM {history} h "
            f"JOIN {deals} d USING (opportunity_id))) GROUP BY 1, 2"
        )
    return frame(con, query)


def _known(
    con: duckdb.DuckDBPyConnection, cleaned: Mapping[str, Path], settings: Settings, pipelines: list[str]
) -> pd.DataFrame:
    """The declared stages. A list without pipelines holds for every pipeline of the deals."""
    columns = list(COLUMNS)
    if "stages" in cleaned:
        table = frame(con, f"SELECT * FROM {parquet(cleaned['stages'])}")
        table["pipeline"] = table["pipeline"].fillna("")
    elif settings.stages:
        table = pd.DataFrame([stage.model_dump() for stage in settings.stages])
        table["position"] = range(1, len(table) + 1)
        table["pipeline"] = ""
    else:
        return pd.DataFrame(columns=columns)
    table = table.reindex(columns=columns)
    named = table["stage"]
    for column, guess in (("is_closed", _says_only(named, WON, LOST)), ("is_won", _says_only(named, WON))):
        table[column] = table[column].where(table[column].notna(), guess).astype(bool)
    if (table["pipeline"] == "").all() and pipelines:
        table = pd.concat([table.assign(pipeline=name) for name in pipelines], ignore_index=True)
    elif table["pipeline"].nunique() == 1 and pipelines == [""]:
        table["pipeline"] = ""
    return table


def _says_only(stages: pd.Series, *words: tuple[str, ...]) -> pd.Series:
    return stages.astype("str").map(lambda name: any(says_only(name, each) for each in words)).astype(bool)


def _guess(rows: pd.DataFrame) -> pd.DataFrame:
    """Closed and won as most deals of the stage say, else by the stage's name; order by probability."""
    named = rows["stage"]
    closed = (rows["closed_share"] > 0.5).where(rows["closed_share"].notna(), _says_only(named, WON, LOST))
    won = (rows["won_share"] > 0.5).where(rows["won_share"].notna(), _says_only(named, WON))
    closed = closed.astype(bool) | won.astype(bool)
    probability = rows["mean_probability"].fillna(0.5).where(rows["stage"] != OPEN, -1.0)
    order = rows.assign(_p=probability).sort_values(["_p", "stage"]).index
    rank = pd.Series(range(1, len(rows) + 1), index=order)
    return pd.DataFrame({"is_closed": closed, "is_won": won.astype(bool), "rank": rank})
