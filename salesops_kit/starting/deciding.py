"""Every answer about a downloaded file: as an option gives it, else as a person or the file itself says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb
from pydantic import ValidationError

from salesops_kit.data import guesses
from salesops_kit.data.recognise import Recognised, column_named
from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.settings import Settings
from salesops_kit.starting import proposals
from salesops_kit.starting.proposals import StageSeen
from salesops_kit.starting.writing import CLOSINGS, TYPES, Answers

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


Ask = Callable[[Question], str]


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


def proposed(question: Question) -> str:
    """The answer of nobody: the proposal; refused where the file suggests none."""
    if question.proposal:
        return question.proposal
    raise InputError(
        Problem(f"the file does not tell: {question.text}", column=question.option,
                next_step=f"Give {question.option}.")
    )  # fmt: skip


def decide(
    con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask, *, name: str
) -> Answers:
    """Every answer about a file: what the options give, else what is asked."""
    if options.dates:
        _one_of(options.dates, ORDERS, "--dates")
    dates = _dates(con, found, options, ask)
    amount = _amount(found, options, ask)
    currency, one_currency = _currency(con, found, amount, options, ask)
    start_month = options.fiscal_start
    if start_month is None:
        told = proposals.fiscal_start(con, found, dates.get("close_date", "iso"))
        text = "in which month does the fiscal year start (1 to 12)?"
        given = ask(Question("--fiscal-start-month", text, str(told or 1)))
        start_month = int(_one_of(given, [str(month) for month in range(1, 13)], "--fiscal-start-month"))
    zone = options.zone or ask(Question("--zone", "in which time zone is the business day?", "UTC"))
    _checked("--zone", "a time zone such as Europe/Berlin", zone=zone)
    scale = ""
    if "probability" in found.roles:
        texts = [value.replace("%", "") for value in found.values(con, found.roles["probability"])]
        numbers = [float(text) for text in texts if re.fullmatch(r"\d+([.]\d+)?", text.strip())]
        scale = "0.01" if numbers and max(numbers) > 1 else ""
    return Answers(
        name, amount, tuple(_stages(con, found, options, ask)), start_month, currency, zone, dates,
        _numbers(con, found, amount), scale, one_currency, _types(con, found),
        proposals.endings(con, found),
    )  # fmt: skip


def _dates(con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask) -> dict[str, str]:
    """How each role's column writes its dates: all with the day, or all with the month first."""
    columns = {role: proposals.dates_of(con, found, role) for role in (*CLOSINGS, "created_at")}
    seen = {role: one for role, one in columns.items() if one is not None}
    told = [one.order for one in seen.values() if not one.is_ambiguous and one.order]
    order = options.dates or (told[0] if told else "")
    unclear = next((one.column for one in seen.values() if one.is_ambiguous), None)
    if unclear is not None and not order:
        example = found.values(con, unclear)[0]
        question = f"in {unclear!r}, is the month or the day first (mdy or dmy), as in {example}?"
        order = _one_of(ask(Question("--dates", question)), ORDERS, "--dates")
    return {role: one.chosen(order) for role, one in seen.items()}


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
    if options.amount:
        return column_named(found.source, options.amount, "--amount")
    if not found.amounts:
        return column_named(
            found.source, ask(Question("--amount", "which column is the deal's amount?")), "--amount"
        )
    if len(found.amounts) == 1:
        return found.amounts[0]
    text = f"which column is the deal's amount: {', '.join(found.amounts)}?"
    return column_named(found.source, ask(Question("--amount", text, found.amounts[0])), "--amount")


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
    if options.currency and seen and seen[0] != options.currency:
        problem = Problem(
            "the file's amounts are in another currency", file=found.source.name, column="--currency",
            expected=seen[0], got=options.currency,
        )  # fmt: skip
        raise InputError(problem)
    text = "in which currency are the amounts (a code such as USD)?"
    given = options.currency or (seen[0] if seen else ask(Question("--currency", text, "USD")))
    code = given.strip().upper()
    _checked("--currency", "a currency code such as USD", base_currency=code)
    return code, proposals.has_currencies(found, amount)


def _stages(
    con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask
) -> Iterator[StageSeen]:
    seen = proposals.stages_of(con, found)
    names = [one.stage for one in seen]
    listed = ", ".join(f"{one.stage} ({one.deals:,})" for one in seen)

    def chosen(option: str, given: Sequence[str], outcome: str, proposal: list[str]) -> set[str]:
        if not given:
            also = ", or none" if option == "--lost" else ""
            text = f"which of these stages are {outcome} (names with ; between them{also})? {listed}"
            given = [part.strip() for part in ask(Question(option, text, "; ".join(proposal))).split(";")]
        known = names if option == "--won" or NONE in names else [*names, NONE]
        return {_one_of(name, known, option) for name in given if name}

    won = chosen("--won", options.won, "won", [one.stage for one in seen if one.is_won])
    lost_proposal = [one.stage for one in seen if one.is_lost and one.stage not in won]
    # A file of won and open deals alone has no lost stage to name, and one that says itself what is closed is
    # believed. Of any other without a lost stage only a person can say so.
    is_told = "is_closed" in found.roles or all(name in won or proposals.is_open(name) for name in names)
    lost: set[str] = set()
    if options.lost or lost_proposal or not is_told:
        lost = chosen("--lost", options.lost, "lost", lost_proposal) - {NONE}
    if both := won & lost:
        raise InputError(
            Problem("a stage is both won and lost", column="--lost", got=", ".join(sorted(both)))
        )
    for one in seen:
        yield replace(one, is_won=one.stage in won, is_lost=one.stage in lost)


def _checked(option: str, expected: str, **setting: str) -> None:
    """Raises :class:`InputError` naming the option where a setting's value is none."""
    try:
        Settings(**setting)  # type: ignore[arg-type]
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        value = next(iter(setting.values()))
        raise InputError(Problem(what, column=option, expected=expected, got=value)) from None


def _one_of(given: str, choices: Sequence[str], option: str) -> str:
    by_fold = {choice.casefold(): choice for choice in choices}
    if given.strip().casefold() in by_fold:
        return by_fold[given.strip().casefold()]
    raise InputError(
        Problem(f"unknown value {given!r}", column=option, next_step=did_you_mean(given, list(choices)))
    )
