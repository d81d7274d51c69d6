"""Small exports, imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from salesops_kit.data.dataset import import_export

Imported = Callable[[str, Mapping[str, str]], Path]


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The folder of a dataset made of tables as CSV texts, known until the end of March 2026."""

    def make(name: str, tables: Mapping[str, str]) -> Path:
        raw = tmp_path_factory.mktemp("raw")
        for table, text in tables.items():
            (raw / f"{table}.csv").write_text(text, encoding="utf-8")
        (raw / "dataset.yml").write_text(f"name: {name}\nobserved_until: 2026-03-31\n", encoding="utf-8")
        out = raw.with_name(f"{raw.name}-imported")
        import_export([raw], "", out)
        return out

    return make
