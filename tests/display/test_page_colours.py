"""The page's colours and the charts' palette agree, and text on them can be read in both schemes."""

from __future__ import annotations

import re

import pytest

from salesops_kit.display.gallery import STYLESHEET
from salesops_kit.display.heat import SHADES
from salesops_kit.display.palette import VARIABLES

TEXT, SHAPE = 4.5, 3.0


def schemes() -> dict[str, dict[str, str]]:
    """The variables of each scheme, as the cascade leaves them."""
    css = STYLESHEET.read_text(encoding="utf-8")
    light: dict[str, str] = {}
    dark: dict[str, str] = {}
    paper: dict[str, str] = {}
    media = ""
    for at_rule, body, end in re.findall(r"(@media[^{]*)\{|:root\s*\{([^}]*)\}|(^\})", css, flags=re.M):
        if at_rule:
            media = at_rule
        elif end:
            media = ""
        else:
            into = dark if "dark" in media else paper if "print" in media else light
            into |= dict(re.findall(r"--([\w-]+):\s*([^;]+?)\s*;", body + ";"))
    return {"light": light, "dark": light | dark, "print": light | paper}


def luminance(colour: str) -> float:
    if len(colour) == 4:
        colour = "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_contrast_is_computed_as_the_guideline_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_schemes_are_read() -> None:
    assert schemes()["light"]["ground"] != schemes()["dark"]["ground"] != schemes()["print"]["ground"]
    assert luminance(schemes()["dark"]["heat-6"]) < luminance(schemes()["light"]["heat-6"])
    assert schemes()["print"]["heat-6"] == schemes()["light"]["heat-6"]


def test_every_palette_colour_is_a_variable_of_the_page_with_the_same_value() -> None:
    light = schemes()["light"]
    assert {name: light[name] for name in VARIABLES.values()} == {
        name: hue for hue, name in VARIABLES.items()
    }


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "total", "loss", "gain"])
def test_text_and_shapes_stand_out_from_the_ground(scheme: str, name: str) -> None:
    colours = schemes()[scheme]
    least = TEXT if name in {"ink", "muted", "accent"} else SHAPE
    assert contrast(colours[name], colours["ground"]) >= least


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_figures_on_every_shade_are_readable_and_the_shades_rise(scheme: str) -> None:
    colours = schemes()[scheme]
    shades = [colours[f"heat-{step}"] for step in range(SHADES)]
    assert min(contrast(colours["ink"], shade) for shade in shades) >= TEXT
    levels = [luminance(shade) for shade in shades]
    assert levels == sorted(levels, reverse=scheme != "dark")
    assert len(set(shades)) == SHADES


def test_every_shade_class_has_its_rule() -> None:
    css = STYLESHEET.read_text(encoding="utf-8")
    for step in range(SHADES):
        assert re.search(rf"\.heat \.h{step} \{{ background: var\(--heat-{step}\)", css)
