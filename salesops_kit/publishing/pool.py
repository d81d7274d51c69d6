"""A pool of worker processes that outlives the death of a worker, and can be stopped at once."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from salesops_kit.publishing.manifest import Failure
from salesops_kit.publishing.redact import redact
from salesops_kit.publishing.worker import Outcome, WorkOrder, start_worker, work

TICK_SECONDS = 0.2
GRACE_SECONDS = 60
ATTEMPTS = 2
# Orders that wait for each worker: the first of a quarter takes longer to prepare than a report to run.
AHEAD = 2
END_SECONDS = 5
PRELOADED = ["salesops_kit.publishing.preloaded"]

ExecutorFactory = Callable[[int], Executor]


def local_processes(workers: int) -> Executor:
    """Interpreters on this machine that inherit nothing of the driver's memory.

    On Linux they are forked from a server that has imported what a worker needs, which saves seconds
    for each of them; elsewhere they start fresh, since a fork is not safe there.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        from multiprocessing import forkserver

        context.set_forkserver_preload(PRELOADED)
        # It imports while the first orders are prepared.
        forkserver.ensure_running()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)


@dataclass
class _Flight:
    index: int
    deadline: float | None = None


@dataclass
class Pool:
    """Runs orders a few at a time. ``prepare`` makes an order just before it is handed over.

    ``should_stop`` is asked several times a second. A worker's death costs the reports that were in
    it one more attempt; a report at which workers die twice is ``killed``. A worker that is silent
    for a minute past its report's limit is ended.
    """

    prepare: Callable[[int], WorkOrder | Outcome]
    workers: int
    limit_seconds: float
    should_stop: Callable[[], bool] = lambda: False
    make_executor: ExecutorFactory = local_processes
    _attempts: dict[int, int] = field(default_factory=dict)

    def run(self, count: int) -> Generator[tuple[int, Outcome], None, None]:
        """Yield each order's number and outcome as it ends; ends early when told to stop."""
        waiting = list(range(count))
        while waiting and not self.should_stop():
            before = set(multiprocessing.active_children())
            executor = self.make_executor(min(self.workers, len(waiting)))
            flights: dict[Future[Outcome], _Flight] = {}
            try:
                yield from self._fly(executor, waiting, flights)
            finally:
                executor.shutdown(wait=False, cancel_futures=True)
                _end(set(multiprocessing.active_children()) - before, at_once=bool(flights))

    def _fly(
        self, executor: Executor, waiting: list[int], flights: dict[Future[Outcome], _Flight]
    ) -> Iterator[tuple[int, Outcome]]:
        while (waiting or flights) and not self.should_stop():
            is_broken = False
            while waiting and not is_broken and len(flights) < self._room(waiting[0], flights):
                order = self.prepare(waiting[0])
                index = waiting.pop(0)
                if isinstance(order, Outcome):
                    yield index, order
                    continue
                try:
                    flights[executor.submit(work, order)] = _Flight(index)
                except BrokenProcessPool:
                    waiting.insert(0, index)
                    is_broken = True
            done, _ = wait(flights, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                flight = flights[future]
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    is_broken = True
                    continue
                del flights[future]
                if error is None:
                    yield flight.index, future.result()
                else:
                    yield flight.index, _lost("failed", type(error).__name__, redact(str(error)))
            late = self._late(flights)
            for future in late:
                yield (
                    flights.pop(future).index,
                    _lost("timeout", "WorkerTimeout", "the worker did not answer"),
                )
            if is_broken or late:
                yield from self._again(flights, waiting, is_broken=is_broken)
                return

    def _room(self, index: int, flights: dict[Future[Outcome], _Flight]) -> int:
        """How many orders may be under way: one when a worker has died at any of them."""
        suspects = any(self._attempts.get(i) for i in (index, *(f.index for f in flights.values())))
        return 1 if suspects else self.workers * (1 + AHEAD)

    def _late(self, flights: dict[Future[Outcome], _Flight]) -> list[Future[Outcome]]:
        now = time.monotonic()
        for future, flight in flights.items():
            if flight.deadline is None and future.running():
                # The executor calls one queued future running too, so the limit counts twice.
                flight.deadline = now + 2 * self.limit_seconds + GRACE_SECONDS
        return [f for f, flight in flights.items() if flight.deadline is not None and now > flight.deadline]

    def _again(
        self, flights: dict[Future[Outcome], _Flight], waiting: list[int], *, is_broken: bool
    ) -> Iterator[tuple[int, Outcome]]:
        for flight in sorted(flights.values(), key=lambda flight: flight.index, reverse=True):
            tried = self._attempts.get(flight.index, 0) + is_broken
            self._attempts[flight.index] = tried
            if tried < ATTEMPTS:
                waiting.insert(0, flight.index)
            else:
                yield flight.index, _lost("killed", "WorkerDied", "the worker process died")


def _lost(status: str, name: str, message: str) -> Outcome:
    return Outcome(status, Failure(name=name, message=message))  # type: ignore[arg-type]


def _end(processes: set[multiprocessing.process.BaseProcess], *, at_once: bool) -> None:
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        if at_once:
            process.terminate()
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
