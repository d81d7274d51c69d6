"""A foreign text is found in every kind of file and spelling, and nothing else is."""

from __future__ import annotations

import datetime as dt
import html
import json
from pathlib import Path

import markupsafe
import pytest

from salesops_kit.publishing import spreadsheets
from salesops_kit.publishing.isolation import Foreign, isolation_gate


def none_own(_text: str) -> bool:
    return False


def search(path: Path, *foreign: str, kind: str = "account name", ordinary: bytes = b"") -> str:
    return isolation_gate([path], Foreign({kind: foreign}, none_own, ordinary)).status


@pytest.mark.parametrize(
    ("text", "content", "found"),
    [
        ("acct-9001", "<td>acct-9001</td>", True),
        ("acct-9001", "https://crm.example.com/acct-9001/view", True),
        ("acct-9001", "acct-90012 and xacct-9001", False),
        ("acct-9001", "ACCT-9001", False),
        ("Ørsted & Søn", html.escape("by Ørsted & Søn."), True),
        ("Smith & Sons", html.escape("by Smith & Sons."), True),
        ("O'Brien & Søns", html.escape("by O'Brien & Søns."), True),
        ("O'Brien & Sons", str(markupsafe.escape("by O'Brien & Sons.")), True),
        ('Zvxq "Z" Inc', str(markupsafe.escape('by Zvxq "Z" Inc.')), True),
        ("O'Zvxq & Sons", html.escape("by O'Zvxq & Sons.", quote=False), True),
        ('ООО "Ромашка & Ко"', html.escape('для ООО "Ромашка & Ко"', quote=False), True),
        ('ООО "Ромашка & Ко"', json.dumps({"a": 'ООО "Ромашка & Ко"'}, ensure_ascii=False), True),
        ('ООО "Ромашка & Ко"', json.dumps(json.dumps({"a": 'ООО "Ромашка & Ко"'})), True),
        ('ООО "Ромашка & Ко"', '"ООО ""Ромашка & Ко""",1', True),
        ("😀 Zvxq 株式", json.dumps("by 😀 Zvxq 株式"), True),
        ("Zvxq Holding", json.dumps("deals:\nZvxq Holding\tx"), True),
        ("Zvxq Holding", json.dumps("\x1b[31mZvxq Holding\x1b[0m"), True),
        ("Zvxq Holding", "<text><tspan>Zvxq</tspan> <tspan x='3'>Holding</tspan></text>", True),
        ("Zvxq Holding", '<p title="by Zvxq Holding">x</p>', True),
        ('Sm"ith\tCo', json.dumps({"name": 'Sm"ith\tCo'}), True),
        ("Ørsted & Søn", json.dumps("Ørsted & Søn"), True),
        ("華為技術公司", "本季華為技術公司成交", True),
        ("Zvxq Holding", "Zvxq  Holding", True),
        ("Zvxq Holding", "Zvxq and a Holding", False),
        ("4217", "4217", False),
        ("123456789", "123456789", False),
        ("1234567890", "1234567890", True),
        ("ab12", "ab12", False),
        ("Pipeline", "Pipeline", False),
        ("Zvxqpipeline", "Zvxqpipeline", True),
    ],
)
def test_texts(tmp_path: Path, text: str, content: str, found: bool) -> None:
    path = tmp_path / "page.html"
    path.write_text(content, encoding="utf-8")
    assert search(path, text) == ("failed" if found else "passed")


def test_words_of_the_template_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("Zvxq Growth", encoding="utf-8")
    assert search(path, "Zvxq Growth") == "failed"
    assert search(path, "Zvxq Growth", ordinary=b"# How is Zvxq doing? Growth") == "passed"


def test_every_kind_of_file_is_searched_and_named_without_the_text(tmp_path: Path) -> None:
    table = {
        "id": "t", "title": "T", "rows": [["Zvxq Holding", 1]], "truncated": False, "as_of": "", "scope": "",
        "notes": [], "columns": [{"name": n, "label": n, "unit": None} for n in ("a", "b")],
    }  # fmt: skip
    (tmp_path / "tables").mkdir()
    now = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    (tmp_path / "tables.xlsx").write_bytes(spreadsheets.to_xlsx([table], [], [("a", "b")], created=now))
    (tmp_path / "tables" / "t.csv").write_bytes(spreadsheets.to_csv(table))
    (tmp_path / "notebook.ipynb").write_text(json.dumps({"x": "of rep-00007"}), encoding="utf-8")
    (tmp_path / "page.html").write_text("<p>nothing</p>", encoding="utf-8")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    foreign = {"account name": ["Zvxq Holding"], "owner id": ["rep-00007"]}
    gate = isolation_gate(files, Foreign(foreign, none_own))
    assert gate.status == "failed"
    assert gate.detail.removeprefix("texts of other teams stand in ").split("; ") == [
        "notebook.ipynb: owner id",
        "t.csv: account name",
        "tables.xlsx: account name",
    ]
    assert isolation_gate(files, Foreign(foreign, lambda text: True)).status == "passed"
    assert (
        isolation_gate(files, Foreign({"owner id": []}, none_own)).detail == "0 texts of other teams, 4 files"
    )


def test_a_large_report_is_searched_to_its_end(tmp_path: Path) -> None:
    """Half a megabyte of page and 500 texts."""
    line = "<tr><td>deal-{0}</td><td>Zvxq {0} Holding</td><td>{0}.25</td></tr>\n"
    content = "".join(line.format(number) for number in range(8_000))
    assert len(content) > 500_000
    path = tmp_path / "page.html"
    path.write_text(content)
    foreign = {"id": [f"opp-{n:06d}" for n in range(250)], "name": [f"Zvxq {n} Bros" for n in range(250)]}
    assert isolation_gate([path], Foreign(foreign, none_own)).status == "passed"
    path.write_text(content + "<p>Zvxq <b>249</b> Bros</p>")
    assert isolation_gate([path], Foreign(foreign, none_own)).status == "failed"
