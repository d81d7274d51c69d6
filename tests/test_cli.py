"""The command line: what it prints, what it refuses and with which exit code."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import logging
import re
import signal
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from salesops_kit import __version__
from salesops_kit.cli import join_pairs, main
from salesops_kit.data.dataset import import_export
from salesops_kit.project import ROOT_VARIABLE
from salesops_kit.publishing.lock import hold_lock
from tests.canary import TEAMS, write_company
from tests.publishing.kit import PARAMETERS, write_template
from tests.publishing.mail_server import mail_server

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("pandas", "numpy", "ibis", "duckdb", "matplotlib", "seaborn", "sklearn", "statsmodels", "papermill")


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Salesops = Callable[..., Answer]


@pytest.fixture
def salesops(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Salesops:
    """``salesops ARGUMENTS`` as the console script runs it."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["salesops", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The canary company, in which one rep's name is a formula and another's an escape code."""
    folder = tmp_path_factory.mktemp("cli")
    write_company(folder / "raw")
    reps = folder / "raw" / "reps.csv"
    text = reps.read_text(encoding="utf-8")
    text = text.replace("Name of mover", "=1+1").replace("Name of rep1-ashonly", "\x1b[31mred")
    reps.write_text(text, encoding="utf-8")
    import_export([folder / "raw"], "", folder / "canonical")
    return folder / "canonical"


# show


def test_show_prints_a_table_with_notes_on_stderr(salesops: Salesops, data: Path) -> None:
    answer = salesops("show", "funnel.win_rate", "-p", "data", data, "-p", "by", "team")
    assert answer.code == 0
    header, *rows = answer.out.splitlines()
    assert header.split()[:3] == ["team", "won", "lost"]
    assert [row.split()[0] for row in rows] == list(TEAMS)
    assert all(line.startswith("Note: ") for line in answer.err.splitlines())


def test_show_json_is_an_array_of_records_without_nan(salesops: Salesops, data: Path) -> None:
    chosen = (
        "-p",
        "data",
        data,
        "-p",
        "team",
        "ash",
        "-p",
        "quarter",
        "2026-Q1",
        "-p",
        "as_of",
        "2026-01-01",
    )
    answer = salesops("show", "funnel.headlines", *chosen, "--format", "json")
    records = json.loads(answer.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [record["id"] for record in records][:3] == ["bookings_won", "deals_won", "win_rate"]
    assert records[2]["value"] is None
    assert records[0]["value"] == 0


def test_show_csv_holds_the_same_rows_as_json(salesops: Salesops, data: Path) -> None:
    chosen = ("show", "funnel.win_rate", "-p", "data", data, "-p", "by", "close_month")
    rows = list(csv.DictReader(io.StringIO(salesops(*chosen, "--format", "csv").out)))
    records = json.loads(salesops(*chosen, "--format", "json").out)
    assert [row["close_month"] for row in rows] == [record["close_month"] for record in records]
    assert [float(row["won_amount"]) for row in rows] == [record["won_amount"] for record in records]
    assert len(rows) > 2


def test_text_from_data_is_harmless_in_a_terminal_and_in_a_spreadsheet(
    salesops: Salesops, data: Path
) -> None:
    chosen = ("show", "funnel.win_rate", "-p", "data", data, "-p", "team", "ash", "-p", "by", "rep.name")
    shown, table = salesops(*chosen), salesops(*chosen, "--format", "csv")
    assert "\x1b" not in shown.out
    assert "red" in shown.out
    names = [row["rep.name"] for row in csv.DictReader(io.StringIO(table.out))]
    assert "'=1+1" in names
    assert "=1+1" not in names


def test_dates_are_iso_text() -> None:
    import datetime as dt

    import numpy as np
    import pandas as pd

    from salesops_kit.compute import plain

    values = [
        dt.date(2026, 7, 31),
        pd.NaT,
        pd.NA,
        np.float64("nan"),
        float("inf"),
        np.int64(3),
        np.bool_(True),
    ]
    assert [plain(value) for value in values] == ["2026-07-31", None, None, None, None, 3, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["funnel.winrate"], ["unknown table 'funnel.winrate'. Did you mean funnel.win_rate"]),
        (["funnel.win_rate", "-p", "bye", "team"], ["'bye'. Did you mean by?"]),
        (["funnel.win_rate", "-p", "by", "taem"], ["unknown dimension 'taem'. Did you mean team"]),
        (["funnel.win_rate", "-p", "variant", "-x"], ["'-x'. Choose one of: count, value, cohort."]),
        (["funnel.conversion", "-p", "horizon_days", "12.5"], ["expected a whole number; got '12.5'"]),
        (
            [
                "funnel.win_rate",
                "-p",
                "team",
                "ahs",
                "-p",
                "quarter",
                "2026-Q4",
                "-p",
                "as_of",
                "31.1.26",
                "-p",
                "bye",
                "team",
                "--run-date",
                "31.1.26",
            ],
            [
                "unknown option of funnel.win_rate 'bye'",
                "column --run-date: not a date",
                "unknown team 'ahs'. Did you mean ash",
                "no data in quarter 2026-Q4",
                "column as_of: not a date",
            ],
        ),
        (
            ["funnel.win_rate", "-p", "by", "ownr,team,stge", "-p", "team", "Wrong"],
            [
                "unknown dimension 'ownr'. Did you mean owner",
                "unknown dimension 'stge'. Did you mean stage",
                "unknown team 'Wrong'",
            ],
        ),
        (["pipeline.composition", "-p", "by", "due,stge"], ["unknown dimension 'stge'"]),
        (
            ["pipeline.coverage", "-p", "by", "ownr", "-p", "team", "x"],
            ["by of pipeline.coverage 'ownr'", "team 'x'"],
        ),
        (["funnel.win_rate", "-p", "quarter", "26Q1"], ["no fiscal quarter", "Write it as 2026-Q3"]),
        (["funnel.win_rate", "-p", "by", "team", "-p", "by", "rep"], ["parameter 'by' is given twice"]),
        (["funnel.win_rate", "--parameter=by"], ["parameter 'by' has no value; expected -p NAME VALUE"]),
        (["funnel.win_rate", "--format", "xml"], ["xml"]),
    ],
)
def test_show_refuses_what_it_does_not_know(
    salesops: Salesops, data: Path, arguments: list[str], said: list[str]
) -> None:
    answer = salesops("show", *arguments, "-p", "data", data)
    assert answer.code == 3
    assert answer.out == ""
    for text in said:
        assert text in answer.err


@pytest.mark.parametrize("by", ["due", "due,stage", "rep,close_month,account.segment"])
def test_show_takes_every_dimension_that_a_table_has(salesops: Salesops, data: Path, by: str) -> None:
    assert salesops("show", "pipeline.composition", "-p", "by", by, "-p", "data", data).code == 0


def test_an_unknown_dataset_is_refused(salesops: Salesops) -> None:
    answer = salesops("show", "funnel.win_rate", "-p", "data", "sampel")
    assert (answer.code, answer.err) == (
        3,
        "Refused, nothing was run:\nunknown dataset 'sampel'. Did you mean sample?\n",
    )


# Arguments


def test_a_value_may_begin_with_a_dash() -> None:
    words = ["show", "x", "-p", "team", "-1", "--parameter", "by", "--format", "--format", "json"]
    assert join_pairs(words) == [
        "show",
        "x",
        "-p",
        "team=-1",
        "--parameter",
        "by=--format",
        "--format",
        "json",
    ]


@pytest.mark.parametrize("words", [["-p"], ["-p", "team"], ["-p", "team", "EMEA", "--parameter", "x"]])
def test_a_missing_value_is_refused(salesops: Salesops, words: list[str]) -> None:
    answer = salesops("show", "funnel.win_rate", *words)
    assert answer.code == 3
    assert "-p takes a name and a value; expected -p NAME VALUE" in answer.err


def test_version(salesops: Salesops) -> None:
    assert salesops("--version") == Answer(0, f"salesops {__version__}\n", "")


def test_help_says_what_exit_codes_mean_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from salesops_kit import cli; sys.argv = ['salesops', '--help']\n"
        "try: cli.main()\n"
        f"finally: print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    text = re.sub(r"\s+", " ", done.stdout)
    for meaning in ("0 done", "1 some report failed", "2 interrupted", "3 input refused", "4 another run"):
        assert meaning in text
    assert "heavy: []" in text


@pytest.mark.parametrize("arguments", [["shwo"], ["show"], ["check", "--nope"], ["run"]])
def test_wrong_usage_is_refused(salesops: Salesops, arguments: list[str]) -> None:
    answer = salesops(*arguments)
    assert answer.code == 3
    assert "Usage: " in answer.err


# The other commands


def test_list_names_reports_parameters_tables_and_options(salesops: Salesops) -> None:
    answer = salesops("list")
    assert answer.code == 0
    for text in (
        "  funnel: Funnel",
        "quarter: str = ",
        "  funnel.win_rate: ",
        "(one of count, value, cohort)",
    ):
        assert text in answer.out


def test_check_names_the_record_that_was_set_aside(salesops: Salesops, tmp_path: Path) -> None:
    write_company(tmp_path / "raw")
    with (tmp_path / "raw" / "stages.csv").open("a", encoding="utf-8") as file:
        file.write("Stray,not a number,,\n")
    made = salesops("import", tmp_path / "raw", "--out", tmp_path / "out")
    assert made.code == 0
    assert "opportunities: 120 rows" in made.out
    answer = salesops("check", tmp_path / "out")
    assert answer.code == 0
    assert "known until 2026-06-30" in answer.out
    assert "set aside: stages: stages.csv, row 6, column position" in answer.out
    assert "got 'not a number'" in answer.out


def test_import_leaves_a_foreign_folder_alone_and_replaces_its_own(
    salesops: Salesops, tmp_path: Path
) -> None:
    write_company(tmp_path / "raw", deals_per_team=2)
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("words")
    answer = salesops("import", tmp_path / "raw", "--out", foreign)
    assert answer.code == 3
    assert f"{foreign}: the folder holds other files. Name a new folder." in answer.err
    assert [path.name for path in foreign.iterdir()] == ["chapter.txt"]
    for _again in range(2):
        assert salesops("import", tmp_path / "raw", "--out", tmp_path / "own").code == 0
    answer = salesops("import", tmp_path / "raw", "--mapping", "salesfroce", "--out", tmp_path / "own")
    assert answer.code == 3
    assert "unknown mapping 'salesfroce'" in answer.err


def test_sample_writes_into_new_folders_only(salesops: Salesops, tmp_path: Path) -> None:
    answer = salesops("sample", tmp_path / "new", "--opportunities", 60, "--seed", 3)
    assert answer.code == 0
    assert (tmp_path / "new" / "opportunities.csv").is_file()
    before = {path: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    again = salesops("sample", tmp_path / "new", "--opportunities", 60)
    assert again.code == 3
    assert "the folder is not empty" in again.err
    assert {path: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before
    wrong = salesops("sample", tmp_path / "other", "--format", "xls")
    assert wrong.code == 3
    assert "unknown format; expected csv or parquet; got 'xls'" in wrong.err
    assert not (tmp_path / "other").exists()


# Runs


@pytest.fixture
def project(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one report, whose first cell fails, and a plan for the company and one team."""
    folder = tmp_path / "project"
    parameters = PARAMETERS.replace("2026-Q3", "2026-Q1")
    failing = "raise ValueError('no such luck')"
    write_template(folder / "notebooks" / "templates", "broken", failing, parameters=parameters, tables=[])
    (folder / "plan.yml").write_text(
        f"{{data: '{data}', reports: broken, teams: [company, ash], quarters: [2026-Q1, 2026-Q2]}}\n"
    )
    monkeypatch.setenv(ROOT_VARIABLE, str(folder))
    return folder


def test_dry_run_prints_the_matrix_and_publishes_nothing(salesops: Salesops, project: Path) -> None:
    answer = salesops("run", project / "plan.yml", "--dry-run")
    assert answer.code == 0
    header, *rows = answer.out.splitlines()
    assert header.split()[:3] == ["report", "scope", "quarter"]
    assert [tuple(row.split()[:3]) for row in rows] == [
        ("broken", scope, quarter) for quarter in ("2026-Q1", "2026-Q2") for scope in ("company", "ash")
    ]
    assert not (project / "reports").exists()


def test_every_problem_of_a_plan_is_said_before_anything_runs(salesops: Salesops, project: Path) -> None:
    answer = salesops(
        "run", project / "plan.yml", "-p", "team", "ahs", "-p", "quarter", "2026-Q1", "-p", "horizon", "12"
    )
    assert answer.code == 3
    assert "Did you mean ash" in answer.err
    assert "1..8" in answer.err
    assert not (project / "reports" / "leaders").exists()
    missing = salesops("run", project / "plna.yml")
    assert missing.code == 3
    assert "plna.yml: cannot be read" in missing.err


def test_a_report_that_fails_ends_the_run_with_one(salesops: Salesops, project: Path) -> None:
    plan = ("run", project / "plan.yml", "-p", "team", "ash", "-p", "quarter", "2026-Q1")
    answer = salesops(*plan, "--no-progress-bar")
    assert answer.code == 1
    assert "1 failed" in answer.out
    assert "no such luck" in answer.err
    assert salesops("verify").code == 0


def test_a_second_run_is_turned_away(salesops: Salesops, project: Path) -> None:
    (project / "reports").mkdir()
    with hold_lock(project / "reports"):
        answer = salesops("run", project / "plan.yml")
    assert answer.code == 4
    assert answer.out == ""


# Schedules: run dates, notifications, logs

KEEP = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


def notify_file(folder: Path, kept: Path, *, extra: str = "") -> Path:
    """Settings by which a real command keeps what it is told."""
    command = json.dumps([sys.executable, "-c", KEEP, str(kept)])
    path = folder / "notify.yml"
    path.write_text(f"on_success: {command}\non_failure: {command}\n{extra}")
    return path


def told(kept: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in kept.read_text().splitlines()]


def test_words_are_resolved_by_the_run_date(
    salesops: Salesops, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ("run", project / "plan.yml", "--dry-run", "-p", "quarter", "previous,latest,current")
    answer = salesops(*plan, "--run-date", "2026-07-01")
    assert answer.code == 3
    assert "'current' on the run date 2026-07-01 is 2026-Q3, which the data does not hold" in answer.err
    assert "2026-Q2 (known until 2026-06-30)" in answer.err
    monkeypatch.setenv("SALESOPS_RUN_DATE", "2026-06-30")
    plan = (*plan[:-1], "latest,current", "-p", "team", "ash")
    answer = salesops(*plan)
    assert answer.code == 0
    assert answer.err.splitlines()[0] == "Run date 2026-06-30, as given"
    assert [row.split()[2] for row in answer.out.splitlines()[1:]] == ["2026-Q1", "2026-Q2"]
    assert salesops(*plan, "--run-date", "30.6.2026").code == 3


def test_without_a_run_date_it_is_today_in_the_zone_of_the_data_and_said(
    salesops: Salesops, project: Path
) -> None:
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    days = {dt.datetime.now(zone).date().isoformat()}
    answer = salesops("run", project / "plan.yml", "--dry-run", "-p", "quarter", "latest")
    days |= {dt.datetime.now(zone).date().isoformat()}
    said = re.match(r"Run date (\S+), today in Europe/Berlin\n", answer.err)
    assert said
    assert said[1] in days
    assert "Run date" not in salesops("run", project / "plan.yml", "--dry-run").err


def test_show_knows_the_words_too(salesops: Salesops, data: Path) -> None:
    chosen = ("show", "funnel.win_rate", "-p", "data", data, "-p", "by", "team", "--format", "csv")
    words = salesops(*chosen, "-y", "{quarter: latest, as_of: run-date}", "--run-date", "2026-05-10")
    plain = salesops(*chosen, "-p", "quarter", "2026-Q1", "-p", "as_of", "2026-05-10")
    assert words.code == plain.code == 0
    assert words.out == plain.out
    assert len(words.out.splitlines()) > 2
    assert salesops(*chosen, "-p", "quarter", "latest", "--run-date", "2031-01-01").code == 3


def test_a_dry_run_checks_cut_offs_too(salesops: Salesops, project: Path) -> None:
    parameters = PARAMETERS.replace("2026-Q3", "2026-Q1") + '\nas_of: str = ""  # Cut-off | format: date'
    write_template(project / "notebooks" / "templates", "broken", parameters=parameters, tables=[])
    answer = salesops("run", project / "plan.yml", "--dry-run", "-p", "as_of", "2024-05-01")
    assert answer.code == 3
    for quarter in ("2026-Q1", "2026-Q2"):
        assert f"command line, column -p as_of: the cut-off lies before {quarter}" in answer.err


def test_parameters_from_files_and_yaml(salesops: Salesops, project: Path) -> None:
    file = project / "mine.yml"
    file.write_text("team: [ash, birch]\nhorizon: 12\n")
    plan = ("run", project / "plan.yml", "--dry-run", "-f", file)
    answer = salesops(*plan)
    assert answer.code == 3
    assert "mine.yml, row 2, column horizon: parameter 'horizon': above the range" in answer.err
    answer = salesops(*plan, "-y", "horizon: 3", "-p", "quarter", "2026-Q1")
    assert answer.code == 0
    assert [row.split()[1] for row in answer.out.splitlines()[1:]] == ["ash", "birch"]
    assert answer.out.count("'horizon': 3") == 2


def test_the_end_of_a_run_is_told_and_a_failing_notification_changes_nothing(
    salesops: Salesops, project: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    plan = ("run", project / "plan.yml", "-p", "team", "ash", "-p", "quarter", "2026-Q1")
    with mail_server(refused=frozenset({"ops@example.com"})) as post:
        mail = f"email: {{from: a@example.com, to: ops@example.com, host: localhost, port: {post.port}, "
        settings = notify_file(tmp_path, kept, extra=mail + "starttls: false}\n")
        answer = salesops(*plan, "--notify", settings)
    assert answer.code == 1
    assert "Notification failed: mail to ops@example.com: SMTPRecipientsRefused" in answer.err
    (facts,) = told(kept)
    assert (facts["status"], facts["exit_code"], facts["counts"]) == ("failed", 1, {"failed": 1})
    assert facts["run"] in {path.stem for path in (project / "reports" / ".runs").glob("*.json")}
    (failed,) = facts["failed"]
    assert (failed["report"], failed["scope"], failed["cell"]) == ("broken", "ash", 3)
    assert "no such luck" in failed["message"]


def test_what_was_refused_or_locked_out_is_told_and_a_dry_run_is_not(
    salesops: Salesops, project: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    plan = ("run", project / "plan.yml", "--notify", notify_file(tmp_path, kept))
    assert salesops(*plan, "--dry-run").code == 0
    assert salesops(*plan, "--dry-run", "-p", "team", "ahs").code == 3
    assert not kept.exists()
    assert salesops(*plan, "-p", "team", "ahs").code == 3
    with hold_lock(project / "reports"):
        assert salesops(*plan).code == 4
    assert [(facts["status"], facts["exit_code"], facts["plan"]) for facts in told(kept)] == [
        ("refused", 3, "plan.yml"),
        ("locked", 4, "plan.yml"),
    ]
    assert "Did you mean ash" in str(told(kept)[0]["message"])
    assert salesops("run", project / "plna.yml", "--notify", tmp_path / "notify.yml").code == 3
    assert "cannot be read" in str(told(kept)[-1]["message"])


@pytest.fixture
def own_logging() -> Iterator[None]:
    """What a command sets up for its process is taken down again."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.level, root.handlers[:] = before


@pytest.mark.usefixtures("own_logging")
def test_the_log_level_is_heeded_and_secrets_are_kept_out(
    salesops: Salesops, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", sys.executable[:-1])
    settings = notify_file(tmp_path, tmp_path / "kept")
    plan = ("run", project / "plan.yml", "-p", "team", "ahs", "--notify", settings)
    assert "INFO" not in salesops(*plan).err
    logged = salesops(*plan, "--log-level", "INFO").err
    assert "INFO salesops_kit.publishing.notify: notified: the command '[redacted]" in logged
    assert salesops("run", project / "plan.yml", "--log-level", "LOUD").code == 3


def test_verify_refuses_a_folder_without_reports_and_names_strays(salesops: Salesops, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        answer = salesops("verify", folder)
        assert answer.code == 3
        assert f"{folder}: no report was published here" in answer.err
    (tmp_path / "leaders").mkdir()
    (tmp_path / "leaders" / "stray.html").write_text("<h1>Trust me</h1>")
    answer = salesops("verify", tmp_path)
    assert answer.code == 1
    stray, last = answer.out.splitlines()
    assert stray.startswith("leaders/stray.html: no record knows this page")
    assert last == "Problems: 1"


def test_an_interrupt_ends_with_two_and_one_line(tmp_path: Path) -> None:
    # A program that a shell started in the background ignores interrupts, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "salesops_kit",
                "sample",
                str(tmp_path / "big"),
                "--opportunities",
                "500000",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    try:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2
    assert err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err
