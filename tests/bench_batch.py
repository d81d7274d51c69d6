"""Batches of reports, the kit against the stock tools, in one run on one machine: a table of ratios.

The stock tools are measured on fewer reports (`--stock`) and taken to cost the same for each. The
stock loop is given what favours it: two reports at a time, as the kit runs them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil

from salesops_kit.preparation import Preparation
from salesops_kit.project import ROOT_VARIABLE, TEMPLATES, project_root
from salesops_kit.publishing.isolation import Foreign, isolation_gate
from salesops_kit.publishing.manifest import Manifest
from salesops_kit.publishing.templates import Template, discover

Say = Callable[[str], None]
AT_A_TIME = 2
PR_SET_CHILD_SUBREAPER = 36
QUARTER = "2027-Q3"
PARAMETERS = """\
team: str = "company"    # Team, or company for all | one of: teams
quarter: str = "2027-Q3" # Fiscal quarter | one of: quarters
data: str = "sample"     # Dataset | format: dataset"""
SMALL = (
    "import json, os\nimport numpy as np\nimport pandas as pd\n"
    "rng = np.random.default_rng(7)\n"
    "deals = pd.DataFrame({'size': rng.lognormal(3, 1, 2_000), 'days': rng.gamma(2, 20, 2_000)})\n"
    "deals['won'] = rng.random(2_000) < 1 / (1 + deals['days'] / 40)",
    "import seaborn as sns\naxes = sns.histplot(deals, x='days', hue='won', multiple='stack')",
    "from sklearn.linear_model import LogisticRegression\n"
    "model = LogisticRegression().fit(deals[['size', 'days']], deals['won'])\nmodel.coef_.round(4)",
    "deals.groupby(pd.cut(deals['days'], 5), observed=True)['won'].mean()",
    "from IPython.display import display\n"
    "path = os.environ.get('SALESOPS_CONTEXT')\n"
    "sentinel = json.load(open(path))['sentinel'] if path else ''\n"
    "display({'text/plain': sentinel,\n"
    "    'application/vnd.salesops.sentinel.v1+json': {'sentinel': sentinel}}, raw=True)",
)


@dataclass(frozen=True)
class Measured:
    """One way to make a batch: seconds and CPU seconds for each report, and how many were made."""

    name: str
    reports: int
    seconds: float
    cpu: float


def small_template(folder: Path) -> Path:
    """The reference notebook: one frame, one seaborn chart, one scikit-learn fit."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.metadata["salesops"] = {
        "title": "Small", "description": "A reference", "audience": "leaders", "tables": [],
    }  # fmt: skip
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_code_cell(source) for source in SMALL]
    notebook.cells = [nbformat.v4.new_markdown_cell("# How long do deals take?"), parameters, *cells]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / "small.ipynb")
    return folder / "small.ipynb"


def grid(preparation: Preparation, teams: int, quarters: int) -> tuple[list[str], list[str]]:
    """The first teams and the newest quarters of the sample."""
    names = preparation.names()
    return names["teams"][:teams], names["quarters"][-quarters:]


def adopt_orphans() -> None:
    """Make this process the parent of whatever outlives its children, as the pools of workers do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _cpu() -> float:
    """Seconds of the processors that this process and all that it started have used, once they ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(name: str, reports: int, work: Callable[[], object]) -> Measured:
    """Time some work that makes so many reports."""
    cpu, began = _cpu(), time.perf_counter()
    work()
    return Measured(name, reports, (time.perf_counter() - began) / reports, (_cpu() - cpu) / reports)


def _call(*arguments: str) -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("JUPYTER_DEFAULT")}
    subprocess.run(
        [sys.executable, "-m", *arguments], check=True, env=environment, cwd=project_root(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def stock_cli(template: Template, jobs: list[tuple[str, str]], folder: Path) -> None:
    """The papermill CLI, then the nbconvert CLI, two reports at a time."""

    def one(number: int) -> None:
        team, quarter = jobs[number]
        made = folder / f"cli{number}.ipynb"
        _call(
            "papermill", str(template.path), str(made), "-r", "team", team, "-r", "quarter", quarter,
            "--no-progress-bar",
        )  # fmt: skip
        _call("nbconvert", "--to", "html", "--no-input", str(made))

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(one, range(len(jobs))))


STOCK_API = """
import json, sys, papermill, nbconvert, pathlib
template, folder, jobs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for number, (team, quarter) in jobs:
    made = f"{folder}/api{number}.ipynb"
    papermill.execute_notebook(template, made, {"team": team, "quarter": quarter}, progress_bar=False)
    page, _ = nbconvert.HTMLExporter(exclude_input=True).from_filename(made)
    pathlib.Path(made).with_suffix(".html").write_text(page)
"""


def stock_api(template: Template, jobs: list[tuple[str, str]], folder: Path) -> None:
    """Papermill's and nbconvert's Python API, in two processes that import once."""
    numbered = list(enumerate(jobs))

    def share(first: int) -> None:
        part = json.dumps(numbered[first::AT_A_TIME])
        subprocess.run(
            [sys.executable, "-c", STOCK_API, str(template.path), str(folder), part],
            check=True, cwd=project_root(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(share, range(AT_A_TIME)))


class Memory:
    """The largest proportional memory (MB) of any kernel, worker and server below this process.

    Looking takes time itself, so that nothing is timed meanwhile.
    """

    def __init__(self) -> None:
        self.kernel = self.worker = self.server = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._is_over.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    info = process.memory_full_info()
                    size = getattr(info, "pss", info.uss) / 1e6
                    words = " ".join(process.cmdline())
                    parent = process.parent()
                    above = " ".join(parent.cmdline()) if parent else ""
                except psutil.Error:
                    continue
                if "warm_kernels.server" in above:
                    self.kernel = max(self.kernel, size)
                elif "warm_kernels.server" in words:
                    self.server = max(self.server, size)
                elif "forkserver" in words:
                    self.worker = max(self.worker, size)


@dataclass(frozen=True)
class Project:
    """A folder with one template and the sample data, and where its reports go."""

    root: Path
    template: Template

    @property
    def reports(self) -> Path:
        """Where its reports are published."""
        return self.root / "reports"


def make_project(root: Path, template: Path, *more: str) -> Project:
    """A project that has just this template, and copies of it under other names; a template that lies there
    already is left as it is."""
    templates = root / TEMPLATES
    templates.mkdir(parents=True, exist_ok=True)
    if template.parent != templates:
        shutil.copyfile(template, templates / template.name)
    for name in more:
        shutil.copyfile(template, templates / f"{name}.ipynb")
    (root / "data").symlink_to(project_root() / "data")
    return Project(root, discover(templates)[template.stem])


def kit(project: Project, teams: list[str], quarters: list[str]) -> Callable[[], None]:
    """The kit's own batch by its command line: pages, checks, workbooks and catalog included."""
    plan = {"data": "sample", "reports": "all", "teams": teams, "quarters": quarters}
    file = project.root / "plan.yml"
    file.write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, "-m", "salesops_kit", "run", str(file), "--reports", str(project.reports)]
    command += ["--jobs", str(AT_A_TIME), "--no-progress-bar"]

    def work() -> None:
        subprocess.run(
            command, check=True, cwd=project_root(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, ROOT_VARIABLE: str(project.root)},
        )  # fmt: skip

    return work


def overhead(reports: Path) -> float:
    """The median over reports of the seconds besides those of the cells themselves: kernel, messages
    between cells, rendering, writing."""
    besides = []
    for file in reports.glob("**/manifest.json"):
        spent = Manifest.model_validate_json(file.read_bytes()).timings
        notebook = nbformat.read(file.with_name("notebook.ipynb"), as_version=4)
        cells = sum(cell.metadata.papermill.get("duration") or 0 for cell in notebook.cells)
        besides.append(spent.start + spent.cells + spent.render + spent.publish - cells)
    return statistics.median(besides)


def compare(name: str, project: Project, preparation: Preparation, stock: int, say: Say) -> None:
    """40 reports by the kit, some by the stock tools, and the unchanged 40 again."""
    teams, quarters = grid(preparation, 8, 5)
    jobs = [(team, quarter) for quarter in quarters for team in teams]
    work = kit(project, teams, quarters)
    ours = measure("kit", len(jobs), work)
    again = measure("kit, the same again", 1, work)
    scratch, template = project.root, project.template
    rows = [
        ours,
        measure("papermill + nbconvert, API", stock, lambda: stock_api(template, jobs[:stock], scratch)),
        measure("papermill + nbconvert, CLI", stock, lambda: stock_cli(template, jobs[:stock], scratch)),
    ]
    say(f"\n{name}: {AT_A_TIME} at a time, {len(jobs)} reports by the kit, {stock} by the stock tools")
    say(f"{'':<30}{'s/report':>9}{'CPU s':>8}{'ratio':>8}{'CPU ratio':>11}")
    for row in rows:
        ratios = f"{row.seconds / ours.seconds:>8.1f}{row.cpu / ours.cpu:>11.1f}"
        say(f"{row.name:<30}{row.seconds:>9.2f}{row.cpu:>8.2f}{ratios}")
    say(f"overhead over the cells' own time, median: {overhead(project.reports):.2f} s a report")
    say(f"the same {len(jobs)} reports again, unchanged: {again.seconds:.1f} s, {again.cpu:.1f} s of CPU")


def growth(template: Path, preparation: Preparation, folder: Path, largest: int, say: Say) -> None:
    """How the time and the memory of a batch grow with its reports."""
    say("\nGrowth, small notebook; the largest process of its kind, proportional memory")
    say(f"{'reports':>8}{'seconds':>9}{'s/report':>9}{'CPU s':>8}{'kernel':>10}{'worker':>10}{'server':>10}")
    # The sample has fewer quarters than 25: as many reports come from two templates.
    for teams, quarters, more in ((1, 1, ()), (5, 2, ()), (8, 5, ()), (8, 25, ("again",))):
        names = grid(preparation, teams, quarters)
        count = len(names[0]) * len(names[1]) * (1 + len(more))
        if count > largest:
            break
        project = make_project(folder / f"batch{count}", template, *more)
        made = measure("kit", count, kit(project, *names))
        shutil.rmtree(project.reports)
        with Memory() as memory:
            kit(project, *names)()
        sizes = "".join(f"{size:>7.0f} MB" for size in (memory.kernel, memory.worker, memory.server))
        say(f"{count:>8}{made.seconds * count:>9.1f}{made.seconds:>9.2f}{made.cpu:>8.2f}{sizes}")


def search(folder: Path, say: Say) -> None:
    """The processor time of looking for texts of other teams in a large report: half a megabyte of page, of
    notebook and of CSV each."""
    line = "<tr><td>deal-{0}</td><td>Zvxq {0} Holding</td><td>{0}.25</td></tr>\n"
    content = "".join(line.format(number) for number in range(8_000))
    files = [folder / name for name in ("page.html", "notebook.ipynb", "deals.csv")]
    for path in files:
        path.write_text(content, encoding="utf-8")
    texts = {"id": [f"opp-{n:06d}" for n in range(250)], "name": [f"Zvxq {n} Bros" for n in range(250)]}
    spent = []
    for _ in range(5):
        began = time.process_time()
        isolation_gate(files, Foreign(texts, lambda _text: False))
        spent.append(time.process_time() - began)
    say(f"\n500 texts looked for in 1.5 MB of a report: {statistics.median(spent) * 1e3:.0f} ms")


def main(say: Say = print, *, stock: int = 6, largest: int = 250) -> None:
    """Measure and say it."""
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="salesops-bench-"))
    preparation = Preparation("sample")
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Else every import of every tool would be compiled anew, which no installation does.
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    try:
        reference = small_template(folder / "reference")
        small = make_project(folder / "small", reference)
        funnel = make_project(folder / "funnel", project_root() / TEMPLATES / "funnel.ipynb")
        first = [("company", QUARTER)] * AT_A_TIME
        kit(make_project(folder / "first", reference), *grid(preparation, 2, 1))()
        for tool in (stock_api, stock_cli):
            tool(small.template, first, folder)
        say(f"\n{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")
        compare("small notebook (pandas, seaborn, one fit)", small, preparation, stock, say)
        compare("funnel on the sample", funnel, preparation, stock, say)
        growth(reference, preparation, folder, largest, say)
        search(folder, say)
        say(f"load {os.getloadavg()[0]:.1f} at the end")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
