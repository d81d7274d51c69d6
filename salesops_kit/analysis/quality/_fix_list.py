"""What is to be mended, record by record, and who can do it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import Findings, find, with_owners
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.errors import InputError, Problem
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = [
    "owner_id", "team", "table", "record_id", "name", "field", "problem", "check_id", "severity", "value",
    "suggested", "amount",
]  # fmt: skip
LISTED = {"error": ("error",), "warning": ("error", "warning"), "info": ("error", "warning", "info")}


@table(units={"amount": "money"})
def fix_list(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    exclusions: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
    severity: Literal["error", "warning", "info"] = "warning",
    top: int = 500,
) -> pd.DataFrame:
    """The records to mend: one row per problem, record and field, grouped by owner.

    Owners stand in the order of the money that their records expose, those without an owner last; within
    one, the largest ``amount`` first. ``owner_id`` with ``rep_name``, ``team``, ``table``, ``record_id``,
    ``name``, ``field`` (empty where the record as a whole is meant), ``problem``, ``check_id``,
    ``severity``, ``value`` as it is now (money in base currency), ``suggested`` where one value is
    certain, and ``amount``: what the record puts into the figures of the page (base currency, 0 where it
    is in none). ``severity`` is the least that is listed. At most ``top`` rows; a note says how many more
    there are. Raises :class:`InputError` when ``top`` is below 1.
    """
    if top < 1:
        raise InputError(Problem("a number below 1", column="top", expected="1 or more", got=str(top)))
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, exclusions=exclusions, accounts=accounts, leads=leads, reps=reps, reference=reference,
    )  # fmt: skip
    frame = to_fix(find(data), LISTED[severity])
    hidden = len(frame) - top
    result = with_owners(frame.head(top), reps)
    result.attrs["empty"] = _("Nothing is to be mended.")
    if hidden > 0:
        text = ngettext("{count} more is not listed.", "{count} more are not listed.", hidden)
        result.attrs["notes"] = [text.format(count=hidden)]
    return result


def to_fix(found: Findings, severities: tuple[str, ...]) -> pd.DataFrame:
    """The findings of some severities as rows of the fix list, grouped by owner."""
    kinds = {check.id: check for check in found.checks if check.severity in severities}
    frame = found.records[found.records["check_id"].isin(list(kinds))]
    frame = frame.assign(
        problem=[_(kinds[name].title) for name in frame["check_id"]],
        severity=[kinds[name].severity for name in frame["check_id"]],
    )
    exposed = frame.drop_duplicates(["table", "record_id"]).groupby("owner_id")["amount"].sum()
    frame = frame.assign(
        owned=frame["owner_id"].notna(), exposed=frame["owner_id"].map(exposed).astype(float).fillna(0.0)
    ).sort_values(
        ["owned", "exposed", "owner_id", "amount", "table", "record_id", "check_id", "field"],
        ascending=[False, False, True, False, True, True, True, True],
    )
    frame = frame[COLUMNS].astype(dict.fromkeys(["value", "suggested", "name"], object))
    return frame.where(frame.notna(), None).astype({"amount": float}).reset_index(drop=True)
