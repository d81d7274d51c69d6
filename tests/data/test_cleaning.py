"""Data sets that others made: few columns, typed Parquet, other headers, unknown files, odd tables."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from salesops_kit.compute import Calculator
from salesops_kit.data import engine
from salesops_kit.data.dataset import import_export, open_rows, open_snapshot
from salesops_kit.errors import InputError

FEW = """\
opportunity_id,stage,amount,close_date,created_date
o1,Closed Won,100.00,2026-02-10,2026-01-05
o2,Closed Won,300.00,2026-03-20,2026-01-10
o3,Closed Lost,50.00,2026-03-01,2026-01-15
o4,Negotiation,80.00,2026-06-30,2026-02-01
o5,Discovery,,,2026-03-25
"""


def parquet(**columns: pa.Array) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def table(made: Any, name: str) -> pd.DataFrame:
    return Calculator(made.rows, made.rows.observed_until).table(name)


def test_a_folder_with_five_columns_gives_sensible_funnel_tables(desk: Any) -> None:
    made = desk.load(FEW)
    rate = table(made, "funnel.win_rate").iloc[0]
    assert (rate["won"], rate["lost"], rate["open"], rate["won_amount"]) == (2, 1, 2, 400.0)
    assert rate["rate"] == pytest.approx(2 / 3)
    assert made.snapshot.observed_until == dt.date(2026, 3, 25)
    stages = made.table("stages")
    assert stages["stage"].iloc[0] == "(open)"
    assert dict(zip(stages["stage"], stages["is_won"], strict=True))["Closed Won"]
    assert list(stages["stage"])[-2:] == ["Closed Lost", "Closed Won"]
    assert "inferred" in made.notes
    assert "no stage history" in made.notes
    assert made.exclusions() == []


def test_owner_and_is_won_are_used_where_they_are(desk: Any) -> None:
    frame = FEW.replace("created_date\n", "created_date,owner_id,is_won\n", 1)
    words = {"Closed Won": "Signed", "Closed Lost": "Gone"}
    for old, new in words.items():
        frame = frame.replace(old, new)
    ends = iter(["r1,true", "r1,1", ",FALSE", "r2,", "r2,"])
    lines = frame.splitlines()
    rows = "\n".join([lines[0], *(f"{line},{next(ends)}" for line in lines[1:])]) + "\n"
    made = desk.load(rows)
    rate = table(made, "funnel.win_rate").iloc[0]
    assert (rate["won"], rate["lost"], rate["open"]) == (2, 1, 2)
    assert made.found("kept") == [("opportunities.csv", 4, "owner_id", "a value", None)]


def test_is_won_alone_is_not_taken_for_a_loss_of_open_deals(desk: Any) -> None:
    made = desk.load(
        "opportunity_id,stage,is_won,created_date\na,Won,true,2026-01-01\nb,Talk,false,2026-01-01\n"
    )
    stages = made.table("stages").set_index("stage")
    assert not stages.loc["Talk", "is_closed"]
    assert stages.loc["Won", "is_won"]


def test_closed_stages_are_inferred_from_plain_names_only(desk: Any) -> None:
    won = ["6 - Closed Won", "CLOSEDWON", "赢单"]
    lost = ["Closed-Lost", "Deal lost", "실주"]
    neither = ["Closed", "Won over by demo", "Lost contact for a week"]
    rows = "".join(f"d{i},{name},2026-01-01\n" for i, name in enumerate(won + lost + neither))
    stages = desk.load("opportunity_id,stage,created_date\n" + rows).table("stages").set_index("stage")
    assert set(stages.index[stages["is_won"]]) == set(won)
    assert set(stages.index[stages["is_closed"]]) == set(won + lost)


def test_typed_parquet_reads_as_its_text_would(desk: Any) -> None:
    aware = dt.datetime(2026, 3, 1, 4, 30, tzinfo=dt.UTC)
    moment = aware.replace(tzinfo=None)
    deals = parquet(
        opportunity_id=pa.array([1, 2, 9007199254740993], pa.int64()),
        account_id=pa.array([7.0, None, 8.0], pa.float64()),
        stage=pa.array(["Won", "Open", "Open"]).dictionary_encode(),
        amount=pa.array([Decimal("10.25"), None, Decimal("-3.10")], pa.decimal128(12, 2)),
        acv=pa.array([1.5, float("nan"), 1e3], pa.float64()),
        close_date=pa.array([dt.date(2026, 2, 1), None, dt.date(9999, 12, 31)], pa.date32()),
        created_at=pa.array([aware, aware, None], pa.timestamp("us", tz="Europe/Paris")),
        last_activity_at=pa.array([moment, None, moment], pa.timestamp("ns")),
        is_won=pa.array([True, False, None], pa.bool_()),
        term_months=pa.array([12, None, 24], pa.int16()),
        Segment=pa.array(["a", "b", None]).dictionary_encode(),
        score=pa.array([1, 2, 3], pa.int8()),
        source_row=pa.array([9, 9, 9], pa.int64()),
    )
    made = desk.load_files({"opportunities.parquet": deals, "dataset.yml": "zone: America/New_York\n"})
    assert made.column("opportunity_id") == ["1"]
    assert [(row["source_row"], row["column_name"], row["got"]) for row in made.exclusions("set aside")] == [
        (3, "acv", "nan"), (4, "close_date", "9999-12-31"),
    ]  # fmt: skip
    row = made.rows.table("opportunities").to_pyarrow().to_pylist()[0]
    assert (row["account_id"], row["amount"], row["acv"]) == ("7", Decimal("10.25"), Decimal("1.5"))
    assert (row["created_date"], row["is_won"], row["term_months"]) == (dt.date(2026, 2, 28), True, 12)
    assert row["created_at"].strftime("%d %H:%M") == "01 04:30"
    assert row["last_activity_at"].strftime("%d %H:%M") == "01 09:30"
    assert (row["Segment"], row["score"]) == ("a", "1")


def test_typed_columns_do_not_follow_formats_declared_for_text(desk: Any) -> None:
    deals = parquet(
        opportunity_id=pa.array(["a"]), stage=pa.array(["Won"]), amount=pa.array([1234.5]),
        close_date=pa.array([dt.date(2026, 2, 1)]), created_date=pa.array(["28.01.2026"]),
        acv=pa.array(["1.234,5"]),
    )  # fmt: skip
    mapping = (
        "files: {'*': {decimal: ',', thousands: '.', dates: '%d.%m.%Y'}}\n"
        "tables: {opportunities: {from: opportunities.parquet}}\n"
    )
    row = desk.load_files({"opportunities.parquet": deals}, mapping=mapping).rows.table("opportunities")
    row = row.to_pyarrow().to_pylist()[0]
    assert (row["amount"], row["acv"]) == (Decimal("1234.5"), Decimal("1234.5"))
    assert (row["close_date"], row["created_date"]) == (dt.date(2026, 2, 1), dt.date(2026, 1, 28))


def test_a_parquet_file_cut_short_is_refused(desk: Any) -> None:
    def cut(path: Path) -> None:
        parquet(opportunity_id=pa.array(["a"]), stage=pa.array(["b"]))(path)
        path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(InputError, match=r"opportunities\.parquet: not a readable Parquet file"):
        desk.load_files({"opportunities.parquet": cut})


def test_unknown_files_are_left_out_with_a_note(desk: Any) -> None:
    export = {"opportunities.csv": FEW, "budget.csv": b"\xff\x00broken", "notes.txt": "x", ".hidden.csv": "x"}
    made = desk.load_files(export)
    assert "no table of the kit has such a name: budget.csv." in made.notes
    assert "hidden" not in made.notes
    assert "budget" not in made.rows.tables


def test_a_folder_without_deals_names_what_it_holds(desk: Any) -> None:
    with pytest.raises(InputError) as caught:
        desk.load_files({"Opportunities.csv": FEW})
    (problem,) = caught.value.problems
    assert (problem.expected, problem.got) == (
        "opportunities.csv or opportunities.parquet", "Opportunities.csv",
    )  # fmt: skip


def test_headers_in_other_letters_get_the_nearest_name(desk: Any) -> None:
    problems = desk.refused(
        "Opportunity ID,STAGE,Close-Date,amount\na,Won,2026-01-01,1\n", reps="owner_id,Manager Id\nr,m\n"
    )
    assert [(p.file, p.row, p.column, p.next_step.split("?")[0]) for p in problems] == [
        ("opportunities.csv", 1, "Opportunity ID", "Did you mean opportunity_id"),
        ("opportunities.csv", 1, "STAGE", "Did you mean stage"),
        ("opportunities.csv", 1, "Close-Date", "Did you mean close_date"),
        ("reps.csv", 1, "Manager Id", "Did you mean manager_id"),
    ]


def test_a_required_column_that_is_missing_gets_the_nearest_name(desk: Any) -> None:
    problem = desk.refused_once("opportunity,stage\na,Won\n")
    assert (problem.column, problem.next_step) == ("opportunity_id", "Did you mean opportunity?")


def test_columns_beyond_the_contract_pass_through(desk: Any) -> None:
    made = desk.load("opportunity_id,stage,Vertical,note\nb,Won, Retail ,\na,Won,,x\n")
    assert made.column("Vertical") == [None, "Retail"]
    assert made.column("note") == ["x", None]


def test_history_of_unknown_deals_is_set_aside_and_other_orphans_are_kept(desk: Any) -> None:
    made = desk.load(
        FEW,
        opportunity_history="opportunity_id,changed_at,stage\no1,2026-01-05,Discovery\nzz,2026-01-05,Discovery\n",
        splits="opportunity_id,owner_id,share\nzz,r1,0.5\n",
    )
    assert [(row["action"], row["table_name"], row["got"]) for row in made.exclusions()] == [
        ("set aside", "opportunity_history", "zz"), ("kept", "splits", "zz"),
    ]  # fmt: skip


def test_an_interval_that_ends_before_it_begins_is_flagged(desk: Any) -> None:
    made = desk.load(
        FEW, team_memberships="owner_id,team,valid_from_date,valid_to_date\nr1,A,2026-01-02,2026-01-01\n"
    )
    assert [row["problem"] for row in made.exclusions()] == ["it ends before it begins (valid_from_date)"]


@pytest.mark.parametrize("has_history", [True, False])
def test_a_deal_without_a_currency_is_found_whatever_the_history_says(
    desk: Any, *, has_history: bool
) -> None:
    history = "opportunity_id,changed_at,stage,amount,currency\na,2026-01-05T10:00:00Z,Talk,5.00,USD\n"
    made = desk.load(
        "opportunity_id,stage,amount,currency,created_date\n"
        "a,Talk,5.00,,2026-01-05\nb,Talk,7.00,USD,2026-01-05\nc,Talk,,,2026-01-05\n",
        **({"opportunity_history": history} if has_history else {}),
    )
    found = table(made, "quality.checks").set_index("check_id")
    assert found.loc["missing-currency", ["rows", "status", "judged"]].tolist() == [1, "raised", 3]
    assert table(made, "quality.fix_list").query("check_id == 'missing-currency'")["record_id"].tolist() == [
        "a"
    ]


MEMBERS = "owner_id,team\nr1,Nord\nr2,West\n"
PLAN = "team,period_start_date,amount\nNrod,2026-01-01,10\nWest,2026-01-01,20\nDach,2026-01-01,5\n"
QUOTAS = "owner_id,team,period_start_date,period_end_date,quota\n"


def test_a_team_of_the_plan_that_no_team_is_called_is_flagged_with_the_nearest(desk: Any) -> None:
    files = {"plan": PLAN, "quotas": f"{QUOTAS}r1,,2026-01-01,2026-04-01,7\n,west ,2026-01-01,2026-04-01,9\n"}
    made = desk.load(FEW, team_memberships=MEMBERS, teams="team,parent_team\nWest,Dach\n", **files)
    flagged = [row for row in made.found("kept") if row[2] == "team"]
    assert flagged == [
        ("plan.csv", 2, "team", "Nord", "Nrod"),
        ("quotas.csv", 3, "team", "West", "west "),
    ]
    raised = table(made, "quality.raised").set_index("check_id")
    assert raised.loc["unknown-team", ["table", "rows"]].tolist() == ["plan", 1]
    booked = table(made, "funnel.bookings")
    # All that is planned counts, and the notes name what may be too much.
    assert booked["target"].iloc[-1] == 10 + 20 + 7
    assert [note.split(" ")[0] for note in booked.attrs["notes"]] == ["Nrod", "Nord"]
    # Where no team is known, no name is wrong.
    assert [row for row in desk.load(FEW, plan=PLAN).found("kept") if row[2] == "team"] == []


def test_a_plan_or_quota_that_cannot_be_read_is_told_beside_every_target(desk: Any) -> None:
    made = desk.load(
        FEW,
        plan=PLAN.replace(",10", ',"640,000.00"').replace(",5", ",five"),
        quotas=f"{QUOTAS}r1,,2026-01-01,2026-04-01,\n",
        team_memberships=MEMBERS,
        fx_rates="base,quote,month,kind,rate\nEUR,USD,2026-01-01,plan,0\n",
    )
    assert "2 rows of plan are set aside, so that targets lack them; see salesops check." in made.notes
    assert "1 row of quotas is set aside, so that targets lack it; see salesops check." in made.notes
    raised = table(made, "quality.raised").set_index("check_id")
    assert raised.loc[["unreadable-plan", "unreadable-quota"], "rows"].tolist() == [2, 1]
    checks = table(made, "quality.checks").set_index("check_id")
    assert checks.loc["unreadable-elsewhere", "rows"] == 1
    whole = desk.load(FEW, plan=PLAN)
    assert "targets" not in whole.notes


STAGE_LIST = "stage,position,is_closed,is_won\nTalk,1,false,false\nOver,2,true,true\n"


@pytest.mark.parametrize(
    ("stages", "more"),
    [
        ({"stages": STAGE_LIST}, ["Over"]),
        ({"settings": "stages: [{stage: Talk}, {stage: Over, is_closed: true, is_won: true}]\n"}, ["Over"]),
        ({}, []),
    ],
)
def test_only_what_is_closed_can_be_closed_before_it_was_created(
    desk: Any, stages: dict[str, str], more: list[str]
) -> None:
    """An open deal whose expected close date lies before its creation is overdue, which is another check."""
    rows = [f"{n},{stage},1.00,2026-03-02,2026-03-01" for n, stage in enumerate(["Talk", "Won", "Over", ""])]
    made = desk.load(desk.deals(*rows), **stages)
    flagged = [row["key"] for row in made.exclusions("kept") if row["column_name"] == "close_date"]
    assert flagged == ["1", *("2" for _stage in more)]


def test_set_aside_money_is_listed_with_its_deal(desk: Any) -> None:
    made = desk.load("opportunity_id,owner_id,stage,amount,close_date\na,r1,Won,70,2026-02-30\n")
    (row,) = made.exclusions("set aside")
    assert (row["key"], row["opportunity_id"], row["owner_id"], row["amount"]) == (
        "a",
        "a",
        "r1",
        Decimal(70),
    )


def test_a_folder_opens_as_it_is_and_is_found_again(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALESOPS_PROJECT", str(tmp_path / "project"))
    (tmp_path / "project").mkdir()
    export = desk.write({"opportunities.csv": FEW, "other.csv": "a\n1\n"})
    first, second = open_snapshot(str(export)), open_snapshot(str(export))
    assert (first.digest, first.seq) == (second.digest, second.seq)
    imported = desk.load_files({"opportunities.csv": FEW})
    assert {n: t.sha256 for n, t in imported.snapshot.tables.items()} == {
        n: t.sha256 for n, t in first.tables.items()
    }
    assert (
        engine.count(
            engine.connect(tmp_path), f"SELECT count(*) FROM {engine.parquet(first.paths['stages'])}"
        )
        == 5
    )


def test_an_import_never_writes_over_other_files(desk: Any, tmp_path: Path) -> None:
    export = desk.write({"opportunities.csv": FEW})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="holds other files"):
        import_export([export], "", tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["keep.txt"]
    import_export([export], "", tmp_path / "out")
    broken = desk.write({"opportunities.csv": ""})
    with pytest.raises(InputError):
        import_export([broken], "", tmp_path / "out")
    assert len(engine.collect(open_rows(open_snapshot(str(tmp_path / "out"))).table("opportunities"))) == 5


def test_the_command_line_refuses_with_exit_code_3_and_all_problems(desk: Any, tmp_path: Path) -> None:
    export = desk.write(
        {"opportunities.csv": "opportunity_id,stage,close_date\na,Won,01/02/2026\nb,Won,1/2/2026\n"}
    )
    mapping = tmp_path / "m.yml"
    mapping.write_text("tables: {opportunities: {from: opportunities.csv}}\n", encoding="utf-8")
    command = [sys.executable, "-c", "from salesops_kit.cli import main; main()", "import", str(export)]
    done = subprocess.run(
        [*command, "--mapping", str(mapping), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "opportunities.csv, row 2, column close_date" in done.stderr
    assert "(2 rows)" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (0, []),
        (1, ["1 record breaks the data's contract and is set aside; see salesops check."]),
        (2, ["2 records break the data's contract and are set aside; see salesops check."]),
    ],
)
def test_records_that_are_set_aside_are_counted_in_words(
    broken: int, said: list[str], tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    days = ["2026-02-30"] * broken + ["2026-02-01"]
    deals = "".join(f"D{number},2026-01-05,{day},Open,1\n" for number, day in enumerate(days))
    head = "opportunity_id,created_date,close_date,stage,amount\n"
    (raw / "opportunities.csv").write_text(head + deals, encoding="utf-8")
    (raw / "dataset.yml").write_text("name: few\nobserved_until: 2026-03-31\n", encoding="utf-8")
    import_export([raw], "", tmp_path / "out")
    assert open_rows(open_snapshot(str(tmp_path / "out"))).told_of_set_aside() == said
