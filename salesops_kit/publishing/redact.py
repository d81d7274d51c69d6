"""Secrets taken out of every text that leaves a run: errors, manifests and logs."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import quote

SHORTEST_SECRET = 6
HIDDEN = "[redacted]"

_SECRET_NAME = re.compile(
    r"(PASS(WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|CREDENTIALS?|API_?KEY|(ACCESS|PRIVATE|SIGNING)_?KEY"
    r"|DSN|DATABASE_URL|CONNECTION_STRING)(_|$)|(^|_)KEY$",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]*:[^/\s]*@")
_NAMED = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api_?key)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def secret_values(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables that look like secrets, by name; values under six characters are left out."""
    environment = os.environ if environment is None else environment
    return {
        name: value
        for name, value in environment.items()
        if _SECRET_NAME.search(name)
        and name not in _NO_SECRETS
        and len(value) >= SHORTEST_SECRET
        and not os.path.exists(value)  # noqa: PTH110 - a key's file name is no secret
    }


def _spellings(value: str) -> set[str]:
    return {value, json.dumps(value)[1:-1], html.escape(value), quote(value, safe="")}


def redact(text: str, environment: Mapping[str, str] | None = None, *, limit: int = 2_000) -> str:
    """``text`` without the values of secret variables, passwords in addresses and ``password=...``.

    Terminal colours are removed and the text is cut at ``limit`` characters.

    >>> redact("cannot reach postgresql://ann:hunter2@db/crm", {})
    'cannot reach postgresql://[redacted]@db/crm'
    """
    text = _ESCAPES.sub("", text)
    spellings = {s for value in secret_values(environment).values() for s in _spellings(value)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    text = _ADDRESS.sub(rf"\1{HIDDEN}@", text)
    text = _NAMED.sub(rf"\1\2{HIDDEN}", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def leaked(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """The names of secret variables whose values stand in ``text``, in any usual escaping."""
    return sorted(
        name
        for name, value in secret_values(environment).items()
        if any(spelling in text for spelling in _spellings(value))
    )
