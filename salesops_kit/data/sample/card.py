"""The sample folder's own description: settings, the list of what was planted, and the data card."""

from __future__ import annotations

from pathlib import Path

from salesops_kit.data.sample.planted import Truths
from salesops_kit.data.sample.timeline import FISCAL_START_MONTH, ZONE

FIRST_QUALIFIED_STAGE = "Qualification"


def write_settings(folder: Path, truths: Truths = Truths()) -> None:
    """dataset.yml."""
    lines = [
        "name: sample",
        f"zone: {ZONE}",
        f"fiscal_start_month: {FISCAL_START_MONTH}",
        "calendar: calendar",
        "base_currency: USD",
        f"first_qualified_stage: {FIRST_QUALIFIED_STAGE}",
        f"observed_until: {truths.observed_until.isoformat()}",
        "excluded_loss_reasons:",
        "- duplicate",
        "- entered in error",
    ]
    (folder / "dataset.yml").write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
