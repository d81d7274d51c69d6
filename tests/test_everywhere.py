"""One template, unchanged, wherever it may run: the same headlines to the last digit, nothing on stderr."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import salesops_kit
from salesops_kit.mime import HEADLINE, TABLE
from salesops_kit.publishing.outputs import typed

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "notebooks" / "templates" / "funnel.ipynb"
SAMPLE = ROOT / "data" / "sample"
WORKBOOK = ROOT / "notebooks" / "explore_funnel.ipynb"
QUARTER = "2027-Q3"
TEAM = "EMEA South"


def our_modules() -> list[str]:
    return [info.name for info in pkgutil.walk_packages(salesops_kit.__path__, "salesops_kit.")]


def strict_environment() -> dict[str, str]:
    """The environment of kernels in which every warning that a module of the kit causes is an error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SALESOPS_")}
    modules = [name for name in our_modules() if not name.endswith("__main__")]
    return {**kept, "PYTHONWARNINGS": ",".join(f"error:::{name}" for name in modules)}


def run_python(code: str, *arguments: str, cwd: Path) -> None:
    """Run code in a new process: Papermill's cwd and the kernels' environment are the whole process's."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=strict_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


PAPERMILL = """
import json, sys, papermill
source, jobs = sys.argv[1:]
for target, parameters in json.loads(jobs).items():
    papermill.execute_notebook(source, target, parameters=parameters, progress_bar=False)
"""
NBCLIENT = """
import sys, nbclient, nbformat
source, target = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
nbformat.write(notebook, target)
"""


@pytest.fixture(scope="module")
def by_papermill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The company with the data's name, a team with the data's folder, both from a foreign directory."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    jobs = {
        f"{team}.ipynb": {"team": team, "quarter": QUARTER, "data": data}
        for team, data in (("company", "sample"), (TEAM, str(SAMPLE)))
    }
    run_python(PAPERMILL, str(TEMPLATE), json.dumps(jobs), cwd=elsewhere)
    return {job["team"]: nbformat.read(elsewhere / name, as_version=4) for name, job in jobs.items()}


@pytest.fixture(scope="module")
def by_driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The manifests of a published run, each with its executed notebook."""
    folder = tmp_path_factory.mktemp("driver")
    plan = folder / "plan.yml"
    plan.write_text(
        f"{{data: sample, reports: funnel, teams: [company, {TEAM}], quarters: {QUARTER}, jobs: 2}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "salesops_kit", "run", str(plan), "--reports", str(folder / "reports")],
        cwd=ROOT,
        env=strict_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    manifests = {}
    for path in (folder / "reports").rglob("manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["notebook"] = nbformat.read(path.parent / "notebook.ipynb", as_version=4)
        manifests[manifest["scope"]] = manifest
    return manifests


def headlines(notebook: Any) -> str:
    """The typed headlines as text, so that 1 and 1.0 differ."""
    return json.dumps(typed(notebook, HEADLINE), sort_keys=True)


def assert_no_errors(cells: list[Any]) -> None:
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output


def assert_clean(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert cell.execution_count is not None, cell.source
        for output in cell.outputs:
            assert output.output_type not in ("error", "stream"), output


def test_papermill_runs_it_from_anywhere(by_papermill: dict[str, Any]) -> None:
    for team, notebook in by_papermill.items():
        assert_clean(notebook)
        found = typed(notebook, HEADLINE)
        assert len(found) == 5
        assert {payload["scope"] for payload in found} == {team}
        assert len(typed(notebook, TABLE)) >= 5
    assert headlines(by_papermill["company"]) != headlines(by_papermill[TEAM])


def test_jupyter_runs_it_in_its_own_folder(by_papermill: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "executed.ipynb"
    run_python(NBCLIENT, str(TEMPLATE), str(target), cwd=TEMPLATE.parent)
    notebook = nbformat.read(target, as_version=4)
    assert_clean(notebook)
    assert headlines(notebook) == headlines(by_papermill["company"])
    assert typed(notebook, TABLE) == typed(by_papermill["company"], TABLE)


@pytest.mark.parametrize("team", ["company", TEAM])
def test_the_driver_publishes_the_same_numbers(
    by_driver: dict[str, dict[str, Any]], by_papermill: dict[str, Any], team: str
) -> None:
    assert set(by_driver) == {"company", TEAM}
    manifest = by_driver[team]
    assert manifest["status"] == "success"
    assert_clean(manifest["notebook"])
    assert headlines(manifest["notebook"]) == headlines(by_papermill[team])
    assert typed(manifest["notebook"], TABLE) == typed(by_papermill[team], TABLE)
    expected = {payload["id"]: repr(payload["value"]) for payload in typed(by_papermill[team], HEADLINE)}
    assert {h["id"]: repr(h["value"]) for h in manifest["headlines"]} == expected


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    """pytest with nbval on a notebook or a folder, in a process of its own."""
    options = ("-p", "no:cacheprovider", "-rf", "--nbval-lax", "--nbval-current-env")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=ROOT,
        env=strict_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# make test runs nbval over all notebooks anyway; here it runs with the kit's warnings as errors.
@pytest.mark.campaign
def test_nbval_passes_every_notebook() -> None:
    done = nbval(ROOT / "notebooks")
    assert done.returncode == 0, done.stdout[-3000:]


def test_nbval_fails_when_one_number_of_a_workbook_changes(tmp_path: Path) -> None:
    notebook = nbformat.read(WORKBOOK, as_version=4)
    second = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"][1]
    notebook.cells = notebook.cells[: second + 1]
    changed = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stdout" and "1457 won" in output.text:
                output.text = output.text.replace("1457 won", "1458 won")
                changed += 1
    assert changed == 1
    copy = tmp_path / "changed.ipynb"
    nbformat.write(notebook, copy)
    done = nbval(copy)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "1 failed, 1 passed" in done.stdout
    assert "1457 won" in done.stdout


def test_workbooks_are_executed_and_most_of_their_cells_are_compared() -> None:
    workbooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert WORKBOOK in workbooks
    for path in workbooks:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), path
        assert_no_errors(code)
        tags = [tag for cell in code for tag in cell.metadata.get("tags", [])]
        assert tags.count("nbval-check-output") > tags.count("nbval-ignore-output"), path
        assert len(tags) == len(code), f"{path.name}: every cell says whether nbval compares it"
        assert path.stat().st_size < 200_000, path
