"""A small export written to disk, imported as a user would, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.data.snapshot import Snapshot
from salesops_kit.errors import InputError, Problem

Content = str | bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Imported:
    """One import: the snapshot, and its tables as frames."""

    snapshot: Snapshot

    @cached_property
    def rows(self) -> Rows:
        return open_rows(self.snapshot)

    def table(self, name: str = "opportunities") -> pd.DataFrame:
        return engine.collect(self.rows.table(name))

    def column(self, column: str, table: str = "opportunities") -> list[Any]:
        """A column's values in key order, None where null."""
        return self.rows.table(table).to_pyarrow()[column].to_pylist()  # type: ignore[no-any-return]

    @property
    def notes(self) -> str:
        return "\n".join(self.snapshot.notes)

    def exclusions(self, action: str | None = None) -> list[dict[str, Any]]:
        """The rows set aside or flagged, in the order of their rows."""
        listed = self.rows.table("exclusions").to_pyarrow().to_pylist()
        chosen = [row for row in listed if action is None or row["action"] == action]
        return sorted(
            chosen, key=lambda row: (row["source_file"], row["source_row"], str(row["column_name"]))
        )

    def found(self, action: str) -> list[tuple[str, int, str | None, str | None, str | None]]:
        """What is listed with an action: file, row, column, expected, got."""
        names = ("source_file", "source_row", "column_name", "expected", "got")
        return [tuple(row[name] for name in names) for row in self.exclusions(action)]  # type: ignore[misc]


class Desk:
    """Writes exports into a fresh folder and imports them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    @staticmethod
    def deals(*rows: str) -> str:
        """An opportunities.csv of five columns from its rows."""
        return "\n".join(("opportunity_id,stage,amount,created_date,close_date", *rows)) + "\n"

    def write(self, files: Mapping[str, Content]) -> Path:
        self.count += 1
        export = self.folder / f"export{self.count}"
        export.mkdir()
        for name, content in files.items():
            path = export / name
            if callable(content):
                content(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return export

    def load(self, deals: Content | None = None, *, mapping: str = "", **files: Content) -> Imported:
        """Import ``opportunities.csv`` (and more files by stem, or ``settings`` for dataset.yml)."""
        named = {_file(stem): content for stem, content in files.items()}
        if deals is not None:
            named["opportunities.csv"] = deals
        return self.load_files(named, mapping=mapping)

    def load_files(self, files: Mapping[str, Content], *, mapping: str = "") -> Imported:
        export = self.write(files)
        rules = ""
        if mapping:
            file = self.folder / f"mapping{self.count}.yml"
            file.write_text(mapping, encoding="utf-8")
            rules = str(file)
        return Imported(import_export([export], rules, self.folder / f"out{self.count}"))

    def refused(
        self, deals: Content | None = None, *, mapping: str = "", **files: Content
    ) -> tuple[Problem, ...]:
        """The problems that an import is refused with; nothing is left behind."""
        with pytest.raises(InputError) as caught:
            self.load(deals, mapping=mapping, **files)
        assert not (self.folder / f"out{self.count}").exists()
        assert not list(self.folder.glob(".salesops-*"))
        return caught.value.problems

    def refused_once(self, deals: Content | None = None, *, mapping: str = "", **files: Content) -> Problem:
        (problem,) = self.refused(deals, mapping=mapping, **files)
        return problem


def _file(stem: str) -> str:
    return "dataset.yml" if stem == "settings" else f"{stem}.csv"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The sample, imported as it is."""
    sample = Path(__file__).parents[2] / "data" / "sample"
    return open_rows(import_export([sample], "", tmp_path_factory.mktemp("original") / "out"))
