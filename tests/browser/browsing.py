"""A real browser at the disposal of the tests: pages opened from disk, and what was asked and blocked."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")
AXE = ROOT / "node_modules/axe-core/axe.min.js"
HTML_VALIDATE = ROOT / "node_modules/html-validate/bin/html-validate.mjs"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SCHEMES = ("light", "dark")
# The width of what is printed between the page's margins (13 mm a side), in CSS pixels at 96 to the inch.
PAPER = {"A4": 695, "Letter": 717}

# Tells of what the content policy stopped, which no request event shows.
_WATCH = """
window.__stopped = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.__stopped.push(`${event.violatedDirective}: ${event.blockedURI || event.sample}`), true);
"""


@dataclass
class Visit:
    """An open page and what happened since it was opened."""

    tab: Any
    address: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def foreign_requests(self) -> list[str]:
        """Every request but the one for the page itself."""
        own = self.address.partition("#")[0]
        return [address for address in self.requests if address.partition("#")[0] != own]

    def stopped(self) -> list[str]:
        """What the page's policy stopped."""
        return list(self.tab.evaluate("window.__stopped"))

    def settle(self) -> None:
        """Wait until styles, fonts and the layout of a changed page stand."""
        self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def resize(self, width: int, *, media: str = "screen") -> None:
        """Give the page another width and medium."""
        self.tab.set_viewport_size({"width": width, "height": 900})
        self.tab.emulate_media(media=media)
        self.settle()

    def open_details(self) -> None:
        """Open everything that can be folded."""
        self.tab.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        self.settle()


@contextmanager
def visit(
    browser: Any, page: Path | str, *, width: int = 1280, scheme: str = "light", scripts: bool = True
) -> Iterator[Visit]:
    """A page from disk in a profile of its own; nothing of its policy is relaxed."""
    address = page.as_uri() if isinstance(page, Path) else page
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    try:
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        seen = Visit(tab, address)
        if scripts:
            tab.add_init_script(_WATCH)
        context.on("request", lambda request: seen.requests.append(request.url))
        tab.on("pageerror", lambda error: seen.complaints.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: (seen.complaints.append("a dialog"), dialog.dismiss()))
        tab.on(
            "console",
            lambda message: (
                seen.complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        context.on("page", lambda other: seen.complaints.append("another window") if other != tab else None)
        tab.goto(address)
        yield seen
    finally:
        context.close()


def axe_findings(seen: Visit) -> list[str]:
    """What axe finds: rule, help and the first places, one line each.

    The source is evaluated by the debugger, so that the page's policy need not be bypassed for it.
    """
    seen.tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = seen.tab.evaluate(
        "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})",
        AXE_TAGS,
    )
    return [
        f"{rule['id']}: {rule['help']}: "
        + "; ".join(str(place["failureSummary"] + str(place["target"])) for place in rule["nodes"][:3])
        for rule in found["violations"]
    ]


def html_errors(pages: list[Path]) -> dict[str, list[str]]:
    """What html-validate finds, by page; a page without a finding is left out."""
    assert NODE is not None
    config = Path(__file__).parent / "htmlvalidate.cjs"
    with TemporaryDirectory() as folder:
        # Into a file: what node writes to a pipe may be cut short when it exits.
        told = Path(folder) / "told.json"
        command = [NODE, HTML_VALIDATE, "--config", config, "--formatter", f"json={told}", *pages]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode in (0, 1), done.stderr
        results = json.loads(told.read_text(encoding="utf-8"))
    return {
        item["filePath"]: [
            f"{found['line']}:{found['column']} {found['ruleId']}: {found['message']}"
            for found in item["messages"]
        ]
        for item in results
        if item["messages"]
    }
