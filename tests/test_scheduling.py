"""The documentation of schedules is true: its commands parse, its files are valid, its examples run."""

from __future__ import annotations

import ast
import configparser
import contextlib
import datetime as dt
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from salesops_kit import cli
from salesops_kit.arguments import join_pairs
from salesops_kit.periods import FiscalCalendar
from salesops_kit.publishing.contract import coerce
from salesops_kit.publishing.notify import Notify, tell, unready
from salesops_kit.publishing.plan_file import load_notify, load_plan
from salesops_kit.publishing.run import RunResult
from salesops_kit.publishing.run_date import QUARTERS, RUN_DATE, quarter_of_word, uses_run_date
from salesops_kit.publishing.run_summary import summary, summary_of_error
from salesops_kit.publishing.templates import discover

ROOT = Path(__file__).resolve().parent.parent
READY = ROOT / "docs" / "scheduling"
PAGE = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "scheduling.md", *sorted(READY.iterdir())]
ENDS = {"&&", "||", ";", "|", ">", ">>", ">&", "<", "&"}


def code_of(path: Path) -> list[str]:
    """The lines of a document that a reader would run: code blocks of Markdown, texts of Python."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [line for line in text.splitlines() if line.startswith("    ")]
    if path.suffix == ".py":
        return joined_texts(ast.parse(text))
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def joined_texts(tree: ast.Module) -> list[str]:
    """Texts that are put together of parts, with the names in them read from the same file."""
    named = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            # A text that needs more than the file's own constants is no command line.
            with contextlib.suppress(NameError):
                texts.append(eval(compile(ast.Expression(node), "text", "eval"), dict(named)))
    return texts


def commands_in(path: Path) -> Iterator[list[str]]:
    """The arguments of every ``salesops`` command line of a document."""
    for line in code_of(path):
        for match in re.finditer(r"(?:^|[\s/;=])salesops(?= [a-z-])(.*)", line.strip(), re.DOTALL):
            lexer = shlex.shlex(match[1], posix=True, punctuation_chars=True)
            lexer.whitespace_split, lexer.commenters = True, "#"
            words: list[str] = []
            for word in lexer:
                if word in ENDS:
                    break
                words.append(word)
            yield words


COMMANDS = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)[:60]}")
    for path in DOCUMENTS
    for words in commands_in(path)
]


def parse(words: list[str]) -> dict[str, Any]:
    """The parameters that the real command line reads from these words; nothing is run."""
    group: Any = typer.main.get_command(cli.app)
    context = group.make_context("salesops", join_pairs(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return {"": name, **command.make_context(name, rest, parent=context).params}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_line_parses_and_its_files_exist(words: list[str]) -> None:
    read = parse(words)
    for name in ("plan", "notify"):
        path = read.get(name)
        if path and str(path).startswith(("docs/", "params/")):
            assert (ROOT / path).is_file()


def test_command_lines_are_found_and_wrong_ones_noticed(tmp_path: Path) -> None:
    found = [words for path in DOCUMENTS for words in commands_in(path)]
    assert len(found) > 15
    assert {path.name for path in DOCUMENTS if any(commands_in(path))} >= {
        "README.md",
        "scheduling.md",
        "crontab",
        "salesops.service",
        "github-actions.yml",
        "airflow_dag.py",
    }
    line = tmp_path / "crontab"
    line.write_text("0 6 * * 1  cd x && .venv/bin/salesops run a.yml --rn-date 2026-01-01 >>log 2>&1\n")
    (words,) = commands_in(line)
    assert words == ["run", "a.yml", "--rn-date", "2026-01-01"]
    with pytest.raises(Exception, match="--rn-date"):
        parse(words)


# The page


def test_the_table_of_words_is_right() -> None:
    heading = re.search(r"On ([0-9-]{10}), fiscal year from February", PAGE)
    assert heading
    day = dt.date.fromisoformat(heading[1])
    shown = dict(re.findall(r"^\| `(\w+)` \| .* \| ([0-9]{4}-Q[1-4]) \|$", PAGE, re.MULTILINE))
    calendar = FiscalCalendar(start_month=2)
    assert shown == {word: quarter_of_word(word, day, calendar).label for word in QUARTERS}


def test_the_documented_keys_of_the_summary_are_its_keys() -> None:
    facts = summary(RunResult("000001-20260101T000000Z"), plan="x.yml", root=ROOT)
    section = PAGE.partition("reads one JSON object:")[2].partition("Pages are relative")[0]
    named = [
        name for cell in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for name in cell.split(", ")
    ]
    assert [name.strip("`") for name in named] == list_in_order(facts, named)
    assert set(facts) == set(summary_of_error(OSError("x"), plan="x.yml"))


def list_in_order(facts: dict[str, Any], named: list[str]) -> list[str]:
    assert len(named) == len(facts)
    return sorted(facts, key=lambda key: named.index(f"`{key}`"))


def test_the_notify_example_of_the_page_is_valid(tmp_path: Path) -> None:
    block = PAGE.partition("    notify:\n")[2].partition("\n\n")[0]
    plan = tmp_path / "plan.yml"
    plan.write_text(f"data: sample\nreports: all\nnotify:\n{block}\n".replace("\n    ", "\n"))
    notify = load_plan(plan).plan.notify
    assert notify
    assert notify.email
    assert notify.email.to.failure == ("operations@example.com",)


# Ready files


def test_the_weekly_plan_runs_on_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_plan(READY / "weekly.yml")
    assert uses_run_date(loaded)
    assert loaded.plan.as_of == RUN_DATE
    context: Any = typer.main.get_command(cli.app)
    words = ["run", str(READY / "weekly.yml"), "--run-date", "2026-10-26", "--dry-run"]
    assert context(args=words, standalone_mode=False) == 0
    shown = capsys.readouterr()
    rows = [row.split() for row in shown.out.splitlines()[1:]]
    assert {word for row in rows for word in row if re.fullmatch(r"20..-Q.", word)} == {"2027-Q3", "2027-Q2"}
    assert shown.out.count("'as_of': '2026-10-26'") == len(rows) >= 16
    assert shown.err == "Run date 2026-10-26, as given\n"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A real web server that keeps what is posted to it."""
    posted: list[dict[str, Any]] = []

    class Keep(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path == "/hook" else 404)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keep) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("SALESOPS_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
        yield posted
        server.shutdown()


def test_the_webhook_example_posts_what_it_is_told(
    webhook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = load_notify(READY / "notify.yml")
    assert example.on_failure == (".venv/bin/python", "docs/scheduling/post_summary.py")
    assert all("SMTP_" in text for text in unready(example) if "program" not in text)
    notify = Notify(on_failure=(sys.executable, str(ROOT / example.on_failure[1])), time_limit=30)
    facts = summary_of_error(ValueError("no 2027-Q4"), plan="weekly.yml")
    assert tell(notify, facts) == []
    assert webhook == [{"text": "weekly.yml: broken\nno 2027-Q4"}]
    monkeypatch.setenv("SALESOPS_WEBHOOK", os.environ["SALESOPS_WEBHOOK"] + "/secret-path")
    (said,) = tell(notify, facts)
    assert "the webhook did not take it: HTTPError" in said
    assert "secret-path" not in said
    monkeypatch.delenv("SALESOPS_WEBHOOK")
    assert "is no https address" in tell(notify, facts)[0]


def test_the_crontab_has_five_fields_and_a_command() -> None:
    lines = [line for line in (READY / "crontab").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) == 2
    limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    for line in lines:
        *fields, command = line.split(maxsplit=5)
        for value, (low, high) in zip(fields, limits, strict=True):
            assert all(part == "*" or low <= int(part) <= high for part in value.split(","))
        # Cron ends the command at a percent sign.
        assert "%" not in command
        assert command.startswith("cd salesops_kit && ")
        assert "flock" not in command


def test_the_systemd_units_are_valid(tmp_path: Path) -> None:
    units = {}
    for name in ("salesops.service", "salesops.timer"):
        text = (READY / name).read_text().replace("%h/salesops_kit", str(tmp_path / "checkout"))
        (tmp_path / name).write_text(text)
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(text)
        units[name] = {section: dict(parser[section]) for section in parser.sections()}
    service, timer = units["salesops.service"]["Service"], units["salesops.timer"]
    assert service["Type"] == "oneshot"
    assert int(service["SuccessExitStatus"]) == cli.LOCKED
    assert service["ExecStart"].split()[0] == str(tmp_path / "checkout/.venv/bin/salesops")
    assert timer["Timer"]["OnCalendar"].startswith("Mon ")
    assert timer["Install"] == {"WantedBy": "timers.target"}
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        return
    program = tmp_path / "checkout/.venv/bin/salesops"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    command = [analyze, "verify", "--user", *map(str, sorted(tmp_path.glob("salesops.*")))]
    done = subprocess.run(
        command,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_workflow_uses_what_exists() -> None:
    workflow = yaml.safe_load((READY / "github-actions.yml").read_text())
    # YAML 1.1 reads the key `on` as true.
    triggers = workflow[True]
    assert set(triggers) == {"schedule", "workflow_dispatch"}
    assert len(triggers["schedule"][0]["cron"].split()) == 5
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    runs = [step["run"] for step in job["steps"] if "run" in step]
    make = (ROOT / "Makefile").read_text()
    for line in runs:
        if line.startswith("make "):
            target = line.removeprefix("make ")
            assert target in make
            assert re.search(rf"^({re.escape(target)}|\$\(INSTALLED\)):", make, re.MULTILINE)
    assert "INSTALLED = .venv/.installed" in make
    (publish,) = [step for step in job["steps"] if step.get("name") == "Publish"]
    assert publish["env"]["SALESOPS_RUN_DATE"] == "${{ inputs.run_date }}"
    assert set(triggers["workflow_dispatch"]["inputs"]) == {"run_date"}
    # What stands in ${{ }} must reach a shell as a variable only.
    assert not any("${{" in line for line in runs)
    notify = load_notify(READY / "notify.yml")
    assert notify.email
    assert {notify.email.user_variable, notify.email.password_variable} <= set(publish["env"])
    version = next(step["with"]["python-version"] for step in job["steps"] if "setup-python" in str(step))
    assert version in ("3.11", "3.12", "3.13")


def test_the_airflow_dag_gives_the_template_what_its_contract_takes() -> None:
    source = (READY / "airflow_dag.py").read_text()
    tree = ast.parse(source)
    compile(source, "airflow_dag.py", "exec")
    calls = {
        node.func.id: {k.arg: k.value for k in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    template = discover(ROOT / "notebooks" / "templates")["funnel"]
    assert "funnel.ipynb" in ast.unparse(calls["PapermillOperator"]["input_nb"])
    given = ast.literal_eval(calls["PapermillOperator"]["parameters"])
    assert set(given) == set(template.parameters)
    params = calls["DAG"]["params"]
    assert isinstance(params, ast.Dict)
    defaults = {
        ast.literal_eval(key): ast.literal_eval(value.args[0])  # type: ignore[arg-type, attr-defined]
        for key, value in zip(params.keys, params.values, strict=True)
    }
    assert defaults.keys() == {"team", "quarter"}
    names = {"teams": ["company"], "quarters": ["2027-Q3"]}
    for name, raw in {**given, **defaults}.items():
        assert coerce(template.parameters[name], raw, names=names) == (raw, None)
    assert {name for name, raw in given.items() if raw == f"{{{{ params.{name} }}}}"} == set(defaults)
    assert ast.literal_eval(calls["BashOperator"]["skip_on_exit_code"]) == cli.LOCKED


def test_the_fields_of_jupyter_scheduler_are_python_for_the_template() -> None:
    (cell,) = re.findall(r"^\| Parameters \| (.*) \|$", PAGE, re.MULTILINE)
    fields = re.findall(r"`(\w+)` as `(.*?)`", cell)
    assert [name for name, _text in fields] == ["team", "quarter"]
    template = discover(ROOT / "notebooks" / "templates")["funnel"]
    for name, text in fields:
        value = ast.literal_eval(text)
        assert coerce(template.parameters[name], value) == (value, None)
