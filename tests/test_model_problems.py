"""What models refuse, told with the nearest keys of the place, wherever the place is."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salesops_kit.errors import Problem
from salesops_kit.model_problems import problem_of


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wheel(Strict):
    size: int = 26
    source: str = Field(default="", alias="from")


class Bicycle(Strict):
    wheels: tuple[Wheel, ...] = ()
    by_name: dict[str, Wheel] = {}
    spare: Wheel | None = None
    colour: str | Literal["none"] = ""
    password: int = 0


def refused(values: Any, **options: Any) -> Problem:
    with pytest.raises(ValidationError) as caught:
        Bicycle.model_validate(values)
    return problem_of(caught.value.errors()[0], Bicycle, **options)


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"sprae": {}}, "spare"),
        ({"wheels": [{}, {"siz": 1}]}, "size"),
        ({"by_name": {"wheels": {"siz": 1}}}, "size"),
        ({"spare": {"form": "x"}}, "from"),
    ],
    ids=["top", "list", "names", "alias"],
)
def test_an_unknown_key_gets_the_nearest_of_its_own_place(values: Any, near: str) -> None:
    problem = refused(values, file="b.yml", row=3)
    assert problem.what.startswith("unknown key")
    assert (problem.next_step, problem.file, problem.row) == (f"Did you mean {near}?", "b.yml", 3)


def test_the_sentence_names_the_key_unless_the_column_does() -> None:
    values = {"wheels": [{"size": "big"}]}
    assert refused(values).what.startswith("wheels.size: Input should be a valid integer")
    problem = refused(values, column="wheels.0.size")
    assert problem.what.startswith("Input should be a valid integer")
    assert (problem.column, problem.got) == ("wheels.0.size", "big")


@pytest.mark.parametrize(
    ("values", "got"), [({"wheels": "x" * 99}, "x" * 80), ({"password": "secret"}, None)]
)
def test_a_value_is_shown_in_part_and_a_secret_not_at_all(values: Any, got: str | None) -> None:
    assert refused(values).got == got
