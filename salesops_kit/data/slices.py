"""Slices on disk: the rows of one scope, written by the driver and opened by a kernel."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows
from salesops_kit.settings import parse_settings

SLICE_FILE = "slice.json"


def write_slice(rows: Rows, folder: Path, *, paths: dict[str, Path] | None = None) -> None:
    """Write a scope's tables to ``folder``; tables named in ``paths`` are left where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for name, table in sorted(rows.tables.items()):
        if paths and name in paths:
            files[name] = str(paths[name])
        else:
            table.to_parquet(folder / f"{name}.parquet", compression="zstd")
            files[name] = f"{name}.parquet"
    values = {
        "settings": rows.settings.model_dump(mode="json"),
        "observed_until": rows.observed_until.isoformat(),
        "notes": list(rows.notes),
        "digest": rows.digest,
        "files": files,
    }
    (folder / SLICE_FILE).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def open_slice(folder: Path) -> Rows:
    """The tables of a written slice."""
    values = json.loads((folder / SLICE_FILE).read_text(encoding="utf-8"))
    con = engine.backend(Path(tempfile.gettempdir()))
    tables = {
        name: con.read_parquet(folder / file, table_name=name) for name, file in values["files"].items()
    }
    return Rows(
        tables,
        parse_settings(values["settings"]),
        dt.date.fromisoformat(values["observed_until"]),
        tuple(values["notes"]),
        values["digest"],
    )
