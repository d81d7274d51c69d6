"""Snapshots: one import as content-addressed Parquet files and a JSON that names them."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow.parquet as pq

from salesops_kit.data import as_of, engine
from salesops_kit.data.cleaning import EXCLUSIONS, clean
from salesops_kit.data.engine import connect, count, parquet, write_parquet
from salesops_kit.data.growth import Before, grow_history, keep_vanished
from salesops_kit.data.history import complete_history
from salesops_kit.data.importer import read_export
from salesops_kit.data.mapping import Mapping
from salesops_kit.data.rates import check_rates, with_base_currency
from salesops_kit.data.record import RECORDED, Record, record_from, record_of
from salesops_kit.data.stages import OPEN, complete_stages
from salesops_kit.settings import Settings, parse_settings

SCHEMA = 1
BATCH_ROWS = 12_000_000


@dataclass(frozen=True)
class Stored:
    """One table of a snapshot: the digest of its Parquet file and its number of rows."""

    sha256: str
    rows: int


@dataclass(frozen=True)
class Snapshot:
    """One validated import. ``digest`` names its content: equal data and settings, equal digest."""

    digest: str
    settings: Settings
    observed_until: dt.date
    tables: dict[str, Stored]
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    seq: int = 0
    fingerprint: str = ""
    record: Record = RECORDED
    paths: dict[str, Path] = field(default_factory=dict, compare=False)
    folder: Path | None = field(default=None, compare=False)

    def to_json(self) -> str:
        """The snapshot as the JSON that stands beside its files."""
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "seq": self.seq,
            "digest": self.digest,
            "observed_until": self.observed_until.isoformat(),
            "settings": self.settings.model_dump(mode="json"),
            "tables": {name: asdict(stored) for name, stored in sorted(self.tables.items())},
            "notes": list(self.notes),
            "record": self.record.to_values(),
            "sources": list(self.sources),
            "fingerprint": self.fingerprint,
        }
        return json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def from_json(text: str, paths: dict[str, Path] | None = None) -> Snapshot:
    """A snapshot from its JSON."""
    values = json.loads(text)
    return Snapshot(
        digest=values["digest"],
        settings=parse_settings(values["settings"]),
        observed_until=dt.date.fromisoformat(values["observed_until"]),
        tables={name: Stored(**stored) for name, stored in values["tables"].items()},
        notes=tuple(values["notes"]),
        sources=tuple(values["sources"]),
        seq=values["seq"],
        fingerprint=values["fingerprint"],
        record=record_from(values.get("record", {})),
        paths=paths or {},
    )


def build(
    paths: Sequence[Path], mapping: Mapping, *, folder: Path, scratch: Path, before: Snapshot | None = None
) -> Snapshot:
    """Import an export and leave one Parquet file per table in ``folder``.

    Where the export has no history, it goes on from that of the import ``before``.
    Raises :class:`~salesops_kit.errors.InputError` with every refusal; nothing is left then.
    """
    settings = mapping.settings
    con = connect(scratch, settings.zone)
    try:
        imported = read_export(con, paths, mapping, scratch=scratch)
        cleaned = clean(con, imported, folder=folder)
        for staged in imported.staged.values():
            staged.path.unlink()
        settings = with_base_currency(con, cleaned, settings)
        notes = [*settings.notes, *imported.notes]
        history = imported.staged.get("opportunity_history")
        earlier = None if before is None or history else _before(before)
        if earlier:
            staged = imported.staged["opportunities"]
            notes += keep_vanished(
                con, cleaned, earlier, tells_deleted="is_deleted" not in staged.absent, folder=folder
            )
            cleaned["opportunity_history"] = earlier.history
        notes += complete_stages(
            con, cleaned, settings, also=_derived_stages(con, cleaned, mapping), folder=folder
        )
        con.execute(f"CREATE OR REPLACE TEMP VIEW read_stages AS SELECT * FROM {parquet(cleaned['stages'])}")
        last_known = _last_known_day(con, cleaned, earlier)
        observed = settings.observed_until or last_known
        if last_known > observed:
            notes.append(f"The data go on to {last_known}; what is later than {observed} is not counted.")
        if earlier:
            notes += grow_history(
                con, cleaned, earlier, open_amount=mapping.open_amount, stage_dates=dict(mapping.stage_dates),
                zone=settings.zone, observed_until=observed, folder=folder, scratch=scratch,
            )  # fmt: skip
        notes += complete_history(
            con, cleaned, stage_dates=dict(mapping.stage_dates),
            open_amount=mapping.open_amount, absent=history.absent if history else (),
            zone=settings.zone, observed_until=observed, folder=folder,
        )  # fmt: skip
        record = record_of(
            con, cleaned, is_exported=history is not None, absent=history.absent if history else (),
            stage_dates=mapping.stage_dates, observed_until=observed,
        )  # fmt: skip
        notes += check_rates(con, cleaned, settings)
        cleaned[EXCLUSIONS] = folder / f"{EXCLUSIONS}.parquet"
        write_parquet(con, f"SELECT * FROM {EXCLUSIONS} ORDER BY ALL", cleaned[EXCLUSIONS])
        con.execute(f"DROP TABLE {EXCLUSIONS}")
    finally:
        con.close()
    cleaned[as_of.STATES] = _write_states(cleaned, settings, folder, scratch)
    tables = {name: _stored(path) for name, path in sorted(cleaned.items())}
    return Snapshot(
        digest=_digest(tables, settings, observed, notes),
        settings=settings,
        observed_until=observed,
        tables=tables,
        notes=tuple(notes),
        sources=tuple(sorted(imported.sources)),
        record=record,
        paths=dict(cleaned),
    )


def _before(snapshot: Snapshot) -> Before | None:
    """The import before, where its deals and their history are at hand."""
    names = ("opportunities", "opportunity_history", "stages")
    if not all(name in snapshot.paths for name in names):
        return None
    return Before(snapshot.observed_until, *(snapshot.paths[name] for name in names))


def _digest(tables: dict[str, Stored], settings: Settings, observed: dt.date, notes: Sequence[str]) -> str:
    parts = {name: stored.sha256 for name, stored in tables.items()}
    text = json.dumps(
        [SCHEMA, parts, settings.model_dump(mode="json"), observed.isoformat(), list(notes)], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _stored(path: Path) -> Stored:
    return Stored(file_sha256(path), pq.read_metadata(path).num_rows)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last_known_day(
    con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], earlier: Before | None
) -> dt.date:
    """The latest business date on which anything is recorded to have happened."""
    deals = parquet(cleaned["opportunities"])
    parts = [f"SELECT max(created_date) AS day FROM {deals}"]
    if earlier:
        parts.append(f"SELECT DATE '{earlier.observed_until}'")
    elif "opportunity_history" in cleaned:
        parts.append(f"SELECT max(changed_date) FROM {parquet(cleaned['opportunity_history'])}")
    if earlier or "opportunity_history" not in cleaned:
        parts.append(
            f"SELECT max(close_date) FROM {deals} d JOIN read_stages s "
            "ON s.pipeline = coalesce(d.pipeline, '') AND s.stage = d.stage WHERE s.is_closed"
        )
    (day,) = con.execute(f"SELECT max(day) FROM ({' UNION ALL '.join(parts)})").fetchone() or (None,)
    return day or dt.date(1970, 1, 1)


def _derived_stages(
    con: duckdb.DuckDBPyConnection, cleaned: dict[str, Path], mapping: Mapping
) -> tuple[str, ...]:
    """Stages that only a derived history will mention."""
    if mapping.stage_dates:
        return tuple(mapping.stage_dates)
    if "opportunity_history" not in cleaned:
        return (OPEN,)
    deals, history = (parquet(cleaned[name]) for name in ("opportunities", "opportunity_history"))
    without = (
        f"SELECT count(*) FROM {deals} WHERE opportunity_id NOT IN (SELECT opportunity_id FROM {history})"
    )
    return (OPEN,) if count(con, without) else ()


def _write_states(cleaned: dict[str, Path], settings: Settings, folder: Path, scratch: Path) -> Path:
    """Derive ``opportunity_states``, some deals at a time in the order of their ids, so that memory is
    bounded by a batch and the file is sorted without a sort of the whole."""
    backend = engine.backend(scratch)
    try:
        history = backend.read_parquet(cleaned["opportunity_history"])
        deals = backend.read_parquet(cleaned["opportunities"])
        stages = backend.read_parquet(cleaned["stages"])
        members = pd.DataFrame(columns=["owner_id", "team", "valid_from_date", "valid_to_date"])
        if "team_memberships" in cleaned:
            members = engine.collect(
                backend.read_parquet(cleaned["team_memberships"]).select(*members.columns)
            )
        gapless = as_of.gapless_memberships(members, settings.zone)
        stays = backend.create_table("stays", gapless, schema=as_of.GAPLESS_SCHEMA)
        pipelines = engine.collect(stages.select("pipeline").distinct())["pipeline"]
        placed = deals if len(pipelines) > 1 else str(pipelines.iloc[0]) if len(pipelines) else ""
        path = folder / f"{as_of.STATES}.parquet"
        bounds = _id_bounds(backend, cleaned["opportunity_history"])
        parts = []
        for number, (first, last) in enumerate(itertools.pairwise([None, *bounds, None])):
            batch = history
            if first is not None:
                batch = batch.filter(batch.opportunity_id >= first)
            if last is not None:
                batch = batch.filter(batch.opportunity_id < last)
            states = as_of.derive_states(batch, placed, stages, stays).order_by("opportunity_id", "state_no")
            parts.append(scratch / f"states_{number:04d}.parquet")
            backend.to_parquet(states, parts[-1], compression="zstd", compression_level=1)
    finally:
        backend.disconnect()
    _concatenate(parts, path)
    return path


def _id_bounds(backend: ibis.BaseBackend, history: Path) -> list[str]:
    """Ids that cut the sorted history into batches of about ``BATCH_ROWS`` events."""
    query = (
        f"SELECT DISTINCT opportunity_id FROM (SELECT opportunity_id, row_number() OVER () AS n "
        f"FROM {parquet(history)}) WHERE n % {BATCH_ROWS} = 0 ORDER BY 1"
    )
    return [row[0] for row in backend.con.execute(query).fetchall()]


def _concatenate(parts: Sequence[Path], path: Path) -> None:
    """One Parquet file from several, row groups in order; the parts are removed."""
    if len(parts) == 1:
        shutil.move(parts[0], path)
        return
    with pq.ParquetWriter(path, pq.read_schema(parts[0]), compression="zstd") as writer:
        for part in parts:
            with pq.ParquetFile(part) as source:
                for group in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(group))
            part.unlink()
