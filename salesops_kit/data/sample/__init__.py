"""A seeded synthetic CRM of any size, with planted truths and a few dirty rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

__all__ = ["write_sample"]


def write_sample(
    folder: Path,
    *,
    opportunities: int = 6000,
    seed: int = 7,
    format: Literal["csv", "parquet"] = "csv",  # noqa: A002
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a synthetic company's canonical tables into ``folder``."""
    from salesops_kit.data.sample.generate import generate
    from salesops_kit.data.sample.planted import TRUTHS
    from salesops_kit.data.sample.write import Output
    from salesops_kit.data.sample.card import write_settings

    folder.mkdir(parents=True, exist_ok=True)
    with Output(folder, format) as output:
        generate(output, opportunities, seed, TRUTHS, progress)
    write_settings(folder)
