"""Slices on disk: the rows of one scope, written by the driver and opened by a kernel."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows
from salesops_kit.data.record import record_from
from salesops_kit.policy.model import Policy
from salesops_kit.settings import parse_settings

SLICE_FILE = "slice.json"


def write_slice(
    rows: Rows, folder: Path, *, names: Collection[str] | None = None, paths: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """Write a scope's tables (only the named ones, where ``names`` are given) to ``folder``, and say
    where each table lies; tables named in ``paths`` are left where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for name in sorted(rows.tables if names is None else set(names) & set(rows.tables)):
        if paths and name in paths:
            files[name] = paths[name]
        else:
            files[name] = folder / f"{name}.parquet"
            rows.tables[name].to_parquet(files[name], compression="zstd")
    values = {
        "settings": rows.settings.model_dump(mode="json"),
        "observed_until": rows.observed_until.isoformat(),
        "notes": list(rows.notes),
        "digest": rows.digest,
        "record": rows.record.to_values(),
        "policy": rows.policy.model_dump(mode="json"),
        "files": {name: file.name if file.parent == folder else str(file) for name, file in files.items()},
    }
    (folder / SLICE_FILE).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    return files


def open_slice(folder: Path) -> Rows:
    """The tables of a written slice."""
    values = json.loads((folder / SLICE_FILE).read_text(encoding="utf-8"))
    con = engine.backend(Path(tempfile.gettempdir()))
    paths = {name: folder / file for name, file in values["files"].items()}
    return Rows(
        engine.ParquetTables(con, paths),
        parse_settings(values["settings"]),
        dt.date.fromisoformat(values["observed_until"]),
        tuple(values["notes"]),
        values["digest"],
        Policy.model_validate(values["policy"]),
        record=record_from(values["record"]),
    )
