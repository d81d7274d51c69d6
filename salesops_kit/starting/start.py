"""One downloaded file to published reports: recognised, asked about, imported, counted, run."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from salesops_kit.data import engine, guesses
from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.data.earlier import EARLIER
from salesops_kit.data.mapping import read_mapping
from salesops_kit.data.mapping_files import find_mapping
from salesops_kit.data.recognise import Recognised, column_named, recognise
from salesops_kit.data.sealing import SEALED
from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.preparation import Preparation
from salesops_kit.project import ROOT_VARIABLE
from salesops_kit.publishing.plan_file import load_plan
from salesops_kit.publishing.progress import Progress
from salesops_kit.publishing.run import RunResult, run
from salesops_kit.publishing.templates import available
from salesops_kit.registry import find_table
from salesops_kit.settings import COMPANY, Settings
from salesops_kit.starting import proposals
from salesops_kit.starting.proposals import StageSeen
from salesops_kit.starting.workspace import make_workspace, write_yaml
from salesops_kit.starting.writing import CLOSINGS, TYPES, Answers, mapping_of, settings_of

KEPT = (EARLIER, SEALED)
DATASET_FILE = Path("params") / "dataset.yml"
ORDERS = ("mdy", "dmy")


@dataclass(frozen=True)
class Question:
    """Something that the file suggests and a person decides; ``option`` is its name at the terminal.

    Without a ``proposal`` the file does not tell, and an answer has to be given.
    """

    option: str
    text: str
    proposal: str = ""


Ask = Callable[[Question], str]
Tell = Callable[[str], None]


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


@dataclass(frozen=True)
class ClosedWon:
    """What was won in one fiscal year: the figure that a person can hold against a dashboard."""

    fiscal_year: int
    amount: Decimal
    deals: int

    def __str__(self) -> str:
        number = f"{self.amount:,.2f}".removesuffix(".00")
        unit = "deal" if self.deals == 1 else "deals"
        return f"Closed-won FY{self.fiscal_year % 100:02d} = {number} in {self.deals:,} {unit}"


@dataclass(frozen=True)
class Started:
    """What was made: the workspace, the figures to compare, and the run's result (None: nothing to run)."""

    folder: Path
    closed_won: tuple[ClosedWon, ...]
    result: RunResult | None


def proposed(question: Question) -> str:
    """The answer of nobody: the proposal; refused where the file suggests none."""
    if question.proposal:
        return question.proposal
    raise InputError(
        Problem(f"the file does not tell: {question.text}", column=question.option,
                next_step=f"Give {question.option}.")
    )  # fmt: skip


def start(
    path: Path,
    out: Path,
    *,
    options: Options = Options(),
    ask: Ask = proposed,
    tell: Tell = lambda _: None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> Started:
    """Recognise one file, write the workspace ``out`` for it, import it and publish what it allows.

    Raises :class:`~salesops_kit.errors.InputError` before anything is written where the file cannot be
    read or an answer is missing.
    """
    with tempfile.TemporaryDirectory(prefix="salesops-start-") as scratch:
        con = engine.connect(Path(scratch))
        try:
            found = recognise(con, path, scratch=Path(scratch), sheet=options.sheet, named=options.named)
            for sentence in _said_of(found):
                tell(sentence)
            answers = decide(con, found, options, ask, name=_name(path))
        finally:
            con.close()
    tell(_decided(answers))
    make_workspace(out)
    out = out.resolve()
    write_yaml(
        out / DATASET_FILE, settings_of(answers), "The settings of the dataset; the mapping names this file."
    )
    mapping = out / "params" / "mappings" / f"{answers.name}.yml"
    said = (
        f"How {path.name} becomes the kit's tables.\nThe next: salesops import FILE --mapping {answers.name}"
    )
    write_yaml(mapping, mapping_of(found, answers), said)
    with _inside(out):
        made = import_export([path], str(mapping), out / "data" / answers.name)
        rows = open_rows(made)
        for note in made.notes:
            tell(f"Note: {note}")
        for sentence in _left_out(rows):
            tell(sentence)
        figures = tuple(closed_won(rows))
        for figure in figures[-2:]:
            tell(f"{figure}: does your dashboard say so?")
        if not figures:
            tell("No deal of the file is won.")
        result = _publish(out, answers.name, rows, progress, jobs, tell)
        for sentence in unlocks(rows, found.crm):
            tell(sentence)
    return Started(out, figures, result)


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
    Settings(zone=zone)
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
    return Settings(base_currency=given.strip().upper()).base_currency, proposals.has_currencies(
        found, amount
    )


def _stages(
    con: duckdb.DuckDBPyConnection, found: Recognised, options: Options, ask: Ask
) -> Iterator[StageSeen]:
    seen = proposals.stages_of(con, found)
    names = [one.stage for one in seen]
    listed = ", ".join(f"{one.stage} ({one.deals:,})" for one in seen)

    def chosen(option: str, given: Sequence[str], outcome: str, proposal: list[str]) -> set[str]:
        if not given:
            text = f"which of these stages are {outcome} (names with ; between them)? {listed}"
            given = [part.strip() for part in ask(Question(option, text, "; ".join(proposal))).split(";")]
        return {_one_of(name, names, option) for name in given if name}

    won = chosen("--won", options.won, "won", [one.stage for one in seen if one.is_won])
    lost_proposal = [one.stage for one in seen if one.is_lost and one.stage not in won]
    # A file of won deals alone has no lost stage to name.
    lost = chosen("--lost", options.lost, "lost", lost_proposal) if options.lost or lost_proposal else set()
    if both := won & lost:
        raise InputError(
            Problem("a stage is both won and lost", column="--lost", got=", ".join(sorted(both)))
        )
    for one in seen:
        yield replace(one, is_won=one.stage in won, is_lost=one.stage in lost)


def _one_of(given: str, choices: Sequence[str], option: str) -> str:
    by_fold = {choice.casefold(): choice for choice in choices}
    if given.strip().casefold() in by_fold:
        return by_fold[given.strip().casefold()]
    raise InputError(
        Problem(f"unknown value {given!r}", column=option, next_step=did_you_mean(given, list(choices)))
    )


def _name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.casefold()).strip("_")[:40]
    return name if name and name not in ("salesforce", "hubspot") else "deals"


def _said_of(found: Recognised) -> Iterator[str]:
    who = {"salesforce": "Salesforce", "hubspot": "HubSpot", "zoho": "Zoho"}.get(
        found.crm, "an unknown system"
    )
    what = "an export of its records" if found.form == "objects" else "a report"
    yield f"{found.source.name}: {found.source.rows:,} deals, {what} of {who}."
    for problem in found.source.flagged:
        yield f"Left out: {problem.what} ({problem.count} from row {problem.row} on: {problem.got})."
    if "opportunity_id" not in found.roles:
        yield "The file has no ids, so deals are numbered by their rows; add the id to compare exports."


def _decided(answers: Answers) -> str:
    won = ", ".join(one.stage for one in answers.stages if one.is_won)
    lost = ", ".join(one.stage for one in answers.stages if one.is_lost) or "none"
    dates = ", ".join(dict.fromkeys(answers.dates.values()))
    return (
        f"Taken: {answers.amount!r} in {answers.currency}; won: {won}; lost: {lost}; dates as {dates}; "
        f"the fiscal year starts in month {answers.fiscal_start}; business days of {answers.zone}."
    )


def _left_out(rows: Rows) -> Iterator[str]:
    table = rows.table("exclusions")
    aside = table.filter(table.action == "set aside").count().to_pyarrow().as_py()
    if aside:
        yield f"{aside:,} records cannot be read and are set aside; salesops check says which."


def closed_won(rows: Rows) -> Iterator[ClosedWon]:
    """Won deals by the fiscal year of their close date, the oldest first; deleted deals do not count."""
    deals, stages = rows.table("opportunities"), rows.table("stages")
    won = stages.filter(stages.is_won).select("pipeline", "stage")
    keyed = deals.mutate(pipeline=deals.pipeline.fill_null(""), is_deleted=deals.is_deleted.fill_null(False))
    kept = keyed.filter(~keyed.is_deleted & keyed.close_date.notnull()).semi_join(won, ["pipeline", "stage"])
    by_day = kept.group_by("close_date").aggregate(amount=kept.amount.sum(), deals=kept.count())
    totals: dict[int, ClosedWon] = {}
    for row in engine.collect(by_day).itertuples():
        year = rows.settings.fiscal.year_number(row.close_date)
        before = totals.get(year, ClosedWon(year, Decimal(0), 0))
        amount = before.amount + (row.amount if isinstance(row.amount, Decimal) else Decimal(0))
        totals[year] = ClosedWon(year, amount, before.deals + int(row.deals))
    yield from (totals[year] for year in sorted(totals))


def allowed_reports(rows: Rows) -> list[str]:
    """The reports of which at least one table can be computed from the dataset."""
    return [
        name
        for name, template in sorted(available().items())
        if template.audience != "private" and any(not _lacking(table, rows) for table in template.tables)
    ]


def _lacking(table: str, rows: Rows) -> set[str]:
    return set(find_table(table).tables) - set(rows.tables)


def _publish(
    out: Path, name: str, rows: Rows, progress: Progress | None, jobs: int | None, tell: Tell
) -> RunResult | None:
    reports = allowed_reports(rows)
    quarters = rows.quarters()
    if not reports or not quarters:
        tell("No report can be made of this file alone.")
        return None
    plan = out / "params" / f"{name}.yml"
    has_teams = "team_memberships" in rows.tables
    values = {
        "data": name, "quarters": [quarters[-1].label], "teams": "all" if has_teams else [COMPANY],
        "reports": reports, "jobs": 2,
    }  # fmt: skip
    write_yaml(plan, values, f"The reports that {name} allows. Run again: salesops run params/{name}.yml")
    result = run(
        load_plan(plan), Preparation(name), reports_root=out / "reports", jobs=jobs, progress=progress
    )
    tell(f"Published: open {out / 'reports' / 'index.html'}")
    return result


def unlocks(rows: Rows, crm: str) -> Iterator[str]:
    """Which further export makes more possible, by the CRM's own names of its objects."""
    files: dict[str, str] = {}
    if crm in ("salesforce", "hubspot"):
        rules = read_mapping(find_mapping(crm)).tables
        files = {
            table: " or ".join(dict.fromkeys(rule.source for rule in many)) for table, many in rules.items()
        }
        files["opportunity_history"] = {
            "salesforce": "OpportunityHistory and OpportunityFieldHistory", "hubspot": "property_history"
        }[crm]  # fmt: skip
    gains: dict[str, list[str]] = {}
    for name, template in sorted(available().items()):
        for table in template.tables:
            spec = find_table(table)
            for needed in {*spec.tables, *spec.optional_tables} - set(rows.tables):
                gains.setdefault(needed, [])
                if name not in gains[needed]:
                    gains[needed].append(name)
    if _is_derived(rows):
        yield (
            f"Export {files.get('opportunity_history', 'the history of stages')} too: stage conversion, "
            "time in stage and the waterfall then rest on recorded changes."
        )
    # What the kit keeps itself is nobody's to export.
    for table, reports in sorted((name, gained) for name, gained in gains.items() if name not in KEPT):
        what = f"Export {files[table]}" if table in files else f"Add a table {table}"
        yield f"{what} too: it adds to {', '.join(reports)}."


def _is_derived(rows: Rows) -> bool:
    history: Any = rows.table("opportunity_history")
    return bool((history.source == "derived").any().to_pyarrow().as_py())


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make a workspace the project for a while."""
    before = os.environ.get(ROOT_VARIABLE)
    os.environ[ROOT_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[ROOT_VARIABLE]
        else:
            os.environ[ROOT_VARIABLE] = before
