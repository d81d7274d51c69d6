"""The catalog of a real run, from disk: it leads to the pages, filters them, runs its own script alone."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from salesops_kit.publishing.catalog_pages import catalog_page
from salesops_kit.publishing.ledger import Entry, latest, read_ledger
from tests.browser.browsing import SCHEMES, axe_findings, html_errors, visit
from tests.browser.test_pages import SHORTEST_ALTERNATIVE, probe

SHOWN = "cards => cards.filter((c) => c.checkVisibility()).map((c) => c.dataset.team.split('-')[0])"
SCRIPT_RUNS = "!document.getElementById('filters').hidden"


@pytest.fixture(scope="module")
def with_history(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog as it stands when the run's reports exist for three quarters, one failed since."""
    ledger, problems = read_ledger(published)
    assert problems == []
    entries: list[Entry] = []
    for place, quarter in enumerate(("2027-Q1", "2027-Q2", "2027-Q3")):
        for entry in ledger.entries():
            records = [
                {**record, "value": record["value"] * (1 + place) if record["value"] else None}
                for record in entry.manifest.headlines
            ]
            changed = {"quarter": quarter, "headlines": records}
            entries.append(entry.model_copy(update={"manifest": entry.manifest.model_copy(update=changed)}))
    failed = {"status": "failed", "headlines": [], "files": []}
    last = entries[-1]
    entries.append(
        last.model_copy(update={"manifest": last.manifest.model_copy(update=failed), "bundle": None})
    )
    page = tmp_path_factory.mktemp("history") / "index.html"
    page.write_text(catalog_page(latest(entries), PurePosixPath("index.html"), locale="en"), encoding="utf-8")
    return page


def test_search_filters_and_addresses(browser: Any, published: Path) -> None:
    with visit(browser, published / "index.html") as seen:
        tab = seen.tab

        def shown() -> list[str]:
            return list(tab.eval_on_selector_all("article.card", SHOWN))

        tab.select_option("#report", "funnel")
        assert shown() == ["company", "apac", "us"]
        tab.fill("#q", "us east")
        assert shown() == ["us"]
        tab.fill("#q", "")
        apac = tab.eval_on_selector("#team option:nth-child(3)", "option => option.value")
        tab.select_option("#team", apac)
        assert shown() == ["apac"]
        assert tab.url.endswith(f"#team={apac}&report=funnel")
        tab.select_option("#status", "failed")
        assert shown() == []
        tab.click("#clear")
        assert len(shown()) == tab.locator("article.card").count() >= 3
        tab.goto(f"{seen.address}#quarter=2027-Q3&team={apac}&report=funnel")
        assert shown() == ["apac"]
        tab.goto(f"{seen.address}#q=nothing+of+the+kind")
        assert shown() == []
        assert (seen.complaints, seen.stopped()) == ([], [])


def test_every_link_leads_to_a_file_of_the_run(browser: Any, published: Path) -> None:
    with visit(browser, published / "index.html") as seen:
        seen.open_details()
        links = seen.tab.eval_on_selector_all("main a[href]", "all => all.map((a) => a.getAttribute('href'))")
        assert len(links) >= 3 * 4
        assert [link for link in links if not (published / link).is_file()] == []
        seen.tab.click("article.card h3 a")
        assert seen.tab.locator("h1").count() == 1
        assert "/company/" in seen.tab.url


def test_the_numbers_are_those_of_the_pages(browser: Any, published: Path) -> None:
    with visit(browser, published / "index.html") as seen:
        cards = seen.tab.eval_on_selector_all(
            "article.card",
            "all => all.map((c) => [c.querySelector('h3 a').getAttribute('href'), "
            "[...c.querySelectorAll('dt')].map((t) => t.textContent), "
            "[...c.querySelectorAll('.value')].map((t) => t.textContent)])",
        )
        for address, names, values in cards:
            assert len(names) == len(values) == 3
            with visit(browser, published / address) as page:
                told = dict(
                    zip(
                        page.tab.locator(".card .label").all_inner_texts(),
                        page.tab.locator(".card .value").all_inner_texts(),
                        strict=True,
                    )
                )
            assert {name: told[name] for name in names} == dict(zip(names, values, strict=True))


def test_only_the_script_with_the_hash_runs(browser: Any, published: Path, tmp_path: Path) -> None:
    text = (published / "index.html").read_text(encoding="utf-8")
    page = tmp_path / "index.html"
    page.write_text(
        text.replace(
            "</body>", "<script>window.__other = 1</script><b onclick='window.__other = 2'>b</b></body>"
        ),
        encoding="utf-8",
    )
    with visit(browser, page) as seen:
        seen.tab.click("b")
        assert seen.tab.evaluate("typeof window.__other") == "undefined"
        assert seen.tab.evaluate(SCRIPT_RUNS)
        assert len(seen.stopped()) == 2
    page.write_text(text.replace('"use strict";', '"use strict"; '), encoding="utf-8")
    with visit(browser, page) as seen:
        assert not seen.tab.evaluate(SCRIPT_RUNS)


@pytest.mark.usefixtures("npm_tools")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_trends_changes_and_failures_are_accessible(browser: Any, with_history: Path, scheme: str) -> None:
    with visit(browser, with_history, scheme=scheme) as seen:
        seen.open_details()
        assert axe_findings(seen) == []
        trends = probe(seen, "alternatives")
        assert len(trends) == len(set(trends)) >= 2 * 3 * 2
        assert min(map(len, trends)) >= SHORTEST_ALTERNATIVE
        first = seen.tab.locator("article.card").first
        assert first.locator(".change").first.inner_text().endswith("from 2027-Q2")
        seen.resize(320)
        assert probe(seen, "sideways") + probe(seen, "unreachable") == []
    assert html_errors([with_history]) == {}
