"""What a pydantic model refuses, as problems with the nearest valid keys."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from salesops_kit.errors import Problem, unknown

# What stands at such a key may be the secret itself, written where its variable's name belongs.
_SECRET_KEY = "password"  # noqa: S105
_LONGEST_VALUE = 80


def problem_of(
    item: Any,
    model: type[BaseModel],
    *,
    kind: str = "key",
    file: str | None = None,
    row: int | None = None,
    column: str | None = None,
) -> Problem:
    """One of the ``errors()`` of a model. The sentence names the key, unless ``column`` does; a key that
    the model does not have is an unknown ``kind``.

    >>> class City(BaseModel, extra="forbid"):
    ...     name: str = ""
    >>> try:
    ...     city = City.model_validate({"nam": "Pune"})
    ... except ValueError as error:
    ...     print(problem_of(error.errors()[0], City, file="city.yml", row=1))
    city.yml, row 1: unknown key 'nam'. Did you mean name?
    """
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        return unknown(kind, path[-1], _keys_at(model, path[:-1]), file=file, row=row, column=column)
    if item["type"] == "missing":
        return Problem(f"key {path[-1]!r} is missing", file=file, row=row, column=column)
    what = str(item["msg"]).removeprefix("Value error, ")
    name = "" if column else ".".join(part for part in path if not part.isdigit())
    is_shown = isinstance(item["input"], str | int | float) and not any(_SECRET_KEY in part for part in path)
    got = str(item["input"])[:_LONGEST_VALUE] if is_shown else None
    return Problem(f"{name}: {what}" if name else what, file=file, row=row, column=column, got=got)


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that may stand at ``path``."""
    here: list[Any] = [model]
    for name in path:
        # What leads nowhere names one of the types that a value may have, not a part of the values.
        here = [inner for one in here for inner in _inside(one, name)] or here
    return [field.alias or key for one in here if _is_model(one) for key, field in one.model_fields.items()]


def _inside(type_: Any, name: str) -> list[Any]:
    """The types that may stand at a field of a model, or at a key or place of a collection."""
    if _is_model(type_):
        found = [field for key, field in type_.model_fields.items() if name in (key, field.alias)]
        return [one for field in found for one in _types(field.annotation)]
    # Of dict[str, X] and of tuple[X, ...] it is X.
    held = [one for one in get_args(type_) if one is not ...]
    return _types(held[-1]) if held else []


def _types(annotation: Any) -> list[Any]:
    return list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]


def _is_model(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, BaseModel)
