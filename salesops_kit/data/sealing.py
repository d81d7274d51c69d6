"""Forecasts put down before a quarter ends, each sealed with a hash in the dataset's archive."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from salesops_kit.errors import InputError, Problem
from salesops_kit.settings import Settings

FOLDER = "sealed"
SEALED = "sealed_forecasts"
_SCHEMA = 1
_TYPES = {
    "seal": "string", "period": "string", "sealed_on": "date", "team": "string", "caller": "string",
    "call": "float64", "low": "float64", "high": "float64", "is_backdated": "boolean",
}  # fmt: skip


@dataclass(frozen=True)
class Seal:
    """Forecasts as they were known at the end of ``as_of``, by the snapshot with a digest.

    ``rows`` are plain records: who forecast what. ``before`` is the hash of the seal before this one in the
    same folder, so that none can be taken out or put in between later. ``sha256`` is over all of it.
    """

    seq: int
    as_of: dt.date
    period: str
    snapshot: str
    rows: tuple[Mapping[str, Any], ...]
    before: str
    sha256: str


def seal_folder(archive: Path, settings: Settings) -> Path:
    """Where the seals of a dataset lie; datasets are told apart by the name in their settings.

    Raises :class:`InputError` for a dataset without a name.
    """
    if not settings.name:
        raise InputError(
            Problem(
                "a dataset without a name keeps no seals",
                next_step="Give it a name in the settings of its mapping or in dataset.yml.",
            )
        )
    return archive / "forecasts" / hashlib.sha256(settings.name.encode()).hexdigest()[:16]


def seals_digest(folder: Path) -> str:
    """The digest of the seals in a folder as they lie there; empty when there is none."""
    files = sorted((folder / FOLDER).glob("*.json"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else ""


def sealed_forecasts(folder: Path) -> ibis.Table:
    """Every sealed row as a table: who (``team``, ``caller``) forecast what of a ``period`` on which day.

    ``is_backdated`` says that the data knew later days when it was sealed. Raises as :func:`read_seals`.
    """
    rows = [
        {
            "seal": one.sha256, "period": one.period, "sealed_on": one.as_of,
            **{name: row.get(name) for name in ("team", "caller", "call", "low", "high")},
            "is_backdated": str(row.get("known_until", "")) > one.as_of.isoformat(),
        }
        for one in read_seals(folder)
        for row in one.rows
    ]  # fmt: skip
    return ibis.memtable(pd.DataFrame(rows, columns=list(_TYPES)), schema=_TYPES)


def seal(
    archive: Path, *, as_of: dt.date, period: str, period_end: dt.date, snapshot: str,
    rows: Sequence[Mapping[str, Any]],
) -> Seal:  # fmt: skip
    """Write a seal into ``archive`` and return it; the same rows of the same day are sealed once.

    ``period_end`` is the first day that no longer counts: what is known on the last day or later is no
    forecast and raises :class:`InputError`.
    """
    if as_of >= period_end - dt.timedelta(days=1):
        raise InputError(
            Problem(
                f"{period} is over, so that nothing of it can be forecast",
                expected=f"a day before {period_end - dt.timedelta(days=1)}",
                got=as_of.isoformat(),
            )
        )
    folder = archive / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        present = read_seals(archive)
        plain = json.loads(json.dumps([dict(row) for row in rows], allow_nan=False))
        for one in present:
            if (one.as_of, one.period, one.snapshot, list(one.rows)) == (as_of, period, snapshot, plain):
                return one
        number = present[-1].seq + 1 if present else 1
        body: dict[str, Any] = {
            "schema": _SCHEMA, "seq": number, "as_of": as_of.isoformat(), "period": period,
            "snapshot": snapshot, "rows": plain, "before": present[-1].sha256 if present else "",
        }  # fmt: skip
        partial = folder / f".{number:06d}.{os.getpid()}"
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(_text({**body, "sha256": _digest(body)}))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, folder / f"{number:06d}.json")
        except FileExistsError:
            continue
        finally:
            partial.unlink()
        return _parsed(body, _digest(body))


def read_seals(archive: Path) -> list[Seal]:
    """Every seal of an archive folder, oldest first.

    Raises :class:`InputError` naming every file whose content is not what its hash says, or that does not
    follow the one before it.
    """
    problems: list[Problem] = []
    found: list[Seal] = []
    before = ""
    for number, file in enumerate(sorted((archive / FOLDER).glob("*.json")), start=1):
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            told = values.pop("sha256")
            one = _parsed(values, told)
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(Problem("this is no sealed forecast", file=file.name))
            continue
        if _digest(values) != told:
            problems.append(
                Problem("the sealed forecast was changed", file=file.name, expected=_digest(values), got=told)
            )
        elif one.before != before or one.seq != number or file.stem != f"{number:06d}":
            problems.append(Problem("a sealed forecast before this one is missing", file=file.name))
        before = told
        found.append(one)
    if problems:
        raise InputError(problems)
    return found


def _parsed(values: Mapping[str, Any], sha256: str) -> Seal:
    return Seal(
        seq=int(values["seq"]),
        as_of=dt.date.fromisoformat(values["as_of"]),
        period=str(values["period"]),
        snapshot=str(values["snapshot"]),
        rows=tuple(values["rows"]),
        before=str(values["before"]),
        sha256=sha256,
    )


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(body).encode()).hexdigest()


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
