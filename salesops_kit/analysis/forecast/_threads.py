"""Fits on one thread: such small ones lose more to threads than they gain, most of all on a busy machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    # To find the loaded libraries takes longer than most fits, so they are looked for once.
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Linear algebra and trees on one thread within a ``with`` block."""
    return _libraries().limit(limits=1)
