"""What the browser tests share: one real run published once, and a browser for each module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.display.gallery import page as draw_gallery
from tests.browser.browsing import AXE, CHROMIUM, FLAGS, HTML_VALIDATE, NODE, ROOT

PLAN = """\
data: sample
reports: all
quarters: 2027-Q3
teams: [company, US East, APAC]
jobs: 2
"""


def salesops(*arguments: object) -> str:
    """The output of one command line, which has to succeed."""
    command = [sys.executable, "-m", "salesops_kit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports folder of a run for the company and two teams of the sample."""
    # Publishing takes longer than anything else here; whoever works on a template may keep a run's folder.
    if kept := os.environ.get("SALESOPS_BROWSER_REPORTS"):
        return Path(kept)
    folder = tmp_path_factory.mktemp("browser")
    (folder / "plan.yml").write_text(PLAN, encoding="utf-8")
    salesops("run", folder / "plan.yml", "--reports", folder / "reports")
    return folder / "reports"


@pytest.fixture(scope="session")
def report_pages(published: Path) -> list[Path]:
    """The stable pages of the run's reports."""
    pages = sorted(published.glob("leaders/*/*/*.html"))
    assert len(pages) >= 3
    return pages


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every chart and table on the cases that break charts, as a page."""
    page = tmp_path_factory.mktemp("gallery") / "gallery.html"
    page.write_text(draw_gallery(), encoding="utf-8")
    return page


@pytest.fixture(scope="session")
def short_gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery on the cases that differ most to who cannot see it: axe takes a minute for all."""
    page = tmp_path_factory.mktemp("gallery") / "short.html"
    page.write_text(draw_gallery(["usual", "negative", "missing", "hostile"]), encoding="utf-8")
    return page


@pytest.fixture(scope="session")
def npm_tools() -> None:
    """Skips where axe-core and html-validate are not installed."""
    if NODE is None or not AXE.is_file() or not HTML_VALIDATE.is_file():
        pytest.skip("axe-core and html-validate are not installed: npm ci")


# A module's own browser: Playwright leaves an event loop behind that other test modules must not meet.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()
