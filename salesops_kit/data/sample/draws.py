"""Seeded random streams that give the same numbers on every platform and Python version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Draws:
    """Uniform and normal draws of one PCG64 stream, and what is built on them.

    Only two generator methods are used, both stable over numpy versions. Whatever depends on the
    platform's exp or log is rounded to whole units by the caller before it is compared or written.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        sequence = np.random.SeedSequence(seed, spawn_key=stream)
        self._generator = np.random.Generator(np.random.PCG64(sequence))

    def uniform(self, size: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """Uniform in [low, high)."""
        return low + (high - low) * self._generator.random(size)

    def whole(self, size: int, low: int, high: int) -> Ints:
        """Whole numbers from ``low`` up to, and without, ``high``."""
        return low + (self._generator.random(size) * (high - low)).astype(np.int64)

    def normal(self, size: int) -> Floats:
        """Standard normal."""
        return self._generator.standard_normal(size)

    def lognormal(self, size: int, sigma: float) -> Floats:
        """Log-normal with median 1."""
        return np.exp(sigma * self.normal(size))

    def exponential(self, size: int, mean: float) -> Floats:
        """Exponential with the given mean."""
        return -mean * np.log1p(-self._generator.random(size))

    def happens(self, size: int, chance: float | Floats) -> NDArray[np.bool_]:
        """True with the given chance, for each element."""
        return self._generator.random(size) < chance

    def pick(self, size: int, weights: Sequence[float]) -> Ints:
        """Positions drawn with the given weights."""
        edges = np.cumsum(np.asarray(weights, dtype=np.float64))
        return np.searchsorted(edges[:-1] / edges[-1], self._generator.random(size), side="right")
