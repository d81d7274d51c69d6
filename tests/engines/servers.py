"""A PostgreSQL server of the tests' own and a local Spark session, each gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

INSTALLED = Path("/usr/lib/postgresql")
NAME, USER = "crm", "analyst"
JAVA_17 = Path("/usr/lib/jvm")
STARTED_WITHIN = 60


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL that answers on a Unix socket alone."""

    socket: Path

    @property
    def address(self) -> str:
        """The database's address; the host is the socket's folder."""
        return f"postgresql://{USER}@/{NAME}?host={self.socket}"


def _programs() -> Path:
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version that is installed."""
    found = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    return Path(on_path).parent


def _owner() -> str | None:
    """Who runs the server: ourselves, or where we are root the account of the package or nobody."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A server with an empty database, in a folder that is removed afterwards.

    It sorts text as most servers do, by language, where the kit's own engine sorts by code point.
    """
    programs, owner = _programs(), _owner()
    # A socket's path has at most 107 characters, and the server's account may not read pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="salesops-pg-"))
    data, log = folder / "data", folder / "server.log"

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(programs / program), *arguments],
            user=owner,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=STARTED_WITHIN,
            check=False,
        )
        if done.returncode:
            said = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr}\n{said}")

    try:
        if owner is not None:
            shutil.chown(folder, owner)
        run(
            "initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync",
            "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US",
        )  # fmt: skip
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c jit=off"
        run("pg_ctl", "-D", str(data), "-l", str(log), "-o", options, "-w", "start")
        try:
            run("createdb", "-h", str(folder), "-U", USER, NAME)
            yield Server(folder)
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spark_session() -> Iterator[Any]:
    """A local Spark whose zone is UTC, on Java 17 where several are installed."""
    pyspark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    homes = sorted(JAVA_17.glob("java-17-*/bin/java"))
    if homes:
        os.environ["JAVA_HOME"] = str(homes[0].parent.parent)
    elif shutil.which("java") is None:
        pytest.skip("Java is not installed (Debian: openjdk-17-jre-headless)")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    warehouse = tempfile.mkdtemp(prefix="salesops-spark-")
    session = (
        pyspark.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.default.parallelism", "2")
        .config("spark.sql.warehouse.dir", warehouse)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()
        shutil.rmtree(warehouse, ignore_errors=True)
