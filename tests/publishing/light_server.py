"""The real server of warm kernels with nothing to import but ipykernel, for runs that need no more."""

from __future__ import annotations

from salesops_kit.publishing.warm_kernels import owner, preload, server

MODULE = "tests.publishing.light_server"


def use() -> None:
    """Make the runs of this process start this server; it is found where ``tests`` can be imported."""
    owner.MODULE = MODULE


if __name__ == "__main__":
    preload.LIBRARIES = ("ipykernel.ipkernel", "ipykernel.kernelapp", "IPython.core.pylabtools")
    preload.KIT_MODULES = preload.KIT_PACKAGES = ()
    for step in ("_draw", "_format", "_compile"):
        setattr(preload, step, lambda: None)
    server.main()
