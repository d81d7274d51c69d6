"""Imports that take seconds and that notebooks do not need, left out."""

from __future__ import annotations

import sys

# jsonschema, by which nbformat checks notebooks, compiles a grammar of internationalised addresses with it;
# no field of a notebook has that format.
NOT_NEEDED = ("rfc3987_syntax",)


def leave_out() -> None:
    """Make the imports fail as if the modules were not installed; call it before nbformat is imported."""
    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
