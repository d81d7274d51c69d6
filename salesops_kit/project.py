"""Where the project's folders are, whatever the working directory is."""

from __future__ import annotations

import os
from pathlib import Path

TEMPLATES = Path("notebooks") / "templates"
ROOT_VARIABLE = "SALESOPS_PROJECT"


def project_root() -> Path:
    """The folder that holds notebooks/templates: $SALESOPS_PROJECT, an ancestor of the working
    directory, else the checkout that this package was installed from; else the working directory.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).resolve()
    here = Path.cwd()
    checkout = Path(__file__).resolve().parent.parent
    for folder in (here, *here.parents, checkout):
        if (folder / TEMPLATES).is_dir():
            return folder
    return here


def resolve(path: str | Path, *, base: Path | None = None) -> Path:
    """``path`` as an absolute path: as seen from the working directory when it exists there, else
    from ``base`` (the project's root by default)."""
    path = Path(path).expanduser()
    if path.is_absolute():
        return path
    seen_from_here = Path.cwd() / path
    return seen_from_here if seen_from_here.exists() else (base or project_root()) / path
