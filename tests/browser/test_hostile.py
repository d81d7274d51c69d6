"""Text that attacks, from the real import to a published page in a real browser: shown, never run."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import hostile
from tests.browser.browsing import ROOT, Visit, html_errors, visit
from tests.browser.conftest import salesops
from tests.browser.test_pages import probe

# Whatever a handler could wait for, told to every element.
PROVOKE = """() => {
  const kinds = ["click", "mouseover", "mouseenter", "pointerenter", "focus", "focusin", "load", "error",
    "toggle", "animationstart", "transitionend", "keydown", "begin"];
  for (const item of document.querySelectorAll("body *")) {
    kinds.filter((kind) => kind !== "click" || item.tagName !== "A")
      .forEach((kind) => item.dispatchEvent(new Event(kind, {bubbles: false})));
    if (item.focus) { item.focus(); }
  }
}"""
FORMULA = re.compile(r"[\s\u00a0\u200b]*[=+@＝＋＠\-－]")
REPORTS = len(list((ROOT / "notebooks/templates").glob("*.ipynb")))
# Of a small team these reports name only the few deals that are open or large.
FEW_TEXTS = {"forecast", "pipeline_review"}
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?")

Publish = Callable[[list[str]], Path]


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publishes the hostile company's reports of some teams; the import is done once."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.write_company(folder / "raw")
    salesops("import", folder / "raw", "--out", folder / "canonical")

    def run(teams: list[str]) -> Path:
        plan = {
            "data": str(folder / "canonical"),
            "reports": "all",
            "quarters": hostile.QUARTER,
            "teams": teams,
            "jobs": 2,
        }
        (folder / "plan.yml").write_text(json.dumps(plan), encoding="utf-8")
        reports = folder / f"reports-{len(teams)}"
        salesops("run", folder / "plan.yml", "--reports", reports)
        return reports

    return run


def test_every_payload_stands_in_every_text_column(tmp_path: Path) -> None:
    hostile.write_company(tmp_path / "raw")
    for table in hostile.WRITTEN:
        with (tmp_path / "raw" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for column in set(hostile.text_columns(table)) - set(hostile.REFUSED):
            # Ids and references carry a number after the payload; a lone first cell is given to managers.
            held = {text for text in hostile.PAYLOADS for row in rows if row[column].startswith(text)}
            alone = column == "manager_id"
            assert len(held) == (1 if alone else len(hostile.PAYLOADS)), (table, column)


@pytest.mark.usefixtures("npm_tools")
def test_the_company_and_a_team_show_hostile_text_and_run_none(browser: Any, publish: Publish) -> None:
    check(browser, publish(["company", hostile.TEAMS[0]]), pages=2 * REPORTS)


@pytest.mark.campaign
@pytest.mark.usefixtures("npm_tools")
def test_every_team_shows_hostile_text_and_runs_none(browser: Any, publish: Publish) -> None:
    check(browser, publish(["company", *hostile.TEAMS]), pages=(1 + len(hostile.TEAMS)) * REPORTS)


def test_the_checks_see_what_runs(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    for payload in (hostile.PAYLOADS[1], hostile.PAYLOADS[2][2:]):
        bad.write_text(f"<!DOCTYPE html><html><body><p>{payload}", encoding="utf-8")
        with visit(browser, bad) as seen:
            seen.tab.wait_for_function("window.__pwned !== undefined")
            assert probe(seen, "active")
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    attack = hostile.PAYLOADS[5] + hostile.PAYLOADS[3]
    bad.write_text(f"<!DOCTYPE html><html><head>{policy}</head><body>{attack}", encoding="utf-8")
    with visit(browser, bad) as seen:
        seen.settle()
        assert any(hostile.HOST in text for text in seen.stopped())
        assert any("runs on A" in text for text in probe(seen, "active"))


def check(browser: Any, reports: Path, *, pages: int) -> None:
    """Everything published about the hostile company is inert, whole and literal."""
    found = sorted(path for path in reports.rglob("*.html") if path.name != "page.html")
    assert len(found) == pages + 1
    by_team: dict[Path, set[str]] = defaultdict(set)
    for page in found:
        with visit(browser, page) as seen:
            inert(seen, page.name == "index.html")
            shown = seen.tab.evaluate("document.body.textContent")
            assert probe(seen, "sideways") == []
        if page.name == "index.html":
            assert [team for team in manifest_scopes(reports) if team not in shown] == []
        elif "/company/" in page.as_posix():
            assert [payload for payload in hostile.PAYLOADS if payload not in shown] == []
        else:
            told = {payload for payload in hostile.PAYLOADS if payload in shown}
            assert len(told) >= (1 if page.stem in FEW_TEXTS else len(hostile.PAYLOADS) - 2), page
            by_team[page.parent] |= told
    assert all(len(told) >= len(hostile.PAYLOADS) - 2 for told in by_team.values())
    assert html_errors(found) == {}
    neutralised(reports)


def inert(seen: Visit, is_catalog: bool) -> None:
    """Nothing ran, was asked for, or had to be stopped by the policy."""
    seen.open_details()
    seen.tab.evaluate(PROVOKE)
    for x in range(0, 1280, 160):
        seen.tab.mouse.move(x, x // 2)
    seen.settle()
    assert seen.tab.evaluate("typeof window.__pwned") == "undefined"
    assert (seen.foreign_requests(), seen.complaints, seen.stopped()) == ([], [], [])
    active = probe(seen, "active")
    assert [text for text in active if not (is_catalog and text.startswith('script: "use strict";'))] == []
    assert len(active) == int(is_catalog)


def manifest_scopes(reports: Path) -> list[str]:
    """The teams that were published."""
    scopes = {json.loads(path.read_bytes())["scope"] for path in reports.rglob("manifest.json")}
    return sorted(scopes - {"company"})


def neutralised(reports: Path) -> None:
    """No cell of any file is a formula or a link, and hostile text is there to be found."""
    texts = 0
    for path in reports.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")):
            for cell in row:
                texts += any(payload in cell for payload in hostile.PAYLOADS)
                assert NUMBER.fullmatch(cell) or not FORMULA.match(cell), (path.name, cell)
    assert texts > 0
    books = list(reports.rglob("*.xlsx"))
    assert books
    for path in books:
        with zipfile.ZipFile(path) as book:
            for name in book.namelist():
                content = book.read(name).decode("utf-8")
                assert "hyperlink" not in name.lower()
                if name.startswith("xl/worksheets/"):
                    assert "<f>" not in content
                    assert "<hyperlink" not in content
                if name.endswith(".rels"):
                    assert 'TargetMode="External"' not in content
