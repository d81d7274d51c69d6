"""Pages stay small: what every page costs, and what a full report weighs."""

from __future__ import annotations

from pathlib import Path

import nbformat

from salesops_kit.publishing.render import render

OVERHEAD_BYTES = 40_000
REPORT_BYTES = 400_000
CATALOG_BYTES_PER_REPORT = 8_000


def test_an_empty_notebook_costs_little() -> None:
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Anything?")])
    page = render(empty, {"title": "Empty", "sentinel": "s"}, locale="en")
    assert "<h1" in page
    assert 1_000 < len(page.encode("utf-8")) <= OVERHEAD_BYTES


def test_a_report_is_one_small_file(report_pages: list[Path]) -> None:
    sizes = {page.as_posix(): page.stat().st_size for page in report_pages}
    assert {place: size for place, size in sizes.items() if not 10_000 < size <= REPORT_BYTES} == {}


def test_the_catalog_grows_slowly(published: Path, report_pages: list[Path]) -> None:
    size = (published / "index.html").stat().st_size
    assert size <= OVERHEAD_BYTES + CATALOG_BYTES_PER_REPORT * len(report_pages)
