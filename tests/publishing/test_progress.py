"""Progress is one plain line per report in a log, and a bar on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from salesops_kit.publishing.batch import Batch
from salesops_kit.publishing.manifest import Failure, Timings
from salesops_kit.publishing.progress import Bar, Lines, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines() -> None:
    stream = io.StringIO()
    assert isinstance(progress_for(stream), Lines)
    times = iter([100.0, 110.0])
    progress = Lines(stream, clock=lambda: next(times))
    progress.start(3)
    progress.report("funnel / US", "skipped", "", 0.0)
    progress.report("funnel / EMEA\x1b[2J\n", "success", "", 1.25)
    progress.report("funnel / APAC", "failed", "cell 3: password=hunter22", 0.5)
    progress.stop()
    assert stream.getvalue().splitlines() == [
        "1/3  skipped  funnel / US  0.0 s",
        "2/3  success  funnel / EMEA\\x1b[2J  1.2 s, 10 s left",
        "3/3  failed   funnel / APAC  cell 3: password=[redacted]  0.5 s",
    ]


def test_a_bar_shows_failures_and_no_markup() -> None:
    stream = Terminal()
    progress = progress_for(stream)
    assert isinstance(progress, Bar)
    progress.start(2)
    progress.report("[bold]one", "success", "", 1.0)
    progress.report("two", "failed", "[red]cell 3", 1.0)
    progress.stop()
    text = stream.getvalue()
    assert "[red]cell 3" in text
    assert "2/2" in text


@pytest.mark.parametrize(
    ("cell", "told"), [(None, "the checks of the data failed"), (3, "cell 3: the checks of the data failed")]
)
def test_a_failure_names_its_cell_only_where_one_is_to_blame(cell: int | None, told: str) -> None:
    stream = io.StringIO()
    progress = Lines(stream)
    progress.start(1)
    failure = Failure(cell=cell, name="GateFailed", message="the checks of the data failed")
    made = SimpleNamespace(error=failure, reason="", timings=Timings(), status="failed")
    task: Any = SimpleNamespace(job=SimpleNamespace(name="funnel"), must_run=False, entry=None)
    entry: Any = SimpleNamespace(manifest=made)
    record = SimpleNamespace(jobs=[], model_copy=lambda update: update)
    batch: Any = SimpleNamespace(record=record, progress=progress)
    Batch._enter(batch, task, entry)
    assert stream.getvalue() == f"1/1  failed   funnel  {told}  0.0 s\n"
