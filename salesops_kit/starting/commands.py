"""The commands that begin: `salesops start` from one downloaded file, `salesops init` from nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salesops_kit.errors import InputError

if TYPE_CHECKING:
    from salesops_kit.starting.deciding import Answer, Question


def asked(question: Question, accept: Callable[[str], Answer]) -> Answer:
    """A person's answer at the terminal, asked for until it is one; enter takes the proposal."""
    text = question.text[:1].upper() + question.text[1:]
    while True:
        try:
            return accept(str(typer.prompt(text, default=question.proposal or None)))
        except InputError as error:
            print(error)


def start(
    export: Annotated[Path, typer.Argument(help="One file downloaded from a CRM.")],
    out: Annotated[Path, typer.Option("--out", help="The workspace to make.")] = Path("salesops"),
    fiscal_start_month: Annotated[
        int | None, typer.Option("--fiscal-start-month", min=1, max=12, help="When the fiscal year starts.")
    ] = None,
    won: Annotated[list[str] | None, typer.Option("--won", help="A won stage; repeat it for more.")] = None,
    lost: Annotated[
        list[str] | None, typer.Option("--lost", help="A lost stage; repeat it for more.")
    ] = None,
    amount: Annotated[str, typer.Option("--amount", help="The column that is a deal's amount.")] = "",
    currency: Annotated[str, typer.Option("--currency", help="The amounts' currency, such as USD.")] = "",
    zone: Annotated[
        str, typer.Option("--zone", help="The zone of the business day, such as Asia/Seoul.")
    ] = "",
    dates: Annotated[str, typer.Option("--dates", help="mdy or dmy, where a date could be either.")] = "",
    sheet: Annotated[
        str, typer.Option("--sheet", help="The sheet or table of a file that has several.")
    ] = "",
    stage: Annotated[str, typer.Option("--stage", help="The column that is a deal's stage.")] = "",
    close_date: Annotated[
        str, typer.Option("--close-date", help="The column that is a deal's close date.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Take every proposal and ask nothing.")] = False,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, max=64, help="Reports at a time.")
    ] = None,
) -> None:
    """From one downloaded file to a workspace with its first reports."""
    from salesops_kit.publishing import progress
    from salesops_kit.starting import deciding
    from salesops_kit.starting import start as starting

    options = deciding.Options(
        fiscal_start_month, tuple(won or ()), tuple(lost or ()), amount, currency, zone, dates, sheet,
        stage, close_date,
    )  # fmt: skip
    asks = sys.stdin.isatty() and not yes
    started = starting.start(
        export,
        out,
        options=options,
        ask=asked if asks else deciding.proposed,
        tell=print,
        progress=progress.progress_for(),
        jobs=jobs,
    )
    raise typer.Exit(started.result.exit_code if started.result else 0)


def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Make a workspace of one's own outside the clone: params/, data/, reports/, notebooks/templates/."""
    from salesops_kit.starting.workspace import make_workspace

    for part in make_workspace(folder):
        print(f"  {part}")
    print(f"Commands given inside {folder} work on it.")
