"""The command line: arguments in, exit codes out; everything heavy is imported when it is needed."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, cast

import typer

from salesops_kit import __version__
from salesops_kit.errors import InputError, LockHeldError, NotAvailableError, Problem, SalesOpsError

if TYPE_CHECKING:
    import pandas as pd

    from salesops_kit.data.dataset import Rows

PUBLISHED, SOME_FAILED, BROKEN, REFUSED, LOCKED = 0, 1, 2, 3, 4
TYPER_INTERRUPTED = 130  # What typer makes of a KeyboardInterrupt.
CONTEXT = {"data": "sample", "team": "company", "quarter": "", "as_of": ""}
REPORTS = Path("reports")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Reports for sales-operations teams: CRM data in, published HTML reports out.",
    epilog="Exit codes: 0 done; 1 some report failed; 2 interrupted or internal error; 3 input refused, "
    "nothing run; 4 another run publishes there.",
)
Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME VALUE", help="A parameter; repeat it for more."),
]


class Format(StrEnum):
    """How a table is written."""

    table = "table"
    csv = "csv"
    json = "json"


def main() -> NoReturn:
    """Run the command line; ends the process with a documented exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # Without standalone mode the code of a typer.Exit is returned.
        code = app(args=join_pairs(sys.argv[1:]), standalone_mode=False)
        sys.stdout.flush()
        if code == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
    except InputError as error:
        _fail(f"Refused, nothing was run:\n{error}", REFUSED)
    except LockHeldError as error:
        _fail(str(error), LOCKED)
    except NotAvailableError as error:
        _fail(str(error), REFUSED)
    except SalesOpsError as error:
        _fail(str(error), BROKEN)
    except (KeyboardInterrupt, typer.Abort):
        _fail("Interrupted.", BROKEN)
    except BrokenPipeError:
        # Whoever read the output has enough; nothing more can be said to them, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(REFUSED)
        traceback.print_exc()
        sys.exit(BROKEN)
    sys.exit(code if isinstance(code, int) else PUBLISHED)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """SIGTERM ends a command as Ctrl-C does: what is half written is taken away."""
    raise KeyboardInterrupt


def join_pairs(arguments: Sequence[str]) -> list[str]:
    """``-p NAME VALUE`` as one argument each, so that values may begin with a dash.

    >>> join_pairs(["show", "x", "-p", "team", "EMEA"])
    ['show', 'x', '-p', 'team=EMEA']
    """
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        joined.append(word)
        if word in ("-p", "--parameter"):
            name = next(words, None)
            value = next(words, None)
            if name is None or value is None:
                raise InputError(Problem("-p takes a name and a value", expected="-p NAME VALUE"))
            joined.append(f"{name}={value}")
    return joined


def _pairs(parameters: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    problems: list[Problem] = []
    for pair in parameters or ():
        name, equals, value = pair.partition("=")
        if not equals:
            problems.append(Problem(f"parameter {name!r} has no value", expected="-p NAME VALUE"))
        if name in pairs:
            problems.append(Problem(f"parameter {name!r} is given twice"))
        pairs[name] = value
    if problems:
        raise InputError(problems)
    return pairs


def _fail(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"salesops {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Reports for sales-operations teams: CRM data in, published HTML reports out."""


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="A plan, such as params/quarterly_review.yml.")],
    parameter: Parameters = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, max=64, help="Reports at a time.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this report; repeat it for more.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed last time.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run also what has not changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and stop.")] = False,
    reports: Annotated[
        Path | None, typer.Option("--reports", help="Where to publish; default reports/.")
    ] = None,
    progress_bar: Annotated[
        bool | None, typer.Option("--progress-bar/--no-progress-bar", help="Default: a bar on a terminal.")
    ] = None,
) -> None:
    """Run a plan: every report of every team and quarter, published under reports/."""
    from salesops_kit.preparation import Preparation
    from salesops_kit.project import project_root
    from salesops_kit.publishing import plan_file, progress
    from salesops_kit.publishing.run import run as run_plan

    loaded = plan_file.load_plan(plan, tuple(_pairs(parameter).items()))
    root = reports or project_root() / REPORTS
    result = run_plan(
        loaded,
        Preparation(loaded.plan.data),
        reports_root=root,
        jobs=jobs,
        only=only or (),
        force=force,
        failed_only=failed,
        dry_run=dry_run,
        progress=progress.Lines(sys.stderr) if progress_bar is False else progress.progress_for(),
    )
    if dry_run:
        import pandas as pd

        print(pd.DataFrame(result.rows).to_string(index=False))
        raise typer.Exit(PUBLISHED)
    for note in result.notes:
        print(note, file=sys.stderr)
    counts: dict[str, int] = {}
    for entry in result.entries:
        counts[entry.manifest.status] = counts.get(entry.manifest.status, 0) + 1
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    print(f"Open {root / 'index.html'}")
    raise typer.Exit(result.exit_code)


@app.command()
def show(
    table: Annotated[
        str, typer.Argument(help="A table, such as funnel.win_rate; `salesops list` names them.")
    ],
    parameter: Parameters = None,
    format_: Annotated[Format, typer.Option("--format", help="JSON is an array of records.")] = Format.table,
) -> None:
    """Show any table behind any report. -p data, team, quarter and as_of choose the rows."""
    from salesops_kit.compute import Calculator, reference_for, resolve_choice
    from salesops_kit.data import scope
    from salesops_kit.data.dataset import open_rows, open_snapshot
    from salesops_kit.registry import find_table, parse_options

    spec = find_table(table)
    pairs = _pairs(parameter)
    given = {name: pairs.pop(name, default) for name, default in CONTEXT.items()}
    typed = parse_options(spec, pairs)
    whole = open_rows(open_snapshot(given.pop("data")))
    chosen = resolve_choice(whole, **given)
    members = chosen.members
    figures: dict[str, Any] = {}
    if "reference" in spec.context:
        company = Calculator(whole, chosen.as_of, chosen.period)
        figures = reference_for(company.references(spec.analysis), len(members or ()))
    rows = whole if members is None else scope.cut(whole, members)
    frame = Calculator(rows, chosen.as_of, chosen.period, figures).table(table, **typed)
    _write(frame, format_)
    for note in [*frame.attrs.get("notes", []), *rows.notes, *_set_aside(rows)]:
        print(f"Note: {note}", file=sys.stderr)


def _set_aside(rows: Rows) -> list[str]:
    """One sentence on the records that no number here counts; none when there is no such record."""
    from salesops_kit.data.cleaning import EXCLUSIONS, SET_ASIDE

    table = rows.table(EXCLUSIONS)
    aside = table.filter(table.action == SET_ASIDE).count().to_pyarrow().as_py()
    return (
        [f"{aside:,} records break the data's contract and are set aside; see salesops check."]
        if aside
        else []
    )


def _write(frame: pd.DataFrame, format_: Format) -> None:
    if format_ is Format.csv:
        from salesops_kit.publishing.spreadsheets import neutralised

        safe = frame.map(lambda value: neutralised(value) if isinstance(value, str) else value)
        print(safe.to_csv(index=False, lineterminator="\n"), end="")
    elif format_ is Format.json:
        from salesops_kit.compute import plain

        records = [
            {name: plain(value) for name, value in zip(frame.columns, row, strict=True)}
            for row in frame.itertuples(index=False, name=None)
        ]
        print(json.dumps(records, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        from salesops_kit.display.formats import visible

        # Text from a CRM may hold escape codes, which a terminal would obey.
        shown = frame.map(lambda value: visible(value) if isinstance(value, str) else value)
        print(shown.to_string(index=False, na_rep="n/a"))


@app.command("list")
def list_() -> None:
    """List reports with their parameters, and tables with their options."""
    from salesops_kit.project import TEMPLATES, project_root
    from salesops_kit.publishing.templates import discover
    from salesops_kit.registry import tables

    print("Reports (salesops run):")
    for name, template in sorted(discover(project_root() / TEMPLATES).items()):
        print(f"  {name}: {template.title}")
        for parameter in template.parameters.values():
            print(f"      {parameter.name}: {parameter.type} = {parameter.default!r}  {parameter.help}")
    print("Tables (salesops show):")
    for name, spec in tables().items():
        print(f"  {name}: {spec.title}")
        for option in spec.options.values():
            choices = f" (one of {', '.join(map(str, option.choices))})" if option.choices else ""
            print(f"      {option.name}: {option.type.__name__} = {option.default!r}{choices}")
    print(f"  Every table takes {', '.join(CONTEXT)} too.")


@app.command()
def check(data: Annotated[str, typer.Argument(help="A dataset's name or folder.")]) -> None:
    """Check a dataset against the contracts: what was set aside, what is flagged, and where."""
    from salesops_kit.data import engine
    from salesops_kit.data.dataset import open_rows, open_snapshot

    opened = open_snapshot(data)
    rows = open_rows(opened)
    print(f"Snapshot {opened.digest[:12]}, known until {opened.observed_until}")
    for name, stored in opened.tables.items():
        print(f"  {name}: {stored.rows:,} rows")
    for text in opened.notes:
        print(f"Note: {text}")
    table = rows.table("exclusions")
    grouped = table.group_by("action", "table_name", "column_name", "problem", "expected").aggregate(
        rows=table.count(),
        file=table.source_file.min(),
        row=table.source_row.min(),
        got=table.got.argmin(table.source_row),
    )
    found = engine.collect(grouped).sort_values(["action", "rows"], ascending=False)
    print(f"Kinds of problem: {len(found)}" if len(found) else "No problem found.")
    found = found.astype(object).where(found.notna(), None)
    for item in found.itertuples():
        example = Problem(item.problem, file=item.file, row=item.row, column=item.column_name,
                          expected=item.expected, got=item.got, count=int(item.rows))  # fmt: skip
        print(f"  {item.action}: {item.table_name}: {example}")


@app.command("import")
def import_(
    source: Annotated[list[Path], typer.Argument(help="The export: files or a folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the canonical tables.")],
    mapping: Annotated[
        str,
        typer.Option(
            "--mapping", help="A mapping file, or its name in params/mappings; none for canonical tables."
        ),
    ] = "",
) -> None:
    """Turn a CRM export into checked canonical tables."""
    from salesops_kit.data.dataset import import_export

    made = import_export(source, mapping, out)
    for name, stored in made.tables.items():
        print(f"  {name}: {stored.rows:,} rows")
    for text in made.notes:
        print(f"Note: {text}")
    print(f"Wrote {out}. Look at it with: salesops check {out}")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    opportunities: Annotated[
        int, typer.Option("--opportunities", min=1, max=10_000_000, help="How many deals.")
    ] = 6000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal bytes.")] = 7,
    format_: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
) -> None:
    """Write a synthetic CRM of any size."""
    from salesops_kit.data.sample import write_sample

    if format_ not in ("csv", "parquet"):
        raise InputError(Problem("unknown format", expected="csv or parquet", got=format_))
    if folder.exists() and any(folder.iterdir()):
        raise InputError(Problem("the folder is not empty", file=str(folder)))
    report: Callable[[int, int], None] = lambda done, total: print(f"{done:,} of {total:,}", file=sys.stderr)  # noqa: E731
    write_sample(
        folder,
        opportunities=opportunities,
        seed=seed,
        format=cast("Literal['csv', 'parquet']", format_),
        progress=report,
    )
    print(f"Wrote {folder}")


@app.command()
def verify(
    reports: Annotated[
        Path | None, typer.Argument(help="A folder of published reports; default reports/.")
    ] = None,
) -> None:
    """Check published files against their manifests."""
    from salesops_kit.project import project_root
    from salesops_kit.publishing.ledger import read_ledger
    from salesops_kit.publishing.verify import verify as verify_reports

    root = reports or project_root() / REPORTS
    problems = verify_reports(root)
    if not problems and not any(read_ledger(root)[0].entries()):
        raise InputError(Problem("no report was published here", file=str(root)))
    for problem in problems:
        print(problem)
    print(f"Problems: {len(problems)}" if problems else "Every published file is as it was written.")
    raise typer.Exit(SOME_FAILED if problems else PUBLISHED)
