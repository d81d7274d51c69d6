"""Tables, heat tables, figures and cards: every word of data escaped, heads scoped, numbers by class."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from salesops_kit.display.figure import figure_html, headlines_html, note_html, notes_html, text_html
from salesops_kit.display.heat import heat_html
from salesops_kit.display.tables import frame_html, label, labels

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' autofocus onfocus=alert(1) '",
    "</td></table><iframe src=//a.example>",
    "<a href=javascript:alert(1)>x</a>",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "<!--<style>*{display:none}</style>",
    "a\x00<b>\u202ec",
    "{{7*7}}${7*7}<%= 7*7 %>",
]
TAGS = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "p", "ul", "li"}
TAGS |= {
    "figure",
    "figcaption",
    "details",
    "summary",
    "svg",
    "title",
    "desc",
    "g",
    "path",
    "text",
    "use",
    "defs",
}
TAGS |= {"clippath", "rect", "span"}


class Reader(HTMLParser):
    """Tags, attribute names and the text of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"th", "td", "caption", "p", "figcaption", "li", "span", "summary", "text"}:
            self.said.append("")

    def handle_data(self, data: str) -> None:
        if self.said:
            self.said[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_harmless(html: str) -> None:
    read = Reader(html)
    assert {tag for tag, _attributes in read.tags} <= TAGS
    names = {name for _tag, attributes in read.tags for name in attributes}
    assert not {
        name for name in names if name.startswith("on") or name in {"src", "href", "style", "autofocus"}
    } - {"href"}
    assert all(str(each.get("href", "#")).startswith("#") for _tag, each in read.tags)
    assert not re.search("[\x00-\x08\u202e]", html)


@pytest.mark.parametrize("payload", HOSTILE)
def test_nothing_of_data_is_markup(payload: str) -> None:
    frame = pd.DataFrame(
        {payload: [payload, 1], "team": ["a", payload], "made": [[payload], {payload: payload}]}
    )
    table = frame_html(frame, caption=payload, notes=[payload])
    assert_harmless(table)
    assert len(Reader(table).named("tr")) == 3
    wide = pd.DataFrame({"cohort": [payload], payload: [0.5]})
    assert_harmless(heat_html(wide, caption=payload, label="cohort", notes=[payload]))
    drawn = figure_html(Figure(), message=payload, alternative=payload, frame=frame, notes=[payload])
    assert_harmless(drawn)
    assert_harmless(notes_html([payload]) + note_html(payload) + text_html(payload))
    card = dict.fromkeys(["label", "definition", "reason", "id"], payload)
    cards = pd.DataFrame(
        [card | {"value": payload, "unit": payload, "n": 1, "low": None, "high": None, "prior": None}]
    )
    cards.attrs["prior_label"] = payload
    assert_harmless(headlines_html(cards, currency="USD"))


def test_heads_are_scoped_and_numbers_marked() -> None:
    frame = pd.DataFrame(
        {
            "stage": ["Qualify", "Close"],
            "rate": [0.25, np.nan],
            "p50": [3.5, 12.0],
            "won_amount": [1_250_000.0, -5.0],
            "evidence": [True, False],
            "closed_on": [dt.date(2026, 9, 30), None],
            "n": [1200, 3],
        }
    )
    units = {"rate": "rate", "p50": "days", "won_amount": "money", "n": "deals"}
    html = frame_html(frame, caption="Stages", units=units, currency="EUR")
    read = Reader(html)
    heads = read.named("th")
    assert [each["scope"] for each in heads] == ["col"] * 7 + ["row"] * 2
    assert [each.get("class") for each in heads[:7]] == [
        None,
        "number",
        "number",
        "number",
        None,
        None,
        "number",
    ]
    assert [each.get("class") for each in read.named("td")[:6]] == [
        "number",
        "number",
        "number",
        None,
        None,
        "number",
    ]
    assert read.said == [
        "Stages",
        *("Stage", "Rate", "Half left by", "Won amount", "Evidence", "Closed on", "Deals"),
        *("Qualify", "25.0%", "3.5 days", "€1.25M", "yes", "Sep 30, 2026", "1,200"),
        *("Close", "n/a", "12 days", "−€5", "no", "n/a", "3"),
    ]
    (region,) = read.named("div")
    assert region == {"class": "table", "role": "region", "tabindex": "0", "aria-label": "Stages"}


def test_columns_choose_and_order() -> None:
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]})
    assert Reader(frame_html(frame, caption="t", columns=["c", "a", "absent"])).said[1:] == [
        "C",
        "A",
        "3",
        "1",
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (2, None),
        (3, "Showing 2 of 3 rows; 1 more row is in the file beside this page."),
        (1002, "Showing 2 of 1,002 rows; 1,000 more rows are in the file beside this page."),
    ],
)
def test_rows_beyond_the_cap_are_counted(rows: int, told: str | None) -> None:
    read = Reader(frame_html(pd.DataFrame({"n": range(rows)}), caption="t", cap_rows=2))
    assert len(read.named("tr")) == 3
    assert (read.said[-1] == told) if told else not read.named("p")


def test_an_empty_frame_has_heads_and_no_rows() -> None:
    read = Reader(frame_html(pd.DataFrame({"team": [], "rate": []}), caption="t"))
    assert len(read.named("th")) == 2
    assert read.named("td") == []


def test_labels_read_as_words() -> None:
    assert label("p90") == "9 in 10 left by"
    assert label("mean_won_amount") == "Mean won amount"
    assert label("a\u202eb") == "A⟨U+202E⟩b"
    assert all(text == text.strip() for text in labels().values())


def test_a_heat_table_shades_by_class_and_always_shows_the_figure() -> None:
    frame = pd.DataFrame(
        {
            "cohort": ["2026-Q1", "2026-Q2"],
            "month_0": [1.0, 1.0],
            "month_1": [0.5, 0.72],
            "month_2": [0.3, np.nan],
        }
    )
    html = heat_html(frame, caption="Customers still there", label="cohort")
    read = Reader(html)
    assert [each["class"] for each in read.named("td")] == [
        *("number h6", "number h2", "number h0"),
        *("number h6", "number h4", "number"),
    ]
    assert read.said == [
        "Customers still there",
        *("Created in", "Month 0", "Month 1", "Month 2"),
        *("2026-Q1", "100%", "50%", "30%"),
        *("2026-Q2", "100%", "72%", "n/a"),
        "The darker the cell, the higher the figure, from 30% to 100%.",
    ]
    assert [each["scope"] for each in read.named("th")] == ["col"] * 4 + ["row"] * 2
    fixed = heat_html(frame, caption="t", label="cohort", low=0.0, high=0.5, columns=["month_1"], show=str)
    assert re.findall(r'class="(number[^"]*)">([^<]+)</td>', fixed) == [
        ("number h6", "0.5"),
        ("number h6", "0.72"),
    ]


def test_a_heat_table_of_one_figure_is_not_shaded() -> None:
    same = heat_html(pd.DataFrame({"cohort": ["a", "b"], "m": [0.4, 0.4]}), caption="t", label="cohort")
    assert not re.search(r'class="number h\d"', same)
    assert "darker" not in same
    empty = heat_html(pd.DataFrame({"cohort": [], "m": []}), caption="t", label="cohort")
    assert Reader(empty).named("td") == []


def test_a_figure_stands_under_its_message_with_its_data() -> None:
    frame = pd.DataFrame({"team": ["North"], "rate": [0.25]})
    words = {"message": "North wins 25%.", "alternative": "One dot at 25%."}
    html = figure_html(Figure(), **words, frame=frame, units={"rate": "rate"}, notes=["One team only."])
    assert html.index("<figcaption>North wins 25%.") < html.index("<svg") < html.index("One team only.")
    assert html.index("One team only.") < html.index("<details>") < html.index("<table>")
    assert re.search(
        r"<title id=\"[^\"]+\">North wins 25%\.</title><desc id=\"[^\"]+\">One dot at 25%\.</desc>", html
    )
    assert '<td class="number">25.0%</td>' in html


def test_cards_show_the_first_three_large_with_interval_plan_and_prior() -> None:
    rows = [
        {
            "id": f"h{place}",
            "label": f"L{place}",
            "value": 0.5,
            "unit": "rate",
            "n": 10,
            "low": 0.4,
            "high": 0.6,
        }
        | {"definition": "d", "prior": 0.45, "target": 0.55, "reason": None}
        for place in range(4)
    ]
    rows[3] |= {"value": None, "low": None, "high": None, "prior": None, "target": None, "reason": "no deals"}
    frame = pd.DataFrame(rows)
    frame.attrs["prior_label"] = "2026-Q2"
    html = headlines_html(frame, currency="EUR")
    large, _lesser, small = html.partition('<div class="cards lesser">')
    assert large.count('class="card"') == 3
    assert small.count('class="card"') == 1
    assert "<span>likely 40% to 60%</span><span>plan 55%</span><span>2026-Q2: 45%</span>" in large
    assert '<p class="value">n/a</p><p class="beside"><span>no deals</span></p>' in small


@pytest.mark.parametrize(("high", "told"), [(20.0, True), (10.0, False)])
def test_a_card_leaves_out_a_range_of_one_figure(high: float, *, told: bool) -> None:
    row = {"id": "a", "label": "Likely", "value": 10.0, "unit": "money", "kind": "estimate", "n": 1}
    row |= {"low": 10.0, "high": high, "definition": "d", "target": None, "prior": None, "reason": ""}
    html = headlines_html(pd.DataFrame([row]), currency="EUR")
    assert ("likely €10 to €20" in html) is told
    assert ("<span>likely" in html) is told


def test_a_column_of_ranges_without_any_range_is_left_out() -> None:
    frame = pd.DataFrame({"team": ["A", "B"], "between": ["", ""], "rows": [1, 2]})
    assert "Between" not in Reader(frame_html(frame, caption="c")).said
    frame.loc[1, "between"] = "1 to 2"
    assert "Between" in Reader(frame_html(frame, caption="c")).said
