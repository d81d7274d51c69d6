"""Importing and querying data of growing size: seconds and peak memory of every step.

Each step is a process of its own, so that its peak memory is its own. Sizes grow tenfold; "growth" is
how many times longer a step takes than at the size before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from salesops_kit.data.contracts import TABLES as CANONICAL

SIZES = (20_000, 200_000, 2_000_000)
# What the funnel tables read: deals, their history, and what those refer to.
CORE = (
    "opportunities", "opportunity_history", "stages", "accounts", "products", "reps", "teams",
    "team_memberships", "fx_rates",
)  # fmt: skip
TABLES = ("funnel.win_rate", "funnel.conversion", "funnel.time_in_stage", "funnel.waterfall")
QUARTER = "2027-Q3"


@dataclass(frozen=True)
class Measured:
    """One step: wall-clock seconds and peak resident memory in GB."""

    step: str
    size: int
    seconds: float
    peak_gb: float


def measure(step: str, size: int, *arguments: str) -> Measured:
    """Run one command line of the kit and measure it; a failure ends the benchmark."""
    command = [sys.executable, "-m", "salesops_kit", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{step} at {size:,} ended with status {status}")
    to_bytes = 1 if sys.platform == "darwin" else 1024
    return Measured(step, size, seconds, usage.ru_maxrss * to_bytes / 1e9)


def run_size(size: int, folder: Path) -> list[Measured]:
    """Generate, import and show at one size."""
    raw, canonical = folder / "raw", folder / "canonical"
    results = [
        measure("sample", size, "sample", str(raw), "--opportunities", str(size)),
        measure(f"import, all {len(CANONICAL)} tables", size, "import", str(raw), "--out", str(canonical)),
    ]
    shutil.rmtree(canonical)
    files = [str(raw / f"{name}.csv") for name in CORE]
    deals = [file for file in files if not file.endswith("opportunity_history.csv")]
    results.append(measure("import, deals alone", size, "import", *deals, "--out", str(canonical)))
    shutil.rmtree(canonical)
    results.append(measure("import, deals and history", size, "import", *files, "--out", str(canonical)))
    for table in TABLES:
        arguments = ("show", table, "-p", "data", str(canonical), "-p", "quarter", QUARTER, "--format", "csv")
        results.append(measure(f"show {table}", size, *arguments))
    shows = [r for r in results if r.step.startswith("show")]
    results.append(
        Measured("show, all four", size, sum(r.seconds for r in shows), max(r.peak_gb for r in shows))
    )
    shutil.rmtree(raw)
    shutil.rmtree(canonical)
    return results


def main(say: Callable[[str], None] = print, *, largest: int = SIZES[-1]) -> None:
    """Measure every size up to ``largest`` deals and say it."""
    before: dict[str, Measured] = {}
    say(f"{'step':<28} {'deals':>10} {'seconds':>8} {'peak GB':>8} {'growth':>7}")
    for size in (size for size in SIZES if size <= largest):
        folder = Path(tempfile.mkdtemp(prefix="salesops-bench-"))
        try:
            for result in run_size(size, folder):
                last = before.get(result.step)
                growth = f"{result.seconds / last.seconds:.1f}x" if last else ""
                measured = f"{result.seconds:>8.1f} {result.peak_gb:>8.2f}"
                say(f"{result.step:<28} {size:>10,} {measured} {growth:>7}")
                before[result.step] = result
        finally:
            shutil.rmtree(folder, ignore_errors=True)
