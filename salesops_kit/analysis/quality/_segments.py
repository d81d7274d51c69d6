"""The company's segments: what they mean, and what is in them."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.states import is_open, known_states
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.policy.model import Condition, Policy
from salesops_kit.registry import table

COLUMNS = ["segment", "means", "rule", "accounts", "open_deals", "open_amount", "won_deals", "bookings"]


@table(
    units={
        "accounts": "accounts",
        **dict.fromkeys(["open_deals", "won_deals"], "deals"),
        **dict.fromkeys(["open_amount", "bookings"], "money"),
    }
)
def segments(
    opportunity_states: ir.Table,
    opportunities: ir.Table,
    accounts: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    policy: Policy,
) -> pd.DataFrame:
    """The segments of the accounts, in the order of the rules, with their deals.

    One row per segment that is defined or that an account has; those without a rule follow by name, deals
    without an account or segment last under ``(none)``. ``rule`` is the rule as written. ``accounts``
    counts the accounts at hand; ``open_deals`` and ``open_amount`` (base currency) are open at the end of
    ``as_of``, ``won_deals`` and ``bookings`` have a close date in the period. Raises
    :class:`NotAvailableError` where accounts have no segment and no rule gives them one.
    """
    if "segment" not in accounts.columns:
        raise NotAvailableError(_("The data has no {columns}.").format(columns="segment"))
    known = known_states(opportunity_states, as_of)
    known = known.filter(is_open(known) | is_booked(known, period))
    deals = opportunities.select(deal_id="opportunity_id", of_account="account_id")
    groups = accounts.select(account_key="account_id", segment="segment")
    rows = known.left_join(deals, known.opportunity_id == deals.deal_id)
    rows = rows.left_join(groups, rows.of_account == groups.account_key)
    opened, booked = is_open(rows), is_booked(rows, period)
    sums = rows.group_by("segment").aggregate(
        open_deals=opened.cast("int32").sum(),
        open_amount=rows.amount.sum(where=opened).cast("float64"),
        won_deals=booked.cast("int32").sum(),
        bookings=rows.amount.sum(where=booked).cast("float64"),
    )
    sizes = collect(accounts.group_by("segment").aggregate(accounts=accounts.count()))
    frame = collect(sums).merge(sizes, on="segment", how="outer", validate="one_to_one")
    rules = policy.segments
    named = [rule.segment for rule in rules.segments]
    absent = [name for name in named if name not in set(frame["segment"])]
    frame = pd.concat([frame, pd.DataFrame({"segment": absent})], ignore_index=True)
    means = {rule.segment: rule.means for rule in rules.segments}
    written = {
        rule.segment: "; ".join(
            [*map(_condition, rule.where), *([_("listed accounts")] if rule.accounts else [])]
        )
        for rule in rules.segments
    }
    place = {name: number for number, name in enumerate(named)}
    frame["order"] = [len(place) if s not in place else place[s] for s in frame["segment"]]
    frame["last"] = frame["segment"].isna()
    frame = frame.sort_values(["last", "order", "segment"], ignore_index=True)
    frame["means"] = [means.get(s, "") for s in frame["segment"]]
    frame["rule"] = [written.get(s, "") for s in frame["segment"]]
    frame["segment"] = frame["segment"].astype(object).where(frame["segment"].notna(), _("(none)"))
    numbers = dict.fromkeys(COLUMNS[3:], 0.0)
    frame = frame.fillna(numbers).astype(dict.fromkeys(["accounts", "open_deals", "won_deals"], "int64"))
    return frame[COLUMNS].astype(dict.fromkeys(["open_amount", "bookings"], float))


def _condition(condition: Condition) -> str:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return " ".join([condition.column, condition.operator.replace("_", " "), ", ".join(values)]).strip()
