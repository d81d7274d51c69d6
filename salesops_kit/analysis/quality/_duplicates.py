"""Accounts and leads that were entered twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._findings import known_by, with_deals
from salesops_kit.analysis.quality._pairs import account_pairs, lead_pairs
from salesops_kit.analysis.quality._sources import sources
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, NotAvailableError, Problem
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.policy.builtin import BUILTINS
from salesops_kit.policy.model import Policy
from salesops_kit.registry import table
from salesops_kit.settings import Settings

COLUMNS = ["table", "record_id", "name", "keep_id", "keep_name", "similarity", "why", "amount"]


@table(units={"amount": "money", "similarity": "rate"})
def duplicates(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    leads: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    policy: Policy,
    of: Literal["accounts", "leads"] = "accounts",
    least: float = 0.0,
    top: int = 1000,
) -> pd.DataFrame:
    """Records that are probably one: each with the older record to keep.

    One row per record to be merged. Accounts are alike when their names are, without forms of
    incorporation, signs and case, with the same numbers in them, in the same country where both are known,
    and neither the other's parent; leads when they share an e-mail address, or when both the person's
    name and the company's are alike and one address at least is not known. ``similarity`` (0-1) is at
    least ``least`` (0 takes the check's own threshold), ``why`` says what is shared. ``amount`` (base
    currency) is that of the record's own deals,
    open at the end of ``as_of`` or booked in the period; for leads, which have none, 0, with the
    ``owner_id``. The most alike first, at most ``top`` rows, a note counting the others. Names are compared
    within blocks, so that two that share neither their first nor last letters nor their longest word are
    not found.

    Raises :class:`NotAvailableError` where the data has no names, :class:`InputError` for a ``least``
    outside 0-1 or a ``top`` below 1.
    """
    wrong = [
        Problem("a number out of range", column=name, expected=expected, got=str(value))
        for name, value, expected, fits in (
            ("least", least, "0 to 1", 0 <= least <= 1),
            ("top", top, "1 or more", top >= 1),
        )
        if not fits
    ]
    if wrong:
        raise InputError(wrong)
    source = accounts if of == "accounts" else leads
    if source is None or "name" not in source.columns:
        raise NotAvailableError(_("The data has no {columns}.").format(columns=of))
    data = sources(
        opportunity_states, opportunities, as_of=as_of, period=period, settings=settings, policy=policy
    )
    rows = known_by(source, data)
    limits = _thresholds(policy, of)
    alike = least or limits["similarity"]
    if of == "accounts":
        pairs = with_deals(account_pairs(rows, alike), data)
        columns = COLUMNS
    else:
        pairs = lead_pairs(rows, alike, email_decides=bool(limits["email_decides"])).assign(amount=0.0)
        columns = [*COLUMNS, "owner_id"] if "owner_id" in rows.columns else COLUMNS
        if "owner_id" in rows.columns:
            owners = collect(rows.select("lead_id", "owner_id")).set_index("lead_id")["owner_id"]
            pairs["owner_id"] = pairs["record_id"].map(owners)
    frame = pairs.assign(table=of, why=[_(why) for why in pairs["why"]])
    frame = frame.sort_values(["similarity", "amount", "record_id"], ascending=[False, False, True])
    result = with_rep_names(frame[columns].head(top).reset_index(drop=True), reps)
    result.attrs["empty"] = _("No record was entered twice.")
    hidden = len(frame) - len(result)
    if hidden > 0:
        text = ngettext("{count} more is not listed.", "{count} more are not listed.", hidden)
        result.attrs["notes"] = [text.format(count=hidden)]
    return result


def _thresholds(policy: Policy, of: str) -> Mapping[str, float]:
    """What the company's own check asks for, else the kit's."""
    name = f"duplicate_{of}"
    own = [check.thresholds for check in policy.checks if check.builtin == name]
    return {**BUILTINS[name].thresholds, **(own[0] if own else {})}
