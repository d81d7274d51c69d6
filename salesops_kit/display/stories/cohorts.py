"""Exhibits of cohorts, leads, attribution, moves between stages, and artefacts of the record."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.narrative import Exhibit, is_evidence, no_evidence, p_text
from salesops_kit.display.stories._amounts import money_of
from salesops_kit.estimators.intervals import difference
from salesops_kit.language import _, ngettext

# A younger age says little of what a cohort will come to.
LEAST_MONTHS = 3
_AGES = "month_"


def deal_cohorts(frame: pd.DataFrame) -> Exhibit:
    """What share of each quarter's or month's new deals is won by age, as a shaded table, from
    ``funnel.cohorts``."""
    table = cohort_table(frame)
    ages = tuple(name for name in table.columns if name.startswith(_AGES))
    names = [table[key].map(formats.text) for key in _keys(frame)]
    sizes = [
        ngettext("{n} deal", "{n} deals", n).format(n=formats.count(n))
        for n in table["deals_seen"].astype(int)
    ]
    table["cohort"] = [", ".join(parts) for parts in zip(*names, sizes, strict=True)]
    short = {name: _("{n} mo").format(n=name.removeprefix(_AGES)) for name in ages}
    table = table.rename(columns=short)
    table.attrs = {"notes": list(frame.attrs.get("notes", []))}
    return Exhibit(_cohort_message(frame), columns=tuple(short.values()), table=table, shaded_by="cohort")


def cohort_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cohort: the deals that its shares rest on, the won share by each month of
    age, and up to which age all of its deals have come (``mature_months``)."""
    keys = _keys(frame)
    shares = frame.pivot(index=keys, columns="age_months", values="won_share")
    shares.columns = [f"{_AGES}{month}" for month in shares.columns]
    groups = frame.groupby(keys, sort=False)
    deals = groups["deals_seen"].first()
    mature = frame["age_months"].where(frame["is_mature"], 0).groupby([frame[key] for key in keys]).max()
    wide = pd.concat([deals, shares.reindex(deals.index), mature.rename("mature_months")], axis="columns")
    return wide.reset_index()


def _keys(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns[: list(frame.columns).index("cohort") + 1]]


def _cohort_message(frame: pd.DataFrame) -> str:
    if len(_keys(frame)) > 1:
        return _("The share of new deals that is won, by the age of the deals and by group.")
    mature = frame[frame["is_mature"]]
    oldest = mature.groupby("cohort", sort=False)["age_months"].max()
    old_enough = oldest[oldest >= min(LEAST_MONTHS, int(frame["age_months"].max()))]
    if old_enough.empty:
        return _("No cohort is old enough yet to say what share of it is won.")
    newest, age = old_enough.index[-1], int(old_enough.iloc[-1])
    same_age = mature[mature["age_months"] == age].set_index("cohort")
    now = same_age.loc[newest]
    if now["deals_seen"] == 1:
        template = ngettext(
            "Of the one deal created in {cohort}, {share} ({interval}) was won within {age} month",
            "Of the one deal created in {cohort}, {share} ({interval}) was won within {age} months",
            age,
        )
    else:
        template = ngettext(
            "Of the {n} deals created in {cohort}, {share} ({interval}) were won within {age} month",
            "Of the {n} deals created in {cohort}, {share} ({interval}) were won within {age} months",
            age,
        )
    told = template.format(
        n=formats.count(now["deals_seen"]),
        cohort=formats.text(newest),
        share=formats.percent(now["won_share"]),
        interval=formats.interval(now["won_low"], now["won_high"], formats.percent),
        age=age,
    )
    away = int(now["deals_seen"] - now["deals"])
    if away:
        told += " " + ngettext(
            "({n} of them counts until another team took it over)",
            "({n} of them count until another team took them over)",
            away,
        ).format(n=formats.count(away))
    place = list(same_age.index).index(newest)
    if not place:
        return told + "."
    before = same_age.iloc[place - 1]
    name, share = formats.text(same_age.index[place - 1]), formats.percent(before["won_share"])
    _gap, low, high = difference(
        now["won_share"] * now["deals_seen"],
        now["deals_seen"],
        before["won_share"] * before["deals_seen"],
        before["deals_seen"],
    )
    if not is_evidence(low, high):
        return told + _("; {cohort} shows no evidence of a difference ({share}).").format(
            cohort=name, share=share
        )
    sentence = _("; {cohort} had less, {share}.") if low > 0 else _("; {cohort} had more, {share}.")
    return told + sentence.format(cohort=name, share=share)


def lead_conversion(frame: pd.DataFrame) -> Exhibit:
    """Which leads become deals, by source and age, from ``funnel.leads``."""
    columns = tuple(
        name for name in frame.columns if name not in ("age_days", "converted", "converted_by_age")
    )
    test = frame.attrs.get("test", {})
    if not test:
        return Exhibit(_("The share of leads that is converted, by the age of the leads."), columns=columns)
    name = str(frame.columns[0])
    mature = frame[frame["is_mature"] & (frame["age_days"] == test["age_days"])]
    pooled = mature.groupby(name)[["converted_by_age", "leads"]].sum()
    if not test.get("evidence"):
        what = _("Conversions of leads by {by}").format(by=_words(name))
        message = no_evidence(what, p_value=test["p_value"])
        return Exhibit(message, columns=columns, said=(str(test.get("note", "")),))
    rates = (pooled["converted_by_age"] / pooled["leads"]).sort_values(ascending=False, kind="stable")
    message = _(
        "Leads convert differently by {by}: within {age} days from {high} ({highest}) to {low} ({lowest}),"
        " {p}."
    ).format(
        by=_words(name),
        age=test["age_days"],
        high=formats.percent(rates.iloc[0]),
        highest=formats.text(rates.index[0]),
        low=formats.percent(rates.iloc[-1]),
        lowest=formats.text(rates.index[-1]),
        p=p_text(test["p_value"], 3),
    )
    return Exhibit(message, columns=columns)


def _words(name: str) -> str:
    return formats.visible(name.replace("_", " "))


def attribution(frame: pd.DataFrame) -> Exhibit:
    """What brought pipeline and won amount by three models side by side, from ``funnel.attribution``."""
    name = str(frame.columns[0])
    columns = (name, *(column for column in frame.columns if column.startswith(("pipeline_", "won_"))))
    total = float(frame["pipeline_first"].sum())
    # What no touch brought stands last, whatever it is called in the reader's language.
    known = frame[frame[name] != _("(unattributed)")]
    if total <= 0 or known.empty:
        return Exhibit(_("No touch is known that brought a deal of the period."), columns=columns)
    show = money_of(frame)
    tops = {model: known.loc[known[f"pipeline_{model}"].idxmax()] for model in ("first", "last", "linear")}
    names = {str(row[name]) for row in tops.values()}
    share = formats.percent(float(known["pipeline_linear"].sum()) / total)
    begin = _("Touches are known for {share} of {total} new pipeline.").format(share=share, total=show(total))
    if len(names) == 1:
        row = tops["first"]
        message = _("{name} brought most of it by every model: {first} first, {last} last, {linear} linear.")
        values = {model: show(row[f"pipeline_{model}"]) for model in tops}
        message = message.format(name=formats.text(row[name]), **values)
    else:
        message = _("Models disagree: most came first by {first}, last by {last}, and by {linear} linearly.")
        told = {
            model: f"{formats.text(row[name])} ({show(row[f'pipeline_{model}'])})"
            for model, row in tops.items()
        }
        message = message.format(**told)
    return Exhibit(f"{begin} {message}", columns=columns)


def transitions(frame: pd.DataFrame) -> Exhibit:
    """How many moves skip a stage or go back, and where, from ``funnel.transitions``."""
    columns = ("from_stage", "to_stage", "moves", "n", "share", "low", "high", "median_days")
    moves = frame[frame["kind"] != "open"]
    total = int(moves["moves"].sum())
    if not total:
        return Exhibit(_("No deal moved between stages."), is_text=True)
    skipped, back = (moves[moves["kind"] == kind] for kind in ("skipped", "regressed"))
    parts = [
        _("{share} of {n} moves skip a stage and {back} go back").format(
            share=formats.percent(skipped["moves"].sum() / total),
            n=formats.count(total),
            back=formats.percent(back["moves"].sum() / total),
        )
    ]
    if len(back):
        most = back.loc[back["moves"].idxmax()]
        parts.append(
            _("most of these from {start} to {end} ({share} of what leaves it, {interval})").format(
                start=formats.text(most["from_stage"]),
                end=formats.text(most["to_stage"]),
                share=formats.percent(most["share"]),
                interval=formats.interval(most["low"], most["high"], formats.percent),
            )
        )
    return Exhibit("; ".join(parts) + ".", columns=columns)


def quarter_rhythm(frame: pd.DataFrame) -> Exhibit:
    """Whether the win rate depends on the month of the quarter, from ``funnel.quarter_rhythm``."""
    first, last = frame.iloc[0], frame.iloc[-1]
    if not frame.attrs.get("evidence"):
        message = no_evidence(_("The first and the last month of a quarter"), p_value=last["p_value"])
        return Exhibit(message, columns=("month_of_quarter", "won", "lost", "rate", "low", "high"))
    message = _(
        "Deals are won at {first} in the first month of a quarter and at {last} in the third, {low} to {high}"
        " points apart: compare whole quarters only."
    ).format(
        first=formats.percent(first["rate"]),
        last=formats.percent(last["rate"]),
        low=formats.number(100 * min(abs(last["difference_low"]), abs(last["difference_high"]))),
        high=formats.number(100 * max(abs(last["difference_low"]), abs(last["difference_high"]))),
    )
    picture = charts.dots(
        frame.assign(month=[_("month {n}").format(n=n) for n in frame["month_of_quarter"]]),
        "month",
        "rate",
        low="low",
        high="high",
        n="n",
        zero=True,
    )
    alternative = _("One dot per month of the quarter on the range that chance leaves: the win rate.")
    said = tuple(frame.attrs.get("notes", [])[-1:])
    columns = ("month_of_quarter", "won", "lost", "rate", "low", "high")
    return Exhibit(message, picture, columns, alternative, said=said)


def record_start(frame: pd.DataFrame) -> Exhibit:
    """Whether the data begins with the slow deals alone, from ``funnel.record_start``."""
    cut = frame[frame["is_truncated"]]
    if cut.empty:
        return Exhibit(_("The record shows no sign of deals missing at its start."), is_text=True)
    closed = int(cut["closed"].sum())
    message = ngettext(
        "The record begins late: until {day} {closed} deal is recorded as closed where {expected} were to"
        " be expected. Older cohorts hold only their slow deals.",
        "The record begins late: until {day} {closed} deals are recorded as closed where {expected} were to"
        " be expected. Older cohorts hold only their slow deals.",
        closed,
    ).format(
        day=formats.date(dt.date.fromisoformat(frame.attrs["first_whole_date"])),
        closed=formats.count(closed),
        expected=formats.count(round(float(cut["expected_closed"].sum()))),
    )
    columns = ("month", "created", "closed", "expected_closed", "ratio", "low", "high", "is_truncated")
    return Exhibit(message, columns=columns, said=tuple(frame.attrs.get("notes", [])))
