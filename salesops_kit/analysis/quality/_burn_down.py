"""How the open problems went down, or did not, from snapshot to snapshot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._checks import known_days, sources_of
from salesops_kit.analysis.quality._findings import Findings, find_in_deals
from salesops_kit.analysis.quality._scores import ACTED_UPON
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = ["known_date", "problems", "deals", "amount", "solved", "new"]
KEYS = ["check_id", "record_id", "field"]


@table(units={"problems": "rows", "deals": "deals", "amount": "money", "solved": "rows", "new": "rows"})
def burn_down(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    earlier_deals: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    reference: Mapping[str, Any] | None = None,
    by: Literal["owner_id", "team"] = "owner_id",
) -> pd.DataFrame:
    """The problems of deals that each snapshot of the archive knew, and those of today.

    One row per ``by`` and ``known_date``, the last day that a snapshot knew or ``as_of``, for owners with a
    problem on any of the days. ``problems``: errors and warnings of deals, each record and field once;
    ``deals`` that have them and their ``amount`` (base currency, of deals open on the day or booked in the
    period). ``solved``: problems of the day before that are no more, ``new``: those that were not there;
    missing on the first day. A problem moves with its deal: it counts for the owner of the day. Only checks
    that every day can be asked for are counted, which leaves out what the import flags.
    """
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy,
        stages=stages, accounts=accounts, reps=reps, reference=reference,
    )  # fmt: skip
    found: list[tuple[dt.date, Findings]] = []
    for day in known_days(earlier_deals, as_of):
        assert earlier_deals is not None
        found.append((day, find_in_deals(sources_of(earlier_deals, day, data))))
    found.append((as_of, find_in_deals(data)))
    common = set.intersection(*(set(findings.judged) for _day, findings in found))
    listed = [check.id for check in policy.checks if check.severity in ACTED_UPON and check.id in common]
    days = [(day, _open(findings, listed, by)) for day, findings in found]
    owners = sorted({owner for _day, records in days for owner in records[by]})
    rows = []
    before: set[tuple[str, ...]] | None = None
    before_by: dict[tuple[str, ...], str] = {}
    for day, records in days:
        keys = {tuple(row[:3]): row[3] for row in records[[*KEYS, by]].itertuples(index=False)}
        for owner in owners:
            mine = records[records[by] == owner]
            once = mine.drop_duplicates("record_id")
            rows.append(
                {
                    by: owner,
                    "known_date": day,
                    "problems": len(mine),
                    "deals": len(once),
                    "amount": float(once["amount"].sum()),
                    "solved": _count(before_by, set(keys), owner) if before is not None else float("nan"),
                    "new": _count(keys, before, owner) if before is not None else float("nan"),
                }
            )
        before, before_by = set(keys), keys
    frame = pd.DataFrame(rows, columns=[by, *COLUMNS]).astype(
        {"solved": float, "new": float, "amount": float}
    )
    result = with_rep_names(frame, reps)
    if len(days) == 1:
        result.attrs["notes"] = [_("The archive holds no earlier snapshot to compare with.")]
    return result


def _open(found: Findings, listed: list[str], by: str) -> pd.DataFrame:
    records = found.records[found.records["check_id"].isin(listed)].drop_duplicates(KEYS)
    return records.assign(**{by: records[by].astype(object).where(records[by].notna(), _("(none)"))})


def _count(of: Mapping[tuple[str, ...], str], other: set[tuple[str, ...]] | None, owner: str) -> int:
    return sum(1 for key, who in of.items() if who == owner and key not in (other or set()))
