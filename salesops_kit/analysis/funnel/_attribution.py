"""Which channel, campaign or source brought leads, pipeline and won amount, by three models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._cohort_periods import end_of_day
from salesops_kit.data.as_of import midnight
from salesops_kit.data.engine import collect, shared
from salesops_kit.errors import InputError, NotAvailableError, Problem
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.outcomes import is_booked
from salesops_kit.estimators.states import falls_in, is_true, known_states
from salesops_kit.estimators.waterfall import exact
from salesops_kit.language import _, ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

By = Literal["channel", "campaign", "source"]
MODELS = ("first", "last", "linear")
_MEASURES = ("leads", "deals", "pipeline", "won")
_COLUMNS = [f"{measure}_{model}" for measure in _MEASURES for model in MODELS]
_UNITS = dict(zip(_MEASURES, ("leads", "deals", "money", "money"), strict=True))
_TOUCH = ("occurred_at", "lead_id", "account_id", "channel", "campaign")
_CENTS = 100


@table(units={name: _UNITS[name.partition("_")[0]] for name in _COLUMNS})
def attribution(
    opportunity_states: ir.Table,
    touches: ir.Table,
    opportunities: ir.Table | None,
    leads: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: By = "channel",
) -> pd.DataFrame:
    """Leads, deals, pipeline and won amount by what brought them: first touch, last touch and linear.

    One row per ``channel`` or ``campaign`` of the touches, or ``source`` of the lead that was touched, the
    largest linear pipeline first. ``leads``: leads converted in the period, which their own touches up to
    the conversion brought. ``deals`` and ``pipeline`` (amount, base currency): deals created in the period,
    as they stand at the end of ``as_of``. ``won``: amount of the bookings of the period, whenever created,
    so that it ties to the bookings headline. A deal is brought by the touches of the leads that became it
    and by those of its account that name no lead, up to the instant of its creation. Later touches never
    count.

    ``_first`` credits all to the first touch, ``_last`` to the last, ``_linear`` to each alike. Touches
    of one instant are ordered by lead, account, channel and campaign. The columns of a measure have the
    same total, money to the cent: cells are rounded to cents by largest remainder. What no touch
    brought is the row ``(unattributed)``; a touch without channel, campaign or source is ``(none)``.

    A deal without amount counts 0 money and is noted. Without leads the touches of accounts alone count
    and the ``leads`` columns are missing. In a team's rows, a lead of another team brings nothing. Raises
    :class:`NotAvailableError` where the deals have no creation instant, :class:`InputError` where a lead or
    deal occurs twice.
    """
    if opportunities is None or "created_at" not in opportunities.columns:
        raise NotAvailableError(_("Attribution needs the instant at which each deal was created."))
    if by == "source" and leads is None:
        raise NotAvailableError(_("Attribution to sources needs the leads."))
    if leads is not None:
        _assert_unique(leads, "leads", "lead_id")
    deals = shared(_deals(opportunity_states, opportunities, as_of, period))
    found = _credits(deals, _touches_of_deals(deals, touches, leads, by), ("deals", "pipeline", "won"))
    unknown_amount = int(found.pop("unknown").sum())
    if leads is not None:
        converted = _converted(leads, as_of, period, settings)
        of_leads = _touches_of_leads(touches, leads, by)
        of_leads = of_leads.mutate(unit_id=of_leads.lead_id)
        counted = _credits(converted, of_leads, ("leads",)).drop(columns="unknown")
        found = found.merge(counted, on=["is_touch", "value"], how="outer", validate="one_to_one")
    result = _finished(
        found.reindex(columns=["is_touch", "value", *_COLUMNS]), by, has_leads=leads is not None
    )
    result.attrs["notes"] = _notes(unknown_amount, has_leads=leads is not None)
    return result


def _assert_unique(rows: ir.Table, name: str, key: str) -> None:
    counts = collect(rows.aggregate(rows=rows.count(), keys=rows[key].nunique())).iloc[0]
    if repeated := int(counts["rows"] - counts["keys"]):
        raise InputError(Problem("a key occurs twice or is missing", file=name, column=key, count=repeated))


def _deals(states: ir.Table, opportunities: ir.Table, as_of: dt.date, period: Period | None) -> ir.Table:
    """The deals created or booked in the period: what is credited, and until which instant."""
    columns = ["created_at", "created_date", "account_id"]
    present = [name for name in columns if name in opportunities.columns]
    known, read = known_states(states, as_of), ["close_date", "is_closed", "is_won", "amount"]
    rows = join_dimensions(known, (), {"opportunities": opportunities}, present, only=read)
    is_new = falls_in(rows.created_date, period) if "created_date" in present else ibis.literal(value=False)
    is_won = is_booked(rows, period)
    kept = rows.select(
        unit_id=rows.opportunity_id,
        account_id=rows.account_id if "account_id" in present else ibis.null("string"),
        event_at=rows.created_at,
        deals=is_new.cast("int32"),
        pipeline=ibis.cases((is_new, rows.amount)),
        won=ibis.cases((is_won, rows.amount)),
        unknown=((is_new | is_won) & rows.amount.isnull()).cast("int32"),
        is_wanted=is_new | is_won,
    )
    return kept.filter(kept.is_wanted).drop("is_wanted")


def _converted(leads: ir.Table, as_of: dt.date, period: Period | None, settings: Settings) -> ir.Table:
    """The leads converted in the period, as far as they are known."""
    known = leads.converted_at < ibis.literal(end_of_day(as_of, settings.zone))
    if period is not None:
        start, end = midnight(period.start, settings.zone), midnight(period.end, settings.zone)
        known &= (leads.converted_at >= ibis.literal(start)) & (leads.converted_at < ibis.literal(end))
    kept = leads.filter(is_true(known))
    one = ibis.literal(1, "int64")
    return kept.select(unit_id=kept.lead_id, event_at=kept.converted_at, leads=one, unknown=one - 1)


def _touches_of_leads(touches: ir.Table, leads: ir.Table, by: By) -> ir.Table:
    """The touches that name a lead, with the deal that the lead became."""
    source = {"source": leads.source} if by == "source" else {}
    owners = leads.select("lead_id", joined_deal="opportunity_id", **source)
    joined = touches.inner_join(owners, "lead_id")
    return joined.select(*_TOUCH, joined_deal=joined.joined_deal, value=joined[by])


def _touches_of_deals(deals: ir.Table, touches: ir.Table, leads: ir.Table | None, by: By) -> ir.Table:
    """The touches of each deal: those of its leads, and those of its account that name no lead."""
    of_account = touches.filter(touches.lead_id.isnull() & touches.account_id.notnull())
    owners = deals.filter(deals.account_id.notnull()).select("unit_id", deal_account="account_id")
    joined = of_account.inner_join(owners, of_account.account_id == owners.deal_account)
    value = ibis.null("string") if by == "source" else joined[by]
    found = joined.select("unit_id", *_TOUCH, value=value)
    if leads is None:
        return found
    of_leads = _touches_of_leads(touches, leads, by)
    of_leads = of_leads.filter(of_leads.joined_deal.notnull())
    return found.union(of_leads.select(*_TOUCH, "value", unit_id="joined_deal").select(*found.columns))


def _credits(units: ir.Table, touched: ir.Table, measures: Sequence[str]) -> pd.DataFrame:
    """The measures of the units by what brought them: per value a column for each measure and model."""
    events = units.select("unit_id", "event_at")
    before = touched.inner_join(events, "unit_id")
    before = before.filter(before.occurred_at <= before.event_at)
    order = [before.occurred_at, *(before[name].fill_null("") for name in _TOUCH[1:])]
    one_unit = ibis.window(group_by=before.unit_id)
    ranked = before.select(
        touched_id=before.unit_id,
        value=before["value"],
        place=ibis.row_number().over(ibis.window(group_by=before.unit_id, order_by=order)) + 1,
        touches=before.count().over(one_unit),
    )
    rows = units.left_join(ranked, units.unit_id == ranked.touched_id)
    # Where there is no touch all three models credit the same: nothing, as if it were one touch.
    grouped = rows.group_by(
        is_touch=rows.touched_id.notnull(),
        value=rows["value"],
        is_first=ibis.coalesce(rows.place, 1) == 1,
        is_last=ibis.coalesce(rows.touches - rows.place, 0) == 0,
        touches=ibis.coalesce(rows.touches, 1),
    ).aggregate(**{name: rows[name].sum() for name in ("unknown", *measures)})
    # pandas 3.1 cannot merge on text columns that Arrow holds without any chunk.
    found = collect(grouped).astype({"value": object})
    result = found[["is_touch", "value"]].assign(unknown=found["unknown"].where(found["is_first"], 0))
    for measure in measures:
        amounts = found[measure].map(exact)
        result[f"{measure}_first"] = amounts.where(found["is_first"], Decimal(0))
        result[f"{measure}_last"] = amounts.where(found["is_last"], Decimal(0))
        result[f"{measure}_linear"] = amounts.astype(float) / found["touches"]
    summed = result.groupby(["is_touch", "value"], as_index=False, dropna=False).sum()
    # Where no touch has one, a column of nothing but missing texts is taken for numbers.
    return summed.astype({"value": object})


def _finished(found: pd.DataFrame, by: By, *, has_leads: bool) -> pd.DataFrame:
    """The table with its labels: money in cents that add up, what nothing brought in the last row."""
    result = found.copy()
    values = result.pop("value").astype(object)
    is_touch = result.pop("is_touch").astype(bool)
    if not has_leads:
        result[[f"leads_{model}" for model in MODELS]] = np.nan
    else:
        result[_COLUMNS] = result[_COLUMNS].fillna(0)
    for measure in ("pipeline", "won"):
        total = sum((exact(value) for value in result[f"{measure}_first"]), Decimal(0))
        for model in MODELS:
            result[f"{measure}_{model}"] = in_cents(result[f"{measure}_{model}"].astype(float), total)
    labels = values.mask(values.isna(), _("(none)")).mask(~is_touch, _("(unattributed)"))
    result.insert(0, by, labels)
    ordered = result.assign(is_last=~is_touch, most=-result["pipeline_linear"])
    ordered = ordered.sort_values(["is_last", "most", by], ignore_index=True)[[by, *_COLUMNS]]
    return ordered.astype(dict.fromkeys(_COLUMNS, float))


def in_cents(amounts: pd.Series, total: Decimal) -> np.ndarray:
    """Amounts rounded to cents so that they add up to the total, rounded half up: largest remainder.

    >>> in_cents(pd.Series([33.3333, 33.3333, 33.3333]), Decimal(100)).tolist()
    [33.34, 33.33, 33.33]
    """
    wanted = int((total * _CENTS).quantize(Decimal(1), ROUND_HALF_UP))
    cents = amounts.to_numpy(float) * _CENTS
    # A share that is a whole number of cents must not lose one to the last bit.
    whole = np.floor(cents + 1e-6)
    missing = wanted - int(whole.sum())
    order = np.argsort(-(cents - whole), kind="stable")
    step = 1 if missing >= 0 else -1
    chosen = order if step > 0 else order[::-1]
    for turn in range(abs(missing)):
        whole[chosen[turn % len(chosen)]] += step
    return whole / _CENTS


def _notes(unknown_amount: int, *, has_leads: bool) -> list[str]:
    notes = []
    if unknown_amount:
        text = ngettext(
            "{count} deal has no amount and adds nothing to the money.",
            "{count} deals have no amount and add nothing to the money.",
            unknown_amount,
        )
        notes.append(text.format(count=unknown_amount))
    if not has_leads:
        notes.append(_("The data has no leads, so that only touches that name an account count."))
    return notes
