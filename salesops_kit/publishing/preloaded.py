"""Everything that a worker needs, imported once by the process that workers are forked from."""

from __future__ import annotations

from salesops_kit.publishing.lean_imports import leave_out

leave_out()

import nbconvert  # noqa: E402, F401
import papermill  # noqa: E402, F401

from salesops_kit.collecting import keep_imports  # noqa: E402
from salesops_kit.publishing import kernel, render, worker  # noqa: E402, F401

keep_imports()
