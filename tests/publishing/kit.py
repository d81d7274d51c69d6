"""A small real preparer and small real templates: the whole of publishing without a workbook."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from salesops_kit.publishing.templates import Template, discover
from salesops_kit.settings import Settings

PLACE = tempfile.gettempdir()  # Whatever a test lets temporary files be in later.
DEALS = (
    ("EMEA", "2026-Q2", 100.0),
    ("EMEA", "2026-Q3", 250.25),
    ("APAC", "2026-Q2", 40.0),
    ("APAC", "2026-Q3", 60.5),
)
PARAMETERS = """\
team: str = "company"     # Team, or company for all | one of: teams
quarter: str = "2026-Q3"  # Fiscal quarter | one of: quarters
data: str = "sample"      # Dataset | format: dataset
horizon: int = 2          # Quarters ahead | range: 1..8; unit: quarters"""
OPEN = """\
import json, os
from IPython.display import display
context = json.load(open(os.environ["SALESOPS_CONTEXT"]))"""
SHOW = """\
won = sum(row["amount"] for row in context["rows"])
display({"text/plain": f"won {won}", "application/vnd.salesops.headline.v1+json": {
    "id": "won", "value": won, "unit": "USD", "kind": "additive", "n": len(context["rows"]),
    "low": None, "high": None, "definition": "Sum of won deals", "as_of": context["as_of"],
    "scope": team, "target": None, "prior": None, "reason": None}}, raw=True)
display({"text/plain": "deals", "application/vnd.salesops.table.v1+json": {
    "id": "deals", "title": "Deals: all", "truncated": False, "as_of": context["as_of"], "scope": team,
    "notes": [], "columns": [{"name": "team", "label": "Team", "unit": None},
    {"name": "amount", "label": "Amount", "unit": "USD"}],
    "rows": [[row["team"], row["amount"]] for row in context["rows"]]}}, raw=True)"""
END = """\
display({"text/plain": context["sentinel"], "application/vnd.salesops.sentinel.v1+json":
    {"sentinel": context["sentinel"]}}, raw=True)"""


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for sockets in it, as the folders of pytest do not."""
    with tempfile.TemporaryDirectory(prefix="t-", dir=PLACE, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def write_template(
    folder: Path,
    report: str,
    *cells: str,
    audience: str = "leaders",
    parameters: str = PARAMETERS,
    end: str = END,
    show: str = SHOW,
    **metadata: Any,
) -> Path:
    """A template with the cells between opening the context and the headline."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["salesops"] = {
        "title": report.replace("_", " ").capitalize(),
        "description": "A report of the tests",
        "audience": audience,
        "tables": ["bookings.deals"],
        **metadata,
    }
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    parameters_cell = nbformat.v4.new_code_cell(parameters)
    parameters_cell.metadata["tags"] = ["parameters"]
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# How is the quarter going?"),
        nbformat.v4.new_markdown_cell("## How much was won?"),
        parameters_cell,
        *(nbformat.v4.new_code_cell(source) for source in (OPEN, *cells, show, end) if source),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report}.ipynb"
    nbformat.write(notebook, path)
    return path


def templates_in(folder: Path) -> dict[str, Template]:
    """The templates of a folder."""
    return discover(folder)


class TinyPreparer:
    """Deals in memory, cut by team and quarter as a preparer must."""

    def __init__(self, deals: Any = DEALS, leaf_teams: tuple[str, ...] = ("EMEA", "APAC")) -> None:
        self.deals = tuple(deals)
        self._leaf_teams = list(leaf_teams)
        self.settings = Settings(record_link="https://crm.example.com/deal/{opportunity_id}")
        self.broken_for: set[str] = set()
        self.foreign: dict[str, list[str]] = {}
        self.mentioned: set[str] = set()

    @property
    def snapshot(self) -> Mapping[str, Any]:
        return {"digests": {"deals": self._digest()}, "seq": 1, "observed_until": "2026-09-30", "quality": {}}

    def names(self) -> dict[str, list[str]]:
        return {
            "teams": ["company", *self._leaf_teams],
            "quarters": ["2026-Q2", "2026-Q3"],
            "reps": ["r1", "r2"],
        }

    def leaf_teams(self) -> list[str]:
        return self._leaf_teams

    def _digest(self) -> str:
        return hashlib.sha256(repr(self.deals).encode()).hexdigest()

    def key_parts(self, report_tables: Sequence[str], params: dict[str, Any]) -> dict[str, str]:
        digest = hashlib.sha256(repr(self._rows(params)).encode()).hexdigest()
        return {"data": digest, "tables": ",".join(report_tables)}

    def _rows(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        team = params.get("team", "company")
        return [
            {"team": name, "amount": amount}
            for name, quarter, amount in self.deals
            if team in ("company", name) and quarter == params.get("quarter", quarter)
        ]

    def period_text(self, params: dict[str, Any]) -> str:
        return str(params.get("quarter", "all time"))

    def effective_as_of(self, params: dict[str, Any]) -> str:
        return "2026-09-30"

    def foreign_texts(self, params: dict[str, Any]) -> dict[str, list[str]]:
        return self.foreign if params.get("team", "company") != "company" else {}

    def mentions(self, params: dict[str, Any], text: str) -> bool:
        return text in self.mentioned

    def context(
        self, params: dict[str, Any], folder: Path, sentinel: str, *, report_tables: Sequence[str] = ()
    ) -> Path:
        team = params.get("team", "company")
        if team in self.broken_for:
            raise OSError(f"no slice for {team}: postgresql://ann:hunter22@db/crm is down")
        rows = self._rows(params)
        path = folder / "context.json"
        path.write_text(
            json.dumps({"sentinel": sentinel, "as_of": "2026-09-30", "rows": rows, "params": params})
        )
        return path
