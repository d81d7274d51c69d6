"""The pipeline review's exhibits: where the quarter lands, what changed, and what is worth asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from salesops_kit import formats
from salesops_kit.display.narrative import Exhibit, of_plan, ranged, with_range
from salesops_kit.display.stories._amounts import currency_of, money_of
from salesops_kit.display.stories._parts import share_of_parts
from salesops_kit.display.stories.pipeline_past import ageing, bridge, slippage
from salesops_kit.language import _, ngettext

__all__ = [
    "ageing",
    "bridge",
    "changes",
    "commit_risks",
    "coverage",
    "landing",
    "questions",
    "slippage",
]
MOST_DEALS = 25
# Every change that moves money of the pipeline, so that what is told sums to the whole.
_MOVES = (
    "won", "lost", "created", "pulled_in", "transferred_in", "pushed", "transferred_out", "up", "down",
    "reopened", "removed",
)  # fmt: skip


def _part(frame: pd.DataFrame) -> str:
    """The column that names the rows: a rep's name, else the dimension asked for."""
    if "rep_name" in frame:
        return "rep_name"
    by = str(frame.attrs.get("options", {}).get("by", "") or "team")
    return by if by in frame else str(frame.columns[0])


def _deals(n: int) -> str:
    return ngettext("{n} deal", "{n} deals", n).format(n=formats.count(n))


def _range(
    frame: pd.DataFrame, show: Callable[[Any], str], low: str = "low", high: str = "high"
) -> list[str]:
    return [ranged(bottom, top, show) for bottom, top in zip(frame[low], frame[high], strict=True)]


def _whole(column: pd.Series) -> float:
    """The sum of a column; missing unless each row has a figure."""
    return float(column.sum()) if len(column) and column.notna().all() else float("nan")


def landing(frame: pd.DataFrame) -> Exhibit:
    """Where the quarter lands by team or rep, from ``pipeline.landing``."""
    show, part = money_of(frame), _part(frame)
    ordered = frame.sort_values(["likely", part], ascending=[False, True], kind="stable")
    table = ordered[[part, "booked", "commit", "best_case", "likely"]].copy()
    table["between"] = _range(ordered, show)
    goal = "quota" if part == "rep_name" else "target"
    table[goal], table["gap"] = ordered["target"], ordered["gap"]
    table.attrs = dict(frame.attrs)
    units = dict.fromkeys(["booked", "commit", "best_case", "likely", goal, "gap"], "money")
    likely, commit = _whole(frame["likely"]), _whole(frame["commit"])
    if formats.is_missing(likely):
        booked = show(frame["booked"].sum())
        begin = _("Nothing is booked yet") if booked == show(0) else _("{booked} is booked")
        message = _("{booked}; no past quarter says what follows.").format(booked=begin.format(booked=booked))
        return Exhibit(message, table=table, units=units)
    if show(likely) == show(0) and show(commit) == show(0):
        message = _("Nothing is booked or in commit, and nothing is likely to come.")
    elif len(frame) == 1:
        message = _("{name} is likely to land at {likely}; commit is {commit}.").format(
            name=formats.text(frame[part].iloc[0]), likely=show(likely), commit=show(commit)
        )
    else:
        message = _("The parts add up to {likely}; commit is {commit}.").format(
            likely=show(likely), commit=show(commit)
        )
    reached = of_plan(likely, _whole(frame["target"]), show) if part == "team" else ""
    if reached:
        message += " " + _("Likely is {reached}.").format(reached=reached)
    behind, judged = frame[frame["high"] < frame["target"]], int(frame["target"].notna().sum())
    if len(behind):
        text = _("For {parts} even the upper end of the range falls short of the plan.")
        if part == "rep_name":
            text = _("For {parts} even the upper end of the range falls short of quota.")
        message += " " + text.format(parts=share_of_parts(part, len(behind), judged))
    return Exhibit(message, table=table, units=units)


def coverage(frame: pd.DataFrame) -> Exhibit:
    """Coverage that there is against the coverage that it takes, from ``pipeline.coverage``."""
    show, part = money_of(frame), _part(frame)
    table = frame[[part, "gap", "open_deals", "open_due", "coverage", "required_coverage"]].copy()
    table["between"] = _range(frame, formats.ratio)
    table["reason"] = frame["reason"]
    if not table["reason"].astype(bool).any():
        table = table.drop(columns="reason")
    table.attrs = dict(frame.attrs)
    units = {"gap": "money", "open_deals": "deals", "open_due": "money"}
    units |= {"coverage": "ratio", "required_coverage": "ratio"}
    known = frame.dropna(subset=["coverage", "low"])
    short = known[known["coverage"] < known["low"]]
    if known.empty:
        message = _("Nowhere is there a plan, an open gap and a past that says what coverage it takes.")
    elif short.empty:
        message = _("No coverage is below what past quarters needed, as far as they tell.")
    elif part == "rep_name":
        message = _("For {parts} less is due than past quarters needed.").format(
            parts=share_of_parts(part, len(short), len(known))
        )
    else:
        first = short.loc[(short["required_coverage"] - short["coverage"]).idxmax()]
        text = _(
            "{name} has too little: {due} due covers the gap {have} times, and past quarters needed {need}."
        )
        if show(first["open_due"]) == show(0):
            text = _("{name} has too little: nothing is due, and past quarters needed {need} times the gap.")
        message = text.format(
            name=formats.text(first[part]),
            due=show(first["open_due"]),
            have=formats.number(first["coverage"], 1),
            need=with_range(
                first["required_coverage"], first["low"], first["high"], lambda n: formats.number(n, 1)
            ),
        )
    return Exhibit(message, table=table, units=units)


def _change_names() -> Mapping[str, str]:
    return {
        "won": _("won"),
        "lost": _("lost"),
        "created": _("new"),
        "pulled_in": _("pulled in"),
        "pushed": _("pushed out"),
        "up": _("grew"),
        "down": _("shrank"),
        "reopened": _("reopened"),
        "removed": _("removed"),
        "transferred_in": _("taken over"),
        "transferred_out": _("handed over"),
        "postponed": _("later in the quarter"),
        "advanced": _("earlier in the quarter"),
        "stage_moved": _("in another stage"),
        "recategorised": _("in another category"),
    }


def changes(frame: pd.DataFrame) -> Exhibit:
    """What changed since a week ago, deal by deal, from ``pipeline.changes``."""
    show, names = money_of(frame), _change_names()
    told = []
    for change in _MOVES:
        rows = frame[frame["change"] == change]
        if len(rows):
            told.append(
                _("{deals} {change} ({amount})").format(
                    deals=formats.count(rows["opportunity_id"].nunique()),
                    change=names[change],
                    amount=formats.money(float(rows["effect"].sum()), currency_of(frame), signed=True),
                )
            )
    net = float(frame["effect"].sum())
    message = _("Since the week before: {changes}.").format(changes=formats.listed(told)) if told else ""
    direction = _("The pipeline due in the quarter is {amount} larger.")
    if show(net) == show(0):
        direction = _("The pipeline due in the quarter is as large as before.")
    elif net < 0:
        direction = _("The pipeline due in the quarter is {amount} smaller.")
    message = f"{message} {direction.format(amount=show(abs(net)))}".strip()
    by_deal = frame.groupby("opportunity_id", sort=False)
    first, last = by_deal.first(), by_deal.last()
    table = pd.DataFrame(
        {
            "name": first["name"].where(first["name"].notna(), first.index.to_series()),
            "change": by_deal["change"].agg(
                lambda found: formats.listed([names.get(each, each) for each in found])
            ),
            "pipeline_effect": by_deal["effect"].sum(),
            "amount": last["amount_after"].where(last["amount_after"].notna(), last["amount_before"]),
            "stage": _moved(last["stage_before"], last["stage_after"]),
            "close_date": _moved(last["close_date_before"], last["close_date_after"], formats.date),
        }
    )
    notes = list(frame.attrs.get("notes", []))
    if len(table) > MOST_DEALS:
        more = len(table) - MOST_DEALS
        text = ngettext(
            "{n} more deal changed; the file beside this page has it.",
            "{n} more deals changed; the file beside this page has them.",
            more,
        )
        notes.append(text.format(n=formats.count(more)))
    table = table.head(MOST_DEALS)
    table.attrs = {**frame.attrs, "notes": notes}
    return Exhibit(message, table=table, units={"pipeline_effect": "money", "amount": "money"})


def _moved(before: pd.Series, after: pd.Series, show: Callable[[Any], str] = formats.text) -> list[str]:
    """One value where nothing moved, else both with an arrow."""
    shown = []
    for old, new in zip(before, after, strict=True):
        told = ["" if pd.isna(value) else show(value) for value in (old, new)]
        shown.append(told[1] if told[0] in ("", told[1]) else f"{told[0]} → {told[1]}")
    return shown


def commit_risks(frame: pd.DataFrame) -> Exhibit:
    """Deals counted on that something speaks against, from ``pipeline.commit_risks``."""
    show = money_of(frame)
    table = frame[["name", "rep_name" if "rep_name" in frame else "owner_id", "stage"]].copy()
    table["name"] = frame["name"].where(frame["name"].notna(), frame["opportunity_id"])
    table["forecast_category"], table["amount"] = frame["forecast_category"], frame["amount"]
    table["close_date"] = frame["close_date"]
    table["why"] = [_risk_text(row) for row in frame.to_dict("records")]
    table.attrs = dict(frame.attrs)
    counted = int(frame.attrs.get("deals", len(frame)))
    at_risk, total = show(frame.attrs.get("amount_at_risk")), show(frame.attrs.get("amount"))
    which = _("{deals} of the {all}")
    if len(frame) >= counted:
        which = ngettext("the one deal", "all {all}", counted)
    amount = at_risk if at_risk == total else _("{amount} of {total}").format(amount=at_risk, total=total)
    if at_risk == show(0):
        amount = _("no amount")
    message = _("Something speaks against {which} in commit and best case: {amount}.").format(
        which=which.format(deals=formats.count(len(frame)), all=_deals(counted)), amount=amount
    )
    return Exhibit(message, table=table, units={"amount": "money", "close_date": "date"})


def _risk_text(row: Mapping[Any, Any]) -> str:
    texts = {
        "past_close_date": _("its close date was {days} ago").format(days=formats.days(row["days_past_due"])),
        "no_next_step": _("no next step"),
        "next_step_overdue": _("its next step was due {days} ago").format(
            days=formats.days(row["days_past_next_step"])
        ),
        "no_activity": _("no activity for {days}").format(days=formats.days(row["days_without_activity"])),
        "over_stage_p90": _("{days} in its stage, which nine in ten leave within {limit}").format(
            days=formats.days(row["stage_age_days"]), limit=formats.days(row["stage_p90_days"])
        ),
    }
    return "; ".join(texts[reason.strip()] for reason in str(row["reasons"]).split(","))


def questions(frame: pd.DataFrame) -> Exhibit:
    """The few deals worth asking about, with the question, from ``pipeline.questions``."""
    show = money_of(frame)
    table = frame[["name", "rep_name" if "rep_name" in frame else "owner_id", "stage", "amount"]].copy()
    table["name"] = frame["name"].where(frame["name"].notna(), frame["opportunity_id"])
    table["close_date"] = [formats.date(day) for day in frame["close_date"]]
    table["probability"], table["ask"] = (
        frame["probability"],
        [_question(row, show) for row in frame.to_dict("records")],
    )
    table["share"] = frame["share"]
    table.attrs = dict(frame.attrs)
    first = frame.iloc[0]
    if formats.is_missing(first["share"]):
        message = _("No past quarter says how likely a deal is; the largest come first.")
    else:
        message = ngettext(
            "An answer on {name} ({amount}) narrows the landing most: {share} of what is uncertain.",
            "An answer on {name} ({amount}) narrows the landing most: {share} of what is uncertain; these "
            "{n} together hold {together}.",
            len(frame),
        ).format(
            name=formats.text(table["name"].iloc[0]),
            amount=show(first["amount"]),
            share=formats.percent(first["share"]),
            n=formats.count(len(frame)),
            together=formats.percent(frame.attrs.get("listed_share", frame["share"].sum())),
        )
    units = {"amount": "money", "close_date": "date", "probability": "share", "share": "share"}
    return Exhibit(message, table=table, units=units)


def _question(row: Mapping[Any, Any], show: Callable[[Any], str]) -> str:
    asked = {
        "has_it_slipped": _("Its close date was {past_due} ago: when does it close?"),
        "why_commit_at_this_age": _(
            "{age} in its stage, which nine in ten leave within {limit}: why commit?"
        ),
        "what_is_the_next_step": _("What is the next step, and when?"),
        "is_the_amount_agreed": _("It was {before} a month ago: is the amount agreed?"),
        "why_this_time": ngettext(
            "Pushed {pushes} time: why does it close this time?",
            "Pushed {pushes} times: why does it close this time?",
            1 if row.get("pushes") == 1 else 2,
        ),
        "why_so_long_in_stage": _(
            "{age} in its stage, which nine in ten leave within {limit}: what holds it?"
        ),
        "is_it_alive": _("No activity for {idle}: is it alive?"),
        "why_not_commit": _("Likely by its stage: why is it not in commit?"),
        "what_is_left_to_do": _("What is left to do until it closes?"),
    }
    text = asked.get(str(row["question"]), str(row["question"]))
    return text.format(
        past_due=formats.days(row.get("days_past_due")),
        age=formats.days(row.get("stage_age_days")),
        limit=formats.days(row.get("stage_p90_days")),
        before=show(row.get("amount_30_days_ago")),
        pushes=formats.count(row.get("pushes")),
        idle=formats.days(row.get("days_without_activity")),
    )
