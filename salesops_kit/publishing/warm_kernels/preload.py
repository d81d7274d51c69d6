"""What a fork server imports and warms, so that none of its kernels has to."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import random
import sys
from pathlib import Path

from salesops_kit.collecting import keep_imports

# With these set before the first import, no library starts a thread: a process that forks has to be
# alone, and reports run side by side anyway.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
}
# ipykernel, what the kit's own templates open with, and what notebooks of teams are likely to.
LIBRARIES = (
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "tornado.platform.asyncio",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.core.pylabtools",
    "IPython.extensions.storemagic",
    "matplotlib_inline",
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "duckdb",
    "ibis.backends.duckdb.converter",
    "ibis.formats.pandas",
    "pyarrow.pandas_compat",
    "pandas.core.methods.to_dict",
    "pandas.core.reshape.reshape",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "seaborn",
    "sqlite3",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "sklearn.model_selection",
    "statsmodels.api",
)
KIT = "salesops_kit"
KIT_MODULES = (f"{KIT}.workbook",)
KIT_PACKAGES = (f"{KIT}.analysis", f"{KIT}.display.charts", f"{KIT}.display.stories", f"{KIT}.estimators")


def limit_threads() -> None:
    """Set what keeps libraries single-threaded, where the user has not set it."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


def preload() -> None:
    """Import and warm what kernels need; what is missing is left to the notebook that needs it."""
    # Imports make no garbage to speak of, and looking for it takes a sixth of their time.
    gc.disable()
    _leave_out_debugger()
    for name in (*LIBRARIES, *KIT_MODULES, *_modules_of(KIT_PACKAGES)):
        load(name)
    for step in (_draw, _format, _compile, _list_tables):
        with contextlib.suppress(Exception):
            step()
    # Its import hooks figures into the shell of a kernel, and there is none yet: kernels import it again.
    sys.modules.pop("matplotlib_inline.backend_inline", None)
    settle()


def _leave_out_debugger() -> None:
    """Import ipykernel's debugger as if debugpy, most of what a kernel imports, were not installed:
    nobody debugs a report's kernel. Notebooks may import it."""
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    load("ipykernel.debugger")
    del sys.modules["debugpy"]


def load(name: str) -> None:
    """Import one module, if it can be."""
    # A kernel that needs the module says better what is wrong with it.
    with contextlib.suppress(Exception):
        importlib.import_module(name)


def settle() -> None:
    """Close what has a thread, and let forks share what was imported."""
    if "duckdb" in sys.modules:
        # Importing DuckDB opens its default connection, which has a thread; the next use opens it again.
        sys.modules["duckdb"].close()
    keep_imports()


def _modules_of(packages: tuple[str, ...]) -> list[str]:
    """The modules of packages, found as files: importing a package to list it would be circular."""
    root = Path(__file__).parents[3]
    found = []
    for package in packages:
        folder = root.joinpath(*package.split("."))
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def _draw() -> None:
    """One chart in each format: fonts are found, styles parsed. pyplot is left without a backend."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context():
        for canvas, kind in ((FigureCanvasAgg, "png"), (FigureCanvasSVG, "svg")):
            figure = Figure()
            canvas(figure)
            axes = figure.subplots()
            axes.plot([0, 1], [1, 2], label="a")
            axes.barh([0, 1], [1, 2])
            axes.set_title("a")
            axes.legend()
            figure.savefig(io.BytesIO(), format=kind, bbox_inches="tight")


def _format() -> None:
    """The default locale's numbers and dates."""
    import datetime as dt

    from babel import dates, numbers

    numbers.format_decimal(1234.5, locale="en")
    numbers.format_percent(0.5, locale="en")
    numbers.format_currency(1234.5, "USD", locale="en")
    numbers.format_compact_currency(1234.5, "USD", locale="en")
    numbers.format_compact_decimal(1234.5, locale="en")
    dates.format_date(dt.date(2000, 1, 1), locale="en")


def _compile() -> None:
    """The kinds of query that analyses make, to SQL; no connection, since connections have threads."""
    import ibis

    table = ibis.table(
        {"k": "string", "d": "date", "t": "timestamp('UTC')", "m": "decimal(18, 2)", "f": "boolean"}, name="t"
    )
    window = ibis.window(group_by=table.k, order_by=table.t)
    expression = (
        table.filter(table.d < ibis.date(2000, 1, 1), table.f.fill_null(False))
        .mutate(n=ibis.row_number().over(window), later=table.d.lead().over(window))
        .group_by("k")
        .aggregate(total=table.m.sum(), count=ibis._.count(), some=ibis._.n.max())
    )
    joined = expression.left_join(table, "k").order_by("k")
    # The backend is looked up among the installed packages when it is first named.
    ibis.duckdb.compile(ibis.union(joined.select("k", "total"), expression.select("k", "total")))


def _list_tables() -> None:
    """The signatures of all tables, which the registry reads once."""
    importlib.import_module(f"{KIT}.registry").tables()


def reseed() -> None:
    """Give a forked kernel random numbers of its own: the server's state is in all of them."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
