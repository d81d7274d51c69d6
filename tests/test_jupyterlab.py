"""An analyst opens the funnel template in a real JupyterLab, presses Run All and sees papermill's numbers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from salesops_kit.mime import HEADLINE
from salesops_kit.publishing.outputs import typed
from tests.test_everywhere import PAPERMILL, TEMPLATE, assert_clean, run_python

CHROMIUM = shutil.which("chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SECONDS = 120

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """The address and token of a JupyterLab server, and its root folder, which holds the template."""
    folder = tmp_path_factory.mktemp("lab")
    shown = folder / "shown"
    shown.mkdir()
    shutil.copy(TEMPLATE, shown)
    token = secrets.token_hex(16)
    private = {
        **{f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_TOKEN": token,
        "IPYTHONDIR": str(folder / "ipython"),
    }
    log = folder / "lab.log"
    with log.open("w", encoding="utf-8") as stream:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={shown}"),
                # It would ask the internet for news and updates.
                *(
                    "--LabApp.news_url=None",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                ),
            ],
            cwd=shown,
            env={**os.environ, **private},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(server, folder / "runtime", log), token, shown
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Where the server listens, as its own runtime file says."""
    late = time.monotonic() + 60
    while time.monotonic() < late:
        assert server.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        for file in runtime.glob(f"jpserver-{server.pid}.json"):
            text = file.read_text(encoding="utf-8")
            if text.rstrip().endswith("}"):
                return str(json.loads(text)["url"])
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8")[-3000:])


def _run_all(page: Any, address: str, token: str, last: int) -> list[str]:
    """Open the template, run all its cells by the menu, save; the headline texts that the page shows."""
    from playwright.sync_api import expect

    page.goto(f"{address}lab/tree/{TEMPLATE.name}?token={token}")
    notebook = page.locator(".jp-Notebook")
    expect(notebook.locator(".jp-InputPrompt").first).to_be_visible(timeout=SECONDS * 1000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle").first).to_be_visible(timeout=SECONDS * 1000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(notebook.locator(".jp-InputPrompt", has_text=f"[{last}]:")).to_be_attached(timeout=SECONDS * 1000)
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name=re.compile(r"^Save Notebook(?! As)")).click()
    assert notebook.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert notebook.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    expect(notebook.locator("svg").first).to_be_attached()
    texts = notebook.locator(".jp-OutputArea-output pre").all_inner_texts()
    return [text.strip() for text in texts]


def test_run_all_in_jupyterlab_shows_the_numbers_of_papermill(
    lab: tuple[str, str, Path], tmp_path: Path
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    address, token, shown = lab
    run_python(PAPERMILL, str(TEMPLATE), '{"papermill.ipynb": {}}', cwd=tmp_path)
    expected = nbformat.read(tmp_path / "papermill.ipynb", as_version=4)
    code = [cell for cell in nbformat.read(TEMPLATE, as_version=4).cells if cell.cell_type == "code"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1400, "height": 2400})
        texts = _run_all(page, address, token, len(code))
        saved = _saved(shown / TEMPLATE.name, len(code))
        browser.close()
    assert_clean(saved)
    # By value, not as text: the browser writes 118.0 as 118.
    assert typed(saved, HEADLINE) == typed(expected, HEADLINE)
    for payload in typed(expected, HEADLINE):
        assert f"{payload['id']}: {payload['value']}" in texts


def _saved(path: Path, cells: int) -> Any:
    """The notebook once it is saved with all its cells executed."""
    late = time.monotonic() + 30
    while True:
        notebook = nbformat.read(path, as_version=4)
        done = sum(cell.get("execution_count") is not None for cell in notebook.cells)
        if done == cells or time.monotonic() > late:
            return notebook
        time.sleep(0.2)
