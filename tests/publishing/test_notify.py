"""Notifications: real commands and a real mail server are told how a run ended, and harm nothing."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from salesops_kit.errors import InputError, LockHeldError, NotAvailableError
from salesops_kit.publishing.ledger import Entry
from salesops_kit.publishing.manifest import Failure, Manifest
from salesops_kit.publishing.notify import Notify, tell, unready
from salesops_kit.publishing.plan_file import load_notify, parse_plan
from salesops_kit.publishing.run import RunResult
from salesops_kit.publishing.run_summary import body, subject, summary, summary_of_error
from tests.publishing.mail_server import mail_server

KEEP = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


def entry(scope: str, status: str = "success", *, audience: str = "leaders", message: str = "") -> Entry:
    made = Manifest(
        seq=3,
        run="000003-20270801T060000Z",
        report="pay" if audience == "private" else "funnel",
        audience=audience,
        scope=scope,
        quarter="2027-Q2",
        period="",
        as_of="2027-07-31",
        locale="en",
        params={},
        key="",
        key_parts={},
        reason="forced",
        status=status,
        error=Failure(cell=4, name="ValueError", message=message) if message else None,
    )
    return Entry(manifest=made, title="Funnel")


def facts_of(root: Path, *entries: Entry, plan: str = "weekly.yml", **rest: Any) -> dict[str, Any]:
    return summary(RunResult("000003-20270801T060000Z", tuple(entries), **rest), plan=plan, root=root)


GOOD = facts_of(Path(), entry("company"))
BAD = facts_of(Path(), entry("company", "failed", message="no such luck"))


# What is said


def test_the_summary_of_a_mixed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_TOKEN", "tok-12345678")
    failed = entry("EMEA South", "failed", message="HTTP 401 for tok-12345678")
    page = tmp_path / failed.address.stable
    page.parent.mkdir(parents=True)
    page.touch()
    facts = facts_of(tmp_path, entry("company"), failed, entry("APAC", "timeout"), entry("US", "skipped"))
    assert json.loads(json.dumps(facts)) == facts
    assert {name: facts[name] for name in ("run", "plan", "status", "exit_code", "counts")} == {
        "run": "000003-20270801T060000Z",
        "plan": "weekly.yml",
        "status": "failed",
        "exit_code": 1,
        "counts": {"failed": 1, "skipped": 1, "success": 1, "timeout": 1},
    }
    names = {"report": "funnel", "quarter": "2027-Q2"}
    assert facts["published"] == [
        {**names, "scope": "company", "page": "leaders/2027-Q2/company/funnel.html"}
    ]
    first, second = facts["failed"]
    assert first == {
        **names,
        "scope": "EMEA South",
        "status": "failed",
        "cell": 4,
        "message": "HTTP 401 for [redacted]",
        "page": "leaders/2027-Q2/emea-south-89424f/funnel.html",
    }
    assert (second["status"], second["page"], second["message"]) == ("timeout", None, "forced")


def test_a_private_report_keeps_its_message_to_itself(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, entry("r1", "failed", audience="private", message="pay of 9,120.55 is odd"))
    assert facts["failed"][0]["message"] == "[redacted]"
    assert "9,120" not in json.dumps(facts) + body(facts)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("no quarter"), "refused", 3),
        (NotAvailableError("no table"), "refused", 3),
        (LockHeldError("busy"), "locked", 4),
        (KeyboardInterrupt(), "interrupted", 2),
        (OSError("disk of postgresql://ann:hunter22@db/crm"), "broken", 2),
    ],
)
def test_the_summary_of_a_run_without_a_result(error: BaseException, status: str, code: int) -> None:
    facts = summary_of_error(error, plan="weekly.yml")
    assert (facts["status"], facts["exit_code"]) == (status, code)
    assert set(facts) == set(GOOD)
    assert "hunter22" not in facts["message"]
    assert subject(facts) == f"salesops: weekly.yml {status}"
    assert "No run was started." in body(facts)


def test_an_interrupted_run_is_no_success(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, entry("company"), is_interrupted=True)
    assert (facts["status"], facts["exit_code"]) == ("interrupted", 2)


def test_names_from_data_cannot_break_a_line_of_the_mail(tmp_path: Path) -> None:
    hostile = entry("EMEA\r\nBcc: all@example.com\x1b[2J", "failed", message="one\ntwo")
    facts = facts_of(tmp_path, hostile, plan="weekly\nplan.yml")
    assert "\n" not in subject(facts)
    (line,) = (line for line in body(facts).splitlines() if "EMEA" in line)
    assert line == (r"- funnel / EMEA\r\nBcc: all@example.com\x1b[2J / 2027-Q2: failed: cell 4: one\ntwo")


def test_a_long_mail_is_cut(tmp_path: Path) -> None:
    text = body(facts_of(tmp_path, *(entry(f"team {n}") for n in range(60))))
    assert text.count("funnel / team") == 50
    assert "- and 10 more" in text


# Commands


def test_a_command_reads_the_summary(tmp_path: Path) -> None:
    kept = tmp_path / "summary; touch x.json"
    command = (sys.executable, "-c", KEEP, str(kept))
    assert tell(Notify(on_success=command), BAD) == []
    assert not kept.exists()
    assert tell(Notify(on_failure=command), BAD) == []
    assert json.loads(kept.read_bytes()) == BAD


def test_a_command_that_fails_is_said_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cr3t-value")
    failing = (sys.executable, "-c", "import os, sys; sys.exit('bad ' + os.environ['HOOK_SECRET'])")
    (said,) = tell(Notify(on_success=failing), GOOD)
    assert said == f"Notification failed: the command {sys.executable!r}: ended with 1: bad [redacted]"


@pytest.mark.parametrize("command", [("salesops-no-such-program",), ("/",), ("a\0b",)])
def test_a_command_that_does_not_start_is_said(command: tuple[str, ...]) -> None:
    (said,) = tell(Notify(on_success=command), GOOD)
    assert said.startswith("Notification failed: the command")


def test_a_command_that_does_not_read_or_end_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(child)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    # More than a pipe holds, to a command that never reads it.
    many = facts_of(tmp_path, *(entry(f"team {n}") for n in range(2_000)))
    began = time.monotonic()
    (said,) = tell(Notify(on_success=(sys.executable, "-c", code), time_limit=2), many)
    assert said.endswith("no end within 2 s")
    assert time.monotonic() - began < 12
    pid = int(child.read_text())
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_command_that_leaves_a_process_behind_is_not_waited_for() -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'])"
    began = time.monotonic()
    assert tell(Notify(on_success=(sys.executable, "-c", code), time_limit=7), GOOD) == []
    assert time.monotonic() - began < 6


# Mail


def settings(port: int, **values: Any) -> Notify:
    mail = {
        "from": "reports@example.com",
        "to": {"success": ["lead@example.com"], "failure": ["ops@example.com", "on-call@example.com"]},
        "host": "127.0.0.1",
        "port": port,
        "starttls": False,
    }
    return Notify(email={**mail, **values}, time_limit=5)


def test_success_and_failure_reach_their_own_readers() -> None:
    with mail_server() as post:
        assert tell(settings(post.port), GOOD) == []
        assert tell(settings(post.port), BAD) == []
    (good_to, good), (bad_to, bad) = post.mails
    assert good_to == ["lead@example.com"]
    assert bad_to == ["ops@example.com", "on-call@example.com"]
    assert (good["Subject"], bad["Subject"]) == (
        "salesops: weekly.yml success (1 success)",
        "salesops: weekly.yml failed (1 failed)",
    )
    assert (bad["From"], bad["To"]) == ("reports@example.com", "ops@example.com, on-call@example.com")
    assert bad["Auto-Submitted"] == "auto-generated"
    assert bad["Message-ID"].endswith("@example.com>")
    assert "leaders/2027-Q2/company/funnel.html" in good.get_content()
    assert "company / 2027-Q2: failed: cell 4: no such luck" in bad.get_content()


def test_nobody_to_tell_is_no_mail() -> None:
    with mail_server() as post:
        assert tell(settings(post.port, to={"failure": "ops@example.com"}), GOOD) == []
    assert post.mails == []


def test_text_in_any_script_arrives(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, entry("上海", "failed", message="naïve résumé"), plan="週報.yml")
    with mail_server() as post:
        assert tell(settings(post.port), facts) == []
    ((_to, mail),) = post.mails
    assert mail["Subject"] == "salesops: 週報.yml failed (1 failed)"
    assert "上海 / 2027-Q2: failed: cell 4: naïve résumé" in mail.get_content()


def test_user_and_password_come_from_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"user_variable": "MAIL_USER", "password_variable": "MAIL_WORD"}
    monkeypatch.setenv("MAIL_USER", "ann")
    with mail_server(users={"ann": "correct horse"}) as post:
        wanted = settings(post.port, **named)
        assert unready(wanted) == ["Notification will fail: the environment variable MAIL_WORD is not set"]
        assert "not set: MAIL_WORD" in tell(wanted, GOOD)[0]
        monkeypatch.setenv("MAIL_WORD", "wrong horse")
        (said,) = tell(wanted, GOOD)
        assert "SMTPAuthenticationError" in said
        assert "wrong horse" not in said
        assert post.mails == []
        monkeypatch.setenv("MAIL_WORD", "correct horse")
        assert tell(wanted, GOOD) == []
        assert len(post.mails) == 1
    assert unready(wanted) == []


def test_a_refused_reader_is_named_and_the_others_are_told() -> None:
    with mail_server(refused=frozenset({"ops@example.com"})) as post:
        (said,) = tell(settings(post.port), BAD)
        assert said.endswith("refused: ops@example.com")
        assert [to for to, _mail in post.mails] == [["on-call@example.com"]]
        (said,) = tell(settings(post.port, to="ops@example.com"), BAD)
        assert "SMTPRecipientsRefused" in said


def test_a_server_that_is_not_there_is_said() -> None:
    with mail_server() as post:
        pass
    (said,) = tell(settings(post.port), GOOD)
    assert said.startswith("Notification failed: mail to lead@example.com: ")


def test_a_server_that_drips_is_given_up() -> None:
    with mail_server(drip_seconds=0.5) as post:
        slow = settings(post.port).model_copy(update={"time_limit": 1})
        began = time.monotonic()
        (said,) = tell(slow, GOOD)
    assert said.endswith("no end within 1 s")
    assert time.monotonic() - began < 4


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for this machine that clients trust as long as the test runs."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl makes the certificate, and is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    arguments = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    command = [openssl, *arguments.split(), "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


def test_starttls_encrypts_before_the_password_is_sent(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "ann")
    monkeypatch.setenv("MAIL_WORD", "correct horse")
    named = {"user_variable": "MAIL_USER", "password_variable": "MAIL_WORD", "starttls": True}
    with mail_server(users={"ann": "correct horse"}, certificate=certificate) as post:
        assert tell(settings(post.port, **named), GOOD) == []
        assert post.was_encrypted == [True]
        monkeypatch.delenv("SSL_CERT_FILE")
        (said,) = tell(settings(post.port, **named), GOOD)
        assert "CERTIFICATE_VERIFY_FAILED" in said
    with mail_server() as post:
        (said,) = tell(settings(post.port, starttls=True), GOOD)
        assert "SMTPNotSupportedError" in said
        assert post.mails == []


# Settings

PLAN = """\
data: sample
reports: funnel
notify:
  on_success: [python, tell.py]
  on_failure: [python, tell.py]
  time_limit: 10
  email:
    from: reports@example.com
    to: [lead@example.com]
    host: smtp.example.com
    port: 587
    starttls: true
    user_variable: SMTP_USER
    password_variable: SMTP_PASSWORD
"""


def test_a_plan_says_whom_to_tell(tmp_path: Path) -> None:
    notify = parse_plan(PLAN).plan.notify
    assert notify is not None
    assert notify.on_success == ("python", "tell.py")
    assert notify.email is not None
    assert notify.email.to.success == notify.email.to.failure == ("lead@example.com",)
    own = "\n".join(line[2:] for line in PLAN.splitlines()[3:])
    (tmp_path / "notify.yml").write_text(own)
    assert load_notify(tmp_path / "notify.yml") == notify


@pytest.mark.parametrize(
    ("old", "new", "row", "said"),
    [
        ("on_success: [python, tell.py]", "on_success: python tell.py", 4, "as no shell reads it"),
        ("on_success: [python, tell.py]", "on_success: []", 4, "the command is empty"),
        ("on_success:", "on_sucess:", 4, "Did you mean on_success"),
        ("host:", "hots:", 10, "Did you mean host"),
        ("to: [lead@example.com]", "to: {succes: lead@example.com}", 9, "Did you mean success"),
        ("lead@example.com", "lead", 9, "expected an address"),
        ("[lead@example.com]", '"a@b.com\\nBcc: c@d.com"', 9, "expected an address"),
        ("port: 587", "port: 0", 11, "greater than or equal to 1"),
        ("port: 587", "port: smtp", 11, "valid integer"),
        ("time_limit: 10", "time_limit: 9999", 6, "less than or equal to 600"),
        ("starttls: true", "starttls: false", 7, "a password is only sent encrypted"),
        ("    user_variable: SMTP_USER\n", "", 7, "belong together"),
        ("    host: smtp.example.com\n", "", 7, "key 'host' is missing"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(old: str, new: str, row: int, said: str) -> None:
    assert old in PLAN
    with pytest.raises(InputError) as refused:
        parse_plan(PLAN.replace(old, new), file="plan.yml")
    assert {p.file for p in refused.value.problems} == {"plan.yml"}
    assert row in {p.row for p in refused.value.problems}
    assert len(refused.value.problems) == 1 + (new == "hots:")
    assert said in str(refused.value)


def test_a_password_where_its_variable_belongs_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as refused:
        parse_plan(PLAN.replace("SMTP_PASSWORD", "correct-horse!"))
    assert "password_variable" in str(refused.value)
    assert "correct-horse" not in str(refused.value)


def test_what_is_missing_here_is_said_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMTP_USER", "SMTP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    notify = parse_plan(PLAN.replace("[python, tell.py]", "[no-such-program]", 1)).plan.notify
    assert notify is not None
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert unready(notify) == [
        "Notification will fail: no program 'no-such-program'",
        "Notification will fail: the environment variable SMTP_USER is not set",
        "Notification will fail: the environment variable SMTP_PASSWORD is not set",
    ]
