"""One fork server for all tests here: what they test does not depend on how long it took to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salesops_kit.publishing.warm_kernels.owner import ADDRESS_VARIABLE, WarmKernels


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[str]:
    """The address of the fork server, which every run of these tests uses."""
    with WarmKernels(spares=2, is_brief=True) as server, pytest.MonkeyPatch.context() as patch:
        address = server.address()
        patch.setenv(ADDRESS_VARIABLE, address)
        yield address
