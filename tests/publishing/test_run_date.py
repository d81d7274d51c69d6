"""Words for quarters and cut-offs: what they mean on every day, and what the data must hold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from salesops_kit.errors import InputError
from salesops_kit.periods import FiscalCalendar
from salesops_kit.publishing.plan import expand
from salesops_kit.publishing.plan_file import LoadedPlan, parse_plan
from salesops_kit.publishing.run_date import (
    QUARTERS,
    Known,
    parse_run_date,
    quarter_of_word,
    resolve,
    resolve_choice,
    uses_run_date,
)
from tests.publishing.kit import PARAMETERS, TinyPreparer, templates_in, write_template

DAY = dt.date(2027, 8, 1)
HELD = ("2027-Q1", "2027-Q2", "2027-Q3")
CALENDARS = (
    FiscalCalendar(),
    FiscalCalendar(start_month=2),
    FiscalCalendar(pattern="4-4-5", week_ends_on="saturday"),
    FiscalCalendar(start_month=7, pattern="4-4-5", year_end="nearest"),
)


def known(until: str = "2027-08-20", quarters: tuple[str, ...] = HELD) -> Known:
    return Known(FiscalCalendar(), quarters, dt.date.fromisoformat(until))


def resolved(text: str, *overrides: tuple[str, str], on: dt.date = DAY, until: str = "2027-08-20") -> tuple:
    loaded = parse_plan(text, file="plan.yml", overrides=overrides)
    made, notes = resolve(loaded, on, known(until))
    return made, [str(note) for note in notes]


@pytest.mark.parametrize(
    ("day", "current", "latest", "previous"),
    [
        ("2027-07-31", "2028-Q2", "2028-Q1", "2027-Q4"),
        ("2027-08-01", "2028-Q3", "2028-Q2", "2028-Q1"),
        ("2027-10-31", "2028-Q3", "2028-Q2", "2028-Q1"),
        ("2028-01-31", "2028-Q4", "2028-Q3", "2028-Q2"),
        ("2028-02-01", "2029-Q1", "2028-Q4", "2028-Q3"),
        ("2028-02-29", "2029-Q1", "2028-Q4", "2028-Q3"),
    ],
)
def test_words_on_boundary_days_of_a_year_from_february(
    day: str, current: str, latest: str, previous: str
) -> None:
    calendar = FiscalCalendar(start_month=2)
    found = [quarter_of_word(word, dt.date.fromisoformat(day), calendar).label for word in QUARTERS]
    assert found == [current, latest, previous]


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_latest_is_the_last_quarter_that_ended_before_the_day(calendar: FiscalCalendar) -> None:
    """Against a search through all quarters, for each day of three years and a 53-week year among them."""
    every = calendar.quarters(dt.date(2024, 1, 1), dt.date(2029, 12, 31))
    for number in range(3 * 366):
        day = dt.date(2026, 1, 1) + dt.timedelta(number)
        (current,) = [quarter for quarter in every if quarter.start <= day <= quarter.last_day]
        ended = sorted((quarter.last_day, quarter.label) for quarter in every if quarter.last_day < day)
        expected = [current.label, ended[-1][1], ended[-2][1]]
        assert [quarter_of_word(word, day, calendar).label for word in QUARTERS] == expected


def test_words_in_a_plan_become_labels_and_dates() -> None:
    text = "{data: x, reports: y, quarters: [latest, 2027-Q1, current], as_of: run-date}"
    made, notes = resolved(text)
    assert made.plan.quarters == ("2027-Q2", "2027-Q1", "2027-Q3")
    assert (made.plan.as_of, notes) == ("2027-08-01", [])
    assert not uses_run_date(made)
    made, _notes = resolved(text, ("quarter", "previous"), ("as_of", "run-date"))
    assert (made.plan.quarters, made.overrides) == (("2027-Q1",), {"as_of": "2027-08-01"})


def test_a_cut_off_beyond_the_data_is_the_datas_end_with_a_note() -> None:
    text = "{data: x, reports: y, params: {y: {as_of: run-date}, z: {as_of: '2027-01-31'}}}"
    made, notes = resolved(text, until="2027-07-28")
    assert made.plan.params == {"y": {"as_of": "2027-07-28"}, "z": {"as_of": "2027-01-31"}}
    assert notes == ["as_of: the run date 2027-08-01 is past the data's end, so 2027-07-28 counts"]
    assert resolved(text, until="2027-08-01")[1] == []
    assert resolved("{data: x, reports: y, quarters: latest}", until="2027-07-28")[1] == []


def test_a_quarter_that_the_data_holds_in_part_is_noted() -> None:
    text = "{data: x, reports: y, quarters: latest}"
    made, notes = resolved(text, until="2027-06-29")
    assert made.plan.quarters == ("2027-Q2",)
    assert notes == ["latest: the data is known until 2027-06-29, before 2027-Q2 ends on 2027-06-30"]
    assert resolved(text, until="2027-06-30")[1] == []
    assert resolved("{data: x, reports: y, quarters: current}", until="2027-07-02")[1] == []


def test_a_quarter_that_the_data_lacks_is_refused_with_what_it_holds() -> None:
    text = "data: x\nreports: y\nquarters:\n- previous\n- latest\n- 2027-Q1\n"
    with pytest.raises(InputError) as refused:
        resolved(text, on=dt.date(2028, 3, 1))
    (problem,) = refused.value.problems
    assert (problem.file, problem.row) == ("plan.yml", 5)
    assert problem.what == "'latest' on the run date 2028-03-01 is 2027-Q4, which the data does not hold"
    assert "2027-Q1 to 2027-Q3 (known until 2027-08-20)" in str(refused.value)
    with pytest.raises(InputError, match="command line, column -p quarter: 'latest' on the run date"):
        resolved(text, ("quarter", "latest"), on=dt.date(2028, 3, 1))
    with pytest.raises(InputError, match="holds, none"):
        resolve(parse_plan(text), DAY, known(quarters=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{data: x, reports: y}", False),
        ("{data: latest, reports: current, teams: [latest], quarters: 2027-Q1}", False),
        ("{data: x, reports: y, quarters: [2027-Q1, current]}", True),
        ("{data: x, reports: y, as_of: run-date}", True),
        ("{data: x, reports: y, as_of: '2027-01-01'}", False),
        ("{data: x, reports: y, params: {y: {as_of: run-date}}}", True),
    ],
)
def test_whether_a_plan_needs_a_run_date(text: str, expected: bool) -> None:
    assert uses_run_date(parse_plan(text)) is expected


def test_a_choice_at_the_terminal() -> None:
    given = {"quarter": "latest", "as_of": "run-date", "team": "latest"}
    chosen, notes = resolve_choice(given, DAY, known("2027-06-15"))
    assert chosen == {"quarter": "2027-Q2", "as_of": "2027-06-15", "team": "latest"}
    assert len(notes) == 1
    plain = {"quarter": "", "as_of": "", "team": "company"}
    assert resolve_choice(plain, DAY, known()) == (plain, [])


@pytest.mark.parametrize(
    "text", ["2027-8-1", "20270801", "2027-W31-7", "today", "2027-02-29", "", "1.8.2027"]
)
def test_a_run_date_is_iso_text(text: str) -> None:
    with pytest.raises(InputError, match="column --run-date: not a date; expected a date such as 2027-08-01"):
        parse_run_date(text)


# The cut-off in jobs


@pytest.fixture
def weekly(tmp_path: Path) -> LoadedPlan:
    """A plan whose cut-off is in the plan, of which only one report has a cut-off at all."""
    dated = f'{PARAMETERS}\nas_of: str = ""  # Cut-off | format: date'
    write_template(tmp_path, "dated", parameters=dated)
    write_template(tmp_path, "plain")
    return parse_plan("{data: x, reports: all, quarters: 2026-Q3, as_of: '2026-08-05'}", file="plan.yml")


def cut_offs(loaded: LoadedPlan, folder: Path) -> dict[str, object]:
    jobs = expand(loaded, templates_in(folder), names=TinyPreparer().names(), leaf_teams=())
    return {job.report: job.params.get("as_of", "has none") for job in jobs}


def test_the_cut_off_of_a_plan_reaches_the_reports_that_have_one(weekly: LoadedPlan, tmp_path: Path) -> None:
    assert cut_offs(weekly, tmp_path) == {"dated": "2026-08-05", "plain": "has none"}


def test_a_reports_own_cut_off_comes_before_the_plans(weekly: LoadedPlan, tmp_path: Path) -> None:
    text = "{data: x, reports: all, as_of: '2026-08-05', params: {dated: {as_of: '2026-08-06'}}}"
    assert cut_offs(parse_plan(text), tmp_path)["dated"] == "2026-08-06"
    given = [("as_of", "2026-08-07")]
    assert cut_offs(parse_plan(text, overrides=given), tmp_path)["dated"] == "2026-08-07"


def test_a_wrong_cut_off_is_refused_at_its_line(weekly: LoadedPlan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plan, row 3, column as_of: parameter 'as_of': not a date"):
        cut_offs(parse_plan("data: x\nreports: all\nas_of: tomorrow"), tmp_path)
