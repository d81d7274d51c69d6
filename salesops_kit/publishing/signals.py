"""Ctrl-C and SIGTERM turned into a wish to stop that a run heeds between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stop:
    """Whether somebody wants the run to stop."""

    is_wanted: bool = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Hold Ctrl-C and SIGTERM off for the block: the first one sets ``is_wanted``, a second one has its
    usual effect. Outside the main thread, where Python delivers no signal, nothing is changed."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: object) -> None:
        stop.is_wanted = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
