"""A pydantic model made from a YAML file, every problem with its line and the nearest valid key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.yaml_text import line_of

Model = TypeVar("Model", bound=BaseModel)
# What stands at such a key may be the secret itself, written where its variable's name belongs.
_SECRET_KEY = "password"  # noqa: S105


def validated(
    model: type[Model],
    values: Mapping[str, Any],
    lines: Mapping[tuple[str, ...], int],
    *,
    file: str,
    problems: Sequence[Problem] = (),
) -> Model:
    """The model with these values; raises :class:`InputError` with ``problems`` and all of its own."""
    try:
        made = model.model_validate(values)
    except ValidationError as error:
        found: dict[object, Problem] = {}
        for item in error.errors():
            problem = _problem(model, item, lines, file)
            # One value may stand for two fields, and is wrong once.
            same = (problem.row, item["msg"], problem.got) if problem.got else problem
            found.setdefault(same, problem)
        raise InputError([*problems, *found.values()]) from None
    if problems:
        raise InputError(problems)
    return made


def _problem(model: type[BaseModel], item: Any, lines: Mapping[tuple[str, ...], int], file: str) -> Problem:
    path = [str(part) for part in item["loc"]]
    row = line_of(lines, path)
    if item["type"] == "extra_forbidden":
        near = did_you_mean(path[-1], _keys(model, path[:-1]))
        return Problem(f"unknown key {path[-1]!r}", file=file, row=row, next_step=near)
    if item["type"] == "missing":
        return Problem(f"key {path[-1]!r} is missing", file=file, row=row)
    is_shown = isinstance(item["input"], str) and not any(_SECRET_KEY in part for part in path)
    what = item["msg"].removeprefix("Value error, ")
    name = ".".join(part for part in path if not part.isdigit())
    return Problem(f"{name}: {what}", file=file, row=row, got=item["input"] if is_shown else None)


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that the file may hold below ``path``."""
    for name in path:
        field = next((f for key, f in model.model_fields.items() if name in (key, f.alias)), None)
        choices = () if field is None else (field.annotation, *get_args(field.annotation))
        inner = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return [field.alias or key for key, field in model.model_fields.items()]
