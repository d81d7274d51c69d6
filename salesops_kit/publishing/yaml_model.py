"""A pydantic model made from a YAML file, every problem with its line and the nearest valid key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from salesops_kit.errors import InputError, Problem
from salesops_kit.model_problems import problem_of
from salesops_kit.yaml_text import line_of

Model = TypeVar("Model", bound=BaseModel)


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
            row = line_of(lines, [str(part) for part in item["loc"]])
            problem = problem_of(item, model, file=file, row=row)
            # One value may stand for two fields, and is wrong once.
            same = (problem.row, item["msg"], problem.got) if problem.got else problem
            found.setdefault(same, problem)
        raise InputError([*problems, *found.values()]) from None
    if problems:
        raise InputError(problems)
    return made
