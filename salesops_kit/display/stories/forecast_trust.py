"""What a forecast's reader may believe: methods compared, past misses, callers' records, what it rests on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.narrative import Exhibit, ranged
from salesops_kit.display.stories._amounts import money_of
from salesops_kit.language import _, ngettext

SHIPPED = "shipped"
MOST_REPS = 25
# The week of the quarter whose misses are told: late enough for a plan, early enough to act.
TOLD_WEEK = 5


def method_names() -> dict[str, str]:
    """The methods of the ladder as readers see them."""
    return {
        "shipped": _("The forecast"),
        "seasonal_naive": _("Same quarter last year"),
        "commit": _("Commit as called"),
        "commit_corrected": _("Commit, corrected"),
        "stage_weighted": _("Stage-weighted pipeline"),
        "conversion": _("Stage and age"),
        "smoothing": _("Season of bookings"),
        "hazard": _("Weekly chances"),
        "boosted": _("Boosted trees"),
        "simulation": _("Simulation"),
    }


def methods(frame: pd.DataFrame) -> Exhibit:
    """How far off each method was, from ``forecast.accuracy`` by week."""
    names = method_names()
    if frame["wape"].isna().all():
        message = _("Past quarters booked nothing, so that no method has a record.")
        return Exhibit(message, is_text=True)
    weeks = sorted(frame["week"].unique())
    told_week = TOLD_WEEK if TOLD_WEEK in weeks else weeks[0]
    by = frame.set_index(["method", "week"])
    order = list(dict.fromkeys(frame["method"]))
    order = [name for name in order if name == SHIPPED] + [name for name in order if name != SHIPPED]
    rows = []
    for name in order:
        mine = frame[frame["method"] == name]
        row: dict[str, Any] = {"method": names.get(name, name)}
        for week in weeks:
            row[f"week_{week}"] = by["wape"].get((name, week))
        row["between"] = _between(mine[mine["week"] == told_week])
        for column in ("bias", "relative_crps", "mase", "coverage_80"):
            row[column] = mine[column].mean()
        rows.append(row)
    table = pd.DataFrame(rows)
    note = _("Between: what the typical miss at week {week} may be, judged by quarters drawn again.")
    notes = [*frame.attrs.get("notes", []), note.format(week=formats.count(told_week))]
    table.attrs = {**frame.attrs, "notes": notes}
    units = {**dict.fromkeys([f"week_{week}" for week in weeks], "share"), "bias": "share",
             "relative_crps": "rate", "mase": "number", "coverage_80": "share"}  # fmt: skip
    return Exhibit(_methods_message(by["wape"], told_week), table=table, units=units)


def _between(rows: pd.DataFrame) -> str:
    """The limits of the typical miss; nothing where it has none."""
    if rows.empty:
        return ""
    return ranged(rows["wape_low"].iloc[0], rows["wape_high"].iloc[0], formats.percent)


def _methods_message(missed: pd.Series, week: int) -> str:
    own = missed.get((SHIPPED, week))
    if formats.is_missing(own):
        return _("No past quarter could be forecast, so that no method has a record yet.")
    message = _("At week {week} the forecast's typical miss was {own} of bookings").format(
        week=formats.count(week), own=formats.percent(own)
    )
    beside = [
        words.format(miss=formats.percent(missed[(name, week)]))
        for name, words in (
            ("commit", _("{miss} for the commit as called")),
            ("stage_weighted", _("{miss} for the stage-weighted pipeline")),
            ("seasonal_naive", _("{miss} for the same quarter of the year before")),
        )
        if (name, week) in missed and not formats.is_missing(missed[(name, week)])
    ]
    if not beside:
        return f"{message}."
    return _("{begin}; {others}.").format(begin=message, others=formats.listed(beside))


def misses(frame: pd.DataFrame) -> Exhibit:
    """What was forecast of the last quarters and what came, from ``forecast.backtest``."""
    show = money_of(frame)
    own = frame[(frame["method"] == SHIPPED) & (frame["week"] == TOLD_WEEK)]
    own = own.sort_values("quarter", ascending=False)
    if own.empty:
        text = _("No past quarter has a forecast of week {week}.")
        return Exhibit(text.format(week=formats.count(TOLD_WEEK)), is_text=True)
    table = pd.DataFrame({"quarter": own["quarter"], "forecast": own["mean"]})
    table["between"] = [ranged(low, high, show) for low, high in zip(own["p10"], own["p90"], strict=True)]
    table["came"] = own["actual"]
    table["off"] = (own["mean"] / own["actual"].where(own["actual"] > 0) - 1).astype(float)
    names = method_names()
    table["method"] = [names.get(name, name) for name in own["chosen"]]
    table = table.reset_index(drop=True)
    table.attrs = {**frame.attrs, "notes": []}
    inside = int(((own["p10"] <= own["actual"]) & (own["actual"] <= own["p90"])).sum())
    message = _ranges_held(inside, len(own))
    known = table.dropna(subset=["off"])
    if len(known):
        worst = known.loc[known["off"].abs().idxmax()]
        text = _("The largest miss was {off} too high, in {quarter}.")
        if worst["off"] < 0:
            text = _("The largest miss was {off} too low, in {quarter}.")
        if formats.percent(worst["off"]) == formats.percent(0):
            text = _("No forecast missed.")
        message += " " + text.format(off=formats.percent(abs(worst["off"])), quarter=worst["quarter"])
    return Exhibit(message, table=table, units={"forecast": "money", "came": "money", "off": "share"})


def _ranges_held(inside: int, quarters: int) -> str:
    """How often the range of the told week held what came."""
    if quarters == 1:
        text = _("In week {week} the last quarter was forecast with a range that did not hold.")
        if inside:
            text = _("In week {week} the last quarter was forecast with a range that held.")
    elif inside == quarters:
        text = _("In week {week} the last {n} quarters were forecast with ranges that always held.")
    elif inside:
        text = ngettext(
            "In week {week} the last {n} quarters were forecast with ranges that held {inside} time of {n}.",
            "In week {week} the last {n} quarters were forecast with ranges that held {inside} times of {n}.",
            inside,
        )
    else:
        text = _("In week {week} the last {n} quarters were forecast with ranges that never held.")
    return text.format(week=formats.count(TOLD_WEEK), n=formats.count(quarters), inside=formats.count(inside))


def caller_names() -> dict[str, str]:
    """Who calls, as readers see it."""
    return {
        "rep": _("Reps"),
        "manager": _("Managers"),
        "executive": _("Executives"),
        "model": _("The forecast"),
    }


def calls(frame: pd.DataFrame) -> Exhibit:
    """What each level calls beside the forecast, each with its record, from ``forecast.calls``."""
    show, names = money_of(frame), caller_names()
    rows = frame[frame["call"].notna() | (frame["past_calls"] > 0)]
    if rows.empty:
        return Exhibit(_("Nobody has called the quarter, and nothing is forecast."), is_text=True)
    table = rows[["caller", "call", "callers", "past_calls", "wape", "bias", "corrected"]].copy()
    table["caller"] = [names.get(str(name), str(name)) for name in rows["caller"]]
    table.attrs = dict(frame.attrs)
    units = {"call": "money", "corrected": "money", "wape": "share", "bias": "share"}
    told = [
        _("{who} call {amount}").format(who=names[str(row.caller)], amount=show(row.call))
        for row in rows.itertuples()
        if row.caller != "model" and not formats.is_missing(row.call)
    ]
    expected = show(frame.loc[frame["caller"] == "model", "call"].iloc[0])
    if expected == show(0):
        expected = _("nothing")
    if told:
        message = _("{calls}; the forecast expects {amount}.").format(
            calls=formats.listed(told), amount=expected
        )
    else:
        message = _("Nobody has called the quarter; the forecast expects {amount}.").format(amount=expected)
    return Exhibit(message, table=table, units=units)


def commit_bias(frame: pd.DataFrame) -> Exhibit:
    """What each rep still commits to and what such commits brought, from ``forecast.commit_bias``."""
    show = money_of(frame)
    who = "rep_name" if "rep_name" in frame else "owner_id"
    table = frame[[who, "committed", "factor", "corrected"]].head(MOST_REPS).copy()
    notes = list(frame.attrs.get("notes", []))
    if len(frame) > len(table):
        more = len(frame) - len(table)
        text = ngettext(
            "{n} more rep is in the file beside this page.",
            "{n} more reps are in the file beside this page.",
            more,
        )
        notes.append(text.format(n=formats.count(more)))
    table.attrs = {**frame.attrs, "notes": notes}
    told, brings = float(frame["committed"].sum()), float(frame["corrected"].sum())
    if show(told) == show(0):
        message = _("Nothing is committed beyond what is booked.")
    elif frame["factor"].isna().all():
        message = _("{told} is committed beyond what is booked; no past quarter says what that brings.")
    else:
        message = _(
            "{told} is committed beyond what is booked; by what such commits brought it comes to {brings}."
        )
    return Exhibit(
        message.format(told=show(told), brings=_("nothing") if show(brings) == show(0) else show(brings)),
        table=table,
        units={"committed": "money", "corrected": "money", "factor": "ratio"},
    )


def calibration(frame: pd.DataFrame) -> Exhibit:
    """Chances against what came, from ``forecast.calibration``."""
    held = frame[(frame["low"] <= frame["predicted"]) & (frame["predicted"] <= frame["high"])]
    message = _calibration_message(len(held), len(frame), int(frame["forecasts"].sum()))
    off = frame.drop(index=held.index)
    if len(off):
        worst = off.loc[(off["observed"] - off["predicted"]).abs().idxmax()]
        message += " " + _("Deals given {said} were won {came} of the time.").format(
            said=formats.percent(worst["predicted"]), came=formats.percent(worst["observed"])
        )
    told = "; ".join(
        _("given {said}, won {came}").format(
            said=formats.percent(row.predicted), came=formats.percent(row.observed)
        )
        for row in frame.itertuples()
    )
    alternative = _("For each group of deals the chance given and the share won: {groups}.").format(
        groups=told
    )
    columns = ("predicted", "observed", "low", "high", "forecasts", "deals")
    return Exhibit(message, charts.calibration(frame.assign(n=frame["deals"])), columns, alternative)


def _calibration_message(held: int, groups: int, forecasts: int) -> str:
    """In how many groups of deals the past bears the chance out."""
    past = ngettext("{n} past forecast allows", "{n} past forecasts allow", forecasts)
    if groups == 1:
        text = _("The chance given does not lie within what {past}.")
        if held:
            text = _("The chance given lies within what {past}.")
    elif held == groups:
        text = _("In all {all} groups of deals the chance given lies within what {past}.")
    elif held:
        text = _("In {held} of {all} groups of deals the chance given lies within what {past}.")
    else:
        text = _("In none of {all} groups of deals does the chance given lie within what {past}.")
    return text.format(
        held=formats.count(held),
        all=formats.count(groups),
        past=past.format(n=formats.count(forecasts)),
    )


def basis(frame: pd.DataFrame) -> Exhibit:
    """What the forecast rests on, from ``forecast.basis``."""
    names = {
        "past_quarters": _("Past quarters that it learns from"),
        "past_wins": _("Wins in them after the same day"),
        "open_deals": _("Open deals now"),
        "value_factor": _("Money that came per money expected of open deals"),
        "correlation": _("How much deals go together (0 not at all, 1 fully)"),
        "new_deals_per_week": _("New deals per week, last half year"),
        "later_share": _("Share of new deals won before their quarter ended"),
        "callers": _("Reps who have called the quarter"),
        "is_pooled": _("Steadied by the company's figures"),
    }
    table = pd.DataFrame(
        {
            "fact": [names.get(str(name), str(name)) for name in frame["fact"]],
            "figure": [_fact(row.value, str(row.unit)) for row in frame.itertuples()],
        }
    )
    table.attrs = dict(frame.attrs)
    method = method_names().get(str(frame.attrs.get("method", "")), "")
    message = str(frame.attrs.get("reason", ""))
    if method:
        message = (_("The method is {method}.").format(method=method) + " " + message).strip()
    return Exhibit(message or _("This is what the forecast rests on."), table=table)


def _fact(value: Any, unit: str) -> str:
    if formats.is_missing(value):
        return formats.missing()
    if unit == "flag":
        return _("yes") if value else _("no")
    if unit == "rate":
        return formats.percent(value, 1)
    return formats.number(value, 0 if unit in ("quarters", "deals", "people") else 2)


def scoreboard(frame: pd.DataFrame) -> Exhibit:
    """What was sealed before quarters ended and what came, from ``forecast.scoreboard``."""
    names = caller_names()
    table = pd.DataFrame(
        {
            "quarter": frame["period"],
            "sealed": frame["sealed_on"],
            "caller": [names.get(str(name), str(name)) for name in frame["caller"]],
            "call": frame["call"],
            "came": frame["actual"],
            "off": frame["off"],
        }
    )
    table.attrs = dict(frame.attrs)
    units = {"sealed": "date", "call": "money", "came": "money", "off": "share"}
    over = frame.dropna(subset=["off"])
    fair = over[~over["is_backdated"].astype(bool)]
    if over.empty:
        return Exhibit(_("What is sealed is scored when its quarter is over."), table=table, units=units)
    if fair.empty:
        message = _("All of these were sealed when later days were known already; they prove nothing.")
        return Exhibit(message, table=table, units=units)
    missed = fair.assign(size=fair["off"].abs()).groupby("caller")["size"].mean().sort_values()
    told = [
        _("{who} {miss}").format(who=names.get(str(name), str(name)), miss=formats.percent(miss))
        for name, miss in missed.items()
    ]
    message = _("Sealed before the quarter ended, the mean miss was: {callers}.").format(
        callers=formats.listed(told)
    )
    return Exhibit(message, table=table, units=units)
