"""Sealed forecasts: written before the quarter ends, never changed, none taken out."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.data.sealing import FOLDER, Seal, read_seals, seal
from salesops_kit.errors import InputError

END = dt.date(2026, 4, 1)


def put(archive: Path, day: int = 9, **row: Any) -> Seal:
    rows = [{"caller": "model", "mean": 100.5, **row}]
    day_ = dt.date(2026, 3, day)
    return seal(archive, as_of=day_, period="2026-Q1", period_end=END, snapshot="abc", rows=rows)


def test_what_was_sealed_is_read(tmp_path: Path) -> None:
    first, second = put(tmp_path), put(tmp_path, 10, mean=110.0)
    assert read_seals(tmp_path) == [first, second]
    assert (first.seq, first.before, second.before) == (1, "", first.sha256)
    assert put(tmp_path) == first
    assert len(read_seals(tmp_path)) == 2


def test_nothing_is_sealed_when_the_quarter_is_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2026-Q1 is over"):
        put(tmp_path, 31)
    assert put(tmp_path, 30).seq == 1


def test_a_changed_forecast_is_found(tmp_path: Path) -> None:
    put(tmp_path)
    file = tmp_path / FOLDER / "000001.json"
    values = json.loads(file.read_text())
    values["rows"][0]["mean"] = 90.0
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match="was changed"):
        read_seals(tmp_path)


def test_a_missing_forecast_is_found(tmp_path: Path) -> None:
    for day in (9, 10, 11):
        put(tmp_path, day)
    (tmp_path / FOLDER / "000002.json").unlink()
    with pytest.raises(InputError, match="before this one is missing"):
        read_seals(tmp_path)


def test_what_is_no_seal_is_named(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / FOLDER / "000002.json").write_text("{}")
    with pytest.raises(InputError, match="no sealed forecast"):
        read_seals(tmp_path)
