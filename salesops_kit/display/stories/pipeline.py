"""The pipeline review's exhibits: where the quarter lands, what changed, and what is worth asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.narrative import Exhibit, of_plan
from salesops_kit.language import _, ngettext

MOST_DEALS = 25
_TOTALS = ("bookings_before", "bookings_after")


def _money(frame: pd.DataFrame) -> Callable[[Any], str]:
    currency = str(frame.attrs.get("currency", "USD"))
    return lambda amount: formats.money(amount, currency)


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
    return [
        "" if formats.is_missing(bottom) else formats.interval(bottom, top, show)
        for bottom, top in zip(frame[low], frame[high], strict=True)
    ]


def _whole(column: pd.Series) -> float:
    """The sum of a column; missing unless each row has a figure."""
    return float(column.sum()) if len(column) and column.notna().all() else float("nan")


def landing(frame: pd.DataFrame) -> Exhibit:
    """Where the quarter lands by team or rep, from ``pipeline.landing``."""
    show, part = _money(frame), _part(frame)
    ordered = frame.sort_values(["likely", part], ascending=[False, True], kind="stable")
    table = ordered[[part, "booked", "commit", "best_case", "likely"]].copy()
    table["between"] = _range(ordered, show)
    goal = "quota" if part == "rep_name" else "target"
    table[goal], table["gap"] = ordered["target"], ordered["gap"]
    table.attrs = dict(frame.attrs)
    units = dict.fromkeys(["booked", "commit", "best_case", "likely", goal, "gap"], "money")
    likely, commit = _whole(frame["likely"]), _whole(frame["commit"])
    if formats.is_missing(likely):
        message = _("{booked} is booked; no past quarter says what follows.").format(
            booked=show(frame["booked"].sum())
        )
        return Exhibit(message, table=table, units=units)
    message = _("The parts add up to {likely}; commit is {commit}.").format(
        likely=show(likely), commit=show(commit)
    )
    reached = of_plan(likely, _whole(frame["target"]), show) if part == "team" else ""
    if reached:
        message += " " + _("That is {reached}.").format(reached=reached)
    behind, judged = frame[frame["high"] < frame["target"]], int(frame["target"].notna().sum())
    if len(behind):
        message += " " + _("For {n} of {all} even the upper end of the range falls short.").format(
            n=formats.count(len(behind)), all=formats.count(judged)
        )
    return Exhibit(message, table=table, units=units)


def coverage(frame: pd.DataFrame) -> Exhibit:
    """Coverage that there is against the coverage that it takes, from ``pipeline.coverage``."""
    show, part = _money(frame), _part(frame)
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
        message = _("For {n} of {all} reps less is due than past quarters needed.").format(
            n=formats.count(len(short)), all=formats.count(len(known))
        )
    else:
        first = short.loc[(short["required_coverage"] - short["coverage"]).idxmax()]
        message = _(
            "{name} has too little: {due} due covers the gap {have} times, and past quarters needed {need} "
            "({low} to {high})."
        ).format(
            name=formats.text(first[part]),
            due=show(first["open_due"]),
            have=formats.number(first["coverage"], 1),
            need=formats.number(first["required_coverage"], 1),
            low=formats.number(first["low"], 1),
            high=formats.number(first["high"], 1),
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
        "stage_moved": _("stage"),
        "recategorised": _("category"),
    }


def changes(frame: pd.DataFrame) -> Exhibit:
    """What changed since a week ago, deal by deal, from ``pipeline.changes``."""
    show, names = _money(frame), _change_names()
    told = []
    for change in ("won", "lost", "created", "pulled_in", "pushed", "up", "down"):
        rows = frame[frame["change"] == change]
        if len(rows):
            told.append(
                _("{deals} {change} ({amount})").format(
                    deals=formats.count(rows["opportunity_id"].nunique()),
                    change=names[change],
                    amount=show(abs(rows["effect"].sum())),
                )
            )
    net = float(frame["effect"].sum())
    message = _("Since the week before: {changes}.").format(changes=formats.listed(told)) if told else ""
    direction = _("The pipeline due in the quarter is {amount} larger.")
    if net < 0:
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
    show = _money(frame)
    table = frame[["name", "rep_name" if "rep_name" in frame else "owner_id", "stage"]].copy()
    table["name"] = frame["name"].where(frame["name"].notna(), frame["opportunity_id"])
    table["forecast_category"], table["amount"] = frame["forecast_category"], frame["amount"]
    table["close_date"] = frame["close_date"]
    table["why"] = [_risk_text(row) for row in frame.to_dict("records")]
    table.attrs = dict(frame.attrs)
    message = _(
        "Something speaks against {deals} of the {all} in commit and best case: {amount} of {total}."
    ).format(
        deals=formats.count(len(frame)),
        all=_deals(int(frame.attrs.get("deals", len(frame)))),
        amount=show(frame.attrs.get("amount_at_risk")),
        total=show(frame.attrs.get("amount")),
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
    show = _money(frame)
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
        message = _(
            "An answer on {name} ({amount}) narrows the landing most: {share} of what is uncertain; these "
            "{n} together hold {together}."
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
        "why_this_time": _("Pushed {pushes} times: why does it close this time?"),
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


def ageing(frame: pd.DataFrame) -> Exhibit:
    """How many open deals are older than their stage's own past, from ``pipeline.ageing``."""
    show = _money(frame)
    old, judged = int(frame["over_p90"].sum()), int((frame["deals"] - frame["no_benchmark"]).sum())
    expected = judged / 10
    message = _(
        "{old} of {deals} are in their stage longer than nine in ten stayed, {amount} in all; one in ten, "
        "{expected}, would be usual."
    ).format(
        old=formats.count(old),
        deals=ngettext("{n} open deal", "{n} open deals", judged).format(n=formats.count(judged)),
        amount=show(frame["over_p90_amount"].sum()),
        expected=formats.number(expected, 0 if expected >= 10 else 1),
    )
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


def bridge(frame: pd.DataFrame) -> Exhibit:
    """Why bookings changed, in four parts, from ``pipeline.bridge``."""
    show = _money(frame)
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
    parts = by_step.drop(index=list(_TOTALS))
    sure = parts[parts["is_evidence"].astype(bool)]
    message = begin.format(amount=show(abs(change)))
    if len(sure):
        told = [
            _("{name} {amount} ({interval})").format(
                name=names[str(step)],
                amount=formats.money(row["amount"], str(frame.attrs.get("currency", "USD")), signed=True),
                interval=formats.interval(row["low"], row["high"], show),
            )
            for step, row in sure.iterrows()
        ]
        message += " " + _("More than chance: {parts}.").format(parts=formats.listed(told))
    else:
        message += " " + _("No part of the change is more than chance.")
    drawn = frame.assign(step=frame["step"].replace(dict(zip(_TOTALS, ("opening", "closing"), strict=True))))
    picture = charts.waterfall(
        drawn,
        currency=str(frame.attrs.get("currency", "USD")),
        labels={**names, "opening": names["bookings_before"], "closing": names["bookings_after"]},
    )
    told = [f"{name} {show(by_step.loc[step, 'amount'])}" for step, name in names.items()]
    alternative = _("A bridge of bars from the bookings before to those now: {steps}.").format(
        steps="; ".join(told)
    )
    columns = ("step", "amount", "low", "high", "factor_before", "factor_after", "n_before", "n_after")
    return Exhibit(message, picture, columns, alternative)


def slippage(frame: pd.DataFrame) -> Exhibit:
    """How much of what was due moved out, quarter by quarter, from ``pipeline.slippage``."""
    now, past = frame.iloc[-1], frame.iloc[:-1]["slippage"].dropna()
    message = _("{share} of the {amount} that was due when the quarter opened has moved out of it").format(
        share=formats.percent(now["slippage"]), amount=_money(frame)(now["due_amount"])
    )
    if len(past):
        message += _("; in the {n} quarters before it was {low} to {high}").format(
            n=formats.count(len(past)), low=formats.percent(past.min()), high=formats.percent(past.max())
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
