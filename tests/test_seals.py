"""Sealing from the terminal: put down before the quarter ends, scored afterwards, refused when changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from salesops_kit import cli
from salesops_kit.data.sample import write_sample
from salesops_kit.data.sealing import FOLDER
from salesops_kit.project import ROOT_VARIABLE


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Salesops = Callable[..., Answer]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seals")
    write_sample(root / "data" / "little", opportunities=250, seed=7)
    return root


@pytest.fixture
def salesops(sample: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Salesops:
    monkeypatch.setenv(ROOT_VARIABLE, str(sample))

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["salesops", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return Answer(int(stopped.value.code or 0), captured.out, captured.err)

    return run


def shown(salesops: Salesops, *more: str) -> list[dict[str, object]]:
    result = salesops("show", "forecast.scoreboard", "-p", "data", "little", *more, "--format", "json")
    assert result.code == 0, result.err
    return list(json.loads(result.out))


def test_what_is_sealed_is_scored_and_what_is_changed_is_refused(salesops: Salesops, sample: Path) -> None:
    assert shown(salesops) == []
    sealed = salesops("seal", "-p", "data", "little", "-p", "quarter", "2027-Q2", "--as-of", "2026-06-05")
    assert sealed.code == 0, sealed.err
    assert "of 2027-Q2 as of 2026-06-05 (seal 1," in sealed.out
    rows = shown(salesops)
    assert {row["caller"] for row in rows} == {"rep", "manager", "executive", "model"}
    assert all(row["actual"] is not None and row["is_backdated"] for row in rows)
    team = shown(salesops, "-p", "team", "US East")
    assert "executive" not in {row["caller"] for row in team}
    assert {row["call"] for row in team}.isdisjoint({row["call"] for row in rows})
    # As of a day before it was sealed it is not known.
    assert shown(salesops, "-p", "as_of", "2026-06-01") == []
    (file,) = (sample / "data" / "archive" / "forecasts").rglob(f"{FOLDER}/000001.json")
    kept = file.read_text(encoding="utf-8")
    file.write_text(kept.replace('"caller": "rep"', '"caller": "Rep"', 1), encoding="utf-8")
    refused = salesops("show", "forecast.scoreboard", "-p", "data", "little")
    assert refused.code == cli.REFUSED
    assert "000001.json: the sealed forecast was changed" in refused.err
    assert salesops("show", "funnel.bookings", "-p", "data", "little").code == 0
    file.write_text(kept, encoding="utf-8")
    assert len(shown(salesops)) == len(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "quarter", "2027-Q3"), "2027-Q3 is over"),
        (("-p", "qarter", "2027-Q3"), "Did you mean quarter"),
        (("--as-of", "soon"), "not a date"),
    ],
)
def test_what_cannot_be_sealed_is_refused(
    salesops: Salesops, arguments: tuple[str, ...], message: str
) -> None:
    result = salesops("seal", "-p", "data", "little", *arguments)
    assert result.code == cli.REFUSED
    assert message in result.err
