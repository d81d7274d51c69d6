"""A public CRM export, every report of every manager and quarter: all are published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from salesops_kit.data.dataset import import_export
from salesops_kit.preparation import Preparation

ROOT = Path(__file__).parents[1]
EXPORT = ROOT.parent / "shared" / "data" / "maven_crm"


@pytest.mark.campaign
@pytest.mark.skipif(not EXPORT.is_dir(), reason="needs ../shared/data/maven_crm")
def test_every_report_of_every_quarter_is_published(tmp_path: Path) -> None:
    import_export([EXPORT], "maven", tmp_path / "maven")
    preparation = Preparation(str(tmp_path / "maven"))
    scopes, quarters = ["company", *preparation.leaf_teams()], preparation.names()["quarters"]
    plan = {"data": str(tmp_path / "maven"), "reports": "all", "teams": scopes, "quarters": quarters}
    (tmp_path / "plan.yml").write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, "-m", "salesops_kit", "run", str(tmp_path / "plan.yml")]
    command += ["--reports", str(tmp_path / "reports"), "--jobs", "2", "--no-progress-bar"]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    templates = list((ROOT / "notebooks/templates").glob("*.ipynb"))
    published = list((tmp_path / "reports").rglob("manifest.json"))
    assert len(published) == len(quarters) * len(scopes) * len(templates)
