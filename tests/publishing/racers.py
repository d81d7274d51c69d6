"""Two real processes that begin the same run at the same moment, again and again.

``python -m tests.publishing.racers FOLDER RACES``: FOLDER holds ``t`` (templates) and ``executions``
(pickled); prints one line a race, the exit codes of the two.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from pathlib import Path

from salesops_kit.errors import LockHeldError
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import run
from tests.publishing.inline import Inline, Remembered
from tests.publishing.kit import DEALS, TinyPreparer, templates_in

PLAN = "{data: sample, reports: bookings, teams: [EMEA, APAC]}"


def race(base: Path, number: int, remembered: Remembered) -> list[int]:
    """Fork two runs that wait for one signal; each has deals of its own."""
    start, waiting = socket.socketpair()
    racers = []
    for racer in (1, 2):
        pid = os.fork()
        if pid == 0:
            start.close()
            waiting.recv(1)
            os._exit(one_run(base, 10.0 * number + racer, remembered))
        racers.append(pid)
    waiting.close()
    start.close()
    return sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racers)


def one_run(base: Path, amount: float, remembered: Remembered) -> int:
    """Publish deals that add up to ``amount`` for both teams; 4 when somebody else publishes."""
    deals = [*DEALS, *((team, "2026-Q3", amount) for team in ("EMEA", "APAC"))]
    try:
        with remembered.in_use():
            return run(
                parse_plan(PLAN),
                TinyPreparer(deals),
                reports_root=base / "reports",
                templates=templates_in(base / "t"),
                force=True,
                make_executor=Inline,
            ).exit_code
    except LockHeldError:
        return 4


if __name__ == "__main__":
    folder, races = Path(sys.argv[1]), int(sys.argv[2])
    known = Remembered(executions=pickle.loads((folder / "executions").read_bytes()))
    # What a process imports and compiles for its first run is there for all that are forked from it.
    assert one_run(folder, 0.5, known) == 0
    for race_number in range(races):
        sys.stdout.write(" ".join(map(str, race(folder, race_number, known))) + "\n")
        sys.stdout.flush()
