"""Where the project's folders are, whatever the working directory is."""

from __future__ import annotations

import os
from pathlib import Path

TEMPLATES = Path("notebooks") / "templates"
ROOT_VARIABLE = "SALESOPS_PROJECT"
# What marks a workspace, which may have no template of its own.
WORKSPACE_FILE = "salesops.yml"


def project_root() -> Path:
    """The folder that holds notebooks/templates or is a workspace: $SALESOPS_PROJECT, an ancestor of
    the working directory, else the checkout that this package was installed from; else the working
    directory.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).resolve()
    here = Path.cwd()
    checkout = Path(__file__).resolve().parent.parent
    for folder in (here, *here.parents, checkout):
        if (folder / TEMPLATES).is_dir() or (folder / WORKSPACE_FILE).is_file():
            return folder
    return here


def template_folders() -> list[Path]:
    """Where report templates are, the project's own last: a workspace uses those of the kit too."""
    root, checkout = project_root(), Path(__file__).resolve().parent.parent
    kit = [checkout / TEMPLATES] if (root / WORKSPACE_FILE).is_file() else []
    own = root / TEMPLATES
    return [*kit, own] if not kit or any(own.glob("*.ipynb")) else kit


def resolve(path: str | Path, *, base: Path | None = None) -> Path:
    """``path`` as an absolute path: as seen from the working directory when it exists there, else
    from ``base`` (the project's root by default)."""
    path = Path(path).expanduser()
    if path.is_absolute():
        return path
    seen_from_here = Path.cwd() / path
    return seen_from_here if seen_from_here.exists() else (base or project_root()) / path
