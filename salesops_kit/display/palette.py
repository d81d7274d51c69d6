"""The colours of charts: one hex for each meaning, and the CSS variable that a page may set for it.

Blue and orange stay apart under every common colour blindness, and each also differs in lightness;
a sign, a shape or a label always says the same thing as the colour. Contrast with white is at least
4.5 for what is text and 3 for what is shape.
"""

from __future__ import annotations

INK = "#1b2530"
MUTED = "#56616d"
RULE = "#c6cdd5"
GROUND = "#fefefe"
ACCENT = "#1f5f9f"
SOFT = "#bcd3ea"
GAIN = "#2f78b7"
LOSS = "#c2571a"
TOTAL = "#5b6876"

VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    GROUND: "ground",
    ACCENT: "accent",
    SOFT: "soft",
    GAIN: "gain",
    LOSS: "loss",
    TOTAL: "total",
}
