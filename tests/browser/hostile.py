"""A company whose every text, from names to stages and ids, tries to run, to call out or to be a formula."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from salesops_kit.data.contracts import TABLES

HOST = "pwned.invalid"
PAYLOADS = (
    "<script>window.__pwned=1</script>",
    '<img src=x onerror="window.__pwned=2">',
    '"><svg onload=window.__pwned=3>',
    '<a href="javascript:window.__pwned=4">deal</a>',
    "[deal](javascript:window.__pwned=5)",
    f"</style></title></script><script src=http://{HOST}/6.js></script>",
    f"' autofocus onfocus='window.__pwned=7' style='background:url(http://{HOST}/7)",
    f'=HYPERLINK("http://{HOST}/8","deal")',
    f"![deal](http://{HOST}/9.png)<iframe src=http://{HOST}/9></iframe>",
    r"$\frac{<img src=x onerror=window.__pwned=10>}{{7*7}}$ {{7*7}}",
)
TEAMS = PAYLOADS
REPS_PER_TEAM = 2
DEALS = 400
QUARTER, CUT_OFF = "2026-Q2", dt.date(2026, 6, 30)
TEXT_TYPES = ("id", "text", "category")
# A currency without a rate is refused at the import, so no page can show one.
REFUSED = ("currency",)
# Texts that the importer holds against a list: they are hostile in a few rows, which it sets aside or flags.
LISTED = ("type", "business_model")
WRITTEN = ("opportunities", "opportunity_history", "accounts", "reps", "teams", "team_memberships", "stages")
_OPEN, _WON, _LOST = PAYLOADS[:8], PAYLOADS[8], PAYLOADS[9]


def payload(row: int, shift: int = 0) -> str:
    """The payload of a row; a column's shift makes neighbouring columns differ."""
    return PAYLOADS[(row + shift) % len(PAYLOADS)]


def key(row: int, letter: str) -> str:
    """A hostile id that no other row has."""
    return f"{payload(row, ord(letter))} {letter}{row}"


def text_columns(table: str) -> list[str]:
    """The columns of a canonical table that hold text."""
    return [name for name, column in TABLES[table].columns.items() if column.type in TEXT_TYPES]


def write_company(folder: Path) -> None:
    """Write canonical CSV files in which every text column holds every payload."""
    folder.mkdir(parents=True)
    settings = {
        "name": "hostile",
        "zone": "UTC",
        "fiscal_start_month": 1,
        "base_currency": "USD",
        "first_qualified_stage": PAYLOADS[0],
        "observed_until": CUT_OFF.isoformat(),
    }
    # JSON is YAML too, and quotes whatever a payload holds.
    (folder / "dataset.yml").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    reps = [key(row, "R") for row in range(REPS_PER_TEAM * len(TEAMS))]
    _write(folder, "stages", _stages())
    _write(
        folder,
        "teams",
        ({"team": team, "parent_team": f"{payload(n, 3)} area"} for n, team in enumerate(TEAMS)),
    )
    _write(folder, "reps", ({"owner_id": rep, "manager_id": reps[0]} for rep in reps))
    _write(
        folder,
        "team_memberships",
        (
            {"owner_id": rep, "team": TEAMS[n % len(TEAMS)], "valid_from_date": "2025-01-01"}
            for n, rep in enumerate(reps)
        ),
    )
    _write(folder, "accounts", ({"account_id": key(n, "A")} for n in range(DEALS)))
    deals = [_deal(number, reps) for number in range(DEALS)]
    _write(folder, "opportunities", [row for row, _steps in deals])
    _write(folder, "opportunity_history", [step for _row, steps in deals for step in steps])


def _stages() -> list[dict[str, object]]:
    return [
        {
            "pipeline": pipeline,
            "stage": stage,
            "position": place + 1,
            "is_closed": str(stage in (_WON, _LOST)).lower(),
            "is_won": str(stage == _WON).lower(),
            "default_probability": 0.5,
        }
        for pipeline in PAYLOADS
        for place, stage in enumerate(PAYLOADS)
    ]


def _deal(number: int, reps: Sequence[str]) -> tuple[dict[str, object], list[dict[str, object]]]:
    day = dt.date(2026, 1, 5) + dt.timedelta(number % 150)
    reached = 1 + number // 4 % len(_OPEN)
    stages = [*_OPEN[:reached], *([] if number % 4 == 0 else [_WON if number % 4 < 3 else _LOST])]
    days = [min(day + dt.timedelta(4 * step), CUT_OFF) for step in range(len(stages))]
    close = days[-1] if number % 4 else CUT_OFF + dt.timedelta(30)
    row: dict[str, object] = {
        "opportunity_id": key(number, "D"),
        "account_id": key(number, "A"),
        "owner_id": reps[number % len(reps)],
        "pipeline": payload(number),
        "created_date": day,
        "close_date": close,
        "stage": stages[-1],
        "amount": 1000 + number,
    }
    shared = {name: row[name] for name in ("opportunity_id", "owner_id", "amount", "close_date")}
    steps = [
        {**shared, "changed_at": f"{changed}T{8 + place:02d}:00:00Z", "stage": stage}
        for place, (changed, stage) in enumerate(zip(days, stages, strict=True))
    ]
    return row, steps


def _write(folder: Path, table: str, rows: Iterable[Mapping[str, object]]) -> None:
    texts = [name for name in text_columns(table) if name not in REFUSED]
    complete = []
    for number, given in enumerate(rows):
        row = {name: payload(number, shift) for shift, name in enumerate(texts)}
        if number < DEALS - len(PAYLOADS):
            row |= {name: "" for name in LISTED if name in row}
        complete.append({**row, **given})
    with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(complete[0]))
        writer.writeheader()
        writer.writerows(complete)
