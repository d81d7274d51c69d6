"""The engines, each opened once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.crm import Crm, small_crm
from tests.engines.servers import Server, postgres_server, spark_session


@pytest.fixture(scope="package")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Crm:
    """The small CRM as files."""
    return small_crm(tmp_path_factory.mktemp("crm"))


@pytest.fixture(scope="package")
def postgres() -> Iterator[Server]:
    """A running PostgreSQL."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="package")
def spark() -> Iterator[Any]:
    """A running local Spark."""
    with spark_session() as session:
        yield session


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files are written on the way."""
    return tmp_path_factory.mktemp("engines")
