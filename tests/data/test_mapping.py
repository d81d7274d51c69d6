"""Mappings: every mistake at once with its line, hostile YAML refused, each rule does what it says."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.data.dataset import find_mapping
from salesops_kit.data.mapping import read_mapping, read_yaml
from salesops_kit.errors import InputError

BAD = """\
settings:
  zone: Europe/Pari
tables:
  opportunites:
    from: x.csv
  opportunities:
    form: opportunities.csv
    columns:
      amont: Amount
      stage: {colum: Stage}
      amount: {column: A, value: B}
      close_date: {column: C, lookup: {file: f.csv, kee: k, value: v}}
      acv: {first: [{column: A, scale: 2}]}
  accounts:
    - from: a.csv
      distinct: maybe
    - from: b.csv
      keep: some
files:
  '*': {encodng: utf-8}
  a.csv: {dates: YYYY-MM-DD, zone: Europe/Pari, delimiter: ab}
control:
  opportunities: {rows: -1}
opn_amount: list
"""


def mapping_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "m.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_bad_mapping_gives_all_its_problems_with_line_key_and_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_mapping(mapping_file(tmp_path, BAD))
    found = {(p.row, p.column): f"{p.what} {p.next_step}" for p in caught.value.problems}
    above = "tables.opportunities"
    expected = {
        (2, "settings.zone"): "Europe/Paris",
        (4, "tables"): "Did you mean opportunities",
        (6, f"{above}.from"): "key 'from' is missing",
        (7, f"{above}.form"): "Did you mean from?",
        (9, f"{above}.columns"): "Did you mean amount",
        (10, f"{above}.columns.stage.colum"): "Did you mean column?",
        (11, f"{above}.columns.amount"): "exactly one of column, value and first",
        (12, f"{above}.columns.close_date.lookup.kee"): "Did you mean key",
        (12, f"{above}.columns.close_date.lookup.key"): "key 'key' is missing",
        (13, f"{above}.columns.acv"): "stand beside first",
        (16, "tables.accounts.0.distinct"): "boolean",
        (18, "tables.accounts.1.keep"): "'all' or 'none'",
        (20, "files.*.encodng"): "Did you mean encoding?",
        (21, "files.a.csv.dates"): "formats such as %d.%m.%Y",
        (21, "files.a.csv.zone"): "Did you mean Europe/Paris",
        (21, "files.a.csv.delimiter"): "at most 1 character",
        (23, "control.opportunities.rows"): "greater than or equal to 0",
        (24, "opn_amount"): "Did you mean open_amount?",
    }
    for place, words in expected.items():
        assert words in found.get(place, ""), place
    assert len(found) == len(expected) == len(caught.value.problems)
    assert {p.file for p in caught.value.problems} == {"m.yml"}
    assert [p.row for p in caught.value.problems] == sorted(p.row or 0 for p in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ("a: &x [1]\nb: *x\n", 1, "anchors, aliases and tags"),
        ("a: 1\nb: !!python/object/apply:os.system ['touch /tmp/x']\n", 2, "anchors, aliases and tags"),
        ("a: &a [l]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", 1, "anchors, aliases and tags"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice"),
        ("a: {b: 1, b: 2}\n", 1, "'b' is given twice"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("- a\n- b\n", 1, "name: value"),
        ("? [a, b]\n: 1\n", 1, "a name must be text"),
        ("a: " + "[" * 900_000, 1, "nested deeper than 20"),
        (b"a: \xff\xfe\n", None, "not YAML"),
        ("a: x\n---\nb: y\n", 2, "not YAML"),
        ("a" * 1_000_001, None, "larger than 1 MB"),
    ],
    ids=[
        "alias",
        "tag",
        "bomb",
        "twice",
        "twice-inline",
        "open",
        "list",
        "key",
        "deep",
        "bytes",
        "two",
        "size",
    ],
)
def test_69_hostile_or_broken_yaml_is_refused(tmp_path: Path, text: Any, row: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_yaml(mapping_file(tmp_path, text))
    (problem,) = caught.value.problems
    assert (problem.file, problem.row) == ("m.yml", row)


def test_scalars_stay_as_they_are_written(tmp_path: Path) -> None:
    text = "a: NO\nb: 007\nc: 1e3\nd: 2026-01-01\ne: ~\nf: [on, 1_000]\n"
    assert read_yaml(mapping_file(tmp_path, text)) == {
        "a": "NO", "b": "007", "c": "1e3", "d": "2026-01-01", "e": "~", "f": ["on", "1_000"],
    }  # fmt: skip


def test_an_unknown_mapping_gets_the_nearest_names() -> None:
    with pytest.raises(InputError, match="Did you mean maven"):
        find_mapping("mavn")


RULES = """\
settings: {zone: Asia/Shanghai, stages: [{stage: Open}, {stage: Won, is_closed: true, is_won: true}]}
files:
  '*': {null_values: ['-']}
  deals.csv: {delimiter: ';', decimal: ',', thousands: '.'}
tables:
  opportunities:
    - from: deals.csv
      where: {Kind: [Deal, Renewal]}
      keep: [Region]
      columns:
        opportunity_id: Id
        stage: {column: State, recode: {W: Won, O: Open}}
        amount: {first: [{column: Final, null_when: ['0']}, List], scale: '0.5', default: '2'}
        owner_id: {column: Owner, lookup: {file: people.csv, key: Name, value: Id}}
        is_won: {column: State, true_when: [W]}
        created_date: {column: Made, dates: ['%d.%m.%Y', '%Y%m%d']}
        currency: {value: CNY}
        probability: {column: Chance, scale: '0.01'}
    - {from: more.csv, optional: true}
  reps: {from: people.csv, columns: {owner_id: Id, name: Name}}
  teams: {from: people.csv, columns: {team: Team}, keep: none, distinct: true}
  leads: {from: leads.csv, optional: true}
"""
DEALS = """\
Id;Kind;State;Final;List;Owner;Made;Chance;Region;Amount
1;Deal ;W;1.000,50;9;Ann;31.01.2026;50;North;x
2;Renewal;O ;0;2.000,10;Bob;20260131;7,5;-;x
3;Deal;O;-;-;Nobody;01.02.2026;;South;x
4;Task;O;5;5;Ann;01.02.2026;;South;x
"""
PEOPLE = "Id,Name,Team\nr1,Ann,A\nr2,Bob,A\nr3,Cyd,B\n"


def test_every_rule_does_what_it_says(desk: Any) -> None:
    settings = RULES.replace("zone: Asia/Shanghai", "zone: Asia/Shanghai, base_currency: CNY")
    made = desk.load_files({"deals.csv": DEALS, "people.csv": PEOPLE}, mapping=settings)
    row = {name: made.column(name) for name in made.rows.table("opportunities").columns}
    assert row["opportunity_id"] == ["1", "2", "3"]
    assert row["stage"] == ["Won", "Open", "Open"]
    assert row["amount"] == [Decimal("500.25"), Decimal("1000.05"), Decimal(1)]
    assert row["owner_id"] == ["r1", "r2", None]
    assert row["is_won"] == [True, False, False]
    assert row["created_date"] == [dt.date(2026, 1, 31), dt.date(2026, 1, 31), dt.date(2026, 2, 1)]
    assert row["currency"] == ["CNY"] * 3
    assert row["probability"] == [0.5, 0.075, None]
    assert row["Region"] == ["North", None, "South"]
    assert "Amount" not in row
    assert made.column("team", "teams") == ["A", "B"]
    assert "leads" not in made.rows.tables


def test_several_files_fill_one_table(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities:\n    - {from: a.csv, columns: {opportunity_id: Id, stage: S}}\n"
        "    - {from: b.csv, columns: {opportunity_id: Key, stage: S}}\n"
    )
    made = desk.load_files(
        {"a.csv": "Id,S,Region\n1,Won,N\n", "b.csv": "Key,S,region,Type\n2,Won,S,t\n1,Lost,E,t\n"},
        mapping=mapping,
    )
    assert made.column("opportunity_id") == ["1", "2"]
    assert made.column("Region") == ["N", "S"]
    assert made.column("Type (source)") == [None, "t"]
    assert made.column("type") == [None, None]
    assert made.found("set aside") == [("b.csv", 3, "opportunity_id", "a key that occurs once", "1")]


def test_columns_that_the_files_lack_are_all_named_with_the_nearest(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities:\n    from: opportunities.csv\n    keep: [Regon]\n    where: {Kind: [x]}\n"
        "    columns:\n      opportunity_id: Idd\n"
        "      stage: {column: Stage, lookup: {file: s.csv, key: k, value: v}}\n"
        "  reps: {from: people.csv}\n"
    )
    problems = desk.refused(
        "Id,Stage,Region\n1,2,3\n", mapping=mapping, s="key,value\n1,2\n", people="Name\nAnn\n"
    )
    assert [(p.file, p.row, p.column) for p in problems] == [
        ("opportunities.csv", 1, "Idd"), ("opportunities.csv", 1, "Kind"), ("opportunities.csv", 1, "Regon"),
        ("s.csv", 1, "k"), ("s.csv", 1, "v"), ("people.csv", 1, "Name"), ("people.csv", 1, "owner_id"),
    ]  # fmt: skip
    assert [p.next_step for p in problems][0:3:2] == ["Did you mean Id?", "Did you mean Region?"]


def test_files_that_the_export_lacks_are_named(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities:\n    from: deal.csv\n    columns:\n"
        "      amount: {column: a, lookup: {file: price.csv, key: k, value: v}}\n"
    )
    with pytest.raises(InputError) as caught:
        desk.load_files({"deals.csv": "a\n1\n"}, mapping=mapping)
    problems = caught.value.problems
    assert [p.what for p in problems] == [
        "the export holds no file 'deal.csv'", "the export holds no file 'price.csv'",
    ]  # fmt: skip
    assert problems[0].next_step == "Did you mean deals.csv?"


def test_controls_of_unknown_tables_and_columns_are_refused(desk: Any) -> None:
    mapping = (
        "tables: {opportunities: {from: opportunities.csv}}\n"
        "control: {reps: {rows: 1}, opportunities: {sum: {amont: 3}}}\n"
    )
    problems = desk.refused("opportunity_id,stage\na1,Won\n", mapping=mapping)
    assert "reps, which the export does not hold" in problems[0].what
    assert problems[1].next_step.startswith("Did you mean amount")


def test_a_control_counts_rows_that_were_set_aside(desk: Any) -> None:
    mapping = "tables: {opportunities: {from: opportunities.csv}}\ncontrol: {opportunities: {rows: 4}}\n"
    deals = "opportunity_id,stage,amount\na1,Won,1\na2,Won,oops\nshort\n\na3,Won,1\n"
    made = desk.load(deals, mapping=mapping)
    assert made.column("opportunity_id") == ["a1", "a3"]
