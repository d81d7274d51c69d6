"""What a gate compares a report with: reports that this run made, and those published before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salesops_kit.publishing import schedule
from salesops_kit.publishing.manifest import Gate
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import RunResult, run
from salesops_kit.publishing.verify import verify
from tests.publishing.inline import Inline, Remembered
from tests.publishing.kit import DEALS, SHOW, TinyPreparer, templates_in, write_template

ALL = "{data: sample, reports: bookings, teams: all, quarters: 2026-Q3}"
EMEA = ALL.replace("all", "EMEA")
WRONG = (*DEALS, ("LATAM", "2026-Q3", 9.0))
SAYS = "additive headlines"


@pytest.fixture(scope="module")
def remembered() -> Iterator[Remembered]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "secrets", SimpleNamespace(token_hex=lambda size: "5e" * size))
        yield Remembered()


class Desk:
    """Runs of one template; the rows that a kernel sees are part of what is remembered."""

    def __init__(self, base: Path, remembered: Remembered) -> None:
        self.base, self.remembered = base, remembered
        write_template(base / "t", "bookings")

    def run(
        self, plan: str, deals: Any = DEALS, preparer: TinyPreparer | None = None, **options: Any
    ) -> RunResult:
        preparer = preparer or TinyPreparer(deals)
        with self.remembered.in_use(of=repr(preparer.deals)):
            return run(
                parse_plan(plan),
                preparer,
                reports_root=self.base / "reports",
                templates=templates_in(self.base / "t"),
                make_executor=Inline,
                **options,
            )


@pytest.fixture
def desk(tmp_path: Path, remembered: Remembered) -> Desk:
    return Desk(tmp_path, remembered)


def gate(result: RunResult, scope: str, name: str = SAYS) -> Gate:
    entry = next(entry for entry in result.entries if entry.manifest.scope == scope)
    return next(gate for gate in entry.manifest.gates if gate.name == name)


def test_one_team_alone_is_not_checked(desk: Desk) -> None:
    made = gate(desk.run(EMEA), "EMEA")
    assert (made.status, made.detail) == ("not checked", "no report of the same data for company, APAC")


def test_one_team_is_compared_with_what_was_published_of_the_same_data(desk: Desk) -> None:
    desk.run(ALL)
    assert gate(desk.run(EMEA, force=True), "EMEA").status == "passed"


def test_one_team_is_not_compared_with_what_was_published_of_other_data(desk: Desk) -> None:
    """The company's deals have changed, so that its published report is no match; APAC's have not."""
    desk.run(ALL)
    changed = desk.run(EMEA, (*DEALS, ("EMEA", "2026-Q3", 1.0)))
    assert gate(changed, "EMEA").detail == "no report of the same data for company"
    assert changed.exit_code == 0


def test_one_team_that_does_not_tie_with_what_was_published_is_kept_back(desk: Desk) -> None:
    """The company is published first, with a deal that no leaf team has; then the teams, one by one."""
    desk.run(ALL.replace("all", "company"), WRONG)
    apac = desk.run(ALL.replace("all", "APAC"), WRONG)
    assert gate(apac, "APAC").detail == "no report of the same data for EMEA"
    emea = desk.run(EMEA, WRONG)
    assert emea.exit_code == 1
    error = emea.failures[0].manifest.error
    assert error is not None
    assert error.message == "additive headlines: won: the company has 319.75, its 2 leaf teams 310.75"
    assert "319.75" in (desk.base / "reports" / "index.html").read_text(encoding="utf-8")
    assert not (desk.base / "reports" / emea.failures[0].address.stable).exists()
    assert verify(desk.base / "reports") == []


def test_a_failed_report_does_not_stand_for_its_scope(desk: Desk) -> None:
    desk.run(ALL)
    preparer = TinyPreparer((*DEALS, ("EMEA", "2026-Q3", 1.0)))
    preparer.broken_for = {"EMEA"}
    result = desk.run(ALL, preparer=preparer)
    assert gate(result, "company").detail == "no report of the same data for EMEA"


QUARTERS = [*(("EMEA", "2026-Q2", 10.0) for _ in range(20)), ("EMEA", "2026-Q3", 401.0)]
TWO = "{data: sample, reports: bookings, teams: EMEA, quarters: 2026-Q2}"


def test_a_jump_is_noted_on_the_page_the_catalog_and_the_manifest(desk: Desk) -> None:
    """The quarter before was published, has twenty deals, and is less than half of this one."""
    desk.run(TWO, QUARTERS)
    result = desk.run(EMEA, QUARTERS)
    assert result.exit_code == 0
    made = gate(result, "EMEA", "jumps")
    text = "won more than doubled: $401, after $200 in the quarter before."
    assert (made.status, made.detail) == ("noted", text)
    root = desk.base / "reports"
    entry = result.entries[0]
    for page in (root / entry.address.stable, root / str(entry.bundle) / "page.html", root / "index.html"):
        assert text in page.read_text(encoding="utf-8"), page
    broken = TinyPreparer([*QUARTERS, ("EMEA", "2026-Q3", 1.0)])
    broken.broken_for = {"EMEA"}
    desk.run(EMEA, preparer=broken)
    stale = (root / entry.address.stable).read_text(encoding="utf-8")
    assert text in stale
    assert 'class="banner stale"' in stale


def test_a_plan_may_stop_at_jumps(desk: Desk) -> None:
    desk.run(TWO, QUARTERS)
    result = desk.run(EMEA.replace("}", ", jumps: stop}"), QUARTERS)
    error = result.failures[0].manifest.error
    assert error is not None
    assert (error.name, error.message.split(":")[0]) == ("GateFailed", "jumps")
    assert desk.run(EMEA, QUARTERS).exit_code == 0


def test_a_quarter_that_is_not_over_is_no_match_for_a_whole_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run(TWO, QUARTERS)
    monkeypatch.setattr(TinyPreparer, "effective_as_of", lambda self, params: "2026-09-29")
    assert gate(desk.run(EMEA, QUARTERS), "EMEA", "jumps").status == "passed"


def test_a_text_of_another_team_stops_its_report_alone(desk: Desk, tmp_path: Path) -> None:
    # Put together in the kernel: what stands in the template is no secret.
    told = SHOW.replace('"won {won}"', '"won {won} of %s-9%s and %s-7777" % ("ac" "ct", "001", "ac" "ct")')
    assert told != SHOW
    write_template(tmp_path / "t", "bookings", show=told)
    preparer = TinyPreparer()
    preparer.foreign = {"account id": ["acct-9001", "acct-7777"], "owner id": ["nobody-1"]}
    preparer.mentioned = {"acct-7777"}
    result = desk.run(ALL, preparer=preparer)
    assert {e.manifest.scope: e.manifest.status for e in result.entries} == {
        "company": "success",
        "EMEA": "failed",
        "APAC": "failed",
    }
    error = result.failures[0].manifest.error
    assert error is not None
    assert error.message == "isolation: texts of other teams stand in notebook.ipynb: account id"
    root = desk.base / "reports"
    for path in (path for path in root.rglob("*") if path.is_file() and "company" not in path.parts):
        assert b"acct-9001" not in path.read_bytes(), path


def test_a_failure_names_nothing_of_another_team(desk: Desk, tmp_path: Path) -> None:
    """Its message stands on the team's last good page and in the catalog."""
    for name, number in (("bookings", "9001"), ("calls", "7777")):
        told = SHOW + f'\nif team != "company": raise KeyError("no rate for %s-{number}" % ("ac" "ct"))'
        write_template(tmp_path / "t", name, show=told)
    preparer = TinyPreparer()
    preparer.foreign = {"account id": ["acct-9001", "acct-7777"]}
    preparer.mentioned = {"acct-7777"}
    failures = desk.run("{data: x, reports: all, teams: EMEA}", preparer=preparer).failures
    told = {f.manifest.report: f.manifest.error.message for f in failures if f.manifest.error}
    assert told == {
        "bookings": "the message may name records of other teams",
        "calls": "KeyError: 'no rate for acct-7777'",
    }


def test_what_cannot_be_searched_is_not_published(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object, _params: object) -> dict[str, list[str]]:
        raise OSError("no rows: postgresql://ann:hunter22@db/crm is down")

    monkeypatch.setattr(TinyPreparer, "foreign_texts", broken)
    error = desk.run(EMEA).failures[0].manifest.error
    assert error is not None
    assert error.message.startswith("isolation: could not be checked: OSError: no rows")
    assert "hunter22" not in error.message
