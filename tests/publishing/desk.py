"""Reports in a folder of one's own, published by runs that are quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import RunResult, run
from tests.publishing.inline import Inline, Remembered
from tests.publishing.kit import DEALS, TinyPreparer, templates_in

PLAN = "{data: sample, reports: bookings, teams: [EMEA, APAC]}"


class Desk:
    """Reports in a folder of one's own, published by runs that are quick."""

    def __init__(self, templates: Path, root: Path, remembered: Remembered) -> None:
        self.templates, self.root, self.remembered = templates, root, remembered

    def run(self, deals: Any = DEALS, *, broken: str = "", plan: str = PLAN, **options: Any) -> RunResult:
        preparer = TinyPreparer(deals)
        preparer.broken_for = {broken}
        with self.remembered.in_use(repr(deals)):
            return run(
                parse_plan(plan),
                preparer,
                reports_root=self.root,
                templates=templates_in(self.templates),
                make_executor=Inline,
                **options,
            )

    def statuses(self, result: RunResult) -> dict[str, str]:
        return {entry.manifest.scope: entry.manifest.status for entry in result.entries}
