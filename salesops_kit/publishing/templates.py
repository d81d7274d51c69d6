"""The report templates: notebooks found in a folder, each with its metadata and parameter contract."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from salesops_kit.errors import InputError, Problem, Problems, did_you_mean
from salesops_kit.project import template_folders
from salesops_kit.publishing.contract import Parameter, parse_parameters

Audience = Literal["leaders", "teams", "private"]
AUDIENCES: tuple[str, ...] = get_args(Audience)
FIELDS = ("title", "description", "audience", "tables")

_REPORT = re.compile(r"[a-z][a-z0-9_]{0,59}")
_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")


@dataclass(frozen=True)
class Template:
    """One report: a notebook, and what its ``metadata.salesops`` and parameters cell say.

    ``sha256`` is of the file as it was read; a run refuses a template that changes under it.
    """

    report: str
    path: Path
    title: str
    description: str
    audience: str
    tables: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    sha256: str


def read_template(path: Path) -> Template:
    """The template in the notebook at ``path``; raises :class:`InputError` with all its problems."""
    file = path.name
    try:
        content = path.read_bytes()
        metadata, cells, language = _parts(json.loads(content.decode("utf-8")))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=file)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(Problem(f"no notebook of format 4: {str(error)[:200]}", file=file)) from None
    problems: list[Problem] = []
    report = path.stem
    if not _REPORT.fullmatch(report) or _DEVICE.fullmatch(report):
        problems.append(
            Problem(
                "the file name is no report name",
                file=file,
                expected="lower-case letters, digits and underscores, at most 60",
            )
        )
    if not isinstance(metadata, dict):
        problems.append(Problem("no salesops metadata", file=file, expected=", ".join(FIELDS)))
        metadata = {}
    problems += _metadata_problems(metadata, file)
    if language != "python":
        problems.append(Problem("another language", file=file, expected="python", got=str(language)))
    parameters: dict[str, Parameter] = {}
    if len(cells) != 1:
        problems.append(
            Problem(
                "no single parameters cell",
                file=file,
                expected="one code cell tagged parameters",
                got=str(len(cells)),
            )
        )
    else:
        parameters, wrong = parse_parameters(cells[0], file=file)
        problems += wrong
    if problems:
        raise InputError(problems)
    return Template(
        report=report,
        path=path,
        title=metadata["title"],
        description=metadata["description"],
        audience=metadata["audience"],
        tables=tuple(metadata["tables"]),
        parameters=parameters,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _parts(notebook: dict[str, Any]) -> tuple[Any, list[str], str]:
    """The salesops metadata, the sources of the parameters cells, and the language."""
    if notebook["nbformat"] != 4:
        raise ValueError(f"the format is {notebook['nbformat']!r}")
    tagged = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])
    ]
    metadata = notebook["metadata"]
    return metadata.get("salesops"), tagged, metadata.get("kernelspec", {}).get("language", "python")


def _metadata_problems(metadata: Mapping[str, object], file: str) -> list[Problem]:
    if not metadata:
        return []
    problems = [
        Problem(f"unknown salesops metadata {name!r}", file=file, next_step=did_you_mean(str(name), FIELDS))
        for name in metadata
        if name not in FIELDS
    ]
    for name in ("title", "description"):
        value = metadata.get(name)
        if not isinstance(value, str) or not value.strip():
            problems.append(Problem(f"no {name} in the salesops metadata", file=file, expected="a text"))
    audience = metadata.get("audience")
    if audience not in AUDIENCES:
        problems.append(
            Problem(
                "wrong audience in the salesops metadata",
                file=file,
                expected=" or ".join(AUDIENCES),
                got=str(audience),
            )
        )
    tables = metadata.get("tables")
    if not isinstance(tables, list) or not all(isinstance(table, str) for table in tables):
        problems.append(
            Problem("no tables in the salesops metadata", file=file, expected="a list of table names")
        )
    return problems


def available() -> dict[str, Template]:
    """Every template of the project by report name; a workspace's own stands for the kit's of that name."""
    return {name: one for folder in template_folders() for name, one in discover(folder).items()}


def discover(folder: Path) -> dict[str, Template]:
    """Every template in ``folder`` by report name; raises :class:`InputError` with all problems."""
    found: dict[str, Template] = {}
    problems = Problems()
    paths = sorted(p for p in folder.glob("*.ipynb") if not p.name.startswith("."))
    if not paths:
        problems.append(Problem("no report templates", file=str(folder), expected="*.ipynb"))
    for path in paths:
        with problems.caught():
            found[path.stem] = read_template(path)
    problems.refuse()
    return found
