"""Secrets do not leave in any spelling."""

from __future__ import annotations

import json

import pytest

from salesops_kit.publishing.redact import leaked, redact, secret_values

ENVIRONMENT = {
    "CRM_TOKEN": 'tok"en<&>42',
    "PGPASSWORD": "hunter22",
    "AWS_SECRET_ACCESS_KEY": "/bcdefgh12",
    "DATABASE_URL": "postgresql://ann:pw@db/crm",
    "PWD": "/srv/ann/secret",
    "KEYBOARD": "dvorak-layout",
    "SSH_KEY": __file__,
    "SHORT_TOKEN": "abc",
}


def test_which_variables_are_secrets() -> None:
    assert sorted(secret_values(ENVIRONMENT)) == [
        "AWS_SECRET_ACCESS_KEY",
        "CRM_TOKEN",
        "DATABASE_URL",
        "PGPASSWORD",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "hunter22",
        'failed with tok"en<&>42',
        json.dumps({"a": 'tok"en<&>42'}),
        "tok&quot;en&lt;&amp;&gt;42",
        "tok%22en%3C%26%3E42",
        "postgresql://bob:hunter2@host:5432/x",
        "mysql+pymysql://:pw1234@host",
        "connect(password='swordfish')",
        "api_key: swordfish",
        "\x1b[31mToken=swordfish\x1b[0m",
    ],
)
def test_redaction(text: str) -> None:
    clean = redact(text, ENVIRONMENT)
    assert "[redacted]" in clean
    for secret in ("hunter", "en<&>42", "en&lt;", "en%3C", "pw1234", "swordfish", "\x1b"):
        assert secret not in clean


def test_harmless_text_is_kept_and_cut() -> None:
    assert redact("no column 'amount' in https://example.com/a", ENVIRONMENT).endswith("example.com/a")
    assert len(redact("x" * 5_000, {})) == 2_000


def test_leaks_are_named_not_shown() -> None:
    assert leaked('{"x": "tok\\"en<&>42"}', ENVIRONMENT) == ["CRM_TOKEN"]
    assert leaked("nothing", ENVIRONMENT) == []
