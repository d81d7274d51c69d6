"""The catalog says what happened, runs nothing but its own script, and filters in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from salesops_kit.publishing.catalog_pages import cards, catalog_page, write_catalogs
from salesops_kit.publishing.headlines import format_value
from salesops_kit.publishing.ledger import Entry, Ledger, RunRecord, latest
from salesops_kit.publishing.manifest import Failure, Manifest, PublishedFile

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def entry(seq: int, scope: str, quarter: str, status: str = "success", **options: Any) -> Entry:
    run = f"{seq:06d}-20261121T231500Z"
    audience = options.pop("audience", "leaders")
    headline = {
        "id": "net_new_arr",
        "value": 1_234_567.0,
        "unit": "USD",
        "kind": "additive",
        "definition": "D",
    }
    manifest = Manifest(
        seq=seq,
        run=run,
        report="funnel",
        audience=audience,
        scope=scope,
        quarter=quarter,
        period=quarter,
        as_of="2026-09-30",
        locale="en",
        params={},
        key="k",
        key_parts={},
        reason="first run",
        status=status,
        error=options.pop("error", None),
        headlines=[headline] if status == "success" else [],
        files=[PublishedFile(path="notebook.ipynb", bytes=1, sha256="0")] if status == "success" else [],
    )
    made = Entry(manifest=manifest, title=options.pop("title", "Funnel"))
    if status == "success":
        made = made.model_copy(update={"bundle": str(made.address.bundle(run))})
    return made


ENTRIES = [
    entry(1, "company", "2026-Q2"),
    entry(1, "EMEA", "2026-Q2"),
    entry(2, "company", "2026-Q3"),
    entry(2, "EMEA", "2026-Q3"),
    entry(3, "EMEA", "2026-Q3", "failed", error=Failure(cell=4, name="KeyError", message=HOSTILE)),
    entry(3, HOSTILE, "2026-Q3", "killed", error=Failure(name="DeadKernel", message="died"), title=HOSTILE),
    entry(4, "company", "2026-Q3", "skipped"),
]


def page(entries: list[Entry] | None = None) -> str:
    return catalog_page(
        latest(ENTRIES if entries is None else entries), PurePosixPath("index.html"), locale="en"
    )


def test_cards_are_ordered_and_complete() -> None:
    made = cards(latest(ENTRIES), PurePosixPath("index.html"), locale="en")
    assert [(c.quarter, c.scope_name, c.status) for c in made] == [
        ("2026-Q3", "Company", "success"),
        ("2026-Q3", HOSTILE, "killed"),
        ("2026-Q3", "EMEA", "failed"),
        ("2026-Q2", "Company", "success"),
        ("2026-Q2", "EMEA", "success"),
    ]
    company, hostile, emea = made[:3]
    [won] = company.headlines
    assert (won.name, won.value, won.definition) == ("net new arr", "$1.23M", "D")
    assert company.page == "leaders/2026-Q3/company/funnel.html"
    assert company.previous == "quarter=2026-Q2&team=company&report=funnel" == made[3].anchor
    assert made[3].previous == ""
    assert (hostile.page, hostile.good_run, hostile.error) == ("", "", "DeadKernel: died")
    assert (emea.error_cell, emea.good_run) == (4, "000002-20261121T231500Z")
    assert emea.page == f"leaders/2026-Q3/{emea.scope}/funnel.html"
    assert [(past.run[:6], past.status, bool(past.href)) for past in emea.history] == [
        ("000003", "Failed", False),
        ("000002", "Published", True),
    ]


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_inert_but_for_its_own_script() -> None:
    text = page()
    elements = Elements()
    elements.feed(text)
    assert [tag for tag, _ in elements.found if tag in ("script", "h1", "main")] == ["h1", "main", "script"]
    assert not [a for _, a in elements.found for name in a if name.startswith("on")]
    assert not [tag for tag, _ in elements.found if tag == "img"]
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; style-src" in text
    assert "innerHTML" not in text
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))
    labelled = {a["for"] for tag, a in elements.found if tag == "label"}
    assert labelled == {a["id"] for tag, a in elements.found if tag in ("input", "select")}
    assert all(a.get("scope") for tag, a in elements.found if tag == "th")


def test_an_empty_catalog_says_so() -> None:
    assert "No report has been run yet." in page([])


def test_reports_stand_in_the_order_of_the_plan_that_has_most(tmp_path: Path) -> None:
    def entry_of(report: str, seq: int = 1) -> Entry:
        made = entry(seq, "company", "2026-Q3", title=report.title())
        return made.model_copy(update={"manifest": made.manifest.model_copy(update={"report": report})})

    def record(seq: int, *reports: str) -> RunRecord:
        jobs = [entry_of(report, seq) for report in sorted(reports)]
        return RunRecord(
            seq=seq, run=str(seq), status="complete", started_at="", plan="", reports=list(reports), jobs=jobs
        )

    whole, monday = record(2, "funnel", "review", "checks"), record(3, "review")
    ledger = Ledger((record(1, "old", "checks", "funnel"), whole, monday))
    assert ledger.order() == ["funnel", "review", "checks"]
    made = cards(latest(ledger.entries()), PurePosixPath("index.html"), locale="en", order=ledger.order())
    assert [card.report for card in made] == ["funnel", "review", "checks", "old"]
    write_catalogs(tmp_path, ledger)
    text = (tmp_path / "index.html").read_text()
    places = [text.index(f"report={report}") for report in ("funnel", "review", "checks", "old")]
    assert places == sorted(places)
    # Records of before reports were listed leave the order to the titles.
    assert Ledger(()).order() == []


def test_private_reports_stand_only_in_their_own_index(tmp_path: Path) -> None:
    entries = [
        entry(1, "r1", "2026-Q3", audience="private", title="Pay"),
        entry(1, "EMEA", "2026-Q3", audience="teams"),
    ]
    record = RunRecord(seq=1, run="x", status="complete", started_at="", plan="", jobs=entries)
    write_catalogs(tmp_path, Ledger((record,)))
    found = {p.relative_to(tmp_path).parts[0]: p.read_text() for p in tmp_path.rglob("*.html")}
    assert {name: ("Pay" in text, "EMEA" in text) for name, text in found.items()} == {
        "index.html": (False, True),
        "private": (True, False),
        "teams": (False, True),
    }
    assert 'href="2026-Q3/funnel.html"' in found["teams"]


@pytest.mark.parametrize(
    ("headline", "text"),
    [
        ({"value": None, "reason": "no deals"}, "n/a"),
        ({"value": None}, "n/a"),
        ({"value": 0.125, "kind": "rate"}, "12%"),
        ({"value": 12.34, "unit": "days", "kind": "other"}, "12 days"),
        ({"value": 0, "unit": "USD", "kind": "additive"}, "$0"),
        ({"value": 5, "unit": "deals"}, "5"),
    ],
)
def test_values(headline: dict[str, Any], text: str) -> None:
    assert format_value(headline, "en") == text
    assert format_value(headline, "xx_none") == text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def test_the_catalog_works_from_disk_in_a_browser(browser: Any, tmp_path: Path) -> None:
    index = tmp_path / "index.html"
    index.write_text(page(), encoding="utf-8")
    tab = browser.new_page(viewport={"width": 320, "height": 700})
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("dialog", lambda dialog: errors.append("a dialog"))

    def shown() -> list[str]:
        return tab.eval_on_selector_all("article.card:not([hidden])", "cards => cards.map(c => c.id)")

    emea = next(
        c for c in cards(latest(ENTRIES), PurePosixPath("index.html"), locale="en") if c.status == "failed"
    )
    tab.goto(index.as_uri())
    assert len(shown()) == 5
    tab.goto(f"{index.as_uri()}#quarter=2026-Q3&team={emea.scope}&report=funnel&status=failed")
    assert shown() == [emea.anchor]
    tab.click(".card:not([hidden]) .links a:has-text('quarter before')")
    assert shown() == [emea.previous]
    tab.click("#clear")
    assert len(shown()) == 5
    tab.fill("#q", "onerror")
    assert len(shown()) == 2
    tab.select_option("#status", "killed")
    assert len(shown()) == 1
    assert tab.url.endswith("#q=onerror&status=killed")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320
    assert errors == []
    tab.close()
