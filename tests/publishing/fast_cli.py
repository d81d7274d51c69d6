"""The real command line over deals in a JSON file, instead of a dataset that takes a second to open.

``python -m tests.publishing.fast_cli run PLAN ...``; the plan's ``data`` is the JSON file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

from salesops_kit.publishing.lean_imports import leave_out

leave_out()

from tests.publishing import light_server  # noqa: E402
from tests.publishing.kit import TinyPreparer  # noqa: E402


class FilePreparer(TinyPreparer):
    """Deals, and the teams whose reports fail, from a file."""

    def __init__(self, data: str) -> None:
        content = json.loads(Path(data).read_text(encoding="utf-8"))
        super().__init__(tuple(map(tuple, content["deals"])))
        self.broken_for = set(content["broken_for"])


if __name__ == "__main__":
    stand_in = ModuleType("salesops_kit.preparation")
    stand_in.Preparation = FilePreparer  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
    light_server.use()
    from salesops_kit.cli import main

    main()
