"""Mappings over mappings, sources derived from others, and footers: by hand-made files."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from salesops_kit.data.dataset import import_export, open_rows
from salesops_kit.data.mapping import read_mapping
from salesops_kit.errors import InputError

BASE = """\
name: base
lenient: true
settings: {zone: UTC, base_currency: EUR}
files: {'*': {delimiter: ';'}}
tables:
  opportunities:
    from: Deals
    optional: false
    columns:
      opportunity_id: {column: Id}
      stage: State
      amount: Value
      lead_source: {column: Source, default: unknown}
      owner_id: {column: Owner, lookup: {file: People, key: Name, value: Id}}
      probability: {first: [{column: Chance}, {column: Odds}], scale: '0.01'}
  leads: {from: Leads, columns: {lead_id: Id}}
"""


def test_a_lenient_mapping_takes_what_is_there(desk: Any) -> None:
    made = desk.load_files({"deals.csv": "Id;State;Odds\n1;Won;35\n"}, mapping=BASE)
    assert made.column("lead_source") == ["unknown"]
    assert made.column("owner_id") == [None]
    assert made.column("probability") == [0.35]
    assert "leads" not in made.rows.tables


def test_what_is_required_is_refused_even_then(desk: Any) -> None:
    with pytest.raises(InputError, match="required column stage"):
        desk.load_files({"deals.csv": "Id;Value\n1;2\n"}, mapping=BASE)
    with pytest.raises(InputError, match="no file 'Deals'"):
        desk.load_files({"leads.csv": "Id\n1\n"}, mapping=BASE)


def test_a_mapping_on_top_replaces_columns_adds_and_drops_tables(desk: Any, tmp_path: Any) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "own.yml").write_text(
        "extends: base\nsettings: {base_currency: USD}\nfiles: {'*': {decimal: ','}}\n"
        "tables:\n  opportunities: {columns: {amount: Net, lead_source: none}}\n  leads: none\n"
        "  reps: {from: People, columns: {owner_id: Id, name: Name}}\n"
    )
    (tmp_path / "last.yml").write_text("settings: {zone: Asia/Seoul}\n")
    export = desk.write(
        {"Deals.csv": "Id;State;Net;Value;Owner\n1;Won;1,5;9;Ann\n", "people.csv": "Id;Name\nr1;Ann\n",
        "Leads.csv": "Id\n"}
    )  # fmt: skip
    made = import_export([export], [str(tmp_path / "own.yml"), str(tmp_path / "last.yml")], tmp_path / "out")
    rows = open_rows(made)
    deals = rows.table("opportunities").to_pyarrow().to_pylist()
    assert [(d["owner_id"], float(d["amount"]), d["lead_source"], d["Value"]) for d in deals] == [
        ("r1", 1.5, None, "9")
    ]
    assert (made.settings.base_currency, made.settings.zone) == ("USD", "Asia/Seoul")
    assert "leads" not in rows.tables


def test_mistakes_name_the_file_that_holds_them(tmp_path: Any) -> None:
    (tmp_path / "base.yml").write_text(BASE)
    own = tmp_path / "own.yml"
    own.write_text(
        "extends: base\ntables:\n  opportunities:\n    columns:\n      amont: Net\n      stage: {colum: S}\n"
    )
    with pytest.raises(InputError) as caught:
        read_mapping(own)
    assert {(p.file, p.row) for p in caught.value.problems} == {("own.yml", 5), ("own.yml", 6)}
    own.write_text("extends: bse\n")
    with pytest.raises(InputError, match="unknown mapping 'bse'") as caught:
        read_mapping(own)
    assert caught.value.problems[0].row == 1
    own.write_text("extends: own\n")
    with pytest.raises(InputError, match="extends itself"):
        read_mapping(own)


TIMELINE = """\
settings: {observed_until: 2026-12-31}
derived:
  states:
    timeline:
      needs: stage
      streams:
        - {from: changes.csv, key: deal, at: at, field: what, new: new, old: old, values: {stage: S,
        amount: A}}
      now: {from: deals.csv, key: id, created: made, values: {stage: stage, amount: amount}}
tables:
  opportunities: {from: deals.csv, columns: {opportunity_id: id, created_at: made}}
  opportunity_history: {from: states, keep: none, columns: {opportunity_id: key, changed_at: at}}
"""


def test_changes_of_single_fields_become_states(desk: Any) -> None:
    deals = (
        "id,stage,amount,made\n"
        "a,Won,30,2026-01-01T00:00:00Z\n"  # both fields change, the amount twice, once to nothing
        "b,Open,7,2026-01-01T00:00:00Z\n"  # nothing changes
        "c,Lost,5,2026-01-01T00:00:00Z\n"  # only the stage changes: the amount was always 5
    )
    changes = (
        "deal,at,what,old,new\n"
        "a,2026-03-01T00:00:00Z,A,,30\n"
        "a,2026-02-01T00:00:00Z,A,10,\n"
        "a,2026-03-01T00:00:00Z,S,Open,Won\n"
        "a,2026-02-15T00:00:00Z,Other,x,y\n"
        "c,2026-05-05T00:00:00Z,S,New,Lost\n"
    )
    made = desk.load_files({"deals.csv": deals, "changes.csv": changes}, mapping=TIMELINE)
    history = made.table("opportunity_history")
    got = [
        (r.opportunity_id, r.changed_date, r.stage, None if r.amount is None else float(r.amount))
        for r in history.itertuples()
    ]
    assert got == [
        ("a", dt.date(2026, 1, 1), "Open", 10.0), ("a", dt.date(2026, 2, 1), "Open", None),
        ("a", dt.date(2026, 3, 1), "Won", 30.0), ("b", dt.date(2026, 1, 1), "Open", 7.0),
        ("c", dt.date(2026, 1, 1), "New", 5.0), ("c", dt.date(2026, 5, 5), "Lost", 5.0),
    ]  # fmt: skip


def test_a_change_whose_moment_cannot_be_read_is_set_aside_with_its_row(desk: Any) -> None:
    deals = "id,stage,amount,made\na,Won,30,2026-01-01T00:00:00Z\n"
    changes = "deal,at,what,old,new\na,soon,S,Open,Won\na,2026-03-01T00:00:00Z,S,Open,Won\n"
    made = desk.load_files({"deals.csv": deals, "changes.csv": changes}, mapping=TIMELINE)
    found = made.exclusions("set aside")
    assert [(r["source_file"], r["source_row"], r["column_name"], r["got"]) for r in found] == [
        ("changes.csv", 2, "changed_at", "soon")
    ]


def test_a_broken_record_of_a_history_is_listed(desk: Any) -> None:
    deals = "id,stage,amount,made\na,Won,30,2026-01-01T00:00:00Z\n"
    changes = "deal,at,what,old,new\na,short\na,2026-03-01T00:00:00Z,S,Open,Won\n"
    made = desk.load_files({"deals.csv": deals, "changes.csv": changes}, mapping=TIMELINE)
    assert made.found("set aside") == [("changes.csv", 2, None, "5 fields", "a,short")]


def test_a_timeline_names_the_columns_that_its_files_lack(desk: Any) -> None:
    with pytest.raises(InputError, match="no column 'old'"):
        desk.load_files(
            {"deals.csv": "id,stage,amount,made\na,Won,3,2026-01-01T00:00:00Z\n",
            "changes.csv": "deal,at,what,new\na,,S,x\n"},
            mapping=TIMELINE,
        )  # fmt: skip


def test_lookups_with_conditions_and_several_answers(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities: {from: opportunities.csv}\n  products:\n    from: p.csv\n    columns:\n"
        "      product_id: id\n"
        "      list_price: {column: id, lookup: {file: price.csv, key: product, value: price, where: "
        "{on: [y]}, repeated: blank}}\n"
    )
    price = "product,price,on\np1,5,y\np1,9,n\np2,1,y\np2,2,y\np3,4,y\np3,4,y\n"
    made = desk.load("opportunity_id,stage\na,Won\n", mapping=mapping, p="id\np1\np2\np3\n", price=price)
    assert [None if v is None else int(v) for v in made.column("list_price", "products")] == [5, None, 4]


def test_a_reports_footer_is_left_out_and_said(desk: Any) -> None:
    mapping = (
        "files: {'*': {footer_lines: [Grand Totals, Total, Copyright, Confidential]}}\n"
        "tables: {opportunities: {from: opportunities.csv}}\n"
    )
    body = desk.deals("a1,Won,1,2026-01-01,2026-02-01", "Total Energies,Won,2,2026-01-01,2026-02-01")
    made = desk.load(
        body + ',,,,\n"Grand Totals (2 records)",,3,,\n\n"My report"\n"Copyright (c) '
        '2026"\n"Confidential - Ann"\n',
        mapping=mapping,
    )
    assert made.column("opportunity_id") == ["Total Energies", "a1"]
    (said,) = [row for row in made.exclusions("kept") if "left out" in row["problem"]]
    assert (said["source_row"], said["got"][:12]) == (4, "Grand Totals")
    # The same lines above a deal are broken records, not a footer.
    made = desk.load(desk.deals("Copyright", "a1,Won,1,2026-01-01,2026-02-01"), mapping=mapping)
    assert made.found("set aside") == [("opportunities.csv", 2, None, "5 fields", "Copyright")]


def test_a_footer_of_full_width_is_found_without_other_broken_lines(desk: Any) -> None:
    mapping = "files: {'*': {footer_lines: [Total]}}\ntables: {opportunities: {from: opportunities.csv}}\n"
    made = desk.load(desk.deals("a1,Won,1,2026-01-01,2026-02-01", "Total,,1,,"), mapping=mapping)
    assert made.column("opportunity_id") == ["a1"]
