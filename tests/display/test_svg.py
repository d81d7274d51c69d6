"""A figure becomes small, accessible, deterministic SVG in which nothing of the data is live."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from salesops_kit.display.palette import ACCENT
from salesops_kit.display.svg import _kept_points, figure_svg


def chart(label: str = "North", values: tuple[float, ...] = (1.0, 2.0)) -> Figure:
    figure = Figure(figsize=(4, 2))
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
    axes.plot(range(len(values)), values, color=ACCENT)
    axes.set_yticks([1.0], labels=[label])
    axes.annotate(label, xy=(0, 1), url="https://attacker.example/")
    return figure


def draw(figure: Figure, **options: str) -> str:
    return figure_svg(figure, **({"title": "Won by team", "description": "Two teams."} | options))  # type: ignore[arg-type]


def test_same_figure_same_bytes_and_other_figure_other_ids() -> None:
    assert draw(chart()) == draw(chart())
    pages = [draw(chart()), draw(chart("South")), draw(chart(), title="Lost by team")]
    ids = [name for page in pages for name in re.findall(r' id="([^"]+)"', page)]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 6
    named = draw(chart(), figure_id="fig-7")
    assert all(name.startswith("fig-7-") for name in re.findall(r' id="([^"]+)"', named))


def test_references_stay_inside_the_figure() -> None:
    svg = draw(chart())
    ids = set(re.findall(r' id="([^"]+)"', svg))
    referred = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    assert referred
    assert referred <= ids


def test_picture_has_role_name_and_description() -> None:
    root = ET.fromstring(draw(chart(), title="Won <b>", description='Two "teams" & more.'))
    assert root.get("role") == "img"
    title, description = root.find("title"), root.find("desc")
    assert (title.text, description.text) == ("Won <b>", 'Two "teams" & more.')  # type: ignore[union-attr]
    assert root.attrib["aria-labelledby"].split() == [title.get("id"), description.get("id")]  # type: ignore[union-attr]


@pytest.mark.parametrize(("title", "description"), [("", "Said."), ("Said", "  "), (" ", "")])
def test_a_picture_without_words_is_refused(title: str, description: str) -> None:
    with pytest.raises(ValueError, match="needs a title and a description"):
        figure_svg(chart(), title=title, description=description)


HOSTILE = {
    "tag": ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    "close": ("</text></svg><img src=x onerror=alert(1)>", "</text></svg><img src=x onerror=alert(1)>"),
    "mathtext": ("$x$ and \\alpha_{1}", "$x$ and \\alpha_{1}"),
    "broken mathtext": ("cost $ of } 5%", "cost $ of } 5%"),
    "entity": ("&lt;b&gt;&#x0;&nope;", "&lt;b&gt;&#x0;&nope;"),
    "direction": ("EMEA\u202egpj.exe", "EMEA⟨U+202E⟩gpj.exe"),
    "mark": ("A\u200fB\u2066C", "A⟨U+200F⟩B⟨U+2066⟩C"),
    "null": ("a\x00b\x08", "a⟨U+0000⟩b⟨U+0008⟩"),
    "noncharacter": ("a\uffffb", "a⟨U+FFFF⟩b"),
    "cdata": ("]]><!--<?xml?>", "]]><!--<?xml?>"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_labels_are_text(kind: str) -> None:
    label, seen = HOSTILE[kind]
    svg = draw(chart(label))
    root = ET.fromstring(svg)
    texts = ["".join(item.itertext()) for item in root.iter("text")]
    assert texts.count(seen) == 2, texts
    tags = {item.tag for item in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    names = {name for item in root.iter() for name in item.attrib}
    assert not {name for name in names if name.startswith("on") or name in {"style", "src", "class"}}
    assert "attacker.example" not in svg


@settings(max_examples=15)
@given(st.text(max_size=30))
def test_any_label_gives_valid_xml(label: str) -> None:
    ET.fromstring(draw(chart(label), title=f"t{label}", description=f"d{label}"))


def test_colours_outside_the_palette_stay_hex_and_the_others_follow_the_page() -> None:
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot([0, 1], [0, 1], color="#ab12cd")
    axes.plot([0, 1], [1, 0], color=ACCENT)
    svg = draw(figure)
    assert 'stroke="#ab12cd"' in svg
    assert f'stroke="var(--accent, {ACCENT})"' in svg
    assert "style" not in svg


def test_the_page_of_the_machine_leaves_no_trace() -> None:
    svg = draw(chart())
    assert "metadata" not in svg
    assert "matplotlib" not in svg.lower()
    assert "DOCTYPE" not in svg
    assert "http" not in svg


def test_long_curves_are_thinned_without_being_seen() -> None:
    angles = np.linspace(0, 6, 1000)
    svg = draw(chart(values=tuple(np.sin(angles))))
    longest = max(re.findall(r' d="([^"]+)"', svg), key=len)
    assert longest.count("L") < 200
    points = np.column_stack([angles * 50, np.sin(angles) * 80])
    kept = _kept_points(points, 0.25)
    assert kept[[0, -1]].all()
    rebuilt = np.interp(points[:, 0], points[kept, 0], points[kept, 1])
    assert np.abs(rebuilt - points[:, 1]).max() < 0.5


def test_drawing_changes_no_global_setting() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(chart())
    assert dict(matplotlib.rcParams) == before
