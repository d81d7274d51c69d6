"""One fork server for all tests here, since what they test does not depend on how long it took to import;
and folders whose names leave room for the paths of sockets."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest

from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, WarmKernels
from tests.publishing.kit import short_folder


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
