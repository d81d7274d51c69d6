"""What must hold of a reports folder at any moment, told from its files alone."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

BANNER = re.compile(rb'\n<div class="banner stale" role="note"><p>([^<]*)</p></div>')
AREAS = ("leaders", "teams", "private")


def stable_pages(root: Path) -> list[Path]:
    """Every stable page; the indexes of people and teams are none."""
    found = [path for area in AREAS for path in sorted(root.glob(f"{area}/*/*/*.html"))]
    return [path for path in found if path.name != "index.html"]


def bundle_of(page: Path) -> Path:
    """The bundle that a stable page comes from: its manifest knows the page, banner aside, byte for byte,
    and each of its own files is as the manifest says. Fails when there is none."""
    content = page.read_bytes()
    assert content.rstrip().endswith(b"</html>"), f"{page} is cut short"
    HTMLParser().feed(content.decode("utf-8"))
    wanted = hashlib.sha256(BANNER.sub(b"", content, count=1)).hexdigest()
    for manifest in sorted((page.parent / page.stem).glob("*/manifest.json")):
        files = {item["path"]: item["sha256"] for item in json.loads(manifest.read_bytes())["files"]}
        if files.pop(f"../../{page.name}") != wanted:
            continue
        for name, sha256 in files.items():
            assert hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest() == sha256, name
        return manifest.parent
    raise AssertionError(f"{page} is the page of no bundle")


def check_pages(root: Path) -> dict[str, str]:
    """Each stable page with the run that made it; fails when one of them is not whole."""
    return {page.relative_to(root).as_posix(): bundle_of(page).name for page in stable_pages(root)}


def failed_runs(root: Path) -> dict[str, str]:
    """Each published page whose newest attempt failed, with the run that failed; runs that died without
    a last word are left out, since the next run puts them right."""
    newest: dict[str, tuple[str, str, str]] = {}
    for record in sorted((root / ".runs").glob("*.json")):
        content = json.loads(record.read_bytes())
        for job in content["jobs"]:
            made = job["manifest"]
            if made["status"] != "skipped":
                key = f"{made['report']} {made['scope']} {made['quarter']}"
                newest[key] = (made["status"], made["run"], content["status"])
    published = {}
    for page in stable_pages(root):
        made = json.loads((bundle_of(page) / "manifest.json").read_bytes())
        status, run, ended = newest[f"{made['report']} {made['scope']} {made['quarter']}"]
        if status != "success" and ended != "running":
            published[page.relative_to(root).as_posix()] = run
    return published


def leftovers(root: Path, temporary: Path) -> list[str]:
    """What a finished run must not leave behind: staged work, half-written files, temporary folders."""
    found = [path for path in root.rglob(".*") if path.name not in (".runs", ".lock", ".set-aside")]
    return [str(path) for path in (*found, *root.rglob("*.tmp"), *temporary.iterdir())]
