"""Mappings by name: files, a workspace's own in params/mappings, and those that the kit ships."""

from __future__ import annotations

from pathlib import Path

from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.project import project_root

MAPPINGS = Path("params") / "mappings"
PRESETS = Path(__file__).parent / "presets"


def find_mapping(name: str, near: Path | None = None) -> Path:
    """A mapping's file: a path (also as seen from the folder ``near``), a name in the workspace's
    params/mappings, or a preset's name; raises with the nearest names."""
    path = Path(name).expanduser()
    places = [path, *([near / path] if near else []), project_root() / path]
    places += [folder / f"{name}.yml" for folder in (near, project_root() / MAPPINGS, PRESETS) if folder]
    for candidate in places:
        if candidate.is_file():
            return candidate
    raise InputError(Problem(f"unknown mapping {name!r}", next_step=did_you_mean(name, known_mappings())))


def known_mappings() -> list[str]:
    """The names of the workspace's mappings and of the presets."""
    return sorted({p.stem for folder in (project_root() / MAPPINGS, PRESETS) for p in folder.glob("*.yml")})
