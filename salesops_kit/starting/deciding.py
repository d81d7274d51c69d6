"""Every answer about a downloaded file: as an option gives it, else as a person or the file itself says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import duckdb
from pydantic import ValidationError

from salesops_kit.data import guesses
from salesops_kit.data.recognise import Recognised, column_named
from salesops_kit.errors import InputError, Problem, Problems, did_you_mean
from salesops_kit.settings import Settings
from salesops_kit.starting import proposals
from salesops_kit.starting.proposals import StageSeen
from salesops_kit.starting.writing import CLOSINGS, TYPES, Answers

Answer = TypeVar("Answer")
ORDERS = ("mdy", "dmy")
NONE = "none"


@dataclass(frozen=True)
class Question:
    """Something that the file suggests and a person decides; ``option`` is its name at the terminal.

    Without a ``proposal`` the file does not tell, and an answer has to be given.
    """

    option: str
    text: str
    proposal: str = ""


class Ask(Protocol):
    """How an answer is had: what ``accept`` makes of it, which raises InputError where it is none."""

    def __call__(self, question: Question, accept: Callable[[str], Answer]) -> Answer: ...


@dataclass(frozen=True)
class Options:
    """Answers given beforehand; what is empty is asked."""

    fiscal_start: int | None = None
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    amount: str = ""
    currency: str = ""
    zone: str = ""
    dates: str = ""
    sheet: str = ""
    stage: str = ""
    close_date: str = ""

    @property
    def named(self) -> dict[str, str]:
        """The columns given for roles of a deal."""
        given = {"stage": self.stage, "close_date": self.close_date}
        return {role: column for role, column in given.items() if column}


NOTHING_GIVEN = Options()


def proposed(question: Question, accept: Callable[[str], Answer]) -> Answer:
    """The answer of nobody: the proposal; refused where the file suggests none."""
    if question.proposal:
        return accept(question.proposal)
    raise InputError(
        Problem(f"the file does not tell: {question.text}", column=question.option,
                next_step=f"Give {question.option}.")
    )  # fmt: skip


def decide(
    con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask, *, name: str
) -> Answers:
    """Every answer about a file: what the options give, else what is asked.

    Raises :class:`InputError` with all that is wrong with the options and all that only a person can tell
    where nobody is asked; after a wrong option nobody is.
    """
    problems = Problems()
    amount, dates = "", dict[str, str]()

    def asking(question: Question, accept: Callable[[str], Answer]) -> Answer:
        return (proposed if problems else ask)(question, accept)

    with problems.caught():
        dates = _dates(con, found, options, asking)
    with problems.caught():
        amount = _amount(found, options, asking)
        currency, one_currency = _currency(con, found, amount, options, asking)
    with problems.caught():
        start_month = _start_month(con, found, dates.get("close_date", "iso"), options, asking)
    with problems.caught():
        zone = _zone(options, asking)
    with problems.caught():
        stages = tuple(_stages(con, found, options, asking))
    problems.refuse()
    return Answers(
        name, amount, stages, start_month, currency, zone, dates, _numbers(con, found, amount),
        _scale(con, found), one_currency, _types(con, found), proposals.endings(con, found),
    )  # fmt: skip


def _dates(con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask) -> dict[str, str]:
    """How each role's column writes its dates: all with the day, or all with the month first."""
    columns = {role: proposals.dates_of(con, found, role) for role in (*CLOSINGS, "created_at")}
    seen = {role: one for role, one in columns.items() if one is not None}
    told = [one.order for one in seen.values() if not one.is_ambiguous and one.order]
    given = _one_of(options.dates, ORDERS, "--dates") if options.dates else ""
    order = given or (told[0] if told else "")
    unclear = next((one.column for one in seen.values() if one.is_ambiguous), None)
    if unclear is not None and not order:
        example = found.values(con, unclear)[0]
        question = f"in {unclear!r}, is the month or the day first (mdy or dmy), as in {example}?"
        order = ask(Question("--dates", question), lambda answer: _one_of(answer, ORDERS, "--dates"))
    return {role: one.chosen(order) for role, one in seen.items()}


def _start_month(
    con: duckdb.DuckDBPyConnection, found: Recognised, close_dates: str, options: Options, ask: Ask
) -> int:
    if options.fiscal_start is not None:
        return options.fiscal_start
    option, months = "--fiscal-start-month", [str(month) for month in range(1, 13)]
    text = "in which month does the fiscal year start (1 to 12)?"
    told = proposals.fiscal_start(con, found, close_dates)
    return ask(Question(option, text, str(told or 1)), lambda answer: int(_one_of(answer, months, option)))


def _zone(options: Options, ask: Ask) -> str:
    def known(zone: str) -> str:
        return _checked("--zone", "a time zone such as Europe/Berlin", zone=zone.strip())

    text = "in which time zone is the business day?"
    return known(options.zone) if options.zone else ask(Question("--zone", text, "UTC"), known)


def _scale(con: duckdb.DuckDBPyConnection, found: Recognised) -> str:
    """What the file's probabilities are multiplied with: they may be percent."""
    if "probability" not in found.roles:
        return ""
    texts = [value.replace("%", "") for value in found.values(con, found.roles["probability"])]
    numbers = [float(text) for text in texts if re.fullmatch(r"\d+([.]\d+)?", text.strip())]
    return "0.01" if numbers and max(numbers) > 1 else ""


def _types(con: duckdb.DuckDBPyConnection, found: Recognised) -> dict[str, str]:
    """What the file's kinds of deal are called in the kit, where that is known."""
    values = found.values(con, found.roles["type"]) if "type" in found.roles else []
    return {value: TYPES[value] for value in values if value in TYPES}


def _numbers(con: duckdb.DuckDBPyConnection, found: Recognised, amount: str) -> guesses.Numbers:
    if amount in found.source.native:
        return guesses.Numbers()
    numbers = guesses.numbers_of(found.values(con, amount)) or guesses.Numbers()
    texts = found.values(con, found.roles["probability"]) if "probability" in found.roles else []
    if any(text.endswith("%") for text in texts):
        numbers = replace(numbers, symbols=(*numbers.symbols, "%"))
    return numbers


def _amount(found: Recognised, options: Options, ask: Ask) -> str:
    def column(name: str) -> str:
        return column_named(found.source, name, "--amount")

    if options.amount:
        return column(options.amount)
    if not found.amounts:
        return ask(Question("--amount", "which column is the deal's amount?"), column)
    if len(found.amounts) == 1:
        return found.amounts[0]
    text = f"which column is the deal's amount: {', '.join(found.amounts)}?"
    return ask(Question("--amount", text, found.amounts[0]), column)


def _currency(
    con: duckdb.DuckDBPyConnection, found: Recognised, amount: str, options: Options, ask: Ask
) -> tuple[str, bool]:
    """The base currency, and whether the file's currency column speaks of the amounts."""
    seen = proposals.currencies_of(con, found, amount)
    if len(seen) > 1:
        others = [one for one in found.amounts if one != amount]
        raise InputError(
            Problem(
                f"the amounts are in several currencies: {', '.join(seen)}", file=found.source.name,
                column=amount, expected="one currency",
                next_step="Add the amount converted to the company's currency to the report and name it with "
                f"--amount{f' (perhaps {others[0]})' if others else ''}, or import with exchange rates.",
            )
        )  # fmt: skip

    def known(code: str) -> str:
        return _checked("--currency", "a currency code such as USD", base_currency=code.strip().upper())

    given = known(options.currency) if options.currency else ""
    if given and seen and seen[0] != given:
        problem = Problem(
            "the file's amounts are in another currency", file=found.source.name, column="--currency",
            expected=seen[0], got=given,
        )  # fmt: skip
        raise InputError(problem)
    text = "in which currency are the amounts (a code such as USD)?"
    code = given or (seen[0] if seen else ask(Question("--currency", text, "USD"), known))
    return code, proposals.has_currencies(found, amount)


def _stages(
    con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask
) -> Iterator[StageSeen]:
    seen = proposals.stages_of(con, found)
    names = [one.stage for one in seen]
    listed = ", ".join(f"{one.stage} ({one.deals:,})" for one in seen)

    def chosen(option: str, given: Sequence[str], outcome: str, proposal: list[str]) -> set[str]:
        known = names if option == "--won" or NONE in names else [*names, NONE]

        def named(stages: Sequence[str]) -> set[str]:
            return {_one_of(stage, known, option) for stage in map(str.strip, stages) if stage}

        if given:
            return named(given)
        also = ", or none" if option == "--lost" else ""
        text = f"which of these stages are {outcome} (names with ; between them{also})? {listed}"
        return ask(Question(option, text, "; ".join(proposal)), lambda answer: named(answer.split(";")))

    problems, won, lost = Problems(), set[str](), set[str]()
    with problems.caught():
        won = chosen("--won", options.won, "won", [one.stage for one in seen if one.is_won])
    lost_proposal = [one.stage for one in seen if one.is_lost and one.stage not in won]
    # A file of won and open deals alone has no lost stage to name, and one that says itself what is closed is
    # believed. Of any other without a lost stage only a person can say so.
    is_told = "is_closed" in found.roles or all(name in won or proposals.is_open(name) for name in names)
    if options.lost or lost_proposal or not is_told:
        with problems.caught():
            lost = chosen("--lost", options.lost, "lost", lost_proposal) - {NONE}
    problems.refuse()
    if both := won & lost:
        raise InputError(
            Problem("a stage is both won and lost", column="--lost", got=", ".join(sorted(both)))
        )
    for one in seen:
        yield replace(one, is_won=one.stage in won, is_lost=one.stage in lost)


def _checked(option: str, expected: str, **setting: str) -> str:
    """A setting's value; raises :class:`InputError` naming the option where it is none."""
    value = next(iter(setting.values()))
    try:
        Settings(**setting)  # type: ignore[arg-type]
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InputError(Problem(what, column=option, expected=expected, got=value)) from None
    return value


def _one_of(given: str, choices: Sequence[str], option: str) -> str:
    by_fold = {choice.casefold(): choice for choice in choices}
    if given.strip().casefold() in by_fold:
        return by_fold[given.strip().casefold()]
    raise InputError(
        Problem(f"unknown value {given!r}", column=option, next_step=did_you_mean(given, list(choices)))
    )
