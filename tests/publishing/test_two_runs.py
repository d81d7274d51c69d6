"""One run publishes at a time, and a lock goes with whoever held it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from salesops_kit.publishing import ledger
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.verify import verify
from tests.publishing import wholeness
from tests.publishing.inline import Remembered
from tests.publishing.kit import write_template
from tests.publishing.racers import one_run

ROOT = Path(__file__).parents[2]
RACES = 20
pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked")


def test_of_two_runs_at_once_one_publishes_and_one_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty races: no mixture of two runs, one exit code 0 and one 4 each time."""
    (tmp_path / "tmp").mkdir()
    write_template(tmp_path / "t", "bookings")
    # What is executed is the notebook of these deals; the runs differ in their numbers and files.
    remembered = Remembered()
    assert one_run(tmp_path, 1.0, remembered) == 0
    (tmp_path / "executions").write_bytes(pickle.dumps(remembered.executions))
    command = [sys.executable, "-m", "tests.publishing.racers", str(tmp_path), str(RACES)]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.stdout.splitlines() == ["0 4"] * RACES, done.stderr
    root = tmp_path / "reports"
    records = ledger.read_ledger(root)[0].records
    assert [record.seq for record in records] == list(range(1, RACES + 3))
    assert {record.status for record in records} == {"complete"}
    for record in records:
        assert [entry.manifest.status for entry in record.jobs] == ["success"] * 2
        assert {entry.manifest.run for entry in record.jobs} == {record.run}
    assert set(wholeness.check_pages(root).values()) == {records[-1].run}
    assert verify(root) == []
    assert wholeness.leftovers(root, tmp_path / "tmp") == []


def test_the_lock_of_a_killed_run_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom salesops_kit.publishing.lock import hold_lock\n"
        "with hold_lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Exception, match=rf"another run \(process {process.pid}\)"), hold_lock(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / ".lock").read_text() == str(process.pid)
    with hold_lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
