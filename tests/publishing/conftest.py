"""One fork server for all tests here, since what they test does not depend on how long it took to import;
and folders whose names leave room for the paths of sockets."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from types import SimpleNamespace

import pytest

from salesops_kit.publishing import schedule
from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, WarmKernels
from tests.publishing.desk import Desk
from tests.publishing.inline import Remembered
from tests.publishing.kit import short_folder, write_template


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[str]:
    """The address of the fork server, which every run of these tests uses."""
    # This process has one folder for the sockets of multiprocessing until it ends: made before a test lets
    # temporary files be in a folder that is gone after it, and nothing that a run leaves behind.
    get_temp_dir()
    with WarmKernels(spares=2) as server, pytest.MonkeyPatch.context() as patch:
        address = server.address()
        patch.setenv(ADDRESS_VARIABLE, address)
        yield address


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def remembered() -> Iterator[Remembered]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "secrets", SimpleNamespace(token_hex=lambda size: "5e" * size))
        yield Remembered()


@pytest.fixture
def desk(tmp_path: Path, remembered: Remembered, monkeypatch: pytest.MonkeyPatch) -> Desk:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    write_template(tmp_path / "t", "bookings")
    return Desk(tmp_path / "t", tmp_path / "reports", remembered)
