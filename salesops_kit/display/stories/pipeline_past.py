"""The pipeline against its own past: what grows old, what slips, and why bookings changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.narrative import Exhibit, with_range
from salesops_kit.display.stories._amounts import currency_of, money_of
from salesops_kit.display.stories._stages import told_apart
from salesops_kit.language import _, ngettext

_TOTALS = ("bookings_before", "bookings_after")


def ageing(frame: pd.DataFrame) -> Exhibit:
    """How many open deals are older than their stage's own past, from ``pipeline.ageing``."""
    frame = told_apart(frame)
    message = _ageing_message(frame, money_of(frame))
    columns = [
        "stage",
        "deals",
        "amount",
        "up_to_p50",
        "p50_to_p75",
        "p75_to_p90",
        "over_p90",
        "over_p90_amount",
    ]
    table = frame[[*columns, "p90"]].rename(columns={"p90": "p90_days"})
    table.attrs = dict(frame.attrs)
    units = dict.fromkeys(["deals", "up_to_p50", "p50_to_p75", "p75_to_p90", "over_p90"], "deals")
    return Exhibit(
        message,
        table=table,
        units={**units, "amount": "money", "over_p90_amount": "money", "p90_days": "days"},
    )


def _ageing_message(frame: pd.DataFrame, show: Callable[[Any], str]) -> str:
    old, judged = int(frame["over_p90"].sum()), int((frame["deals"] - frame["no_benchmark"]).sum())
    if not judged:
        return _("No stage has a past that says which open deals are old.")
    if not old:
        return ngettext(
            "The one open deal that can be judged is no longer in its stage than nine in ten stayed.",
            "None of the {n} open deals that can be judged is in its stage longer than nine in ten stayed.",
            judged,
        ).format(n=formats.count(judged))
    message = ngettext(
        "{old} of {deals} is in its stage longer than nine in ten stayed, {amount} in all",
        "{old} of {deals} are in their stage longer than nine in ten stayed, {amount} in all",
        old,
    ).format(
        old=formats.count(old),
        deals=ngettext("{n} open deal", "{n} open deals", judged).format(n=formats.count(judged)),
        amount=show(frame["over_p90_amount"].sum()),
    )
    # One in ten of a handful is no number of deals.
    if judged >= 10:
        usual = formats.number(judged / 10, 0 if judged >= 100 else 1)
        message += _("; one in ten, {expected}, would be usual").format(expected=usual)
    return message + "."


def bridge(frame: pd.DataFrame) -> Exhibit:
    """Why bookings changed, in four parts, from ``pipeline.bridge``."""
    show = money_of(frame)
    by_step = frame.set_index("step")
    names = {
        "bookings_before": _("Before"),
        "volume": _("Deals in play"),
        "timing": _("Share decided"),
        "win_rate": _("Win rate"),
        "deal_size": _("Deal size"),
        "bookings_after": _("Now"),
    }
    before, after = (float(by_step.loc[step, "amount"]) for step in _TOTALS)
    change = after - before
    begin = _("Bookings are {amount} up.") if change >= 0 else _("Bookings are {amount} down.")
    if show(change) == show(0):
        begin = _("Bookings are what they were, {now}.")
        if show(after) == show(0):
            begin = _("Nothing is booked, as before.")
    parts = by_step.drop(index=list(_TOTALS))
    sure = parts[parts["is_evidence"].astype(bool)]
    message = begin.format(amount=show(abs(change)), now=show(after))
    currency = currency_of(frame)
    if len(sure):
        told = [
            _("{name} {amount}").format(
                name=names[str(step)],
                amount=with_range(
                    row["amount"],
                    row["low"],
                    row["high"],
                    lambda amount: formats.money(amount, currency, signed=True),
                ),
            )
            for step, row in sure.iterrows()
        ]
        message += " " + _("More than chance: {parts}.").format(parts=formats.listed(told))
    elif parts["amount"].abs().max() > 0:
        message += " " + _("No part of the change is more than chance.")
    drawn = frame.assign(step=frame["step"].replace(dict(zip(_TOTALS, ("opening", "closing"), strict=True))))
    picture = charts.waterfall(
        drawn,
        currency=currency,
        labels={**names, "opening": names["bookings_before"], "closing": names["bookings_after"]},
    )
    told = [f"{name} {show(by_step.loc[step, 'amount'])}" for step, name in names.items()]
    alternative = _("A bridge of bars from the bookings before to those now: {steps}.").format(
        steps="; ".join(told)
    )
    columns = ("step", "amount", "low", "high", "factor_before", "factor_after", "n_before", "n_after")
    table = frame.assign(step=[names.get(str(step), step) for step in frame["step"]])
    table.attrs = dict(frame.attrs)
    return Exhibit(message, picture, columns, alternative, table=table)


def slippage(frame: pd.DataFrame) -> Exhibit:
    """How much of what was due moved out, quarter by quarter, from ``pipeline.slippage``."""
    now, past = frame.iloc[-1], frame.iloc[:-1]["slippage"].dropna()
    if formats.is_missing(now["slippage"]):
        message = _("Nothing was due when the quarter opened")
    elif not now["slippage"]:
        message = _("Nothing of the {amount} that was due when the quarter opened has moved out of it")
    else:
        message = _("{share} of the {amount} that was due when the quarter opened has moved out of it")
    due = money_of(frame)(now["due_amount"])
    message = message.format(share=formats.percent(now["slippage"]), amount=due)
    if len(past):
        message += ngettext(
            "; of what was due in the quarter before, {range} moved out",
            "; of what was due in the {n} quarters before, {range} moved out",
            len(past),
        ).format(
            n=formats.count(len(past)),
            range=formats.interval(past.min(), past.max(), formats.percent) if past.any() else _("nothing"),
        )
    columns = [
        "quarter",
        "due_deals",
        "due_amount",
        "won_amount",
        "lost_amount",
        "moved_out_amount",
        "slippage",
    ]
    table = frame[[name for name in columns if name in frame]].iloc[::-1].reset_index(drop=True)
    table.attrs = dict(frame.attrs)
    units = dict.fromkeys(["due_amount", "won_amount", "lost_amount", "moved_out_amount"], "money")
    return Exhibit(message + ".", table=table, units={**units, "due_deals": "deals", "slippage": "share"})
