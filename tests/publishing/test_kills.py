"""Two hundred runs of the real command line, nearly all of which something kills at some moment.

After every one of them each page is whole and is the page of one untouched bundle; no page is lost or
goes back; a page whose report failed says so. After a last run without a kill everything is published,
``salesops verify`` finds nothing, and no process, socket, temporary folder or lock is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, can_fork
from tests.publishing import wholeness
from tests.publishing.kit import write_template

ROOT = Path(__file__).parents[2]
RUNS, LANES = 200, 2
MARK = "SALESOPS_TEST_LANE"
PLAN = "data: {data}\nreports: [bookings, solo]\nteams: all\nquarters: 2026-Q3\njobs: 2\n"
QUARTER = 'quarter: str = "2026-Q3"  # Fiscal quarter | one of: quarters'
HOWS = (
    "batch SIGKILL", "batch SIGTERM", "batch SIGINT", "batch SIGSTOP", "worker SIGKILL", "worker SIGSTOP",
    "kernel SIGKILL", "kernel SIGSTOP", "server SIGKILL", "workers' server SIGKILL", "nothing",
)  # fmt: skip
GIVES_UP_SECONDS = 120
PAGES = 4


class Lane:
    """One reports folder and the runs that publish there, one after the other."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.random = base, random.Random(seed)
        self.reports, self.temporary = base / "reports", base / "tmp"
        self.temporary.mkdir(parents=True)
        templates = base / "notebooks" / "templates"
        write_template(templates, "bookings")
        write_template(templates, "solo", "team = 'company'", parameters=QUARTER)
        self.plan = base / "plan.yml"
        self.plan.write_text(PLAN.format(data=base / "deals.json"), encoding="utf-8")
        self.mark = f"{os.getpid()}-{seed}"
        self.seconds = [4.0]
        self.made: dict[str, str] = {}
        self.codes: Counter[str] = Counter()
        self.last_code, self.said = 0, ""
        self.hit: Counter[str] = Counter()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        dropped = (ADDRESS_VARIABLE, "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        environment |= {
            # As for whoever runs the kit for the second time, wherever Python may keep compiled files.
            "PYTHONPYCACHEPREFIX": str(self.base.parent / "compiled"),
            "SALESOPS_PROJECT": str(self.base),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.temporary),
            MARK: self.mark,
        }
        command = [sys.executable, "-m", "tests.publishing.fast_cli", *arguments]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )

    def run(self, number: int, how: str) -> None:
        """Change the deals, run the plan, kill something; then look at what is public."""
        deals = [[team, "2026-Q3", number + share] for team, share in (("EMEA", 0.25), ("APAC", 0.5))]
        broken = ["APAC"] if how == "nothing" and number % 3 == 0 and number < RUNS else []
        content = {"deals": deals, "broken_for": broken}
        (self.base / "deals.json").write_text(json.dumps(content), encoding="utf-8")
        began = time.monotonic()
        process = self.start("run", str(self.plan), "--reports", str(self.reports), "--no-progress-bar")
        reader = threading.Thread(target=self._read, args=[process], daemon=True)
        reader.start()
        killed = self._kill(process, how)
        reader.join(GIVES_UP_SECONDS)
        assert process.returncode is not None, f"run {number} does not end after {how}"
        self.last_code = process.returncode
        if not killed:
            self.seconds.append(time.monotonic() - began)
        self.codes[f"{how if killed else 'nothing'}: {process.returncode}"] += 1
        self.look(number, how)

    def _read(self, process: subprocess.Popen[str]) -> None:
        self.said = process.communicate()[1]

    def _kill(self, process: subprocess.Popen[str], how: str) -> bool:
        """Do ``how`` at a random moment, if there is such a process then or soon."""
        who, _, name = how.partition(" SIG")
        if not name:
            return False
        usual = statistics.median(self.seconds[-9:])
        deadline = time.monotonic() + self.random.uniform(0.1, 1.0) * usual
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        while process.poll() is None:
            found = self._processes(process.pid).get(who, [])
            if found:
                number = signal.Signals[f"SIG{name}"]
                self.hit[how] += _signal(self.random.choice(found), number)
                return True
            time.sleep(0.02)
        return False

    def _processes(self, pid: int) -> dict[str, list[psutil.Process]]:
        """The processes of a run by their part in it."""
        found: dict[str, list[psutil.Process]] = {"batch": [], "kernel": [], "worker": []}
        try:
            batch = psutil.Process(pid)
            found["batch"] = [batch]
            for child in batch.children():
                command = " ".join(child.cmdline())
                if "multiprocessing.forkserver" in command:
                    found["workers' server"] = [child]
                    found["worker"] += child.children()
                elif "light_server" in command:
                    found["server"] = [child]
                    found["kernel"] += child.children()
        except psutil.Error:
            pass
        return found

    def look(self, number: int, how: str) -> None:
        """What holds after every run."""
        left = self._still_there(10)
        assert not left, f"run {number}, {how}: {left}"
        made = wholeness.check_pages(self.reports)
        assert set(made) >= set(self.made), f"run {number}, {how}: a page is lost"
        for page, run in made.items():
            assert run >= self.made.get(page, ""), f"run {number}, {how}: {page} went back"
        self.made = made
        for page, run in wholeness.failed_runs(self.reports).items():
            banner = wholeness.BANNER.search((self.reports / page).read_bytes())
            assert banner is not None, f"run {number}, {how}: {page} does not say that run {run} failed"

    def _still_there(self, seconds: float) -> list[str]:
        """Processes of this lane that do not end by themselves."""
        deadline = time.monotonic() + seconds
        while True:
            left = [process for process in psutil.process_iter() if _is_of(process, self.mark)]
            if not left or time.monotonic() > deadline:
                return [str(process) for process in left]
            time.sleep(0.05)

    def finish(self, number: int) -> None:
        """One more run that nobody disturbs, and nothing of any run is left."""
        self.run(number, "nothing")
        assert not self.last_code, self.said
        assert not wholeness.failed_runs(self.reports)
        assert {wholeness.BANNER.search((self.reports / page).read_bytes()) for page in self.made} == {None}
        assert len(self.made) == PAGES
        newest = max(path.stem for path in (self.reports / ".runs").glob("*.json"))
        assert set(self.made.values()) == {newest}
        verify = self.start("verify", str(self.reports))
        _, errors = verify.communicate(timeout=GIVES_UP_SECONDS)
        assert verify.returncode == 0, errors
        assert wholeness.leftovers(self.reports, self.temporary) == []
        with (self.reports / ".lock").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal; what is stopped is killed a moment later. Whether somebody got it."""
    try:
        process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(0.3)
            process.kill()
    except psutil.Error:
        return False
    return True


def _is_of(process: psutil.Process, mark: str) -> bool:
    try:
        is_ours = process.environ().get(MARK) == mark
        return is_ours and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.Error, OSError):
        return False


def kill_runs(base: Path, seed: int, runs: int) -> Lane:
    """A lane after so many runs and one that nobody disturbed."""
    lane = Lane(base, seed)
    hows = [HOWS[number % len(HOWS)] for number in range(runs)]
    lane.random.shuffle(hows)
    for number, how in enumerate(hows, start=1):
        lane.run(number, how)
    lane.finish(RUNS + 1)
    return lane


@pytest.mark.campaign
@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_two_hundred_killed_runs_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(LANES) as pool:
        done = [pool.submit(kill_runs, tmp_path / str(seed), seed, RUNS // LANES) for seed in range(LANES)]
        lanes = [one.result() for one in done]
    hit = sum((lane.hit for lane in lanes), Counter[str]())
    codes = sum((lane.codes for lane in lanes), Counter[str]())
    assert sum(codes.values()) == RUNS + LANES
    assert {how for how, count in hit.items() if count} == set(HOWS) - {"nothing"}, hit
    # Ended by a signal, interrupted, some report failed, or all well: nothing else can come of it.
    assert {code.rpartition(" ")[2] for code in codes} <= {"0", "1", "2", "-9", "-2", "-15"}, codes
    assert sum(hit.values()) > RUNS / 2, hit


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_one_killed_run_of_each_kind_loses_nothing(tmp_path: Path) -> None:
    """A taste of the campaign, for every day."""
    lane = Lane(tmp_path / "lane", 7)
    for number, how in enumerate(("nothing", "batch SIGKILL", "worker SIGSTOP", "kernel SIGKILL"), start=1):
        lane.run(number, how)
    lane.finish(RUNS + 1)
