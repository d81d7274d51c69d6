"""Additive headlines tie, jumps are called out, and no output is too large for a page."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from salesops_kit import mime
from salesops_kit.publishing import outputs
from salesops_kit.publishing.gates import additive_gate, jump_gate, notes, refused


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


def figure(value: float | None, prior: float | None = None, *, n: int = 20, **more: Any) -> dict[str, Any]:
    return {"id": "won", "value": value, "prior": prior, "kind": "additive", "n": n, "unit": "USD", **more}


@pytest.mark.parametrize(
    ("now", "before", "jumps"),
    [
        (figure(200.0, 100.0), None, False),
        (figure(200.1, 100.0), None, True),
        (figure(50.0, 100.0), None, False),
        (figure(49.9, 100.0), None, True),
        (figure(200.1, 100.0, n=19), None, False),
        (figure(0.0, n=0), figure(100.0, n=20), True),
        (figure(0.0, n=0), figure(100.0, n=19), False),
        (figure(300.0, 200.0), figure(100.0), False),
        (figure(None, 100.0), None, False),
        (figure(300.0), None, False),
        (figure(300.0, 0.0), None, False),
        (figure(-300.0, 100.0), None, False),
        (figure(float("nan"), 100.0), None, False),
    ],
)
def test_a_sum_jumps_by_a_factor_of_more_than_two(
    now: dict[str, Any], before: dict[str, Any] | None, jumps: bool
) -> None:
    """With twenty records in one of the quarters; the report's own prior goes before another report."""
    gate = jump_gate([now], {"won": before} if before else {})
    assert gate.status == ("noted" if jumps else "passed")


@pytest.mark.parametrize(
    ("low", "high", "jumps"),
    [(0.31, 0.4, True), (0.3, 0.4, False), (0.0, 0.19, True), (0.0, 0.2, False), (None, 0.1, False)],
)
def test_a_rate_jumps_when_the_intervals_do_not_overlap(
    low: float | None, high: float | None, jumps: bool
) -> None:
    now = figure(0.35, 0.25, kind="rate", unit="rate", low=low, high=high, label="Win rate")
    before = figure(0.25, kind="rate", unit="rate", low=0.2, high=0.3)
    gate = jump_gate([now], {"won": before})
    assert gate.status == ("noted" if jumps else "passed")
    if jumps:
        assert notes([gate]) == [
            "Win rate moved by more than chance explains: 35%, after 25% in the quarter before."
        ]
    assert jump_gate([now], {}).status == "passed", "a prior without its interval is no match"


def test_a_noted_jump_stops_a_report_only_where_the_plan_says_so() -> None:
    noted = jump_gate([figure(300.0, 100.0)], {})
    assert noted.detail == "won more than doubled: $300, after $100 in the quarter before."
    assert (refused(noted).status, refused(noted).detail) == ("failed", noted.detail)
    passed = jump_gate([figure(100.0, 100.0)], {})
    assert refused(passed) is passed
    assert notes([passed]) == []


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
        ({mime.HEADLINE: {"value": 1}}, "no id"),
        ({mime.HEADLINE: {"id": "a", "value": "1"}}, "no number"),
        ({mime.HEADLINE: {"id": "a", "value": True}}, "no number"),
        ({mime.TABLE: {"id": "a", "columns": [], "rows": [[1]]}}, "another width"),
        ({mime.TABLE: {"columns": [], "rows": []}}, "no id"),
    ],
)
def test_malformed_outputs(payload: dict[str, Any], what: str) -> None:
    assert what in outputs.malformed(notebook(payload))[0]


def test_two_headlines_of_one_name() -> None:
    payload = {mime.HEADLINE: {"id": "a", "value": None}}
    assert outputs.malformed(notebook(payload)) == []
    assert outputs.malformed(notebook(payload, payload)) == ["two headlines have the id 'a'"]
