"""The pipeline waterfall between any two as-of dates."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._days import between
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.waterfall import waterfall_between
from salesops_kit.periods import DAY, Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings


@table(units={"amount": "money", "deals": "deals"})
def waterfall(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    since: str = "",
    until: str = "",
) -> pd.DataFrame:
    """What moved the open pipeline due in the period between two as-of dates.

    The thirteen lines of ``funnel.waterfall``, to the cent: ``step``, signed ``amount`` (base currency)
    and ``deals``. Opening is the pipeline at the end of ``since``, closing that at the end of ``until``,
    both ISO dates: as of a date means at its end. Empty, ``since`` is the eve of the period (without a
    period, of the fiscal quarter of ``as_of``), which gives ``funnel.waterfall``, and ``until`` is
    ``as_of``. ``pipeline.changes`` lists the same moves deal by deal. The lines of teams sum to the
    company's.

    A line without deals is 0. An unknown amount counts as 0 and is noted. Raises :class:`InputError`
    for a date that is none, lies after ``as_of`` or is out of order, and :class:`SalesOpsError` where the
    lines would not reconcile.

    Raises :class:`NotAvailableError` where the data has no history of close dates since then.
    """
    eve = (period or settings.fiscal.quarter_of(as_of)).start - DAY
    first, last = between(since, until, as_of, lambda _later: eve)
    record.need_changes(first)
    result = waterfall_between(opportunity_states, first + DAY, last, period)
    result.attrs.update(since=first.isoformat(), until=last.isoformat())
    return result
