"""How long a chart takes, from its frame to the SVG on the page, over the whole gallery."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from salesops_kit.display import gallery
from salesops_kit.display.svg import figure_svg


def seconds() -> list[tuple[float, str]]:
    """Every chart of the gallery on every case: its CPU seconds and its name."""
    taken = []
    charts = gallery.figures()
    began = time.process_time()
    for chart, case, figure, _frame in charts:
        figure_svg(figure, title=chart, description=case)
        taken.append((time.process_time() - began, f"{chart}, {case}"))
        began = time.process_time()
    return taken


def main(say: Callable[[str], None] = print) -> None:
    """Draw the gallery twice, since a kernel has drawn before, and say the median of the second time."""
    seconds()
    taken = seconds()
    slowest, name = max(taken)
    middle = statistics.median(value for value, _name in taken)
    say(f"{len(taken)} charts: median {middle * 1000:.0f} ms, slowest {slowest * 1000:.0f} ms ({name})")
