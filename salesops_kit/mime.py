"""The types of output by which a notebook tells what it shows, and by which publishing reads it."""

from __future__ import annotations

OWN_TYPES = "application/vnd.salesops."
HEADLINE = f"{OWN_TYPES}headline.v1+json"
TABLE = f"{OWN_TYPES}table.v1+json"
QUALITY = f"{OWN_TYPES}quality.v1+json"
SENTINEL = f"{OWN_TYPES}sentinel.v1+json"
