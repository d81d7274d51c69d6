"""Plans: YAML without surprises, expansion to jobs, and every problem before any kernel starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.errors import InputError
from salesops_kit.publishing.plan import expand, matrix, unplanned
from salesops_kit.publishing.plan_file import load_plan, parse_plan
from salesops_kit.publishing.templates import Template
from tests.publishing.kit import TinyPreparer, templates_in, write_template

PLAN = """\
data: sample
reports: [bookings, pay]
teams: all
quarters: [2026-Q2, 2026-Q3]
params:
  bookings:
    horizon: 3
"""
PAY = """\
rep: str = "r1"           # Person | one of: reps
quarter: str = "2026-Q3"  # Fiscal quarter | one of: quarters"""


@pytest.fixture
def templates(tmp_path: Path) -> dict[str, Template]:
    write_template(tmp_path / "t", "bookings")
    write_template(tmp_path / "t", "pay", audience="private", parameters=PAY)
    return templates_in(tmp_path / "t")


def rows(text: str, templates: dict[str, Template], *overrides: tuple[str, str], **options: object) -> list:
    preparer = TinyPreparer(leaf_teams=("EMEA", "NO", "007"))
    loaded = parse_plan(text, file="plan.yml", overrides=overrides)
    jobs = expand(loaded, templates, names=preparer.names(), leaf_teams=preparer.leaf_teams(), **options)
    return matrix(jobs)


def problems(text: str, templates: dict[str, Template], *overrides: tuple[str, str]) -> list[tuple]:
    with pytest.raises(InputError) as refused:
        rows(text, templates, *overrides)
    return [(p.file, p.row, p.what) for p in refused.value.problems]


def test_scalars_stay_text() -> None:
    plan = parse_plan("{data: 1e3, reports: [yes], teams: [NO, 007, null, ~, 0x1F], jobs: 2}").plan
    assert plan.data == "1e3"
    assert plan.reports == ("yes",)
    assert plan.teams == ("NO", "007", "null", "~", "0x1F")
    assert plan.jobs == 2


def test_expansion(templates: dict[str, Template]) -> None:
    made = rows(PLAN, templates)
    assert [(row["report"], row["quarter"], row["scope"]) for row in made] == [
        *(("bookings", q, t) for q in ("2026-Q2", "2026-Q3") for t in ("company", "EMEA", "NO", "007")),
        ("pay", "2026-Q2", "r1"),
        ("pay", "2026-Q3", "r1"),
    ]
    assert made[0]["params"] == {"team": "company", "quarter": "2026-Q2", "data": "sample", "horizon": 3}
    assert made[-1]["page"].startswith("private/r1-")


def test_overrides(templates: dict[str, Template]) -> None:
    made = rows(PLAN, templates, ("team", "NO"), ("quarter", "2026-Q3, 2026-Q2"), ("horizon", "5"))
    assert [(row["scope"], row["quarter"]) for row in made if row["report"] == "bookings"] == [
        ("NO", "2026-Q3"),
        ("NO", "2026-Q2"),
    ]
    assert {row["params"].get("horizon") for row in made} == {5, None}
    assert {row["report"] for row in rows(PLAN, templates, only=["pay"])} == {"pay"}


def test_repeated_jobs_run_once(templates: dict[str, Template]) -> None:
    text = "{data: sample, reports: bookings, teams: [NO, NO], quarters: [2026-Q2, 2026-Q2]}"
    assert len(rows(text, templates)) == 1


def test_defaults_without_quarters(templates: dict[str, Template]) -> None:
    assert [row["quarter"] for row in rows("{data: sample, reports: bookings}", templates)] == ["2026-Q3"]


def test_every_problem_at_once_with_its_line(templates: dict[str, Template]) -> None:
    text = PLAN.replace("bookings, pay", "bookings, pya").replace("all", "[EMEA, APAC]")
    text = text.replace("2026-Q2", "2026-Q9").replace("horizon: 3", "horizon: 9\n    horzon: 1")
    assert problems(text, templates, ("hrizon", "1")) == [
        ("plan.yml", 2, "unknown report 'pya'"),
        ("plan.yml", 8, "unknown parameter 'horzon'"),
        ("command line", None, "unknown parameter 'hrizon'"),
        ("plan.yml", 4, "unknown quarter '2026-Q9'"),
        ("plan.yml", 7, "parameter 'horizon': above the range"),
        ("plan.yml", 3, "unknown team 'APAC'"),
    ]


def test_an_override_is_blamed_on_the_command_line(templates: dict[str, Template]) -> None:
    assert problems(PLAN, templates, ("team", "emea")) == [("command line", None, "unknown team 'emea'")]
    assert problems(PLAN, templates, ("team", "NO"), ("team", "007"))[0][0] == "command line"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("data: &a sample\nreports: [*a]", "anchors"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]", "anchors"),
        ("data: !!python/object/apply:os.system [id]", "tags"),
        ("data: !!str 7\nreports: x", "tags"),
        ("[" * 3_000, "deep"),
        ("{a: " * 3_000, "deep"),
        ("data: x\n---\ndata: y", "not YAML: but found another document"),
        ("data: x\ndata: y\nreports: z", "given twice"),
        ("- a", "expected a list of `name: value` lines"),
        ("", "'data' is missing"),
        ("data: [", "not YAML"),
        ("data: \0", "not YAML"),
        ("? [a]\n: b", "must be text"),
        ("reports: x", "'data' is missing"),
        ("data: x\nreports: []", "reports"),
        ("data: x\nreports: y\nteem: z", "unknown key 'teem'"),
        ("data: x\nreports: y\njobs: 0x2", "whole number"),
        ("data: x\nreports: y\njobs: 0", "greater than or equal to 1"),
        ("data: x\nreports: y\nlocale: ../en", "locale"),
        ("data: x\nreports: y\nlocale: xx", "locale"),
        ("data: x\nreports: y\nparams: {z: 3}", "params"),
        ("data: x\nreports: {y: z}", "reports"),
        ("data: x\nreports: [" + "y," * 20_001 + "]", "too long"),
    ],
)
def test_a_bad_plan_is_refused(text: str, what: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_plan(text)
    assert what in str(refused.value)


def test_a_plan_file_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "plan.yml"
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(InputError, match=r"larger than 0\.25 MB"):
        load_plan(path)
    path.write_bytes("data: sämple\nreports: x".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        load_plan(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_plan(tmp_path / "none.yml")
    path.write_bytes(b"\xef\xbb\xbfdata: x\nreports: y")
    assert load_plan(path).plan.data == "x"


def test_teams_that_share_a_folder_are_refused(templates: dict[str, Template]) -> None:
    preparer = TinyPreparer(leaf_teams=("Caf\u00e9", "Cafe\u0301"))
    with pytest.raises(InputError, match="one folder"):
        expand(
            parse_plan("{data: x, reports: bookings}"),
            templates,
            names=preparer.names(),
            leaf_teams=preparer.leaf_teams(),
        )


def test_hostile_names_are_refused_or_literal_and_stay_inside(templates: dict[str, Template]) -> None:
    """Two hundred names as teams that the data knows, and as teams that it does not."""
    pieces = [
        "../",
        "CON",
        "{x.__class__}",
        "-rf",
        "\u7532" * 86,
        "emea",
        "' OR 1=1",
        "<script>",
        "%2e",
        "NO",
    ]
    names = list(dict.fromkeys(a + b + c for a in pieces for b in pieces for c in ("", "!")))
    assert len(names) == 200
    literal = 0
    for name in names:
        preparer = TinyPreparer(leaf_teams=(name,))
        plan = parse_plan("{data: x, reports: bookings}", overrides=[("team", name)])
        jobs = expand(plan, templates, names=preparer.names(), leaf_teams=[name])
        assert jobs[0].params["team"] == name
        assert len(jobs[0].address.stable.parts) == 4
        assert ".." not in jobs[0].address.stable.parts
        literal += 1
        with pytest.raises(InputError, match="unknown team"):
            expand(plan, templates, names=TinyPreparer().names(), leaf_teams=[])
    assert literal == 200


@pytest.mark.parametrize(
    "name", ["__class__", "team.x", "a b", "import os", "1x", "", "team;x", "--force", "pm"]
)
def test_hostile_parameter_names_are_refused(templates: dict[str, Template], name: str) -> None:
    with pytest.raises(InputError, match="unknown parameter"):
        rows(PLAN, templates, (name, "1"))


def test_teams_that_a_plan_leaves_out_are_noted(templates: dict[str, Template]) -> None:
    preparer = TinyPreparer(leaf_teams=("EMEA", "NO", "007"))

    def notes(teams: str) -> list[str]:
        loaded = parse_plan(PLAN.replace("teams: all", f"teams: {teams}"), file="plan.yml")
        jobs = expand(loaded, templates, names=preparer.names(), leaf_teams=preparer.leaf_teams())
        return [str(note.got) for note in unplanned(jobs, preparer.leaf_teams())]

    assert notes("[company, EMEA]") == ["NO, 007"]
    assert notes("all") == []
    assert notes("company") == []
