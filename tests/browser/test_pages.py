"""Every page is readable by everyone, on every width and on paper, and asks nothing of a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import PAPER, SCHEMES, Visit, axe_findings, html_errors, visit

PROBES = (Path(__file__).parent / "probes.js").read_text(encoding="utf-8")
SHORTEST_ALTERNATIVE = 20
WIDTHS = (320, 360, 768, 1280)


def probe(seen: Visit, name: str) -> list[str]:
    """What one probe of probes.js finds on an open page."""
    return list(seen.tab.evaluate(f"() => ({PROBES}).{name}()"))


@pytest.fixture(scope="module")
def pages(published: Path, report_pages: list[Path], gallery: Path) -> dict[str, Path]:
    """Every page of the run by its place, and the gallery of what pages are made of."""
    found = {page.relative_to(published).as_posix(): page for page in report_pages}
    return {**found, "gallery.html": gallery, "index.html": published / "index.html"}


@pytest.fixture(scope="module")
def kinds(pages: dict[str, Path]) -> dict[str, Path]:
    """One page of each kind: the company's reports and the catalog."""
    return {place: page for place, page in pages.items() if "/company/" in place or place == "index.html"}


@pytest.fixture(scope="module")
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[dict[str, Visit]]:
    """Every page in a tab of its own; a test leaves its width and medium to the next."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield {place: stack.enter_context(visit(browser, page)) for place, page in pages.items()}


def found(opened: dict[str, Visit], name: str, *, width: int = 1280, media: str = "screen") -> dict[str, Any]:
    """The faults that a probe finds, by page, at a width."""
    faults = {}
    for place, seen in opened.items():
        seen.resize(width, media=media)
        faults[place] = probe(seen, name)
    return {place: texts for place, texts in faults.items() if texts}


@pytest.mark.usefixtures("npm_tools")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(browser: Any, pages: dict[str, Path], short_gallery: Path, scheme: str) -> None:
    findings = {}
    for place, page in {**pages, "gallery.html": short_gallery}.items():
        with visit(browser, page, scheme=scheme) as seen:
            seen.open_details()
            findings[place] = axe_findings(seen)
    assert {place: texts for place, texts in findings.items() if texts} == {}


@pytest.mark.campaign
@pytest.mark.usefixtures("npm_tools")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_in_the_whole_gallery(browser: Any, gallery: Path, scheme: str) -> None:
    with visit(browser, gallery, scheme=scheme) as seen:
        seen.open_details()
        assert axe_findings(seen) == []


@pytest.mark.usefixtures("npm_tools")
def test_axe_finds_nothing_on_a_narrow_screen(browser: Any, kinds: dict[str, Path]) -> None:
    findings = {}
    for place, page in kinds.items():
        with visit(browser, page, width=320) as seen:
            findings[place] = axe_findings(seen)
    assert {place: texts for place, texts in findings.items() if texts} == {}


@pytest.mark.usefixtures("npm_tools")
def test_axe_and_the_markup_check_can_fail(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><html><head></head><body><p style='color:#bbb'>pale<div></p><img src=data:>"
    )
    with visit(browser, bad) as seen:
        rules = {text.partition(":")[0] for text in axe_findings(seen)}
    assert {"image-alt", "html-has-lang", "color-contrast", "document-title"} <= rules
    assert html_errors([bad])[str(bad)]


@pytest.mark.usefixtures("npm_tools")
def test_the_markup_is_valid(pages: dict[str, Path]) -> None:
    assert html_errors(list(pages.values())) == {}


def test_nothing_is_requested_complained_of_or_stopped(opened: dict[str, Visit]) -> None:
    for place, seen in opened.items():
        assert (place, seen.foreign_requests(), seen.complaints, seen.stopped()) == (place, [], [], [])


def test_only_the_catalog_has_a_script(opened: dict[str, Visit]) -> None:
    active = {place: probe(seen, "active") for place, seen in opened.items()}
    assert [len(texts) for texts in active.values()] == [0] * (len(opened) - 1) + [1]
    assert active["index.html"][0].startswith("script: ")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(opened: dict[str, Visit], width: int) -> None:
    for seen in opened.values():
        seen.open_details()
    assert found(opened, "sideways", width=width) == {}


@pytest.mark.parametrize("paper", PAPER)
def test_print_clips_nothing(opened: dict[str, Visit], paper: str) -> None:
    assert found(opened, "clipped", width=PAPER[paper], media="print") == {}
    assert found(opened, "sideways", width=PAPER[paper], media="print") == {}


def test_print_leaves_out_what_only_a_screen_needs(opened: dict[str, Visit]) -> None:
    for place, seen in opened.items():
        seen.resize(PAPER["A4"], media="print")
        shown = seen.tab.eval_on_selector_all(
            "nav, .skip, search", "all => all.filter((e) => e.checkVisibility()).map((e) => e.tagName)"
        )
        assert (place, shown) == (place, [])
        assert seen.tab.pdf(format="A4")[:5] == b"%PDF-"


def test_structure(opened: dict[str, Visit]) -> None:
    assert found(opened, "structure") == {}


def test_tables_have_captions_and_scoped_heads(opened: dict[str, Visit]) -> None:
    for place, seen in opened.items():
        assert seen.tab.locator("table").count() > 0, place
    assert found(opened, "tables") == {}


def test_alternative_texts_say_something_and_differ(opened: dict[str, Visit]) -> None:
    for place, seen in opened.items():
        texts = probe(seen, "alternatives")
        assert [text for text in texts if len(text) < SHORTEST_ALTERNATIVE] == [], place
        assert len(set(texts)) == len(texts), place
        drawn = seen.tab.locator("main figure").count()
        assert len(texts) >= drawn, f"{place} has a picture without words"
    assert any(place.endswith("company/funnel.html") for place in opened)


@pytest.mark.parametrize("width", [320, 1280])
def test_what_scrolls_is_reached_by_the_keyboard(opened: dict[str, Visit], width: int) -> None:
    for seen in opened.values():
        seen.open_details()
    assert found(opened, "unreachable", width=width) == {}


def test_the_keyboard_meets_the_skip_link_first_and_then_everything(
    browser: Any, kinds: dict[str, Path]
) -> None:
    for place, page in kinds.items():
        with visit(browser, page) as seen:
            seen.tab.keyboard.press("Tab")
            first = seen.tab.evaluate(
                "[document.activeElement.className, document.activeElement.getBoundingClientRect().left >= 0]"
            )
            assert (place, first) == (place, ["skip", True])
            seen.tab.keyboard.press("Enter")
            target = seen.tab.get_attribute(".skip", "href")
            assert seen.tab.evaluate("location.hash") == target
            met = seen.tab.evaluate(_FOCUSABLE)
            for _step in range(met["count"] + 5):
                seen.tab.keyboard.press("Tab")
                seen.tab.evaluate("document.activeElement.dataset.met = 'yes'")
            missed = seen.tab.evaluate(_FOCUSABLE)["missed"]
            before_main = seen.tab.evaluate("(all) => all.filter((place) => place === 'main').length", missed)
            assert (place, before_main) == (place, 0)


_FOCUSABLE = """(() => {
  const all = [...document.querySelectorAll("a[href], summary, button, input, select, [tabindex='0']")]
    .filter((item) => item.checkVisibility() && !item.classList.contains("skip"));
  return {count: all.length, missed: all.filter((item) => !item.dataset.met)
    .map((item) => item.closest("main") ? "main" : "before")};
})()"""


def test_a_page_reads_the_same_without_scripts(browser: Any, kinds: dict[str, Path]) -> None:
    for place, page in kinds.items():
        texts = []
        for scripts in (True, False):
            with visit(browser, page, scripts=scripts) as seen:
                texts.append(seen.tab.locator("main").inner_text())
                if not scripts:
                    assert not seen.tab.locator("search").is_visible()
                    seen.tab.locator("summary").first.click()
                    assert seen.tab.locator("details[open]").count() == 1
        assert texts[0] == texts[1], place
        assert len(texts[0]) > 100, place


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_followed(browser: Any, kinds: dict[str, Path], scheme: str) -> None:
    for place, page in kinds.items():
        with visit(browser, page, scheme=scheme) as seen:
            ground = seen.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        darkest = min(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
        assert (place, darkest > 200) == (place, scheme == "light")
