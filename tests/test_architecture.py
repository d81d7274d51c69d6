"""The import rules of pyproject.toml hold, can fail, and every module keeps to the house rules."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "salesops_kit"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 440
HEAVY = ("pandas", "numpy", "pyarrow", "ibis", "duckdb", "matplotlib", "seaborn", "sklearn", "papermill")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in ``folder``, which comes before the installed one on the search path."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_rules_hold() -> None:
    checked = lint_imports(ROOT)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("path", "source", "contract"),
    [
        ("publishing/breach.py", "import salesops_kit.analysis", "Publishing knows reports only"),
        ("publishing/breach.py", "import salesops_kit.workbook", "Imports point downwards"),
        ("data/breach.py", "import salesops_kit.registry", "Imports point downwards"),
        ("unplaced.py", "", "Imports point downwards"),
        (
            "analysis/breach.py",
            "import salesops_kit.analysis.breach_too",
            "Analyses do not import each other",
        ),
        ("analysis/breach.py", "import matplotlib", "Analyses neither draw"),
    ],
)
def test_a_breach_of_the_import_rules_is_found(tmp_path: Path, path: str, source: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / PACKAGE.name / "analysis" / "breach_too.py").touch()
    (tmp_path / PACKAGE.name / path).write_text(source, encoding="utf-8")
    checked = lint_imports(tmp_path)
    assert checked.returncode == 1
    broken = " ".join(checked.stdout.split())
    assert contract in broken.partition("Broken contracts")[2], broken


def test_command_line_starts_without_heavy_imports() -> None:
    command = f"import sys, salesops_kit.cli; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.split() == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_is_short_and_says_what_it_is_for(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST
    assert module.stem not in {"utils", "util", "helpers", "common", "misc"}
    if source.strip():
        assert undocumented(ast.parse(source)) == []


def undocumented(tree: ast.Module) -> list[str]:
    """The module and its public functions, classes and methods that have no docstring."""
    missing = [] if ast.get_docstring(tree) else ["module"]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            missing.append(node.name)
        if isinstance(node, ast.ClassDef):
            missing += [
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef)
                and not method.name.startswith("_")
                and not ast.get_docstring(method)
            ]
    return missing


def test_missing_docstrings_are_found() -> None:
    tree = ast.parse("def f(): pass\nclass C:\n    'Said.'\n    def m(self): pass\n    def _n(self): pass\n")
    assert undocumented(tree) == ["module", "f", "C.m"]
