"""The parameter contract: what a cell may declare, and what a value may be."""

from __future__ import annotations

import math

import papermill.translators
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_kit.publishing.contract import Parameter, canonical, coerce, parse_parameters

CELL = """team: str = "company"    # Team, or company for all | one of: teams
quarter: str = "2026-Q3" # Fiscal quarter | one of: quarters
as_of: str = ""          # Cut-off; empty is the earlier of quarter end and data end | format: date
data: str = "sample"     # Dataset name or project folder | format: dataset
horizon: int = 2         # Quarters ahead | range: 1..8; unit: quarters
discount: float = -1     # Discount | range: ..0
is_draft: bool = False   # Draft or not
regions: list[str] = ["a"]  # Regions | one of: a, b"""
NAMES = {"teams": ["company", "NO", "007"], "quarters": ["2026-Q3"]}


def declared(source: str) -> dict[str, Parameter]:
    found, problems = parse_parameters(source, file="t.ipynb")
    assert problems == []
    return found


def test_every_kind_of_line_is_read() -> None:
    found = declared(CELL)
    assert list(found) == [
        "team",
        "quarter",
        "as_of",
        "data",
        "horizon",
        "discount",
        "is_draft",
        "regions",
    ]
    assert found["team"] == Parameter("team", "str", "company", "Team, or company for all", 1, one_of="teams")
    assert (found["horizon"].minimum, found["horizon"].maximum, found["horizon"].unit) == (1, 8, "quarters")
    assert (found["discount"].minimum, found["discount"].maximum) == (None, 0)
    assert isinstance(found["discount"].default, float)
    assert found["as_of"].help == "Cut-off; empty is the earlier of quarter end and data end"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('team = "x"  # Team', "not a parameter"),
        ("import os", "not a parameter"),
        ("team: str  # Team", "not a parameter"),
        ('team: str = (\n"x")  # Team', "not a parameter"),
        ('a.b: str = "x"  # Team', "not a parameter"),
        ("team: dict = {}  # Team", "unknown type"),
        ("team: str = input()  # Team", "no literal"),
        ("team: str = 7  # Team", "another type"),
        ("n: int = True  # Number", "another type"),
        ("n: int = 2.0  # Number", "another type"),
        ('team: str = "x"', "no help"),
        ('team: str = "x"  # Team=x', "'=' in the help"),
        ('team: str = "a=b"  # Team', "'=' in the help"),
        ('team: str = "x"  # Team | one off: teams', "unknown constraint"),
        ('team: str = "x"  # Team | one of:', "says nothing"),
        ('team: str = "x"  # Team | range: 1..2', "a range needs int or float"),
        ("n: int = 9  # Number | range: 1..8", "breaks the contract"),
        ("n: int = 1  # Number | range: 8", "not like 1..8"),
        ("n: int = 1  # Number | range: ..", "not like 1..8"),
        ('d: str = "x"  # Day | format: date', "breaks the contract"),
        ('d: str = ""  # Day | format: day', "unknown format"),
        ('_d: str = ""  # Day', "reserved"),
        ('pm: str = ""  # Day', "reserved"),
        ('d: str = ""  # Day\nd: str = ""  # Day', "declared twice"),
        ("d: str = '", "no Python"),
    ],
)
def test_a_malformed_line_is_a_problem(line: str, what: str) -> None:
    _, problems = parse_parameters(line, file="t.ipynb")
    assert any(what in problem.what for problem in problems), problems
    assert all(problem.file == "t.ipynb" for problem in problems)


def test_all_problems_come_at_once_with_their_lines() -> None:
    _, problems = parse_parameters("a: str = 1  # A\nb: int = 2\nc: float = 1.5  # C", file="t")
    assert [problem.row for problem in problems] == [1, 2]


@pytest.mark.parametrize(
    "raw", ["NO", "007", "null", "NA", "True", "1e5", "", "' OR 1=1", "{x.__class__}", "-rf"]
)
def test_text_is_never_guessed(raw: str) -> None:
    assert coerce(Parameter("t", "str", "", "T", 1), raw) == (raw, None)


@pytest.mark.parametrize(
    "raw", ["2.0", "1_000", " 2", "2 ", "٣", "２", "0x10", "1e1", "", "True", "9" * 19, "--1"]
)
def test_an_int_is_plain_digits(raw: str) -> None:
    value, problem = coerce(Parameter("n", "int", 5, "N", 1), raw)
    assert value == 5
    assert problem is not None
    assert "not a int" in problem.what


@pytest.mark.parametrize("raw", ["nan", "inf", "-Infinity", "1e400", "1,5", "0x1p3", "1_0.0", "."])
def test_a_float_is_finite_and_plain(raw: str) -> None:
    assert coerce(Parameter("x", "float", 0.5, "X", 1), raw)[1] is not None


def test_values_of_each_type() -> None:
    assert coerce(Parameter("n", "int", 5, "N", 1), "-12") == (-12, None)
    assert coerce(Parameter("x", "float", 5.0, "X", 1), "1.5e2") == (150.0, None)
    assert coerce(Parameter("b", "bool", False, "B", 1), "TRUE") == (True, None)
    assert coerce(Parameter("b", "bool", False, "B", 1), "yes")[1] is not None
    assert coerce(Parameter("l", "list[str]", [], "L", 1), "NO, 007") == (["NO", "007"], None)
    assert coerce(Parameter("l", "list[str]", [], "L", 1), ["a,b"]) == (["a,b"], None)
    assert coerce(Parameter("t", "str", "", "T", 1), ["a"])[1] is not None
    assert coerce(Parameter("n", "int", 5, "N", 1), True)[1] is not None


@pytest.mark.parametrize(
    ("raw", "is_good"),
    [("2026-02-28", True), ("", True), ("2026-02-29", False), ("20260228", False), ("2026-2-8", False)],
)
def test_dates(raw: str, is_good: bool) -> None:
    assert (coerce(Parameter("d", "str", "", "D", 1, format="date"), raw)[1] is None) is is_good


def test_a_password_in_a_value_is_refused_and_not_repeated() -> None:
    _, problem = coerce(Parameter("d", "str", "", "D", 1), "postgresql://ann:hunter22@db/crm")
    assert problem is not None
    assert "hunter22" not in str(problem)


@pytest.mark.parametrize("raw", ["a\0b", "a\nb", "a\x1b[31m", "\ud800", "x" * 1_001])
def test_unusable_text_is_refused(raw: str) -> None:
    assert coerce(Parameter("t", "str", "", "T", 1), raw)[1] is not None


def test_names_come_from_the_dataset_or_the_contract() -> None:
    found = declared(CELL)
    values, problems = canonical(found, {"team": "NO"}, names=NAMES)
    assert problems == []
    assert list(values) == list(found)
    assert values["team"] == "NO"
    _, problems = canonical(found, {"team": "no", "horizn": "3", "regions": "c"}, names=NAMES)
    assert [(problem.what, problem.next_step) for problem in problems] == [
        ("unknown parameter 'horizn'", "Did you mean horizon?"),
        ("unknown team 'no'", "Did you mean NO?"),
        ("unknown regions 'c'", "Choose one of: a, b."),
    ]


@given(st.text(max_size=60))
def test_an_accepted_text_reaches_the_kernel_as_itself(raw: str) -> None:
    """Papermill's own translator writes the value; Python must read back the same text."""
    value, problem = coerce(Parameter("t", "str", "", "T", 1), raw)
    if problem is None:
        line = papermill.translators.PythonTranslator.codify({"t": value})
        found: dict[str, object] = {}
        exec(line, found)
        assert found["t"] == raw


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_only_finite_numbers_pass(number: float) -> None:
    assert (coerce(Parameter("x", "float", 0.0, "X", 1), number)[1] is None) is math.isfinite(number)
