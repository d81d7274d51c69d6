"""A workspace outside the clone: what a company keeps as its own, which no upgrade touches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from salesops_kit.errors import InputError, Problem
from salesops_kit.project import TEMPLATES, WORKSPACE_FILE
from salesops_kit.publishing.files import replace_file

MAPPINGS = Path("params") / "mappings"
FOLDERS = (MAPPINGS, Path("data"), Path("reports"), TEMPLATES)
_WORKSPACE = """\
# This folder is a workspace of salesops_kit: commands given inside it read params/ and data/, use the kit's
# report templates beside those in notebooks/templates/, and publish under reports/.
"""
_IGNORED = """\
/data/
/reports/
.ipynb_checkpoints/
"""


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, which the kit's readers refuse."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out."""
        return True


def make_workspace(folder: Path) -> list[Path]:
    """Make what a workspace lacks and leave what it has; returns the files and folders that were made.

    Raises :class:`~salesops_kit.errors.InputError` for a folder that holds other things.
    """
    marker = folder / WORKSPACE_FILE
    if folder.exists() and not folder.is_dir():
        raise InputError(Problem("a file stands where the workspace should be", file=str(folder)))
    if folder.is_dir() and any(folder.iterdir()) and not marker.is_file():
        raise InputError(
            Problem("the folder holds other files and is no workspace", file=str(folder),
                    next_step="Name a new folder.")
        )  # fmt: skip
    made = [part for part in FOLDERS if not (folder / part).is_dir()]
    for part in made:
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, text in ((WORKSPACE_FILE, _WORKSPACE), (".gitignore", _IGNORED)):
        if not (folder / name).exists():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
            made.append(Path(name))
    return made


def write_yaml(path: Path, values: Mapping[str, Any], comment: str) -> None:
    """Write settings whole or not at all, below a comment that says what they are."""
    text = yaml.dump(dict(values), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110)
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    replace_file(path, (lines + text).encode("utf-8"), private=None)
