"""What a template opens: parameters refused or resolved, missing data said, outputs that are valid JSON."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from salesops_kit import registry
from salesops_kit.compute import Calculator
from salesops_kit.data.dataset import import_export
from salesops_kit.display.stories import funnel as story
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.preparation import Preparation
from salesops_kit.workbook import (
    CONTEXT_VARIABLE,
    HEADLINE,
    QUALITY,
    SENTINEL,
    TABLE,
    Workbook,
    open_workbook,
)
from tests.canary import SETTINGS, TEAMS, write_company

TEMPLATE = Path(__file__).resolve().parent.parent / "notebooks" / "templates" / "funnel.ipynb"
EMPTY_TEAM = "fir"
# No day after June has an event: the third quarter has open deals only.
EMPTY_QUARTER = "2026-Q3"
DATA_END = dt.date(2026, 9, 30)
NO_NUMBER = re.compile(r"\b(nan|inf|infinity|none|nat|null|<na>)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The canary company with a team without deals, a quarter without events, and two wrong records."""
    folder = tmp_path_factory.mktemp("workbook")
    write_company(folder / "raw")
    settings = SETTINGS.replace("2026-06-30", DATA_END.isoformat())
    (folder / "raw" / "dataset.yml").write_text(settings, encoding="utf-8")
    with (folder / "raw" / "teams.csv").open("a", encoding="utf-8") as file:
        file.write(f"{EMPTY_TEAM},\n")
    add_deal(folder / "raw", "deal9001", amount="twelve")
    add_deal(folder / "raw", "deal9002", amount="-5")
    import_export([folder / "raw"], "", folder / "canonical")
    return str(folder / "canonical")


def add_deal(folder: Path, deal: str, **values: str) -> None:
    """One more deal, a copy of the last with some fields changed."""
    path = folder / "opportunities.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, list(rows[-1])).writerow({**rows[-1], "opportunity_id": deal, **values})


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The MIME bundles that cells display, in a real IPython shell."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv(CONTEXT_VARIABLE, raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    publisher = CapturingDisplayPublisher()
    shell.display_pub = publisher
    bundles: list[dict[str, Any]] = []
    publisher.outputs = bundles
    yield bundles
    InteractiveShell.clear_instance()


def typed(shown: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [bundle["data"][kind] for bundle in shown if kind in bundle["data"]]


def problems_of(**parameters: Any) -> list[str]:
    with pytest.raises(InputError) as refused:
        open_workbook(**parameters)
    return [str(problem) for problem in refused.value.problems]


# Parameters


def test_a_number_where_text_is_declared_is_refused_with_the_flag_that_keeps_it_text() -> None:
    found = problems_of(team=7, quarter=2026, data="sample")
    assert len(found) == 2
    assert "column team: expected text; got '7'" in found[0]
    assert "-r team VALUE" in found[0]
    assert "-r quarter VALUE" in found[1]


def test_everything_that_is_wrong_is_said_at_once(data: str) -> None:
    found = problems_of(team="ahs", quarter="2026-Q4", as_of="30.06.2026", data=data)
    assert [text for text in found if "unknown team 'ahs'" in text and "Did you mean ash" in text]
    assert [text for text in found if "no data in quarter 2026-Q4" in text and "2026-Q1 to 2026-Q3" in text]
    assert [text for text in found if "column as_of: not a date" in text]
    assert len(found) == 3


def test_an_unknown_dataset_names_the_nearest() -> None:
    assert problems_of(data="sampel") == ["unknown dataset 'sampel'. Did you mean sample?"]


@pytest.mark.parametrize("quarter", ["Q3", "2026-Q5", "2026Q3", "2026-q3 ", "ABCD-Q1"])
def test_a_malformed_quarter_is_refused(data: str, quarter: str) -> None:
    assert "no fiscal quarter" in problems_of(quarter=quarter, data=data)[0]


@pytest.mark.parametrize(
    ("quarter", "as_of", "expected"),
    [
        ("", "", DATA_END),
        ("2026-Q2", "", dt.date(2026, 6, 30)),
        ("2026-Q3", "", DATA_END),
        ("2026-Q2", "2026-04-01", dt.date(2026, 4, 1)),
        ("2026-Q2", "2026-08-15", dt.date(2026, 8, 15)),
        ("2026-Q2", "2026-10-01", DATA_END),
        ("", "2199-12-31", DATA_END),
    ],
)
def test_the_cut_off_date(data: str, quarter: str, as_of: str, expected: dt.date) -> None:
    assert open_workbook(quarter=quarter, as_of=as_of, data=data).as_of == expected


def test_a_cut_off_before_the_quarter_is_refused(data: str) -> None:
    found = problems_of(quarter="2026-Q2", as_of="2026-03-31", data=data)
    assert found == [
        "column as_of: the cut-off lies before 2026-Q2; expected 2026-04-01 or later; got '2026-03-31'"
    ]


@pytest.mark.parametrize(
    "as_of", ["2026-02-30", "20260630", "2026-W20-1", "2026-6-1", "30/06/2026", "today", " 2026-06-30"]
)
def test_a_malformed_cut_off_is_refused(data: str, as_of: str) -> None:
    found = problems_of(as_of=as_of, data=data)
    assert found == [f"column as_of: not a date; expected a date such as 2026-07-31; got {as_of!r}"]


def test_a_parent_team_is_the_sum_of_its_leaves(data: str) -> None:
    def states(team: str) -> int:
        book = open_workbook(team=team, data=data)
        return int(book.rows.table("opportunity_states").count().to_pyarrow().as_py())

    assert states("woods") == sum(states(team) for team in TEAMS) > 0


# Outputs


def run_template(shell: InteractiveShell, **parameters: str) -> None:
    """Every code cell of the funnel template, with its parameters replaced after their cell."""
    for cell in nbformat.read(TEMPLATE, as_version=4).cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
            if "parameters" in cell.metadata.get("tags", []):
                shell.push(parameters)


@pytest.mark.parametrize(
    ("team", "quarter", "as_of"),
    [
        (EMPTY_TEAM, "2026-Q1", ""),
        (EMPTY_TEAM, "", ""),
        ("company", EMPTY_QUARTER, ""),
        ("ash", EMPTY_QUARTER, ""),
        ("ash", "2026-Q1", "2026-01-01"),
        ("company", "2026-Q2", ""),
    ],
)
def test_the_template_stands_whatever_the_scope_holds(
    data: str, shown: list[dict[str, Any]], team: str, quarter: str, as_of: str
) -> None:
    run_template(InteractiveShell.instance(), team=team, quarter=quarter, as_of=as_of, data=data)
    for bundle in shown:
        for kind, content in bundle["data"].items():
            if kind.startswith("application/"):
                json.dumps(content, allow_nan=False)
            else:
                assert not NO_NUMBER.findall(re.sub(r"<[^>]*>", " ", content)), content
    headlines = {payload["id"]: payload for payload in typed(shown, HEADLINE)}
    assert len(headlines) == 5
    assert {payload["scope"] for payload in headlines.values()} == {team}
    if team == EMPTY_TEAM:
        assert headlines["bookings_won"]["value"] == 0
        assert headlines["win_rate"]["value"] is None
        assert headlines["win_rate"]["reason"]
    assert typed(shown, SENTINEL) == [{"sentinel": ""}]


COLUMNS = "opportunity_id,owner_id,stage,amount,created_date,close_date\n"
SHAPES = {
    "header only": "",
    "one row": "d1,ann,Won,100,2026-01-05,2026-02-10\n",
    "all lost": "".join(f"d{n},ann,Lost,{n},2026-01-05,2026-02-{n:02d}\n" for n in range(1, 20)),
    "all open": "".join(f"d{n},ann,Offer,{n},2026-01-{n:02d},2026-03-01\n" for n in range(1, 20)),
    "neither amount, owner nor date": "".join(f"d{n},,Offer,,,\n" for n in range(5)),
    "created and closed in a day": "".join(
        f"{stage},ann,{stage},0,2026-01-05,2026-01-05\n" for stage in ("Won", "Lost")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_template_stands_on_any_shape_of_opportunities(
    shape: str, tmp_path: Path, shown: list[dict[str, Any]]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "opportunities.csv").write_text(COLUMNS + SHAPES[shape], encoding="utf-8")
    (raw / "dataset.yml").write_text("observed_until: 2026-03-31\n", encoding="utf-8")
    import_export([raw], "", tmp_path / "canonical")
    parameters = {"team": "company", "as_of": "", "data": str(tmp_path / "canonical")}
    for quarter in ("2026-Q1", ""):
        shown.clear()
        run_template(InteractiveShell.instance(), quarter=quarter, **parameters)
        for bundle in shown:
            for content in bundle["data"].values():
                if isinstance(content, str):
                    text = re.sub(r"<[^>]*>", " ", content).replace("(none)", "")
                    assert not NO_NUMBER.findall(text), content
                else:
                    json.dumps(content, allow_nan=False)
        assert len(typed(shown, HEADLINE)) == 5
        assert typed(shown, SENTINEL) == [{"sentinel": ""}]


def test_headlines_are_rounded_to_six_digits_and_equal_the_table(
    data: str, shown: list[dict[str, Any]]
) -> None:
    book = open_workbook(team="ash", quarter="2026-Q1", data=data)
    book.headlines("funnel.headlines")
    payloads = typed(shown, HEADLINE)
    frame = book.table("funnel.headlines")
    rate = frame.set_index("id").loc["win_rate", "low"]
    found = next(p for p in payloads if p["id"] == "win_rate")
    assert found["low"] == round(rate, 6) != rate
    assert [p["id"] for p in payloads] == list(frame["id"])
    for payload in payloads:
        assert set(payload) == {*frame.columns, "prior_label", "as_of", "scope"}
        assert payload["as_of"] == "2026-03-31"
        for value in payload.values():
            if isinstance(value, float):
                assert math.isfinite(value)
                assert value == round(value, 6)
    assert [b["data"]["text/plain"] for b in shown if HEADLINE in b["data"]] == [
        f"{p['id']}: {p['value']}" for p in payloads
    ]


def test_a_table_is_emitted_once_with_its_units_and_every_row(data: str, shown: list[dict[str, Any]]) -> None:
    book = open_workbook(quarter="2026-Q1", data=data)
    reps = book.table("funnel.win_rate", by="owner_id")
    book.show(reps, story.win_rate_spread)
    book.show(reps, story.win_rate_spread)
    (payload,) = typed(shown, TABLE)
    assert payload["id"] == "funnel.win_rate.by_owner_id"
    assert payload["title"] == shown[0]["data"]["text/plain"]
    assert [c["name"] for c in payload["columns"]] == list(reps.columns)
    assert {c["name"]: c["unit"] for c in payload["columns"]}["won_amount"] == "money"
    assert [row[0] for row in payload["rows"]] == list(reps["owner_id"])
    assert all(len(row) == len(reps.columns) for row in payload["rows"])
    assert "<svg" in shown[0]["data"]["text/html"]


def without(book: Workbook, *tables: str) -> Workbook:
    """The same workbook on a dataset that lacks some tables."""
    rows = replace(book.rows, tables={n: t for n, t in book.rows.tables.items() if n not in tables})
    return Workbook(Calculator(rows, book.as_of, book.period), team=book.team)


def test_a_table_whose_inputs_are_missing_says_why_and_the_rest_goes_on(
    data: str, shown: list[dict[str, Any]]
) -> None:
    book = without(open_workbook(quarter="2026-Q1", data=data), "stages")
    frame = book.table("funnel.win_rate", by="owner_id")
    assert frame.empty
    assert "needs stages, which the data lacks" in frame.attrs["unavailable"]
    book.show(frame, story.win_rate_spread)
    book.headlines("funnel.headlines")
    book.close()
    assert "This needs stages, which the data lacks." in shown[0]["data"]["text/html"]
    assert "This needs stages, which the data lacks." in shown[1]["data"]["text/plain"]
    assert typed(shown, HEADLINE) == typed(shown, TABLE) == []
    assert typed(shown, SENTINEL) == [{"sentinel": ""}]


def test_a_column_that_is_missing_is_said_too(data: str, shown: list[dict[str, Any]]) -> None:
    book = without(open_workbook(data=data), "opportunities")
    book.show(book.table("funnel.win_rate", variant="cohort"), story.win_rate_spread)
    assert "needs the date on which each deal was created" in shown[0]["data"]["text/plain"]
    with pytest.raises(NotAvailableError, match="the dataset has no spend table"):
        book.rows.table("spend")


def test_wrong_tables_and_options_are_refused_with_the_nearest(data: str) -> None:
    book = open_workbook(data=data)
    with pytest.raises(InputError, match=r"unknown table 'funnel.winrate'. Did you mean funnel.win_rate"):
        book.table("funnel.winrate")
    with pytest.raises(InputError, match=r"unknown option of funnel.win_rate 'bye'. Did you mean by"):
        book.table("funnel.win_rate", bye="rep")


def test_a_frame_that_a_reader_changes_stays_theirs(data: str) -> None:
    book = open_workbook(data=data)
    frame = book.table("funnel.win_rate")
    frame["won"] = 0
    assert book.table("funnel.win_rate")["won"].item() > 0


# Data quality


def test_the_note_counts_what_was_left_out(data: str, shown: list[dict[str, Any]]) -> None:
    book = open_workbook(quarter="2026-Q1", data=data)
    book.note()
    (quality,) = typed(shown, QUALITY)
    assert quality["excluded_rows"] == 1
    assert quality["problems"] >= 2
    text = shown[0]["data"]["text/plain"]
    assert text.splitlines() == quality["notes"]
    assert "31" in quality["notes"][0]
    assert "1 record is set aside; €5 (" in text
    assert "Kept, with a flag: " in text


def test_exclusions_name_the_first_record_and_stay_within_the_team(data: str) -> None:
    def aside(team: str) -> pd.DataFrame:
        frame = open_workbook(team=team, data=data).exclusions()
        return frame[frame["action"] == "set aside"]

    (lost,) = aside("company").to_dict("records")
    assert (lost["table_name"], lost["column_name"], lost["rows"]) == ("opportunities", "amount", 1)
    assert (lost["first_file"], lost["first_row"]) == ("opportunities.csv", 122)
    assert sum(len(aside(team)) for team in TEAMS) == 1
    assert aside(EMPTY_TEAM).empty


# Under the driver


def prepare(data: str, folder: Path, **params: str) -> Path:
    tables = tuple(registry.tables())
    return Preparation(data).context({"data": data, **params}, folder, "the-end-1", report_tables=tables)


def test_the_drivers_slice_gives_the_same_numbers(
    data: str, tmp_path: Path, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for team in ("company", "ash", EMPTY_TEAM):
        shown.clear()
        open_workbook(team=team, quarter="2026-Q2", data=data).headlines("funnel.headlines")
        here = typed(shown, HEADLINE)
        shown.clear()
        context = prepare(data, tmp_path / team, team=team, quarter="2026-Q2", as_of="")
        monkeypatch.setenv(CONTEXT_VARIABLE, str(context))
        book = open_workbook(team=team, quarter="2026-Q2", data=data)
        book.headlines("funnel.headlines")
        book.close()
        monkeypatch.delenv(CONTEXT_VARIABLE)
        assert typed(shown, HEADLINE) == here
        assert typed(shown, SENTINEL) == [{"sentinel": "the-end-1"}]
        assert "the-end-1" in shown[-1]["data"]["text/plain"]


def test_a_table_that_the_notebook_does_not_declare_is_refused(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"team": "ash", "quarter": "2026-Q2", "as_of": "", "data": data}
    file = Preparation(data).context(params, tmp_path, "end", report_tables=["funnel.waterfall"])
    monkeypatch.setenv(CONTEXT_VARIABLE, str(file))
    book = open_workbook(team="ash", quarter="2026-Q2", data=data)
    assert len(book.table("funnel.waterfall")) == 13
    book.note()
    with pytest.raises(InputError, match=r"does not declare the table funnel\.win_rate"):
        book.table("funnel.win_rate")
    with pytest.raises(InputError, match=r"funnel\.waterfall"):
        book.table("funnel.waterfal")
    assert "accounts" not in book.rows.tables
    assert set(json.loads(file.read_text())["reference"]) <= {"funnel", "quality"}


def test_jobs_of_a_scope_share_what_is_cut(data: str, tmp_path: Path) -> None:
    made = Preparation(data)
    params = {"team": "ash", "quarter": "2026-Q2", "as_of": "", "data": data}
    tables = (["funnel.waterfall"], ["funnel.win_rate"], ["funnel.waterfall"])
    for number, names in enumerate(tables):
        made.context(params, tmp_path / str(number), "end", report_tables=names)
    first, second, third = (
        {file.stem for file in (tmp_path / str(number) / "slice").glob("*.parquet")} for number in range(3)
    )
    assert {"opportunity_states", "exclusions"} <= first
    assert {"accounts", "reps"} <= second
    assert not first & second
    assert not third


def test_parameters_that_the_driver_did_not_prepare_are_refused(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = prepare(data, tmp_path, team="ash", quarter="2026-Q2", as_of="")
    monkeypatch.setenv(CONTEXT_VARIABLE, str(context))
    found = problems_of(team="birch", quarter="2026-Q1", as_of="2026-03-31", data=data)
    assert found == [
        "column team: differs from what the run prepared; expected ash; got 'birch'",
        "column quarter: differs from what the run prepared; expected 2026-Q2; got '2026-Q1'",
        "column as_of: differs from what the run prepared; got '2026-03-31'",
    ]


def test_the_analysts_pandas_stays_as_it_was(data: str) -> None:
    """A table needs others, so that the option is set while it is set."""
    before = pd.get_option("mode.string_storage")
    assert before != "python"
    open_workbook(team="company", quarter="2026-Q1", data=data).table("pipeline.headlines")
    assert pd.get_option("mode.string_storage") == before


# Which checks are raised, in an open notebook

DEALS = "".join(
    f"{owner}{n},{owner},Won,100,2026-01-05,2026-02-1{n}\n" for owner in ("ann", "bob") for n in range(3)
)
WRONG = "wrong,ann,One,-5,2026-03-01,2026-05-20\n"
SEVERE = "checks: [{id: negative-amount, severity: error}]\n"
CHECKED = """\
observed_until: 2026-03-31
first_qualified_stage: One
stages: [{stage: One}, {stage: Won, is_closed: true, is_won: true}]
"""
BANNER = "Errors: Amount is negative (1)."


def checked(folder: Path, *deals: str) -> str:
    """Two teams, one rep each, and a check that is an error."""
    raw = folder / "raw"
    raw.mkdir()
    for name, text in (
        ("dataset.yml", CHECKED), ("opportunities.csv", COLUMNS + DEALS + "".join(deals)),
        ("team_memberships.csv", "owner_id,team,valid_from_date,valid_to_date\nann,A,,\nbob,B,,\n"),
    ):  # fmt: skip
        (raw / name).write_text(text, encoding="utf-8")
    import_export([raw], "", folder / "data")
    (folder / "data" / "checks.yml").write_text(SEVERE, encoding="utf-8")
    return str(folder / "data")


def said(shown: list[dict[str, Any]]) -> list[int]:
    """The outputs that say the banner's words on the page, by their number."""
    return [n for n, bundle in enumerate(shown) if BANNER in bundle["data"].get("text/html", "")]


def test_an_open_template_says_first_which_checks_are_raised(
    tmp_path: Path, shown: list[dict[str, Any]]
) -> None:
    data = checked(tmp_path, WRONG)
    run_template(InteractiveShell.instance(), team="company", quarter="2026-Q1", as_of="", data=data)
    assert said(shown) == [0]
    assert shown[0]["data"]["text/plain"] == BANNER
    assert not typed(shown[:1], QUALITY)
    (quality,) = typed(shown, QUALITY)
    assert quality["errors"] == ["Amount is negative (1)"]


def test_an_open_template_says_nothing_where_nothing_is_raised(
    tmp_path: Path, shown: list[dict[str, Any]]
) -> None:
    data = checked(tmp_path)
    run_template(InteractiveShell.instance(), team="company", quarter="2026-Q1", as_of="", data=data)
    assert HEADLINE in shown[0]["data"]
    assert said(shown) == []


def test_the_banner_has_the_words_of_the_page_which_says_them_once(
    tmp_path: Path, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = checked(tmp_path, WRONG)
    for team, expected in (("company", [0]), ("A", [0]), ("B", [])):
        shown.clear()
        book = open_workbook(team=team, quarter="2026-Q1", data=data)
        book.headlines("funnel.headlines")
        book.note()
        assert said(shown) == expected, team
    params = {"team": "A", "quarter": "2026-Q1", "as_of": "", "data": data}
    context = Preparation(data).context(params, tmp_path / "job", "end", report_tables=["funnel.headlines"])
    monkeypatch.setenv(CONTEXT_VARIABLE, str(context))
    shown.clear()
    book = open_workbook(**params)
    book.headlines("funnel.headlines")
    book.note()
    assert said(shown) == [len(shown) - 1]
    assert QUALITY in shown[-1]["data"]


@pytest.mark.parametrize(("declared", "expected"), [
    (["funnel.headlines"], [0]), (["funnel.leads"], [0]), (["quality.checks"], []), (None, [0]),
])  # fmt: skip
def test_what_the_notebook_declares_decides_which_checks_are_told(
    tmp_path: Path, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
    declared: list[str] | None, expected: list[int],
) -> None:  # fmt: skip
    notebook = tmp_path / "open.ipynb"
    metadata = {"salesops": {"tables": declared}} if declared else {}
    notebook.write_text(json.dumps({"metadata": metadata, "cells": []}), encoding="utf-8")
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    book = open_workbook(data=checked(tmp_path, WRONG))
    book.headlines("funnel.headlines")
    book.note()
    assert said(shown) == expected


def test_no_check_is_made_before_something_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    table = Calculator.table
    monkeypatch.setattr(
        Calculator, "table", lambda self, name, **given: made.append(name) or table(self, name, **given)
    )
    book = open_workbook(data=checked(tmp_path, WRONG))
    book.table("funnel.win_rate")
    assert "quality.raised" not in made
    for _again in range(2):
        book.headlines("funnel.headlines")
        book.note()
    assert made.count("quality.raised") == 1
