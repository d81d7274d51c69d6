"""Who is told how a run ended: a command that reads a JSON summary, or people by e-mail."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from salesops_kit.project import project_root
from salesops_kit.publishing.redact import HIDDEN, redact
from salesops_kit.publishing.run_summary import SUCCESS, body, subject

log = logging.getLogger(__name__)

TLS_PORT = 465
LONGEST_OUTPUT = 10_000
LONGEST_COMPLAINT = 500

_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _is_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("expected an address such as reports@example.com")
    return value


def _is_variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError("expected the name of an environment variable such as SMTP_PASSWORD")
    return value


Address = Annotated[str, AfterValidator(_is_address)]
Variable = Annotated[str, AfterValidator(_is_variable)]
Command = Annotated[tuple[str, ...], Field(max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Recipients(_Strict):
    """Who gets mail of a run that went well, and of one that did not."""

    success: tuple[Address, ...] = ()
    failure: tuple[Address, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_both(cls, value: object) -> object:
        return {"success": value, "failure": value} if isinstance(value, str | list) else value

    @field_validator("success", "failure", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class Email(_Strict):
    """How mail is sent. ``to`` is one list for every run, or ``{success: [...], failure: [...]}``.

    ``starttls`` asks for encryption before anything is said; port 465 is encrypted from its first
    byte. User and password are read from the environment variables named here.
    """

    sender: Address = Field(alias="from")
    to: Recipients
    host: str = Field(pattern=r"^[A-Za-z0-9._:-]+$")
    port: int = Field(default=587, ge=1, le=65_535)
    starttls: bool = True
    user_variable: Variable = ""
    password_variable: Variable = ""

    @model_validator(mode="after")
    def _sent_safely(self) -> Email:
        if bool(self.user_variable) != bool(self.password_variable):
            raise ValueError("user_variable and password_variable belong together")
        is_open = not self.starttls and self.port != TLS_PORT
        if self.password_variable and is_open and not _is_this_machine(self.host):
            raise ValueError("a password is only sent encrypted; set starttls: true, or port: 465")
        return self


class Notify(_Strict):
    """Who is told of a run's end: commands as lists of arguments, and mail; each may be left out.

    ``time_limit`` is how many seconds each of them gets.
    """

    on_success: Command = ()
    on_failure: Command = ()
    email: Email | None = None
    time_limit: int = Field(default=30, ge=1, le=600)

    @field_validator("on_success", "on_failure", mode="before")
    @classmethod
    def _is_a_list(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError("expected a list of arguments such as [python, tell.py], as no shell reads it")
        if isinstance(value, list) and not (value and value[0]):
            raise ValueError("the command is empty")
        return value


def tell(settings: Notify, facts: Mapping[str, Any]) -> list[str]:
    """Tell everybody whom ``settings`` name for such an end; returns what went wrong with that.

    Nothing is raised: what was published stays published, and the run keeps its exit code.
    """
    is_good = facts["status"] == SUCCESS
    command = settings.on_success if is_good else settings.on_failure
    ways: list[tuple[str, Callable[[], str]]] = []
    if command:
        ways.append((f"the command {command[0]!r}", lambda: _call(command, facts, settings.time_limit)))
    if settings.email:
        email = settings.email
        recipients = email.to.success if is_good else email.to.failure
        if recipients:
            send = lambda: _send(email, recipients, facts, settings.time_limit)  # noqa: E731
            ways.append((f"mail to {', '.join(recipients)}", lambda: _within(settings.time_limit, send)))
    failures = []
    for name, way in ways:
        try:
            wrong = way()
        # Whatever a command or a mail library raises, the run is over and must be reported as it ended.
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            failures.append(f"Notification failed: {name}: {_without_password(settings, wrong)}")
        else:
            log.info("notified: %s", name)
    return failures


def unready(settings: Notify) -> list[str]:
    """What is missing on this machine for ``settings`` to work: programs, variables."""
    missing = [
        f"no program {command[0]!r}"
        for command in (settings.on_success, settings.on_failure)
        if command and not shutil.which(command[0], path=None) and not (project_root() / command[0]).is_file()
    ]
    if settings.email:
        for name in (settings.email.user_variable, settings.email.password_variable):
            if name and not os.environ.get(name):
                missing.append(f"the environment variable {name} is not set")
    return [f"Notification will fail: {what}" for what in dict.fromkeys(missing)]


def _call(command: tuple[str, ...], facts: Mapping[str, Any], seconds: int) -> str:
    """Run a command without a shell; returns why it is no success, or nothing."""
    # A file takes any amount, and a process that the command leaves behind cannot hold it open for us.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=project_root(),
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(facts).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"no end within {seconds} s"
        finally:
            if process.poll() is None:
                _end(process)
        output.seek(0)
        said = output.read(LONGEST_OUTPUT).decode("utf-8", "replace").strip()
    if process.returncode == 0:
        return ""
    return f"ended with {process.returncode}" + (f": {said}" if said else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command together with what it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _within(seconds: int, action: Callable[[], str]) -> str:
    """What ``action`` returns, or a complaint when it takes longer, however slowly a server answers."""
    answers: list[str] = []

    def work() -> None:
        try:
            answers.append(action())
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no end within {seconds} s"


def _send(email: Email, recipients: tuple[str, ...], facts: Mapping[str, Any], seconds: int) -> str:
    """Hand a mail over to the server; returns who was refused, or nothing."""
    unset = [n for n in (email.user_variable, email.password_variable) if n and not os.environ.get(n)]
    if unset:
        return f"not set: {', '.join(unset)}"
    encryption = ssl.create_default_context()
    server: smtplib.SMTP
    if email.port == TLS_PORT:
        server = smtplib.SMTP_SSL(email.host, email.port, timeout=seconds, context=encryption)
    else:
        server = smtplib.SMTP(email.host, email.port, timeout=seconds)
    with server:
        if email.starttls and email.port != TLS_PORT:
            server.starttls(context=encryption)
        if email.user_variable:
            server.login(os.environ[email.user_variable], os.environ[email.password_variable])
        refused = server.send_message(mail(facts, email.sender, recipients))
    return f"refused: {', '.join(sorted(refused))}" if refused else ""


def mail(facts: Mapping[str, Any], sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The mail that tells of a run."""
    message = EmailMessage()
    message["Subject"] = subject(facts)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body(facts))
    return message


def _without_password(settings: Notify, text: str) -> str:
    password = os.environ.get(settings.email.password_variable) if settings.email else None
    return redact(text.replace(password, HIDDEN) if password else text, limit=LONGEST_COMPLAINT)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
