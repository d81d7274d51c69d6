"""The data-quality report's exhibits: what is wrong, what it does to the numbers, and who can mend it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import pandas as pd

from salesops_kit import formats
from salesops_kit.data.contracts import TABLES
from salesops_kit.display.narrative import Exhibit
from salesops_kit.display.stories._amounts import currency_of
from salesops_kit.display.stories.funnel import exclusions
from salesops_kit.display.tables import label as heading
from salesops_kit.language import _, ngettext

__all__ = [
    "burn_down",
    "checks",
    "duplicates",
    "effect",
    "exclusions",
    "fix_list",
    "process",
    "restatements",
    "scores",
    "segments",
    "service_levels",
    "tie_out_deals",
]
RAISED, NOT_CHECKED = "raised", "not checked"
MOST_REASONS = 6


def _who(frame: pd.DataFrame) -> str:
    return "rep_name" if "rep_name" in frame else "owner_id"


def _table(frame: pd.DataFrame, of: pd.DataFrame, notes: Sequence[str] = ()) -> pd.DataFrame:
    shown = frame.reset_index(drop=True)
    shown.attrs = {**of.attrs, "notes": [*of.attrs.get("notes", []), *notes]}
    return shown


def checks(frame: pd.DataFrame) -> Exhibit:
    """The checks that are raised, from ``quality.checks``; those that could not be made in notes."""
    raised = frame[frame["status"] == RAISED]
    skipped = frame[frame["status"] == NOT_CHECKED]
    notes = [
        _("Not checked: {title}. {reason}").format(title=_(row.title), reason=row.reason)
        for row in skipped.head(MOST_REASONS).itertuples()
    ]
    clear = len(frame) - len(raised) - len(skipped)
    message = _checks_message(raised, clear, currency_of(frame))
    shown = raised.assign(title=[_(title) for title in raised["title"]])
    columns = ["title", "severity", "rows", "deals", "amount"]
    if raised["previous_rows"].notna().any():
        columns.append("previous_rows")
        day = str(frame.attrs.get("previous"))
        notes.append(_("Before: what the snapshot of {day} knew.").format(day=formats.date(day)))
    shown = shown.rename(columns={"previous_rows": "before", "most": "owners with most"})
    columns = ["before" if name == "previous_rows" else name for name in columns]
    units = {"rows": "count", "deals": "deals", "amount": "money", "before": "count"}
    shown = shown[[*columns, "owners with most"]]
    if raised.empty:
        return Exhibit(message, is_text=True)
    return Exhibit(message, table=_table(shown, frame, notes), units=units)


def _checks_message(raised: pd.DataFrame, clear: int, currency: str) -> str:
    counts = raised["severity"].value_counts()
    parts = [
        text.format(n=formats.count(counts[name]))
        for name, text in (
            ("error", ngettext("{n} error", "{n} errors", int(counts.get("error", 0)))),
            ("warning", ngettext("{n} warning", "{n} warnings", int(counts.get("warning", 0)))),
            ("info", ngettext("{n} remark", "{n} remarks", int(counts.get("info", 0)))),
        )
        if counts.get(name, 0)
    ]
    if not parts:
        if not clear:
            return _("No check could be made.")
        return ngettext(
            "The one check that was made finds nothing.", "None of {n} checks finds anything.", clear
        ).format(n=formats.count(clear))
    message = _("The checks raise {found}.").format(found=formats.listed(parts))
    if clear:
        passed = ngettext("{n} check finds nothing", "{n} checks find nothing", clear).format(
            n=formats.count(clear)
        )
        message = _("The checks raise {found}; {passed}.").format(found=formats.listed(parts), passed=passed)
    acted = raised[raised["severity"] != "info"]
    worst = acted.sort_values(["amount", "rows"], ascending=False).head(1)
    if len(worst) and worst["amount"].iloc[0] > 0:
        message += " " + _("Most money stands under “{title}”: {amount}.").format(
            title=_(worst["title"].iloc[0]), amount=formats.money(worst["amount"].iloc[0], currency)
        )
    return message


def scores(frame: pd.DataFrame) -> Exhibit:
    """The score of each team or rep, the lowest first, from ``quality.scores``."""
    by = str(frame.attrs.get("options", {}).get("by", "team"))
    label = _who(frame) if by == "owner_id" else by
    total = frame.attrs.get("total", {})
    first = frame.iloc[0]
    wrong, deals = int(total.get("with_problem", 0)), int(total.get("deals", 0))
    if deals == 0:
        message = _("No deal is open, and none was closed in the quarter.")
    elif wrong == 0:
        message = ngettext(
            "No error or warning touches the one deal.",
            "No error or warning touches any of the {n} deals.",
            deals,
        ).format(n=formats.count(deals))
    else:
        text = _("An error or warning touches {wrong} of {deals} deals: the score is {score}.")
        if wrong == deals:
            text = ngettext(
                "An error or warning touches the one deal: the score is {score}.",
                "An error or warning touches all {deals} deals: the score is {score}.",
                deals,
            )
        message = text.format(
            wrong=formats.count(wrong), deals=formats.count(deals), score=formats.percent(total["score"], 1)
        )
        if len(frame) > 1 and first["score"] < frame["score"].max():
            message += " " + _("The lowest score is that of {name}, {score}.").format(
                name=formats.text(first[label]), score=formats.percent(first["score"], 1)
            )
    columns = [label, "score", "deals", "with_problem", "amount_with_problem", "amount_score"]
    units = {"deals": "deals", "with_problem": "deals", "amount_with_problem": "money",
             "score": "rate", "amount_score": "rate"}  # fmt: skip
    return Exhibit(message, table=_table(frame[columns], frame), units=units)


def effect(frame: pd.DataFrame) -> Exhibit:
    """What the problems do to the figures, from ``quality.effect``."""
    names = {
        "bookings": _("Bookings"),
        "open_pipeline": _("Open pipeline"),
        "weighted_pipeline": _("Pipeline weighted by stage"),
        "win_rate": _("Win rate"),
    }
    within = {
        "bookings": _("bookings"),
        "open_pipeline": _("the open pipeline"),
        "win_rate": _("the win rate"),
    }
    currency = currency_of(frame)

    def show(measure: str, value: float) -> str:
        return formats.percent(value, 1) if measure == "win_rate" else formats.money(value, currency)

    rows = frame.set_index("measure")
    touched = [
        _("{name} would be {without} instead of {whole}").format(
            name=within[name],
            without=show(name, rows.loc[name, "without"]),
            whole=show(name, rows.loc[name, "with_all"]),
        )
        for name in ("bookings", "open_pipeline", "win_rate")
        if rows.loc[name, "affected"] and rows.loc[name, "difference"]
    ]
    if touched:
        message = _("Without the deals in question {changes}.").format(changes=formats.listed(touched))
    else:
        message = _("The problems change none of the figures of the page.")
    rate = rows.loc["win_rate"]
    if rate["affected"] and rate["low"] <= rate["without"] <= rate["high"]:
        message += " " + _(
            "The change of the win rate is within what chance does to it ({interval})."
        ).format(
            interval=formats.interval(rate["low"], rate["high"], lambda value: formats.percent(value, 1))
        )
    shown = pd.DataFrame(
        {
            "figure": [names[name] for name in frame["measure"]],
            "with all": [show(r.measure, r.with_all) for r in frame.itertuples()],
            "without": [show(r.measure, r.without) for r in frame.itertuples()],
            "deals in question": frame["affected"],
        }
    )
    return Exhibit(message, table=_table(shown, frame), units={"deals in question": "deals"})


def fix_list(frame: pd.DataFrame) -> Exhibit:
    """What is to be mended and by whom, from ``quality.fix_list``."""
    who = _who(frame)
    owned = frame[frame["owner_id"].notna()]
    owners = owned["owner_id"].nunique()
    message = ngettext("{n} problem is to be mended", "{n} problems are to be mended", len(frame)).format(
        n=formats.count(len(frame))
    )
    if owners:
        message += ngettext(" by {n} owner", " by {n} owners", owners).format(n=formats.count(owners))
    else:
        message += _("; no record has an owner")
    exposed = owned.drop_duplicates(["table", "record_id"]).groupby(who)["amount"].sum()
    if len(exposed) and exposed.max() > 0:
        message += _("; most money is exposed with {name}, {amount}").format(
            name=formats.text(exposed.idxmax()), amount=formats.money(exposed.max(), currency_of(frame))
        )
    shown = frame.rename(columns={"name": "record", "record_id": "id", "value": "now"})
    columns = [who, "id", "record", "field", "problem", "now", "suggested", "amount"]
    shown = shown[columns].astype(dict.fromkeys(["now", "suggested", "record"], object))
    texts = ["now", "suggested", "record", "field"]
    shown[texts] = shown[texts].where(shown[texts].notna(), "")
    currency = currency_of(frame)
    shown["now"] = [
        _as_read(*cell, currency) for cell in zip(frame["table"], shown["field"], shown["now"], strict=True)
    ]
    shown["suggested"] = [
        _as_read(*cell, currency)
        for cell in zip(frame["table"], shown["field"], shown["suggested"], strict=True)
    ]
    shown["field"] = [heading(field) if field else "" for field in shown["field"]]
    return Exhibit(message + ".", table=_table(shown, frame), units={"amount": "money"})


def _as_read(table: str, field: str, value: str, currency: str) -> str:
    """A value of a record as readers write it: money as money, days as dates, anything else as it stands."""
    column = TABLES[table].columns.get(field) if table in TABLES else None
    if column is None or not value:
        return value
    try:
        if column.type == "date":
            return formats.date(value)
        return formats.money(Decimal(value), currency, exact=True) if column.type == "money" else value
    except (InvalidOperation, ValueError):
        # What the import set aside is no number.
        return value


def duplicates(frame: pd.DataFrame) -> Exhibit:
    """Records that were entered twice, from ``quality.duplicates``."""
    of = str(frame["table"].iloc[0])
    counted = {
        "accounts": ngettext("{n} account was", "{n} accounts were", len(frame)),
        "leads": ngettext("{n} lead was", "{n} leads were", len(frame)),
    }
    message = _("{records} probably entered twice.").format(
        records=counted.get(of, "{n}").format(n=formats.count(len(frame)))
    )
    shown = frame.rename(
        columns={"record_id": "id", "name": "record", "keep_id": "keep", "keep_name": "kept record"}
    )
    columns = ["record", "id", "kept record", "keep", "similarity", "why", "amount"]
    return Exhibit(
        message, table=_table(shown[columns], frame), units={"similarity": "rate", "amount": "money"}
    )


def restatements(frame: pd.DataFrame) -> Exhibit:
    """Past bookings that have changed since, from ``quality.restatements``."""
    currency = currency_of(frame)
    told = [
        _("{quarter} was told as {told} and is now {now}").format(
            quarter=item["quarter"],
            told=formats.money(item["told"], currency),
            now=formats.money(item["now"], currency),
        )
        if item["told"]
        else _("{quarter} changed by {amount}").format(
            quarter=item["quarter"], amount=formats.money(item["difference"], currency, signed=True)
        )
        for item in sorted(frame.attrs.get("quarters", []), key=lambda item: item["quarter"], reverse=True)
    ]
    deals = ngettext("{n} deal makes", "{n} deals make", len(frame)).format(n=formats.count(len(frame)))
    message = _("Bookings of past quarters have changed: of these deals {changes}; {deals} the difference.")
    shown = frame.rename(columns={"opportunity_id": "id", "name": "record"})
    columns = ["record", "id", _who(frame), "quarter", "told_on", "told", "now", "difference", "why"]
    units = {"told": "money", "now": "money", "difference": "money", "told_on": "date"}
    return Exhibit(
        message.format(changes=formats.listed(told), deals=deals),
        table=_table(shown[columns], frame),
        units=units,
    )


def tie_out_deals(frame: pd.DataFrame) -> Exhibit:
    """The deals that make the difference to a control total, from ``quality.tie_out_deals``."""
    known = frame["declared"].notna().any()
    currency = currency_of(frame)
    amount = formats.money(
        frame.loc[frame["explains"], "difference"].sum(), currency, exact=True, signed=True
    )
    n = int(frame["explains"].sum())
    if known or n:
        text = ngettext(
            "{n} deal makes the difference of {amount}.", "{n} deals make the difference of {amount}.", n
        )
        message = text.format(n=formats.count(n), amount=amount)
        if not known:
            message += " " + _("They are found by their amounts, since the source declares no deals.")
    else:
        text = ngettext(
            "{n} deal may be counted in another way there; none has the very amount of the difference.",
            "{n} deals may be counted in another way there; none has the very amount of the difference.",
            len(frame),
        )
        message = text.format(n=formats.count(len(frame)))
    shown = frame.rename(columns={"opportunity_id": "id", "name": "record"})
    columns = ["source", "id", "record", _who(frame), "close_date"]
    columns += (["declared"] if known else []) + ["computed", "difference", "why"]
    shown = shown[columns].assign(record=shown["record"].astype(object).where(shown["record"].notna(), ""))
    units = {**dict.fromkeys(["declared", "computed", "difference"], "money"), "close_date": "date"}
    return Exhibit(message, table=_table(shown, frame), units=units)


def burn_down(frame: pd.DataFrame) -> Exhibit:
    """How open problems went down by owner, from ``quality.burn_down``."""
    by = str(frame.attrs.get("options", {}).get("by", "owner_id"))
    label = _who(frame) if by == "owner_id" else by
    days = sorted(frame["known_date"].unique())
    total = frame.groupby("known_date")["problems"].sum()
    now = int(total[days[-1]])
    text = _("No problem of a deal is open")
    if now:
        text = ngettext("{n} problem of deals is open", "{n} problems of deals are open", now).format(
            n=formats.count(now)
        )
    if len(days) > 1:
        text += _(", after {before} on {day}").format(
            before=formats.count(total[days[0]]), day=formats.date(days[0])
        )
    latest = frame[frame["known_date"] == days[-1]].set_index(label)
    shown = latest[["problems", "deals", "amount"]].copy()
    units = {"problems": "count", "deals": "deals", "amount": "money"}
    if len(days) > 1:
        shown["solved"], shown["new"] = latest["solved"], latest["new"]
        wide = frame.pivot(index=label, columns="known_date", values="problems")
        shown["trend"] = [list(wide.loc[name, days]) for name in shown.index]
        units |= {"solved": "count", "new": "count", "trend": "trend count"}
    shown = shown.reset_index().sort_values(["problems", "amount", label], ascending=[False, False, True])
    return Exhibit(text + ".", table=_table(shown, frame), units=units)


def process(frame: pd.DataFrame) -> Exhibit:
    """The stages of the process as a page of the handbook, from ``quality.process``."""
    over = int(frame["over_limit"].sum())
    limited = frame["most_days"].notna().any()
    stages = ngettext("The process has {n} stage", "The process has {n} stages", len(frame)).format(
        n=formats.count(len(frame))
    )
    if not limited:
        message = _("{stages}; none has a limit of days.").format(stages=stages)
    else:
        deals = ngettext(
            "{n} open deal is over the limit of its stage",
            "{n} open deals are over the limit of their stage",
            over,
        ).format(n=formats.count(over))
        message = _("{stages}; {deals}.").format(stages=stages, deals=deals)
    columns = ["stage", "required", "p50", "p90", "open_deals"]
    columns[1:1] = [name for name in ("means", "exit") if (frame[name] != "").any()]
    columns += ["most_days", "over_limit"] if limited else []
    if frame["pipeline"].nunique() > 1:
        columns.insert(1, "pipeline")
    units = {
        **dict.fromkeys(["p50", "p90", "most_days"], "days"),
        **dict.fromkeys(["open_deals", "over_limit"], "deals"),
    }
    shown = frame[columns].assign(
        required=[
            formats.listed([heading(name.strip()) for name in str(names).split(",") if name.strip()])
            for names in frame["required"]
        ]
    )
    return Exhibit(message, table=_table(shown, frame), units=units)


def service_levels(frame: pd.DataFrame) -> Exhibit:
    """The promises of time and what waits longer, from ``quality.service_levels``."""
    late = int(frame["waiting"].sum())
    message = ngettext(
        "{n} record waits for longer than promised.", "{n} records wait for longer than promised.", late
    ).format(n=formats.count(late))
    if not late:
        message = _("No record waits for longer than promised.")
    shown = frame.rename(columns={"title": "promise", "within_days": "within"})
    units = {"within": "days", "records": "count", "waiting": "count"}
    return Exhibit(
        message, table=_table(shown[["promise", "within", "records", "waiting"]], frame), units=units
    )


def segments(frame: pd.DataFrame) -> Exhibit:
    """The segments and their deals, from ``quality.segments``."""
    total = frame["open_amount"].sum()
    if total <= 0:
        return Exhibit(_("No open deal has an amount."), columns=("segment", "accounts", "open_deals"))
    first = frame.loc[frame["open_amount"].idxmax()]
    message = _("{name} holds most of the open pipeline: {amount}, {share}.").format(
        name=formats.text(first["segment"]),
        amount=formats.money(first["open_amount"], currency_of(frame)),
        share=formats.percent(first["open_amount"] / total),
    )
    columns = ["segment", *(["rule"] if (frame["rule"] != "").any() else []), "accounts", "open_deals"]
    columns += ["open_amount", "won_deals", "bookings"]
    return Exhibit(message, columns=tuple(columns))
