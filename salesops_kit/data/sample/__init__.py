"""A seeded synthetic CRM of any size, with planted truths and a few dirty rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from salesops_kit.errors import InputError, Problem

__all__ = ["MOST_OPPORTUNITIES", "write_sample"]

MOST_OPPORTUNITIES = 10_000_000
_Format = Literal["csv", "parquet"]


def write_sample(
    folder: Path,
    *,
    opportunities: int = 6000,
    seed: int = 7,
    format: Literal["csv", "parquet"] = "csv",  # noqa: A002
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a synthetic company into ``folder``: every canonical table, dataset.yml, planted.json, README.md.

    ``opportunities`` is how many deals are created, 1 to 10 million; reps, teams and accounts grow with
    it, and memory does not. The same ``opportunities`` and ``seed`` give the same bytes as CSV on every
    platform. The dirty rows are left out of samples too small to hold them, and the unreadable ones out
    of Parquet. ``progress`` is told after each block how many deals are done and how many there are.
    Files of the same names are replaced.

    Raises :class:`~salesops_kit.errors.InputError` when an argument is out of range, or when the folder
    already holds a table in the other format.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_sample(Path(folder), opportunities=50)
    ...     (Path(folder) / "opportunities.csv").read_text(encoding="utf-8").count("\\n")
    51
    """
    from salesops_kit.data.sample.card import write_card
    from salesops_kit.data.sample.generate import generate
    from salesops_kit.data.sample.planted import TRUTHS
    from salesops_kit.data.sample.write import Output

    folder = Path(folder)
    _check(folder, opportunities, seed, format)
    folder.mkdir(parents=True, exist_ok=True)
    with Output(folder, format) as output:
        ledger = generate(output, opportunities, seed, TRUTHS, progress)
        rows = output.rows
    write_card(folder, ledger, TRUTHS, rows, opportunities, seed)


def _check(folder: Path, opportunities: int, seed: int, format: str) -> None:  # noqa: A002
    from salesops_kit.data.contracts import TABLES

    problems = []
    if not 1 <= opportunities <= MOST_OPPORTUNITIES:
        problems.append(
            Problem(
                "the sample cannot have this many opportunities",
                expected=f"1 to {MOST_OPPORTUNITIES}",
                got=str(opportunities),
            )
        )
    if seed < 0:
        problems.append(Problem("the seed is negative", expected="0 or more", got=str(seed)))
    formats = get_args(_Format)
    if format not in formats:
        problems.append(Problem("unknown file format", expected=" or ".join(formats), got=str(format)))
    else:
        other = formats[1 - formats.index(format)]
        found = [f"{table}.{other}" for table in TABLES if (folder / f"{table}.{other}").exists()]
        if found:
            problems.append(
                Problem(
                    f"the folder already holds the sample as {other}",
                    file=str(folder / found[0]),
                    next_step="Choose another folder, or remove those files.",
                )
            )
    if problems:
        raise InputError(problems)
