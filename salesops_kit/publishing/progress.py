"""The progress of a run: a bar on a terminal, one plain line per report in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from salesops_kit.publishing.redact import redact


class Progress(Protocol):
    """Told of each report as it ends."""

    def start(self, total: int) -> None:
        """So many reports are going to run."""

    def report(self, name: str, status: str, detail: str, seconds: float) -> None:
        """One report ended."""

    def stop(self) -> None:
        """No more reports are coming."""


class Silent:
    """Progress that nobody sees."""

    def start(self, total: int) -> None:
        """Nothing is shown."""

    def report(self, name: str, status: str, detail: str, seconds: float) -> None:
        """Nothing is shown."""

    def stop(self) -> None:
        """Nothing is shown."""


class Lines:
    """One line per report, for logs: ``3/12  success  funnel / EMEA / 2026-Q3  2.1 s, 20 s left``."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._done = self._total = self._ran = 0
        self._began = 0.0

    def start(self, total: int) -> None:
        """Remember the total."""
        self._total = total
        self._began = self._clock()

    def report(self, name: str, status: str, detail: str, seconds: float) -> None:
        """Write a line; control characters of names are shown escaped."""
        self._done += 1
        text = _line(name, status, detail, seconds)
        # Skipped reports come first and take no time.
        self._ran += status != "skipped"
        left = self._total - self._done
        if self._ran and left:
            text += f", {(self._clock() - self._began) / self._ran * left:.0f} s left"
        self._stream.write(f"{self._done}/{self._total}  {text}\n")
        self._stream.flush()

    def stop(self) -> None:
        """Nothing is left to show."""


class Bar:
    """A bar that moves at each report, with the reports that failed written above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._task: Any = None

    def start(self, total: int) -> None:
        """Show the empty bar."""
        self._bar.start()
        self._task = self._bar.add_task("reports", total=total)

    def report(self, name: str, status: str, detail: str, seconds: float) -> None:
        """Move the bar; a failure gets a line of its own."""
        if status not in ("success", "skipped"):
            self._bar.console.print(_line(name, status, detail, seconds), markup=False, highlight=False)
        self._bar.update(self._task, advance=1, description=name.splitlines()[0][:40])

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


def _line(name: str, status: str, detail: str, seconds: float) -> str:
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{name}  {redact(detail)}".rstrip())
    return f"{status:<8} {shown}  {seconds:.1f} s"


def progress_for(stream: TextIO | None = None) -> Progress:
    """A bar when ``stream`` (standard error by default) is a terminal, else plain lines."""
    stream = stream or sys.stderr
    return Bar(stream) if stream.isatty() else Lines(stream)
