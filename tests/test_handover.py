"""Deals that change hands and stage on one day, and money in currencies of every size."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.compute import Calculator
from salesops_kit.data import scope, snapshot
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot, team_tree

SETTINGS = """\
observed_until: 2026-01-31
stages: [{stage: One}, {stage: Two}, {stage: Won, is_closed: true, is_won: true}]
"""
MEMBERS = "owner_id,team,valid_from_date,valid_to_date\nann,A,,\nbob,B,,\n"


def company(folder: Path, history: str, deals: str, **more: str) -> Rows:
    raw = folder / "raw"
    raw.mkdir()
    (raw / "dataset.yml").write_text(SETTINGS, encoding="utf-8")
    (raw / "team_memberships.csv").write_text(MEMBERS, encoding="utf-8")
    (raw / "opportunities.csv").write_text(deals, encoding="utf-8")
    if history:
        (raw / "opportunity_history.csv").write_text(history, encoding="utf-8")
    for name, text in more.items():
        (raw / f"{name}.csv").write_text(text, encoding="utf-8")
    import_export([raw], "", folder / "canonical")
    return open_rows(open_snapshot(str(folder / "canonical")))


def handed_over(moving: int, staying: int, *, deleted: bool = False) -> tuple[str, str]:
    """``moving`` deals go from ann to bob on day 5 and on to stage Two an hour later; ``staying`` are
    bob's and stay in One."""
    history = "opportunity_id,changed_at,stage,amount,owner_id,is_deleted\n"
    deals = "opportunity_id,stage,amount,owner_id,created_date,is_deleted\n"
    for n in range(moving):
        history += f"m{n},2026-01-01T09:00:00Z,One,10,ann,false\n"
        history += f"m{n},2026-01-06T09:00:00Z,One,10,bob,false\n"
        history += f"m{n},2026-01-06T10:00:00Z,Two,10,bob,{str(deleted).lower()}\n"
        deals += f"m{n},Two,10,bob,2026-01-01,{str(deleted).lower()}\n"
    for n in range(staying):
        history += f"s{n},2026-01-01T09:00:00Z,One,10,bob,false\n"
        deals += f"s{n},One,10,bob,2026-01-01,false\n"
    return history, deals


@pytest.mark.parametrize(("moving", "staying"), [(3, 1), (3, 5)])
@pytest.mark.parametrize("team", ["company", "B"])
def test_a_share_stays_a_share_when_deals_are_handed_over_and_move_on_one_day(
    tmp_path: Path, moving: int, staying: int, team: str
) -> None:
    rows = company(tmp_path, *handed_over(moving, staying))
    members = team_tree(rows).members(team)
    cut = rows if members is None else scope.cut(rows, members)
    stage = Calculator(cut, rows.observed_until).table("funnel.conversion").iloc[0]
    assert stage["at_risk"] == moving + staying
    assert stage["next_rate"] == pytest.approx(moving / (moving + staying))
    assert stage["still_open_rate"] == pytest.approx(staying / (moving + staying))
    assert 0 <= stage["next_low"] <= stage["next_rate"] <= stage["next_high"] <= 1


def test_a_deletion_is_no_passage_whatever_stage_it_names(tmp_path: Path) -> None:
    rows = company(tmp_path, *handed_over(3, 2, deleted=True))
    stage = Calculator(rows, rows.observed_until).table("funnel.conversion").iloc[0]
    assert (stage["stage"], stage["next"], stage["next_rate"]) == ("One", 0, 0)


@pytest.mark.parametrize(
    ("base", "quote", "rate", "amount", "expected"),
    [
        ("USD", "VND", "27000", "150000000000", 5555555.5556),
        ("USD", "VND", "27000", "1000000000", 37037.0370),
        ("JPY", "USD", "0.0069", "1234567", 8518.5123),
        ("KWD", "USD", "3.25", "0.0010", 0.0033),
    ],
)
def test_amounts_convert_at_rates_of_every_size(
    tmp_path: Path, base: str, quote: str, rate: str, amount: str, expected: float
) -> None:
    foreign = quote if base == "USD" else base
    deals = (
        "opportunity_id,stage,amount,currency,created_date,close_date\n"
        f"a,Won,{amount},{foreign},2026-01-02,2026-01-20\nb,Won,0,USD,2026-01-02,2026-01-20\n"
    )
    rates = f"base,quote,month,kind,rate\n{base},{quote},2026-01-01,plan,{rate}\n"
    rows = company(tmp_path, "", deals, fx_rates=rates)
    table = Calculator(rows, rows.observed_until).table("funnel.win_rate")
    assert table.loc[0, "won_amount"] == pytest.approx(expected, abs=5e-5)


def test_an_import_replaces_another_whole(tmp_path: Path) -> None:
    first = company(tmp_path, *handed_over(2, 2))
    import_export([tmp_path / "raw"], "", tmp_path / "canonical")
    again = open_rows(open_snapshot(str(tmp_path / "canonical")))
    assert again.digest == first.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canonical", "raw"]


def test_states_derived_in_batches_are_those_derived_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = company(tmp_path, *handed_over(9, 7))
    once = rows.table("opportunity_states").to_pyarrow()
    monkeypatch.setattr(snapshot, "BATCH_ROWS", 5)
    import_export([tmp_path / "raw"], "", tmp_path / "batches")
    batches = open_rows(open_snapshot(str(tmp_path / "batches"))).table("opportunity_states").to_pyarrow()
    assert once.num_rows == 9 * 3 + 7
    assert batches.equals(once)
