"""checks.yml, process.yml and segments.yml: what they add and retune, and every mistake in one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.data.contracts import TABLES
from salesops_kit.errors import InputError
from salesops_kit.policy.builtin import BUILTINS
from salesops_kit.policy.model import CHECKED_TABLES, Policy
from salesops_kit.policy.reading import read_policy

COLUMNS = {name: {c.name: c.type for c in TABLES[name].columns.values()} for name in CHECKED_TABLES}
STAGES = ["Discovery", "Proposal", "Closed Won"]


def read(folder: Path, *more: Path, **files: str) -> Policy:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return read_policy([folder, *more], columns=COLUMNS, stages=STAGES)


def check(policy: Policy, name: str) -> dict[str, object]:
    return next(c for c in policy.checks if c.id == name).model_dump()


def test_the_kits_own_checks_use_every_built_in_and_are_valid(tmp_path: Path) -> None:
    policy = read(tmp_path)
    assert {c.builtin for c in policy.checks if c.builtin} == set(BUILTINS)
    assert len({c.id for c in policy.checks}) == len(policy.checks)
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy


def test_a_check_is_retuned_switched_off_and_added(tmp_path: Path) -> None:
    before = read(tmp_path)
    policy = read(
        tmp_path,
        checks="""
checks:
  - {id: stale, severity: warning, thresholds: {share: 0.75}}
  - {id: pushed, severity: off}
  - id: big-without-step
    title: Large deal without a next step
    severity: error
    state: open
    from_stage: Proposal
    where:
      - {column: amount, operator: at_least, value: 50000}
      - {column: next_step, operator: empty}
""",
    )
    stale = check(policy, "stale")
    assert (stale["severity"], stale["thresholds"], stale["builtin"]) == ("warning", {"share": 0.75}, "stale")
    assert "pushed" not in {c.id for c in policy.checks}
    assert len(check(policy, "big-without-step")["where"]) == 2  # type: ignore[arg-type]
    assert policy.digest != before.digest


def test_a_later_folder_stands_over_an_earlier_one(tmp_path: Path) -> None:
    other = tmp_path / "own"
    other.mkdir()
    (other / "checks.yml").write_text("checks:\n  - {id: stale, severity: error}\n", encoding="utf-8")
    policy = read(tmp_path, other, checks="checks:\n  - {id: stale, severity: warning, tolerance: 0.1}\n")
    assert (check(policy, "stale")["severity"], check(policy, "stale")["tolerance"]) == ("error", 0.1)


MISTAKES = {
    "checks": """\
checks:
  - {id: overdue, severity: eror}
  - {id: stale, thresholds: {shar: 0.8}}
  - id: mine
    title: Mine
    severity: warning
    where:
      - {column: amuont, operator: above, value: 3}
      - {column: amount, operator: before, value: 3}
      - {column: amount, operator: above, value: abc}
      - {column: close_date, operator: befor, value: 2026-01-01}
      - {column: close_date, operator: in, value: 2026-01-01}
      - {column: close_date, operator: empty, value: 1}
  - {id: overdu}
  - {id: other, title: Other, severity: info, builtin: stal}
  - {id: both, title: Both, severity: info, builtin: stale, where: [{column: amount, operator: empty}]}
  - {id: late, title: Late, severity: info, stage: [Propsal], where: [{column: amount, operator: empty}]}
  - {id: le, title: L, severity: info, table: leads, state: open, where: [{column: name, operator: empty}]}
""",
    "process": """\
required: [clse_date]
stages:
  - {stage: Propsal, required: [next_steps], most_days: 0}
service_levels:
  - {id: answered, title: Answered, start: mql_at, end: name, within_days: 2}
requird: [amount]
""",
    "segments": """\
segments:
  - {segment: A, where: [{column: employes, operator: above, value: 10}]}
  - {segment: B}
  - {segment: A, acounts: [x]}
""",
}
EXPECTED = [
    ("checks.yml", 2, "Did you mean error?"),
    ("checks.yml", 3, "Did you mean share?"),
    ("checks.yml", 8, "Did you mean amount"),
    ("checks.yml", 9, "does not fit the money amount"),
    ("checks.yml", 10, "expected a number; got 'abc'"),
    ("checks.yml", 11, "Did you mean before"),
    ("checks.yml", 12, "needs a list of values"),
    ("checks.yml", 13, "takes no value"),
    ("checks.yml", 14, "Did you mean overdue?"),
    ("checks.yml", 15, "Did you mean stale?"),
    ("checks.yml", 16, "either where or builtin"),
    ("checks.yml", 17, "Did you mean Proposal?"),
    ("checks.yml", 18, "those of opportunities"),
    ("process.yml", 1, "Did you mean close_date"),
    ("process.yml", 3, "greater than or equal to 1"),
    ("process.yml", 5, "name is no date"),
    ("process.yml", 6, "Did you mean required"),
    ("segments.yml", 2, "Did you mean employees?"),
    ("segments.yml", 3, "needs accounts or where"),
    ("segments.yml", 4, "Did you mean accounts"),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> InputError:
    with pytest.raises(InputError) as caught:
        read(tmp_path_factory.mktemp("mistakes"), **MISTAKES)
    return caught.value


@pytest.mark.parametrize(("file", "row", "text"), EXPECTED)
def test_every_mistake_is_told_with_its_line(refused: InputError, file: str, row: int, text: str) -> None:
    told = [str(p) for p in refused.problems if (p.file, p.row) == (file, row)]
    assert any(text in sentence for sentence in told), told


def test_a_process_and_segments_are_read(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        process="required_qualified: [next_step]\n"
        "stages:\n  - {stage: Proposal, exit: [Priced], most_days: 30}\n",
        segments="segments:\n  - {segment: Key, accounts: [A1]}\notherwise: Rest\n",
    )
    assert policy.process.required == ("close_date",)
    assert policy.process.required_qualified == ("next_step",)
    assert policy.process.stages[0].most_days == 30
    assert (policy.segments.segments[0].accounts, policy.segments.otherwise) == (("A1",), "Rest")
    assert policy.without_accounts().segments.segments[0].accounts == ()


@pytest.mark.parametrize(
    "text", ["checks: 3", "checks:\n  - 3", "checks:\n  - {title: x}", "- a", "checks: [{id: a]"]
)
def test_what_is_no_list_of_checks_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"checks\.yml"):
        read(tmp_path, checks=text)
