"""The two as-of dates between which the pipeline is compared, as a reader gives them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from salesops_kit.errors import InputError, Problem
from salesops_kit.periods import parse_day


def between(
    since: str, until: str, as_of: dt.date, default: Callable[[dt.date], dt.date]
) -> tuple[dt.date, dt.date]:
    """The as-of dates ``since`` and ``until``; empty, they are ``default`` of the later one, and ``as_of``.

    Raises :class:`InputError` with everything that is wrong with them: no ISO date, a date after
    ``as_of``, of which nothing is known, or an ``until`` before ``since``.
    """
    problems: list[Problem] = []
    last = _date("until", until, problems) if until else as_of
    if last is not None and last > as_of:
        problems.append(_problem("until", "nothing is known of this date yet", f"a day up to {as_of}", until))
        last = None
    end = last or as_of
    first = _date("since", since, problems) if since else min(default(end), end)
    if first is not None and first > end:
        problems.append(
            _problem("since", "this is after the later of the two dates", f"a day up to {end}", since)
        )
    if problems or first is None or last is None:
        raise InputError(problems)
    return first, last


def _date(column: str, text: str, problems: list[Problem]) -> dt.date | None:
    try:
        return parse_day(text)
    except ValueError:
        problems.append(_problem(column, "this is no date", "a date such as 2026-07-31", text))
        return None


def _problem(column: str, what: str, expected: str, got: str) -> Problem:
    return Problem(what, column=column, expected=expected, got=got)
