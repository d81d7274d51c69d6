"""Runs without worker processes whose notebooks are executed once, by a real kernel, and then remembered.

For tests of what happens to the files of a run, which are the same whoever executed the notebook.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import nbformat
import pytest

from salesops_kit.publishing import publish, worker
from salesops_kit.publishing.execute import Execution


class Inline(Executor):
    """Does the work of an order in this process, when it is handed over."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Remembered:
    """Executions by template and parameters, each with the sentinel that it showed; pages by their facts."""

    executions: dict[str, tuple[str, Execution]] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    of: str = ""

    def execute(
        self, notebook: Any, params: Mapping[str, Any], *, sentinel: str, **options: Any
    ) -> Execution:
        """A real execution, or one like it that shows another sentinel."""
        key = json.dumps([nbformat.writes(notebook), dict(params), self.of], sort_keys=True)
        if key not in self.executions:
            self.executions[key] = (sentinel, self._execute(notebook, params, sentinel=sentinel, **options))
        shown, made = self.executions[key]
        if made.notebook is None:
            return made
        text = nbformat.writes(made.notebook).replace(shown, sentinel)
        return replace(made, notebook=nbformat.reads(text, as_version=4))

    def render(self, notebook: Any, facts: Mapping[str, Any], *, locale: str) -> str:
        """A real page, or the one of the same notebook and facts."""
        key = json.dumps([nbformat.writes(notebook), dict(facts), locale], sort_keys=True, default=str)
        if key not in self.pages:
            self.pages[key] = self._render(notebook, facts, locale=locale)
        return self.pages[key]

    @contextmanager
    def in_use(self, of: str = "") -> Iterator[None]:
        """Workers of this process use what is remembered of executions on the same data ``of``."""
        self.of = of
        self._execute, self._render = worker.execute, worker.render
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "execute", self.execute)
            for module in (worker, publish):
                patch.setattr(module, "render", self.render)
            yield
