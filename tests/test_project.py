"""The files around the package agree with each other: dependencies, lock, environment, templates."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = ROOT / "requirements.lock"
TEMPLATES = sorted((ROOT / "notebooks" / "templates").glob("*.ipynb"))

# conda-forge's name where it is not PyPI's.
CONDA_NAMES = {
    "duckdb": "python-duckdb",
    "jupyter-client": "jupyter_client",
    "ibis-framework[duckdb]": "ibis-duckdb",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "psycopg[binary]": "psycopg",
}
NOT_OURS = {".git", ".venv", "node_modules", "reports", "build", "__pycache__"}
OUR_HIDDEN = {".ci", ".gitattributes", ".gitignore", ".npmrc"}


def requirements() -> list[Requirement]:
    lines = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    return [Requirement(line) for line in lines]


def pypi_name(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return canonicalize_name(requirement.name) + extras


# --- dependencies ----------------------------------------------------------------------------


def test_conda_environment_has_the_projects_dependencies_and_bounds() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    expected = {CONDA_NAMES.get(pypi_name(r), pypi_name(r)): r.specifier for r in requirements()}
    expected |= {r.name: r.specifier for r in map(Requirement, PYPROJECT["build-system"]["requires"])}
    expected |= {"python": SpecifierSet(PYPROJECT["project"]["requires-python"]), "pip": SpecifierSet()}
    found = dict(line.partition(" ")[::2] for line in environment["dependencies"])
    assert {name: SpecifierSet(bounds) for name, bounds in found.items()} == expected
    assert len(found) == len(environment["dependencies"])
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def locked() -> dict[str, list[Requirement]]:
    """The pinned lines of the lock by name; one name may be pinned once per platform or Python."""
    pins: dict[str, list[Requirement]] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            pin = Requirement(line.rstrip("\\ "))
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_lock_pins_a_version_that_every_dependency_accepts(requirement: Requirement) -> None:
    pins = locked()[canonicalize_name(requirement.name)]
    for pin in pins:
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(Version(exact.version), prereleases=True)
    for minor in ("3.11", "3.12", "3.13"):
        here = {"python_version": minor, "python_full_version": f"{minor}.0"}
        assert any(pin.marker is None or pin.marker.evaluate(here) for pin in pins), minor


def test_lock_holds_hashes_and_no_address() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert re.findall(r"\w+://\S+|^-(?!-hash)\S.*|--(?:find-links|trusted-host)\S*", text, re.MULTILINE) == []
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert len(blocks) == sum(map(len, locked().values()))
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


# --- templates -------------------------------------------------------------------------------


def leftovers(notebook: dict[str, Any]) -> list[str]:
    """What running a notebook left in it: outputs and execution counts, by cell."""
    return [
        f"cell {number}: {key}"
        for number, cell in enumerate(notebook["cells"])
        for key in ("outputs", "execution_count")
        if cell.get(key)
    ] + [
        f"cell {n}: execution times" for n, c in enumerate(notebook["cells"]) if "execution" in c["metadata"]
    ]


def test_leftovers_are_found() -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}},
        {"cell_type": "code", "metadata": {"execution": {}}, "outputs": [], "execution_count": 3},
    ]
    assert leftovers({"cells": cells}) == ["cell 1: execution_count", "cell 1: execution times"]


def test_templates_are_committed_stripped() -> None:
    found = {path.name: leftovers(json.loads(path.read_text(encoding="utf-8"))) for path in TEMPLATES}
    assert {name: left for name, left in found.items() if left} == {}


# --- every file ------------------------------------------------------------------------------


def our_files() -> Iterator[Path]:
    """The files that the project is made of: what git ignores is left out."""
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder)
        if here == ROOT / "data":
            folders[:] = [name for name in folders if name == "sample"]
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name in OUR_HIDDEN)
        ]
        yield from (here / name for name in files if not name.startswith(".") or name in OUR_HIDDEN)
    yield ROOT / "reports" / "README.md"


HOME_FOLDERS = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w|[A-Z]:\\+Users\\", re.ASCII)
REGISTRIES = re.compile(
    r"https?://[\w.-]*(?:" + "|".join(("pypi", "pythonhosted", "npmjs", "anaconda")) + ")"
)


def test_no_file_mentions_somebodys_home_folder_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}: {match}"
        for path in our_files()
        for pattern in (HOME_FOLDERS, REGISTRIES)
        for match in pattern.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "path", [f"/{'home'}/ann/x", f"see '/{'Users'}/ann'", f"/{'root'}/x", "C:\\" + "Users\\ann"]
)
def test_home_folders_are_found(path: str) -> None:
    assert HOME_FOLDERS.search(path)


@pytest.mark.parametrize("path", ["reports/home/x", "https://example.com/home/", "$HOME/x", "/homely/x"])
def test_other_paths_are_no_home_folders(path: str) -> None:
    assert not HOME_FOLDERS.search(path)


def test_sources_of_the_project_are_looked_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in our_files()}
    assert {".ci/run", "Makefile", "pyproject.toml", "salesops_kit/errors.py", "reports/README.md"} <= names
    assert not any(name.startswith((".git/", ".venv/", "reports/.")) for name in names)


@pytest.mark.parametrize("target", ["review", "test", "campaign", "lab", "lint", "bench"])
def test_make_targets_prepare_the_environment_first(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(
        rf"^{target}: \$\(INSTALLED\)(?: \$\(BROWSER_TOOLS\))?(?: \.venv/\.spark)?$", makefile, re.MULTILINE
    )
