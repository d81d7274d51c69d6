"""The funnel report's exhibits: each a message with its number, and the picture that shows it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from salesops_kit import formats
from salesops_kit.display import charts
from salesops_kit.display.charts._bridge import step_labels
from salesops_kit.display.narrative import Exhibit, compared, no_evidence, of_plan, p_text, with_range
from salesops_kit.display.notices import set_aside
from salesops_kit.display.stories._amounts import currency_of, money_of
from salesops_kit.display.stories._stages import told_apart
from salesops_kit.display.tables import label as heading
from salesops_kit.language import _, ngettext

LEAST_SHARE = 0.01
_TIMES = ("stage", "at_risk", "left", "still_open", "p50", "p75", "p90", "closed_only_mean")
_LOST = ("revenue_lost", "revenue_lost_low", "revenue_lost_high")


def _travelled(frame: pd.DataFrame, count: str) -> pd.DataFrame:
    """The stages that at least one deal in a hundred goes through: a mistyped one is no real stage."""
    most = frame.groupby("pipeline", dropna=False)[count].transform("max")
    return frame[frame[count] >= most * LEAST_SHARE]


def _extremes(frame: pd.DataFrame, label: str, value: str, show: Callable[[float], str], what: str) -> str:
    """What a picture shows, in words: ``what`` (with the ``{n}`` of its rows), from its lowest to its
    highest figure and whose they are."""
    known = frame.dropna(subset=[value])
    begin = what.format(n=formats.count(len(frame)))
    if known.empty:
        return _("{what} is not known for any.").format(what=begin)
    low, high = known.loc[known[value].idxmin()], known.loc[known[value].idxmax()]
    if low[value] == high[value]:
        return _("{what} is {value} for every one that is known.").format(what=begin, value=show(low[value]))
    return _("{what} runs from {low} ({lowest}) to {high} ({highest}).").format(
        what=begin,
        low=show(low[value]),
        lowest=formats.text(low[label]),
        high=show(high[value]),
        highest=formats.text(high[label]),
    )


def waterfall(frame: pd.DataFrame) -> Exhibit:
    """How the pipeline that was due in the quarter was used up, from ``funnel.waterfall``."""
    names = step_labels()
    amounts = frame.set_index("step")["amount"].astype(float).reindex(list(names)).fillna(0.0)
    currency = currency_of(frame)

    def show(step: str) -> str:
        return formats.money(abs(amounts[step]), currency)

    if not amounts.any():
        return Exhibit(_("No deal was due in the quarter."), is_text=True)
    # What one team of the page hands to another neither comes in nor leaves.
    within = show("transferred_in") == show("transferred_out")
    sources = ["created", "pulled_in", "reopened", "up", *([] if within else ["transferred_in"])]
    came = formats.money(amounts[sources].sum(), currency)
    if not amounts[sources].any():
        begin = _("{opening} was open at the start and nothing came in").format(opening=show("opening"))
    elif amounts["opening"]:
        begin = _("{opening} was open at the start and {came} came in").format(
            opening=show("opening"), came=came
        )
    else:
        begin = _("Nothing due in the quarter was open at its start; {came} came in").format(came=came)
    left = [
        words.format(amount=show(step))
        for step, words in (
            ("won", _("{amount} was won")),
            ("lost", _("{amount} was lost")),
            ("pushed", _("{amount} was pushed out")),
            ("transferred_out", _("{amount} was handed over")),
            ("down", _("{amount} was cut from amounts")),
            ("removed", _("{amount} was removed")),
        )
        if amounts[step] and not (within and step == "transferred_out")
    ]
    end = (
        _("{closing} is left").format(closing=show("closing")) if amounts["closing"] else _("nothing is left")
    )
    message = _("{begin}; {middle}.").format(begin=begin, middle=formats.listed([*left, end]))
    told = [
        f"{name} {show(step)}"
        for step, name in names.items()
        if amounts[step] or step in ("opening", "closing")
    ]
    alternative = _("A bridge of bars from what was open at the start to what is left: {steps}.").format(
        steps="; ".join(told)
    )
    table = frame.assign(step=[names.get(step, step) for step in frame["step"]])
    table.attrs = dict(frame.attrs)
    return Exhibit(message, charts.waterfall(frame, currency=currency), alternative=alternative, table=table)


def bookings(frame: pd.DataFrame) -> Exhibit:
    """Bookings of each team or rep beside plan, last quarter and last year, from ``funnel.bookings``."""
    by = str(frame.attrs.get("options", {}).get("by", "team"))
    label = "rep_name" if "rep_name" in frame else by
    show, last = money_of(frame), frame["quarter"].iloc[-1]
    quarters = list(dict.fromkeys(frame["quarter"]))
    now = frame[frame["quarter"] == last].set_index(by)
    wide = frame.pivot(index=by, columns="quarter", values="bookings_to_day")
    whole = frame.pivot(index=by, columns="quarter", values="bookings")
    table = pd.DataFrame({label: now.get(label, now.index), "bookings": now["bookings"]})
    units = {"bookings": "money"}
    if now["target"].notna().any():
        table["of_plan"] = (now["bookings"] / now["target"].where(now["target"] > 0)).astype(float)
        units["of_plan"] = "share"
    beside = {"prior": quarters[-2:-1], "year_ago": quarters[-5:-4]}
    for name in (found[0] for found in beside.values() if found):
        table[name] = wide[name]
        units[name] = "money"
    if len(quarters) > 2:
        table["trend"] = [list(whole.loc[group]) for group in table.index]
        units["trend"] = "trend money"
    table = table.reset_index(drop=True).sort_values(
        ["bookings", label], ascending=[False, True], ignore_index=True
    )
    total = float(now["bookings"].sum())
    message = _bookings_message(table, label, total, show)
    sums = wide.sum()
    told = [of_plan(total, _whole(now["target"]), show)]
    told += [compared(total, sums[found[0]], name=found[0], show=show) for found in beside.values() if found]
    # A quarter without bookings is its own sentence; what it stands beside is in the table.
    if any(told) and total > 0:
        comparisons = formats.listed([text for text in told if text])
        message += " " + _("All together: {comparisons}.").format(comparisons=comparisons)
    notes = list(frame.attrs.get("notes", []))
    if not now["is_over"].all():
        notes.append(_("Earlier quarters are shown up to the same day."))
    if any(beside.values()):
        # Headlines compare with what was known then, which later changes of the record do not touch.
        notes.append(
            _("Earlier quarters are as known today; the headlines compare with what was known at the time.")
        )
    table.attrs = {**frame.attrs, "notes": notes}
    return Exhibit(message, table=table, units=units)


def _whole(targets: pd.Series) -> float:
    """The sum of the targets; missing unless each part has one."""
    return float(targets.sum()) if targets.notna().all() else float("nan")


def _bookings_message(table: pd.DataFrame, label: str, total: float, show: Callable[[float], str]) -> str:
    first = table.iloc[0]
    if total <= 0:
        return _("Nothing has been booked in the quarter.")
    if len(table) == 1:
        return _("{name} booked {amount}.").format(
            name=formats.text(first[label]), amount=show(first["bookings"])
        )
    return _("{name} booked most: {amount}, {share} of {total}.").format(
        name=formats.text(first[label]),
        amount=show(first["bookings"]),
        share=formats.percent(first["bookings"] / total),
        total=show(total),
    )


def stage_conversion(frame: pd.DataFrame) -> Exhibit:
    """The share of deals that moves on from each stage against the company, from ``funnel.bottlenecks``."""
    apart = told_apart(frame)
    in_order = _travelled(frame, "entrants").sort_values(["pipeline", "stage_position"], kind="stable")
    drawn = in_order.rename(columns={"moved_on_rate": "rate"})
    # The company is not compared with itself.
    is_compared = bool((drawn["p_value"].notna() & (drawn["difference"] != 0)).any())
    if not is_compared:
        drawn = drawn.assign(reference_rate=float("nan"))
    columns = (
        "stage",
        "entrants",
        "moved_on_rate",
        "low",
        "high",
        *(("reference_rate",) if is_compared else ()),
    )
    alternative = _extremes(
        drawn.assign(stage=apart["stage"]),
        "stage",
        "rate",
        formats.percent,
        _("One bar per stage, {n} in all, with its interval: the share of deals that moves on"),
    )
    if is_compared:
        alternative += " " + _("A mark on each bar shows the company's share.")
    return Exhibit(
        _conversion_message(apart, is_compared=is_compared),
        charts.conversion_steps(drawn),
        columns,
        alternative,
        table=apart,
        said=(_("No evidence of a difference from the company in any stage."),),
    )


def _conversion_message(frame: pd.DataFrame, *, is_compared: bool) -> str:
    found = frame[frame["evidence"] & (frame["difference"] < 0)]
    if len(found):
        worst = found.iloc[0]
        return _(
            "{stage} holds deals back: {rate} move on against {reference} in the company, a gap of {gap}."
        ).format(
            stage=formats.text(worst["stage"]),
            rate=formats.percent(worst["moved_on_rate"]),
            reference=formats.percent(worst["reference_rate"]),
            gap=_gap(-worst["difference_high"], -worst["difference_low"]),
        )
    ahead = frame[frame["evidence"] & (frame["difference"] > 0)]
    if len(ahead):
        best = ahead.iloc[0]
        return _("{stage} goes better than in the company: {rate} move on against {reference}.").format(
            stage=formats.text(best["stage"]),
            rate=formats.percent(best["moved_on_rate"]),
            reference=formats.percent(best["reference_rate"]),
        )
    if is_compared:
        return _("No stage differs from the company's by more than chance.")
    known = _travelled(frame, "entrants").dropna(subset=["moved_on_rate"])
    if known.empty:
        return _("No deal has left a stage yet.")
    low = known.loc[known["moved_on_rate"].idxmin()]
    return _("Fewest deals move on from {stage}: {rate} of {n}.").format(
        stage=formats.text(low["stage"]),
        rate=with_range(low["moved_on_rate"], low["low"], low["high"], formats.percent),
        n=formats.count(low["entrants"]),
    )


def _gap(low: float, high: float) -> str:
    """A range of percentage points, its unit said once."""
    if formats.points(low) == formats.points(high):
        return formats.points(low)
    return _("{low} to {high}").format(low=formats.number(100 * low), high=formats.points(high))


def bottlenecks(frame: pd.DataFrame) -> Exhibit:
    """Stages by the revenue that a better conversion would keep, from ``funnel.bottlenecks``."""
    frame = told_apart(frame)
    columns = ("stage", "entrants", "moved_on_rate", "best_rate", *_LOST)
    lost = frame["revenue_lost"].iloc[0] if len(frame) else float("nan")
    if formats.is_missing(lost) or lost <= 0:
        return Exhibit(_("No stage stays behind the best rate that the company's teams show."), is_text=True)
    first = frame.iloc[0]
    if not first["revenue_lost_low"] > 0:
        # What may as well be nothing is no loss, and no ranking.
        most = frame.loc[frame["revenue_lost_high"].idxmax()]
        message = _(
            "No stage is shown to cost revenue; in four quarters {stage} may have cost up to {amount},"
            " against the best rate that a team of the company shows ({best})."
        ).format(
            stage=formats.text(most["stage"]),
            amount=money_of(frame)(most["revenue_lost_high"]),
            best=formats.percent(most["best_rate"]),
        )
        return Exhibit(message, columns=columns, table=frame)
    message = _(
        "{stage} costs most: in four quarters about {amount} of revenue, if its deals moved on at the best "
        "rate that a team of the company shows ({best})."
    ).format(
        stage=formats.text(first["stage"]),
        amount=with_range(
            lost,
            first["revenue_lost_low"],
            first["revenue_lost_high"],
            money_of(frame),
        ),
        best=formats.percent(first["best_rate"]),
    )
    return Exhibit(message, columns=columns, table=frame)


def time_in_stage(frame: pd.DataFrame) -> Exhibit:
    """How long deals stay, from ``funnel.time_in_stage``."""
    apart = told_apart(frame)
    frame, apart = _travelled(frame, "at_risk"), _travelled(apart, "at_risk")
    apart.attrs = {**frame.attrs, "notes": [*frame.attrs.get("notes", []), *_unfinished(frame)]}
    known = apart.dropna(subset=["p50"])
    alternative = _extremes(
        apart,
        "stage",
        "p50",
        formats.days,
        _("One row per stage, {n} in all, with the days by which half, 3 in 4 and 9 in 10 have left: half"),
    )
    if known.empty:
        message = _("Too few deals have left a stage to say how long they stay.")
        return Exhibit(message, charts.stage_times(frame), _TIMES, alternative, table=apart)
    slow = known.loc[known["p50"].idxmax()]
    message = _("Deals stay longest in {stage}: half leave within {half}").format(
        stage=formats.text(slow["stage"]), half=formats.days(slow["p50"])
    )
    if not formats.is_missing(slow["p90"]) and formats.days(slow["p90"]) != formats.days(slow["p50"]):
        message += _(", one in ten stays beyond {late}").format(late=formats.days(slow["p90"]))
    return Exhibit(message + ".", charts.stage_times(frame), _TIMES, alternative, table=apart)


def _unfinished(frame: pd.DataFrame) -> list[str]:
    """That the plain mean is too short, where deals are still in a stage that has one."""
    if not {"still_open", "closed_only_mean"} <= set(frame):
        return []
    if not (frame["still_open"].gt(0) & frame["closed_only_mean"].notna()).any():
        return []
    return [_("The mean over deals that left is shorter than the truth where others are still in the stage.")]


def win_rate_spread(frame: pd.DataFrame) -> Exhibit:
    """Win rates of reps with the chance in them, from ``funnel.win_rate`` by one dimension.

    Reps are put in the order of their rates only where the rates differ by more than chance.
    """
    by = str(frame.attrs.get("options", {}).get("by", "owner_id"))
    test = frame.attrs.get("test", {})
    closed = frame[frame["n"] > 0]
    if closed.empty:
        return Exhibit(_("No deal was closed."), is_text=True)
    pooled = closed["won"].sum() / closed["n"].sum()
    label = "rep_name" if "rep_name" in closed else by
    picture = charts.dots(
        closed,
        label,
        "rate",
        low="low",
        high="high",
        n="n",
        reference=pooled,
        reference_label=_("all together"),
        is_ranked=bool(test.get("evidence")),
    )
    alternative = _extremes(
        closed,
        label,
        "rate",
        formats.percent,
        _("One dot per rep, {n} in all, on the range that chance leaves: the win rate"),
    )
    alternative += " " + _("A dashed line at {rate} is all together.").format(rate=formats.percent(pooled))
    columns = (label, "won", "lost", "n", "rate", "low", "high", "won_amount")
    who = ngettext("{n} rep", "{n} reps", len(closed)).format(n=formats.count(len(closed)))
    deals = ngettext("{n} closed deal", "{n} closed deals", int(closed["n"].sum()))
    scale = _("{reps} on {deals}").format(reps=who, deals=deals.format(n=formats.count(closed["n"].sum())))
    if test.get("evidence"):
        # What chance alone gives to few deals is no rep's rate.
        steady = closed["shrunk_rate"].fillna(closed["rate"])
        low, high = steady.min(), steady.max()
        message = _(
            "Reps win at different rates: from {low} to {high}, chance allowed for ({scale}, {p})."
        ).format(
            low=formats.percent(low),
            high=formats.percent(high),
            scale=scale,
            p=p_text(test["p_value"], 3),
        )
    elif len(closed) < 2:
        message = _("One rep closed deals, so there is nothing to compare ({scale}).").format(scale=scale)
    else:
        message = no_evidence(
            _("Win rates by rep"), p_value=test.get("p_value"), deals_needed=test.get("deals_needed")
        )
        message += " " + _("Ranking these {scale} would rank chance.").format(scale=scale)
    said = (str(test["note"]),) if "note" in test else ()
    return Exhibit(message, picture, columns, alternative, said=said)


def exclusions(frame: pd.DataFrame) -> Exhibit:
    """What was set aside or flagged, by kind."""
    aside = int(frame.loc[frame["action"] == "set aside", "rows"].sum())
    flagged = int(frame.loc[frame["action"] != "set aside", "rows"].sum())
    raised = _("no flag is raised on what is kept")
    if flagged:
        raised = ngettext(
            "{n} flag is raised on what is kept", "{n} flags are raised on what is kept", flagged
        ).format(n=formats.count(flagged))
    table = None
    if "column_name" in frame:
        table = frame.assign(
            column_name=[
                value if formats.is_missing(value) else heading(str(value)) for value in frame["column_name"]
            ]
        )
        table.attrs = dict(frame.attrs)
    return Exhibit(_("{aside}; {flagged}.").format(aside=set_aside(aside), flagged=raised), table=table)
