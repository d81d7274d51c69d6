"""The command line: arguments in, exit codes out; everything heavy is imported when it is needed."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, cast

import typer

from salesops_kit import __version__, seals, terminal
from salesops_kit.arguments import given, join_pairs
from salesops_kit.collecting import collect_rarely
from salesops_kit.errors import InputError, LockHeldError, NotAvailableError, Problem, Problems, SalesOpsError
from salesops_kit.fixes import commands as fix_commands
from salesops_kit.starting import commands
from salesops_kit.terminal import Format, LogLevel, log_from

if TYPE_CHECKING:
    from salesops_kit.publishing.notify import Notify

PUBLISHED, SOME_FAILED, BROKEN, REFUSED, LOCKED = 0, 1, 2, 3, 4
TYPER_INTERRUPTED = 130  # What typer makes of a KeyboardInterrupt.
CONTEXT = {"data": "sample", "team": "company", "quarter": "", "as_of": ""}
REPORTS = Path("reports")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Drawn boxes cut long option names short, and take twice as long to draw.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Reports for sales-operations teams: CRM data in, published HTML reports out.",
    epilog="Exit codes: 0 done; 1 some report failed; 2 interrupted or internal error; 3 input refused, "
    "nothing run; 4 another run publishes there.",
)
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--parameter", "--parameters", metavar="NAME VALUE", help="A parameter; repeat it for more."
    ),
]
ParameterFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "-f", "--parameters-file", "--parameters_file", metavar="FILE", help="Parameters in a YAML file."
    ),
]
ParameterTexts = Annotated[
    list[str] | None,
    typer.Option(
        "-y", "--parameters-yaml", "--parameters_yaml", metavar="YAML", help="Parameters as YAML text."
    ),
]
RunDate = Annotated[
    str,
    typer.Option(
        "--run-date",
        envvar="SALESOPS_RUN_DATE",
        metavar="DATE",
        help="The day that current, latest, previous and run-date refer to; default today.",
    ),
]


LogLevels = Annotated[
    LogLevel | None,
    typer.Option("--log-level", case_sensitive=False, help="What is logged on standard error."),
]


def main() -> NoReturn:
    """Run the command line; ends the process with a documented exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    collect_rarely()
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
    log_level: LogLevels = None,
) -> None:
    """Reports for sales-operations teams: CRM data in, published HTML reports out."""
    log_from(log_level)


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="A plan, such as params/quarterly_review.yml.")],
    parameter: Parameters = None,
    parameters_file: ParameterFiles = None,
    parameters_yaml: ParameterTexts = None,
    run_date: RunDate = "",
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
    notify: Annotated[
        Path | None,
        typer.Option("--notify", metavar="FILE", help="Whom to tell of the end, instead of the plan's own."),
    ] = None,
    progress_bar: Annotated[
        bool | None, typer.Option("--progress-bar/--no-progress-bar", help="Default: a bar on a terminal.")
    ] = None,
    log_level: LogLevels = None,
) -> None:
    """Run a plan: every report of every team and quarter, published under reports/."""
    from salesops_kit.publishing.warm_kernels.owner import WarmKernels

    log_from(log_level)
    with WarmKernels() as kernels:
        if not dry_run:
            # It imports while this process does, and finds out what has to run.
            kernels.begin()
        from salesops_kit.preparation import Preparation
        from salesops_kit.project import project_root
        from salesops_kit.publishing import plan_file, progress, run_summary
        from salesops_kit.publishing import run_date as run_dates
        from salesops_kit.publishing.run import run as run_plan

        root = reports or project_root() / REPORTS
        told = plan_file.load_notify(notify) if notify else None
        try:
            chosen = given(parameter, parameters_file, parameters_yaml)
            loaded = plan_file.load_plan(plan, tuple(chosen.values.items()), chosen.places)
            told = told or loaded.plan.notify
            day = run_dates.parse_run_date(run_date) if run_date else None
            preparation = Preparation(loaded.plan.data)
            notes: list[Problem] = []
            if run_dates.uses_run_date(loaded):
                until = dt.date.fromisoformat(preparation.snapshot["observed_until"])
                known = run_dates.Known(preparation.settings.fiscal, preparation.names()["quarters"], until)
                day = terminal.chosen_run_date(day, preparation.settings.zone)
                loaded, notes = run_dates.resolve(loaded, day, known)
            result = run_plan(
                loaded,
                preparation,
                reports_root=root,
                jobs=jobs,
                only=only or (),
                force=force,
                failed_only=failed,
                dry_run=dry_run,
                kernels=kernels,
                progress=progress.Lines(sys.stderr) if progress_bar is False else progress.progress_for(),
            )
        except BaseException as error:
            if told and not dry_run:
                _tell(told, run_summary.summary_of_error(error, plan=plan.name))
            raise
    result = replace(result, notes=(*notes, *result.notes))
    for note in result.notes:
        print(note, file=sys.stderr)
    if dry_run:
        terminal.write_matrix(result, told)
        raise typer.Exit(PUBLISHED)
    facts = run_summary.summary(result, plan=loaded.file, root=root)
    try:
        if result.is_interrupted:
            print("Interrupted: the reports that were left were not run.", file=sys.stderr)
        if facts["counts"]:
            print(", ".join(f"{count} {status}" for status, count in facts["counts"].items()))
        print(f"Open {root / 'index.html'}", flush=True)
    finally:
        if told:
            _tell(told, facts)
    raise typer.Exit(result.exit_code)


def _tell(told: Notify, facts: dict[str, Any]) -> None:
    from salesops_kit.publishing.notify import tell

    for sentence in tell(told, facts):
        print(sentence, file=sys.stderr)


@app.command()
def show(
    table: Annotated[
        str, typer.Argument(help="A table, such as funnel.win_rate; `salesops list` names them.")
    ],
    parameter: Parameters = None,
    parameters_file: ParameterFiles = None,
    parameters_yaml: ParameterTexts = None,
    run_date: RunDate = "",
    format_: Annotated[Format, typer.Option("--format", help="JSON is an array of records.")] = Format.table,
    log_level: LogLevels = None,
) -> None:
    """Show any table behind any report. -p data, team, quarter and as_of choose the rows."""
    from salesops_kit.compute import Calculator, check_dimensions, reference_for, resolve_choice
    from salesops_kit.data import scope
    from salesops_kit.data.dataset import open_rows, open_snapshot
    from salesops_kit.publishing import run_date as run_dates
    from salesops_kit.registry import find_table, parse_options

    log_from(log_level)
    spec = find_table(table)
    pairs = given(parameter, parameters_file, parameters_yaml).texts()
    context = {name: pairs.pop(name, default) for name, default in CONTEXT.items()}
    problems, late = Problems(), list[Problem]()
    day: dt.date | None = None
    typed: dict[str, Any] = {}
    with problems.caught():
        typed = parse_options(spec, pairs)
    with problems.caught():
        day = run_dates.parse_run_date(run_date) if run_date else None
    with problems.caught():
        whole = open_rows(open_snapshot(context.pop("data")))
        with problems.caught():
            check_dimensions(whole, spec, typed)
        if context["quarter"] in run_dates.QUARTERS or context["as_of"] == run_dates.RUN_DATE:
            day = terminal.chosen_run_date(day, whole.settings.zone)
            known = run_dates.Known(
                whole.settings.fiscal, [q.label for q in whole.quarters()], whole.observed_until
            )
            context, late = run_dates.resolve_choice(context, day, known)
        chosen = resolve_choice(whole, **context)
    problems.refuse()
    members = chosen.members
    figures: dict[str, Any] = {}
    if "reference" in spec.context:
        company = Calculator(whole, chosen.as_of, chosen.period)
        figures = reference_for(company.references(spec.analysis), len(members or ()))
    rows = whole if members is None else scope.cut(whole, members)
    frame = Calculator(rows, chosen.as_of, chosen.period, figures).table(table, **typed)
    terminal.write_table(frame, format_)
    for note in [*late, *frame.attrs.get("notes", []), *rows.notes, *rows.told_of_set_aside()]:
        print(f"Note: {note}", file=sys.stderr)


@app.command("list")
def list_() -> None:
    """List reports with their parameters, and tables with their options."""
    from salesops_kit.publishing.templates import available
    from salesops_kit.registry import tables

    print("Reports (salesops run):")
    for name, template in sorted(available().items()):
        print(f"  {name}: {template.title}")
        for parameter in template.parameters.values():
            print(f"      {parameter.name}: {parameter.type} = {parameter.default!r}  {parameter.help}")
    print("Tables (salesops show):")
    for name, spec in tables().items():
        print(f"  {name}: {spec.title}")
        for option in spec.options.values():
            shown = ", ".join(str(choice) or "''" for choice in option.choices)
            choices = f" (one of {shown})" if shown else ""
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
    source: Annotated[
        list[Path],
        typer.Argument(
            help="The export: files, a folder, or postgres:VARIABLE for the database whose address that "
            "environment variable holds."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The folder for the canonical tables.")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--mapping",
            help="salesforce, hubspot, a mapping file, or its name in params/mappings; none for canonical "
            "tables. Of several each stands over those before it.",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would be read and how, and write nothing.")
    ] = False,
) -> None:
    """Turn a CRM export into checked canonical tables."""
    from salesops_kit.data.dataset import import_export
    from salesops_kit.data.preview import preview_import

    if preview:
        found = preview_import(source, mapping or [])
        print("\n".join(found.lines()))
        raise typer.Exit(REFUSED if found.problems else PUBLISHED)
    if out is None:
        raise InputError(Problem("no folder for the tables", next_step="Give --out DIR, or --preview."))
    made = import_export(source, mapping or [], out)
    for name, stored in made.tables.items():
        print(f"  {name}: {stored.rows:,} rows")
    for text in made.notes:
        print(f"Note: {text}")
    print(f"Wrote {out}. Look at it with: salesops check {out}")


app.command()(commands.start)
app.command()(commands.init)
app.command()(seals.seal)
app.command("fix-list")(fix_commands.fix_list)
app.command("apply-fixes")(fix_commands.apply_fixes)


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
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside", help="Move changed reports of the past to .set-aside/."),
    ] = False,
) -> None:
    """Check published files against their manifests."""
    from salesops_kit.project import project_root
    from salesops_kit.publishing.ledger import read_ledger
    from salesops_kit.publishing.set_aside import set_aside as set_changed_aside
    from salesops_kit.publishing.verify import verify as verify_reports

    root = reports or project_root() / REPORTS
    for place in set_changed_aside(root) if set_aside else ():
        print(f"Set aside: {place}")
    problems = verify_reports(root)
    if not problems and not any(read_ledger(root)[0].entries()):
        raise InputError(Problem("no report was published here", file=str(root)))
    for problem in problems:
        print(problem)
    print(f"Problems: {len(problems)}" if problems else "Every published file is as it was written.")
    raise typer.Exit(SOME_FAILED if problems else PUBLISHED)
