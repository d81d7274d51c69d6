"""The words for fiscal quarters and cut-offs that a schedule uses, made dates by an explicit run date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from salesops_kit.errors import InputError, Problem, Problems
from salesops_kit.periods import FiscalCalendar, Period, parse_day
from salesops_kit.publishing.plan_file import LoadedPlan, Text

CURRENT = "current"
QUARTERS = (CURRENT, "latest", "previous")
RUN_DATE = "run-date"


@dataclass(frozen=True)
class Known:
    """What words are resolved against: the fiscal calendar of the data, and what the data holds."""

    calendar: FiscalCalendar
    quarters: Sequence[str]
    observed_until: dt.date


def parse_run_date(text: str) -> dt.date:
    """A run date as it is given; raises :class:`InputError`.

    >>> parse_run_date("2027-08-01")
    datetime.date(2027, 8, 1)
    """
    try:
        return parse_day(text)
    except ValueError:
        raise InputError(
            Problem("not a date", column="--run-date", expected="a date such as 2027-08-01", got=text[:80])
        ) from None


def quarter_of_word(word: str, run_date: dt.date, calendar: FiscalCalendar) -> Period:
    """The fiscal quarter that a word means on a run date.

    ``current`` holds the run date, its first and its last day included; ``latest`` is the last one that
    ended before the run date, so the one before ``current``; ``previous`` is the one before ``latest``.

    >>> day = dt.date(2027, 7, 1)
    >>> [quarter_of_word(word, day, FiscalCalendar()).label for word in QUARTERS]
    ['2027-Q3', '2027-Q2', '2027-Q1']
    """
    quarter = calendar.quarter_of(run_date)
    for _step in range(QUARTERS.index(word)):
        quarter = calendar.previous(quarter)
    return quarter


def quarter_label(
    word: str, run_date: dt.date, known: Known, place: Mapping[str, object] | None = None
) -> tuple[str, list[Problem]]:
    """The label of the quarter that a word means, and a note where the data ends before that quarter does.

    Raises :class:`InputError` where the data holds nothing of that quarter.
    """
    period = quarter_of_word(word, run_date, known.calendar)
    if period.label not in known.quarters:
        held = f"{known.quarters[0]} to {known.quarters[-1]}" if known.quarters else "none"
        raise InputError(
            Problem(
                f"{word!r} on the run date {run_date} is {period.label}, which the data does not hold",
                expected=f"a quarter that it holds, {held} (known until {known.observed_until})",
                next_step="Import newer data, or give another run date.",
                **(place or {}),  # type: ignore[arg-type]
            )
        )
    if word == CURRENT or known.observed_until >= period.last_day:
        return period.label, []
    end = f"the data is known until {known.observed_until}, before {period.label} ends on {period.last_day}"
    return period.label, [Problem(f"{word}: {end}")]


def resolve_choice(
    given: Mapping[str, str], run_date: dt.date, known: Known
) -> tuple[dict[str, str], list[Problem]]:
    """One ``quarter`` and one ``as_of`` as they are given, words made dates, and notes.

    The later use of a cut-off caps it at the data's end. Raises as :func:`quarter_label` does.
    """
    chosen, notes = dict(given), list[Problem]()
    if given["quarter"] in QUARTERS:
        chosen["quarter"], notes = quarter_label(given["quarter"], run_date, known)
    if given["as_of"] == RUN_DATE:
        chosen["as_of"] = min(run_date, known.observed_until).isoformat()
    return chosen, notes


def uses_run_date(loaded: LoadedPlan) -> bool:
    """Whether a plan, with what was given instead of its keys, holds a word that needs a run date."""
    plan = loaded.plan
    cut_offs = [plan.as_of, loaded.overrides.get("as_of"), *(p.get("as_of") for p in plan.params.values())]
    return bool(set(QUARTERS) & set(plan.quarters)) or RUN_DATE in cut_offs


def resolve(loaded: LoadedPlan, run_date: dt.date, known: Known) -> tuple[LoadedPlan, list[Problem]]:
    """The plan with a label for each word among its quarters and a date for each ``run-date``, and notes.

    A cut-off on the run date is the data's end where that is earlier. Raises :class:`InputError` with
    every word whose quarter the data does not hold.
    """
    problems = Problems()
    notes: list[Problem] = []
    labels: list[str] = []
    for number, quarter in enumerate(loaded.plan.quarters):
        if quarter not in QUARTERS:
            labels.append(quarter)
            continue
        place = loaded.place("quarter", "quarters", str(number))
        with problems.caught():
            label, late = quarter_label(quarter, run_date, known, place)
            labels.append(label)
            notes += late
    problems.refuse()
    cut_off = min(run_date, known.observed_until)

    def dated(values: Mapping[str, Text]) -> dict[str, Text]:
        is_word = values.get("as_of") == RUN_DATE
        return {**values, "as_of": cut_off.isoformat()} if is_word else dict(values)

    plan = loaded.plan
    changed = {
        "quarters": tuple(labels),
        "params": {report: dated(values) for report, values in plan.params.items()},
        **dated({"as_of": plan.as_of}),
    }
    overrides = dated(loaded.overrides)
    made = replace(loaded, plan=plan.model_copy(update=changed), overrides=overrides)
    before = (plan.as_of, plan.params, loaded.overrides)
    if cut_off < run_date and before != (made.plan.as_of, made.plan.params, made.overrides):
        notes.append(Problem(f"as_of: the run date {run_date} is past the data's end, so {cut_off} counts"))
    return made, notes
