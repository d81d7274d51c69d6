"""Additive headlines tie, and no output is too large for a page."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from salesops_kit.publishing import outputs
from salesops_kit.publishing.gates import additive_gate


def head(value: float | None, name: str = "won", kind: str = "additive") -> dict[str, Any]:
    return {"id": name, "value": value, "kind": kind}


@pytest.mark.parametrize(
    ("company", "parts", "status"),
    [
        (3.0, [1.0, 2.0], "passed"),
        (3.0, [1.0, 1.994], "failed"),
        (3.0, [1.0, 1.996], "passed"),
        (3e9, [1e9, 2e9 + 2_000], "passed"),
        (3e9, [1e9, 2e9 + 4_000], "failed"),
        (None, [None, None], "passed"),
        (None, [0.0, None], "passed"),
        (None, [1.0, None], "failed"),
        (1.0, [1.0, None], "passed"),
        (0.0, [1.0, -1.0], "passed"),
    ],
)
def test_sums(company: float | None, parts: list[float | None], status: str) -> None:
    teams = {f"t{n}": [head(part)] for n, part in enumerate(parts)}
    assert additive_gate([head(company)], teams).status == status


def test_only_additive_headlines_are_added() -> None:
    company = [head(0.5, "rate", "rate"), head(2.0)]
    teams = {"a": [head(0.9, "rate", "rate"), head(2.0)]}
    assert additive_gate(company, teams).status == "passed"


def test_a_headline_that_is_missing_somewhere_fails() -> None:
    gate = additive_gate([head(1.0)], {"a": [head(1.0)], "b": []})
    assert (gate.status, gate.detail) == ("failed", "won: no such headline for b")
    assert "the company" in additive_gate([], {"a": [head(1.0)]}).detail


def notebook(*payloads: dict[str, Any]) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("display_data", data=payload) for payload in payloads]
    made.cells = [cell]
    return made


def test_thirty_megabytes_are_cut_with_a_note() -> None:
    made = notebook({"text/plain": "x" * 30_000_000}, {"text/html": "<p>" * 10_000_000, "text/plain": "kept"})
    made.cells[0].outputs.append(nbformat.v4.new_output("stream", name="stdout", text="y" * 30_000_000))
    made.cells[0].outputs.append(nbformat.v4.new_output("display_data", data={"text/plain": "small"}))
    cut, count = outputs.trim(made)
    assert count == 3
    assert len(nbformat.writes(cut)) < 500_000
    plain, html, small, stream = (
        cut.cells[0].outputs[0].data["text/plain"],
        cut.cells[0].outputs[1].data,
        cut.cells[0].outputs[3].data["text/plain"],
        cut.cells[0].outputs[2].text,
    )
    assert "30,000,000 characters" in plain
    assert "30,000,000 characters" in stream
    assert list(html) == ["text/plain"]
    assert html["text/plain"].startswith("kept")
    assert small == "small"
    again = notebook({"text/plain": "small"})
    assert outputs.trim(again)[0] is again


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({outputs.HEADLINE: {"value": 1}}, "no id"),
        ({outputs.HEADLINE: {"id": "a", "value": "1"}}, "no number"),
        ({outputs.HEADLINE: {"id": "a", "value": True}}, "no number"),
        ({outputs.TABLE: {"id": "a", "columns": [], "rows": [[1]]}}, "another width"),
        ({outputs.TABLE: {"columns": [], "rows": []}}, "no id"),
    ],
)
def test_malformed_outputs(payload: dict[str, Any], what: str) -> None:
    assert what in outputs.malformed(notebook(payload))[0]


def test_two_headlines_of_one_name() -> None:
    payload = {outputs.HEADLINE: {"id": "a", "value": None}}
    assert outputs.malformed(notebook(payload)) == []
    assert outputs.malformed(notebook(payload, payload)) == ["two headlines have the id 'a'"]
