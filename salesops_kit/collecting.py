"""How often Python looks for objects that only refer to each other."""

from __future__ import annotations

import gc

AFTER = (50_000, 20, 20)


def collect_rarely() -> None:
    """Look seldom: an import, or a query that is written, makes ten thousand small objects that all live."""
    gc.enable()
    gc.set_threshold(*AFTER)


def keep_imports() -> None:
    """Never look at what is there now again, and seldom at the rest; what nobody looks at, forked processes
    go on sharing."""
    gc.collect()
    gc.freeze()
    collect_rarely()
