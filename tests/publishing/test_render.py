"""A page holds what a reader should see, in the reader's language, and nothing else."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
import pytest
from babel.messages import Catalog
from babel.messages.mofile import write_mo

from salesops_kit import language
from salesops_kit.publishing.manifest import Manifest
from salesops_kit.publishing.markdown import contents
from salesops_kit.publishing.page_check import page_problems
from salesops_kit.publishing.render import banner, page_digest, page_facts, render

HOSTILE = "<script>alert(1)</script>"


def notebook() -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook()
    code = nbformat.v4.new_code_cell("secret_source = 42", execution_count=1)
    code.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=f"shown {HOSTILE}"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("display_data", data={"text/html": "<p>rich</p>", "text/plain": "poor"}),
        nbformat.v4.new_output("display_data", data={"text/plain": "s3ntinel"}),
    ]
    hidden = nbformat.v4.new_code_cell("1", execution_count=2)
    hidden.outputs = [nbformat.v4.new_output("stream", name="stdout", text="not for readers")]
    hidden.metadata["tags"] = ["remove-output"]
    removed = nbformat.v4.new_markdown_cell("## Removed")
    removed.metadata["tags"] = ["remove-cell"]
    title = nbformat.v4.new_markdown_cell("# How did the quarter go?")
    question = nbformat.v4.new_markdown_cell("## How much was won?\n\nFor managers.")
    made.cells = [
        title,
        question,
        code,
        hidden,
        removed,
        nbformat.v4.new_markdown_cell("```\n# no heading\n```\n### Why?"),
    ]
    return made


def facts(**options: object) -> dict[str, object]:
    manifest = Manifest(
        seq=1,
        run="000001-20261121T231500Z",
        report="funnel",
        audience="leaders",
        scope=HOSTILE,
        quarter="2026-Q3",
        period="2026-Q3",
        as_of="2026-09-30",
        locale="en",
        params={"team": HOSTILE},
        key="k" * 64,
        key_parts={},
        reason="first run",
        status="success",
    )
    links = [{"text": "Notebook", "href": "funnel/notebook.ipynb"}]
    return {**page_facts(manifest, "Won deals", "s3ntinel"), "links": links, **options}


def test_a_page_shows_results_and_no_code() -> None:
    page = render(notebook(), facts(banner=banner("stale", f"old {HOSTILE}")), locale="en")
    assert page_problems(page, "s3ntinel") == []
    for text in ("Won deals", "How much was won?", "For managers.", "shown &lt;script&gt;", "<p>rich</p>"):
        assert text in page
    assert "old &lt;script&gt;" in page
    assert 'href="funnel/notebook.ipynb"' in page
    for text in ("secret_source", "a warning", "poor", "not for readers", "Removed", HOSTILE):
        assert text not in page


def test_markdown_is_translated_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(locale="de")
    catalog.add(
        "## How much was won?\n\nFor managers.", "## Wie viel wurde gewonnen?\n\nF\u00fcr F\u00fchrende."
    )
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / f"{language.DOMAIN}.mo").write_bytes(compiled.getvalue())
    monkeypatch.setattr(language, "_FOLDER", tmp_path)
    page = render(notebook(), facts(), locale="de")
    assert "Wie viel wurde gewonnen?" in page
    assert "F\u00fcr F\u00fchrende." in page
    assert "How much" not in page
    assert '<html lang="de">' in page
    assert "Wie viel" not in render(notebook(), facts(), locale="en")


@pytest.mark.parametrize(("locale", "language_told"), [("en", "en"), ("en_GB", "en-GB"), ("ja", "en")])
def test_a_page_says_the_language_of_its_texts(locale: str, language_told: str) -> None:
    """Not the locale's, where no catalog has it: screen readers would read English as Japanese."""
    assert f'<html lang="{language_told}">' in render(notebook(), facts(), locale=locale)


def test_contents_are_the_headings_that_readers_see() -> None:
    made = notebook()
    made.cells.append(nbformat.v4.new_markdown_cell("## *How* much was `won`?\n\n## \u4e3a\u4ec0\u4e48"))
    found = contents(made.cells)
    assert found == [
        {"level": 1, "text": "How did the quarter go?", "id": "how-did-the-quarter-go"},
        {"level": 2, "text": "How much was won?", "id": "how-much-was-won"},
        {"level": 3, "text": "Why?", "id": "why"},
        {"level": 2, "text": "How much was won?", "id": "how-much-was-won-2"},
        {"level": 2, "text": "\u4e3a\u4ec0\u4e48", "id": "\u4e3a\u4ec0\u4e48"},
    ]
    page = render(made, facts(), locale="en")
    for heading in found:
        assert page.count(f'id="{heading["id"]}"') == 1
    assert 'href="#how-much-was-won-2"' in page


def test_a_changed_page_template_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("x")
    first = page_digest(tmp_path)
    (tmp_path / "a.j2").rename(tmp_path / "b.j2")
    assert page_digest(tmp_path) != first


def test_pictures_and_markdown_that_cells_show_are_on_the_page() -> None:
    """Whatever format a notebook's figures have; an SVG in an image runs and fetches nothing."""
    drawn = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg xmlns="http://www.w3.org/2000/svg"><path d="M0"/></svg>'
    )
    made = notebook()
    made.cells[2].outputs[2:2] = [
        nbformat.v4.new_output("display_data", data={kind: content, "text/plain": f"alt of {kind}"})
        for kind, content in (
            ("image/svg+xml", drawn), ("image/png", "AA==\n"), ("image/jpeg", "AAA="),
            ("text/markdown", "**strong** words"),
        )
    ]  # fmt: skip
    page = render(made, facts(), locale="en")
    coded = base64.b64encode(drawn.encode()).decode()
    assert f'<img alt="alt of image/svg+xml" src="data:image/svg+xml;base64,{coded}">' in page
    assert '<img alt="alt of image/png" src="data:image/png;base64,AA==">' in page
    assert '<img alt="alt of image/jpeg" src="data:image/jpeg;base64,AAA=">' in page
    assert "<strong>strong</strong> words" in page
    assert page_problems(page, "s3ntinel") == []
