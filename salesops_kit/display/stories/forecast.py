"""The forecast's exhibits: where the quarter lands, what moved it, and which deals it hangs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.narrative import Exhibit, of_plan, ranged
from salesops_kit.display.stories._amounts import currency_of, money_of
from salesops_kit.display.stories._parts import share_of_parts
from salesops_kit.display.stories.forecast_trust import (
    basis,
    calibration,
    calls,
    commit_bias,
    methods,
    misses,
    scoreboard,
)
from salesops_kit.language import _, ngettext
from salesops_kit.settings import COMPANY

__all__ = [
    "basis",
    "calibration",
    "calls",
    "changes",
    "commit_bias",
    "deals",
    "methods",
    "misses",
    "moved_by",
    "parts",
    "quarters",
    "scenario",
    "scoreboard",
    "weeks",
]
_FAN = {"low": "p10", "inner_low": "p25", "median": "p50", "inner_high": "p75", "high": "p90"}
_SHOWN = ("period", "actual", "likely", "low", "high", "target")
UNLIKELY = 0.2


def quarters(frame: pd.DataFrame) -> Exhibit:
    """Past bookings, this quarter's forecast and the next one's, from ``forecast.quarters``."""
    show = money_of(frame)
    coming = frame[frame["likely"].notna()]
    told = [_landing(row, show) for row in coming.to_dict("records")]
    ended = frame[frame["actual"].notna()]
    if coming.empty:
        message = _("Nothing can be forecast yet: no deal is open and no earlier quarter is known.")
    else:
        message = " ".join(told)
    alternative = _("Bookings by quarter, {actuals}; then the forecast. {forecast}").format(
        actuals="; ".join(f"{row.period} {show(row.actual)}" for row in ended.itertuples()) or _("none yet"),
        forecast=message,
    )
    return Exhibit(message, _fan(frame), _SHOWN, alternative)


def _fan(frame: pd.DataFrame) -> Figure:
    return charts.fan(frame.rename(columns=_FAN), currency=currency_of(frame))


def _landing(row: dict[Any, Any], show: Callable[[Any], str]) -> str:
    text = _("{period} is likely to land at {likely}")
    if ranged(row["low"], row["high"], show):
        text = _("{period} is likely to land at {likely}, eight times in ten between {low} and {high}")
    elif show(row["likely"]) == show(0):
        text = _("Nothing is likely to be booked in {period}")
    told = text.format(
        period=row["period"], likely=show(row["likely"]), low=show(row["low"]), high=show(row["high"])
    )
    plan = of_plan(row["likely"], row["target"], show)
    return f"{told}: {plan}." if plan else f"{told}."


def weeks(frame: pd.DataFrame) -> Exhibit:
    """Bookings week by week and where the coming weeks are likely to stand, from ``forecast.weeks``."""
    show = money_of(frame)
    seen, last = frame[frame["actual"].notna()], frame.iloc[-1]
    booked = float(seen["actual"].iloc[-1]) if len(seen) else 0.0
    begin = _("{booked} is booked by week {week}")
    if show(booked) == show(0):
        begin = _("Nothing is booked by week {week}")
    message = begin.format(booked=show(booked), week=formats.count(max(len(seen), 1)))
    if not formats.is_missing(last["likely"]):
        rest = float(last["likely"]) - booked
        text = _("{begin}; {rest} more is likely by the end of week {last}")
        if show(rest) == show(0):
            text = _("{begin}; nothing more is likely by the end of week {last}")
        message = text.format(begin=message, rest=show(rest), last=last["period"])
    return Exhibit(message + ".", _fan(frame), _SHOWN)


def parts(frame: pd.DataFrame) -> Exhibit:
    """The forecast by team or rep, from ``forecast.outlook``."""
    show = money_of(frame)
    part = "rep_name" if "rep_name" in frame else "owner_id" if "owner_id" in frame else "team"
    now = frame[frame["period"] == frame["period"].iloc[0]]
    now = now[now[part] != COMPANY] if part == "team" else now
    now = now.sort_values(["mean", part], ascending=[False, True], kind="stable")
    table = now[[part, "booked", "open_deals", "create_and_close"]].rename(
        columns={"open_deals": "expected_open", "create_and_close": "expected_later"}
    )
    goal = "target" if part == "team" else "quota"
    table["likely"] = now["mean"]
    table["between"] = [ranged(low, high, show) for low, high in zip(now["p10"], now["p90"], strict=True)]
    table[goal], table["gap"], table["target_chance"] = now["target"], now["gap"], now["chance_of_target"]
    if now["target"].isna().all():
        table = table.drop(columns=[goal, "gap", "target_chance"])
    table = table.reset_index(drop=True)
    notes = list(dict.fromkeys(text for text in now["reason"] if text)) if len(now) == 1 else []
    table.attrs = {**frame.attrs, "notes": notes}
    units = dict.fromkeys(["booked", "expected_open", "expected_later", "likely", goal, "gap"], "money")
    likely = show(float(now["mean"].sum()))
    message = _("The parts add up to {likely}.")
    if likely == show(0):
        message = _("Nothing is likely to be booked.")
    elif len(now) == 1:
        message = _("{name} is likely to land at {likely}.")
    message = message.format(likely=likely, name=formats.text(now[part].iloc[0]))
    judged = now["chance_of_target"].dropna()
    behind = int((judged < UNLIKELY).sum())
    if behind:
        text = _("For {parts} the plan is out of reach in four outcomes of five.")
        if part != "team":
            text = _("For {parts} the quota is out of reach in four outcomes of five.")
        message += " " + text.format(parts=share_of_parts(part, behind, len(judged)))
    return Exhibit(message, table=table, units={**units, "target_chance": "share"})


def changes(frame: pd.DataFrame) -> Exhibit:
    """The bridge from the earlier forecast to this one, from ``forecast.changes`` by kind."""
    show, day = money_of(frame), formats.date(frame.attrs["since"])
    names = {
        "opening": day,
        "won": _("Won"),
        "new": _("New deals"),
        "rose": _("Open, rose"),
        "fell": _("Open, fell"),
        "lost": _("Lost or left"),
        "create_and_close": _("Create-and-close"),
        "closing": _("Now"),
    }
    whole = frame[frame["kind"] == "all"].iloc[0]
    steps = frame.loc[~frame["kind"].isin(["all", "unchanged"]), ["kind", "change"]].set_axis(
        ["step", "amount"], axis=1
    )
    ends = pd.DataFrame({"step": ["opening", "closing"], "amount": [whole["before"], whole["after"]]})
    steps = pd.concat([ends.head(1), steps, ends.tail(1)], ignore_index=True)
    change = float(whole["change"])
    begin = _("The forecast is {amount} higher than on {day}.")
    if change < 0:
        begin = _("The forecast is {amount} lower than on {day}.")
    if show(change) == show(0):
        begin = _("The forecast is what it was on {day}.")
    message = begin.format(amount=show(abs(change)), day=day)
    told = "; ".join(f"{names[row.step]} {show(row.amount)}" for row in steps.itertuples())
    names |= {"unchanged": _("Unchanged"), "all": _("All together")}
    table = frame.assign(kind=[names.get(str(kind), kind) for kind in frame["kind"]])
    table.attrs = dict(frame.attrs)
    return Exhibit(
        message,
        charts.waterfall(steps, currency=currency_of(frame), labels=names),
        ("kind", "deals", "before", "after", "change"),
        _("A bridge of bars from the earlier forecast to this one: {steps}.").format(steps=told),
        table=table,
    )


def moved_by(frame: pd.DataFrame) -> Exhibit:
    """The deals that moved the forecast most, from ``forecast.changes`` by deal."""
    kinds = {"won": _("won"), "new": _("new"), "lost": _("lost or left"), "reassessed": _("still open")}
    rows = frame[frame["opportunity_id"].notna()]
    if rows.empty:
        return Exhibit(_("No deal moved it."), is_text=True)
    table = pd.DataFrame({"name": rows["name"].where(rows["name"].notna(), rows["opportunity_id"])})
    table["now"] = [kinds.get(str(kind), str(kind)) for kind in rows["kind"]]
    table["before"], table["after"], table["effect"] = rows["before"], rows["after"], rows["change"]
    table.attrs = dict(frame.attrs)
    message = _("No deal moved it more than {name}: {amount}.").format(
        name=formats.text(table["name"].iloc[0]),
        amount=formats.money(rows["change"].iloc[0], currency_of(frame), signed=True),
    )
    return Exhibit(message, table=table, units=dict.fromkeys(["before", "after", "effect"], "money"))


def deals(frame: pd.DataFrame) -> Exhibit:
    """The open deals that the landing hangs on, from ``forecast.deals``."""
    show = money_of(frame)
    who = "rep_name" if "rep_name" in frame else "owner_id"
    table = frame[["name", who, "stage", "amount"]].copy()
    table["name"] = frame["name"].where(frame["name"].notna(), frame["opportunity_id"])
    table["close_date"] = frame["close_date"]
    table["probability"], table["share"] = frame["chance"], frame["variance_share"]
    units = {"amount": "money", "close_date": "date", "probability": "share", "share": "share"}
    if frame["days_to_next_step"].notna().any():
        table["next_step"] = [_step(value) for value in frame["days_to_next_step"]]
    table.attrs = dict(frame.attrs)
    if not frame["chance"].gt(0).any():
        message = _("The quarter is over; these deals are open beyond it.")
        return Exhibit(message, table=table.drop(columns=["probability", "share"]), units=units)
    first = table.iloc[0]
    message = ngettext(
        "Whether {name} ({amount}) is won is {share} of what is uncertain about open deals.",
        "Whether {name} ({amount}) is won is {share} of what is uncertain about open deals; these {n} "
        "together are {together}.",
        len(table),
    ).format(
        name=formats.text(first["name"]),
        amount=show(first["amount"]),
        share=formats.percent(first["share"]),
        n=formats.count(len(table)),
        together=formats.percent(min(float(table["share"].sum()), 1.0)),
    )
    return Exhibit(message, table=table, units=units)


def _step(days: Any) -> str:
    if formats.is_missing(days):
        return _("none")
    if days < 0:
        return _("{days} late").format(days=formats.days(-days))
    return _("in {days}").format(days=formats.days(days)) if days else _("today")


def scenario(frame: pd.DataFrame) -> Exhibit:
    """The forecast as it is and as it would be under assumptions, from ``forecast.scenario``."""
    show = money_of(frame)
    names = {"current": _("As it is"), "scenario": _("As assumed"), "difference": _("Difference")}
    rows = frame.set_index("case")
    table = pd.DataFrame({"case": [names[str(case)] for case in frame["case"]]})
    table["likely"] = frame["mean"].to_numpy()
    table["between"] = [
        "" if case == "difference" else ranged(low, high, show)
        for case, low, high in zip(frame["case"], frame["p10"], frame["p90"], strict=True)
    ]
    table["booked"] = frame["booked"].to_numpy()
    table["expected_open"] = frame["open_deals"].to_numpy()
    table["expected_later"] = frame["create_and_close"].to_numpy()
    table.attrs = dict(frame.attrs)
    change = float(rows.loc["difference", "mean"])
    text = _("{assumed}, {period} would land {amount} above where it is likely to land as it is.")
    if change < 0:
        text = _("{assumed}, {period} would land {amount} below where it is likely to land as it is.")
    if show(change) == show(0):
        text = _("{assumed}, {period} would land where it is likely to land as it is.")
    message = text.format(
        assumed=_assumed(frame),
        period=frame["period"].iloc[0],
        amount=show(abs(change)),
    )
    units = dict.fromkeys(["likely", "booked", "expected_open", "expected_later"], "money")
    return Exhibit(message, table=table, units=units)


def _assumed(frame: pd.DataFrame) -> str:
    options = frame.attrs.get("options", {})
    told = []
    factor = float(options.get("win_rate_factor", 1.0))
    if factor != 1:
        told.append(_("every chance times {factor}").format(factor=formats.number(factor, 2)))
    if options.get("delay_days"):
        told.append(_("deals closing {days} later").format(days=formats.days(options["delay_days"])))
    if options.get("hires"):
        n = int(options["hires"])
        told.append(ngettext("{n} new rep", "{n} new reps", n).format(n=formats.count(n)))
    for name, words in (("won", _("won: {deals}")), ("lost", _("lost: {deals}"))):
        if options.get(name):
            told.append(words.format(deals=formats.text(options[name])))
    return _("With {assumptions}").format(assumptions=formats.listed(told)) if told else _("Without a change")
