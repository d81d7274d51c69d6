"""What the checks found, one row per check."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import Findings, find, find_in_deals, with_owners
from salesops_kit.analysis.quality._sources import Sources, sources, with_marks
from salesops_kit.data.engine import collect
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.policy.builtin import BUILTINS
from salesops_kit.policy.model import Check, Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "check_id", "title", "severity", "status", "table", "rows", "deals", "amount", "judged", "share",
    "previous_rows", "change", "owners", "most", "reason",
]  # fmt: skip
RAISED, CLEAR, NOT_CHECKED = "raised", "clear", "not checked"
SEVERITIES = ("error", "warning", "info")
OWNERS_NAMED = 3


@table(
    units={
        **dict.fromkeys(["rows", "judged", "previous_rows", "change", "owners"], "rows"),
        "deals": "deals",
        "amount": "money",
        "share": "rate",
    }
)
def checks(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    earlier_deals: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Every check of the data with what it found.

    One row per check and service level. ``rows``: records that fail, each once whatever fields are in
    question. ``deals`` of them are open at the end of ``as_of`` or booked in the period, and ``amount``
    (base currency) is theirs: the money exposed. ``judged``: the records that the check is about, and
    ``share`` = rows / judged (0-1), both missing where the import alone knows them. ``status`` is
    ``raised`` where rows are found beyond the check's tolerance, ``clear``, or ``not checked`` with the
    ``reason``. ``previous_rows`` are those that the same check finds in the newest earlier snapshot, and
    ``change`` is the difference; missing without one, and for checks that look at more than deals.
    ``owners``: how many owners have such records, and ``most`` names the three who have most.

    Raised checks first, errors before warnings before information, then by money and rows.
    ``attrs["errors"]`` and ``attrs["warnings"]`` are sentences for the raised ones; ``attrs["previous"]``
    is the day that the earlier snapshot knew.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    found = find(data)
    before, day = _before(data, earlier_deals)
    records = with_owners(found.records, reps)
    named = "rep_name" if "rep_name" in records else "owner_id"
    by_check = dict(tuple(records.groupby("check_id")))
    rows = []
    for check in found.checks:
        mine = by_check.get(check.id)
        rows.append(
            {
                "check_id": check.id,
                "title": check.title,
                "severity": check.severity,
                "table": check.table,
                "judged": found.judged.get(check.id, float("nan")),
                "reason": found.skipped.get(check.id, ""),
                **_counted(mine, named),
                "previous_rows": _previous(before, check, found),
            }
        )
    frame = pd.DataFrame(
        rows, columns=[name for name in COLUMNS if name not in ("status", "share", "change")]
    )
    frame["share"] = (frame["rows"] / frame["judged"].where(frame["judged"] > 0)).astype(float)
    frame["change"] = frame["rows"] - frame["previous_rows"]
    tolerance = pd.Series([check.tolerance for check in found.checks], index=frame.index, dtype=float)
    raised = (frame["rows"] > 0) & ~(frame["share"] <= tolerance)
    frame["status"] = raised.map({True: RAISED, False: CLEAR}).where(frame["reason"] == "", NOT_CHECKED)
    order = frame.assign(
        s=frame["status"].map({RAISED: 0, CLEAR: 1, NOT_CHECKED: 2}),
        v=frame["severity"].map({name: place for place, name in enumerate(SEVERITIES)}),
    ).sort_values(["s", "v", "amount", "rows", "check_id"], ascending=[True, True, False, False, True])
    result = frame.loc[order.index, COLUMNS].reset_index(drop=True)
    for severity in ("error", "warning"):
        said = result[(result["status"] == RAISED) & (result["severity"] == severity)]
        result.attrs[f"{severity}s"] = [_sentence(row) for row in said.itertuples()]
    result.attrs["previous"] = day.isoformat() if day else None
    return result


def _counted(mine: pd.DataFrame | None, named: str) -> dict[str, Any]:
    if mine is None:
        return {"rows": 0, "deals": 0, "amount": 0.0, "owners": 0, "most": ""}
    once = mine.drop_duplicates(["table", "record_id"])
    owners = once.loc[once["owner_id"].notna(), named].value_counts(sort=True)
    owners = (
        owners.rename_axis("who").reset_index(name="n").sort_values(["n", "who"], ascending=[False, True])
    )
    most = [f"{row.who} ({row.n})" for row in owners.head(OWNERS_NAMED).itertuples()]
    return {
        "rows": len(once),
        "deals": int(once["is_counted"].sum()),
        "amount": float(once["amount"].sum()),
        "owners": len(owners),
        "most": ", ".join(most),
    }


def _before(data: Sources, earlier: ir.Table | None) -> tuple[Findings | None, dt.date | None]:
    """What the checks of deals find in the newest earlier snapshot."""
    days = known_days(earlier, data.as_of)
    if earlier is None or not days:
        return None, None
    return find_in_deals(sources_of(earlier, days[-1], data)), days[-1]


def known_days(earlier: ir.Table | None, as_of: dt.date) -> list[dt.date]:
    """The last days that earlier snapshots knew, before ``as_of``."""
    if earlier is None:
        return []
    days = collect(earlier.select("known_date").distinct())["known_date"]
    return [day for day in sorted(pd.Timestamp(value).date() for value in days) if day < as_of]


def sources_of(earlier: ir.Table, day: dt.date, data: Sources) -> Sources:
    """The sources of the checks of deals as a snapshot knew them on its last day."""
    rows = with_marks(earlier.filter(earlier.known_date == ibis.literal(day)).drop("known_date"), data.period)
    return Sources(
        rows, data.states, day, data.period, data.settings, data.policy, data.stages, None, data.accounts,
        None, data.reps, data.reference,
    )  # fmt: skip


def _previous(before: Findings | None, check: Check, now: Findings) -> float:
    looks_further = check.builtin in BUILTINS and BUILTINS[check.builtin].reads_flags
    if before is None or looks_further or check.id not in before.judged or check.id not in now.judged:
        return float("nan")
    mine = before.records[before.records["check_id"] == check.id]
    return float(mine["record_id"].nunique())


def _sentence(row: Any) -> str:
    """A raised check in one sentence."""
    text = ngettext("{title}: {n} record", "{title}: {n} records", row.rows)
    return text.format(title=_(row.title), n=f"{row.rows:,}")
