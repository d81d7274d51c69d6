"""Pictures of every page for people to look at, in build/pictures/: wide, narrow, dark and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import PAPER, ROOT, visit

PICTURES = ROOT / "build/pictures"
LOOKS = {
    "1280": (1280, "light", "screen"),
    "1280-dark": (1280, "dark", "screen"),
    "360": (360, "light", "screen"),
    "paper": (PAPER["A4"], "light", "print"),
}


@pytest.mark.campaign
@pytest.mark.parametrize("look", LOOKS)
def test_pictures(browser: Any, published: Path, report_pages: list[Path], gallery: Path, look: str) -> None:
    width, scheme, media = LOOKS[look]
    names = {page: "-".join(page.relative_to(published).with_suffix("").parts[1:]) for page in report_pages}
    for page, name in {**names, published / "index.html": "catalog", gallery: "gallery"}.items():
        file = PICTURES / f"{name}-{look}.png"
        file.unlink(missing_ok=True)
        with visit(browser, page, width=width, scheme=scheme) as seen:
            seen.resize(width, media=media)
            seen.tab.screenshot(path=file, full_page=True)
            if media == "print":
                seen.tab.pdf(path=file.with_suffix(".pdf"), prefer_css_page_size=True)
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(file.read_bytes()[16:20], "big") == width
