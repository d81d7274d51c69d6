"""A real run for every team of a company whose rows name who may see them: no foreign word gets out."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import TEAMS, foreign_marks, write_company

ROOT = Path(__file__).parent.parent
PLAN = """\
data: {data}
reports: [funnel]
teams: all
quarters: 2026-Q2
jobs: 2
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("isolation")
    write_company(folder / "raw")
    kit("import", folder / "raw", "--out", folder / "canonical")
    (folder / "plan.yml").write_text(PLAN.format(data=folder / "canonical"), encoding="utf-8")
    kit("run", folder / "plan.yml", "--reports", folder / "reports")
    return folder / "reports"


def kit(*arguments: object) -> str:
    """The output of one command line, which has to succeed."""
    command = [sys.executable, "-m", "salesops_kit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def manifests(reports: Path) -> dict[str, Path]:
    """Each scope's newest manifest."""
    return {
        json.loads(file.read_text(encoding="utf-8"))["scope"]: file
        for file in sorted(reports.glob("leaders/*/*/*/*/manifest.json"))
    }


def texts(file: Path) -> Iterator[str]:
    """Everything that a file holds, unpacked."""
    if file.suffix == ".xlsx":
        with zipfile.ZipFile(file) as book:
            for name in book.namelist():
                yield book.read(name).decode("utf-8", errors="replace")
    else:
        yield file.read_text(encoding="utf-8-sig", errors="replace")


def test_every_scope_is_published(published: Path) -> None:
    assert set(manifests(published)) == {"company", *TEAMS}


@pytest.mark.parametrize("team", TEAMS)
def test_no_foreign_word_in_any_file_of_a_team(published: Path, team: str) -> None:
    bundle = manifests(published)[team].parent
    files = [file for file in bundle.rglob("*") if file.is_file()]
    files += [bundle.parent.parent / "funnel.html"]
    assert {file.suffix for file in files} == {".html", ".ipynb", ".xlsx", ".csv", ".json"}
    held = {file: "\n".join(texts(file)) for file in files}
    assert any(f"{team}only" in text for text in held.values()), "the team's own words are there to be found"
    for word in foreign_marks(team).values():
        assert [file.name for file, text in held.items() if word in text] == []


def test_nothing_is_left_of_the_slices(published: Path) -> None:
    assert list(published.glob(".staging/*")) == []


def test_additive_headlines_of_the_teams_sum_to_the_companys(published: Path) -> None:
    values: dict[str, dict[str, float]] = {}
    for scope, file in manifests(published).items():
        for headline in json.loads(file.read_text(encoding="utf-8"))["headlines"]:
            if headline["kind"] == "additive":
                values.setdefault(headline["id"], {})[scope] = headline["value"]
    assert set(values) == {"bookings_won", "deals_won", "open_pipeline"}
    for by_scope in values.values():
        assert sum(by_scope[team] for team in TEAMS) == pytest.approx(by_scope["company"])
        assert by_scope["company"] > 0
