"""Parameters from files, texts and pairs: which of them counts, what stays text, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.arguments import given, join_pairs
from salesops_kit.errors import InputError
from salesops_kit.publishing.plan_file import parse_plan


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two parameter files, of which the second repeats a name of the first."""
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text("team: NO\nhorizon: 007\nby: [team, 1e3]\n")
    second.write_text("horizon: 08\n")
    return [first, second]


def test_the_later_and_the_nearer_wins(files: list[Path]) -> None:
    assert given(files=files).values == {"team": "NO", "horizon": "08", "by": ["team", "1e3"]}
    found = given(["horizon=10"], files, ["{team: yes, by: x}", "by: z"])
    assert found.values == {"team": "yes", "horizon": "10", "by": "z"}
    assert found.places["horizon"] == {"file": "command line", "column": "-p horizon"}
    assert found.places["by"] == {"file": "-y", "row": 1, "column": "by"}
    assert given(files=files).places["team"] == {"file": "first.yml", "row": 1, "column": "team"}


def test_nothing_given_is_nothing() -> None:
    assert given().values == given([], [], [""]).values == {}


def test_lists_are_joined_where_text_is_wanted(files: list[Path]) -> None:
    assert given(files=files).texts()["by"] == "team,1e3"
    with pytest.raises(InputError, match="-y, row 1, column team: a value of a list holds a comma"):
        given(texts=["team: ['A, B', C]"]).texts()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["team: {a: b}"], "-y, row 1, column team: expected a value or a list of values"),
        (["team: [[a]]"], "-y, row 1, column team: expected a value or a list of values"),
        (["team: &a x"], "-y, row 1: anchors, aliases and tags are not read"),
        (["team: !!python/name:os.system x"], "anchors, aliases and tags are not read"),
        (["- team"], "expected a list of `name: value` lines"),
        (["a: [" * 30], "nested deeper"),
        (["a: 1\na: 2"], "-y, row 2: 'a' is given twice"),
    ],
)
def test_other_yaml_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        given(texts=texts)
    assert said in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        given(files=[tmp_path / "none.yml"])


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError) as refused:
        given(["a", "b=1", "b=2"], texts=["c: {d: e}"])
    assert [problem.what for problem in refused.value.problems] == [
        "expected a value or a list of values",
        "parameter 'a' has no value",
        "parameter 'b' is given twice",
    ]


def test_lists_reach_a_plan_with_their_commas() -> None:
    values = {"team": ["A, B", "C"], "quarter": ["2026-Q1", "2026-Q2"], "by": ["x", "y"]}
    loaded = parse_plan("{data: x, reports: y}", overrides=tuple(values.items()))
    assert loaded.plan.teams == ("A, B", "C")
    assert loaded.plan.quarters == ("2026-Q1", "2026-Q2")
    assert loaded.overrides == {"by": ["x", "y"]}


def test_pairs_of_either_name_are_joined() -> None:
    words = ["-p", "a", "-1", "--parameters", "b", "--x", "--parameter", "c", "", "-y", "d: 1"]
    assert join_pairs(words) == ["-p", "a=-1", "--parameters", "b=--x", "--parameter", "c=", "-y", "d: 1"]
