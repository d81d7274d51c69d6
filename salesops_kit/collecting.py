"""How often Python looks for objects that only refer to each other."""

from __future__ import annotations

import gc

AFTER = (50_000, 20, 20)


def collect_rarely() -> None:
    """Look seldom: an import, or a query that is written, makes ten thousand small objects that all live."""
    gc.set_threshold(*AFTER)
