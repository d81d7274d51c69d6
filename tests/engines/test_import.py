"""An import from a running PostgreSQL gives what the same rows give as files, and says why it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.data.preview import preview_import
from salesops_kit.data.sample import write_sample
from salesops_kit.errors import InputError
from tests.data import crm_salesforce
from tests.data.round_trip import comparable, differences
from tests.data.test_salesforce import CARRIED, HISTORY, OWN, ZONE
from tests.engines.crm import load
from tests.engines.servers import Server

ROOT = Path(__file__).parents[2]
# Types of their own, as a replica of a CRM has them; text only where it is text.
TYPES = {"VARCHAR": "text", "DOUBLE": "numeric", "TIMESTAMP": "timestamptz"}


@pytest.fixture(scope="module")
def export(folder: Path) -> Path:
    """A CRM as Salesforce writes it, with the mapping of its own fields beside it."""
    write_sample(folder / "raw", opportunities=400)
    crm_salesforce.export(folder / "raw", folder / "export", zone=ZONE)
    (folder / "own.yml").write_text(OWN, encoding="utf-8")
    return folder / "export"


@pytest.fixture
def database(server_with_crm: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRM_DATABASE", server_with_crm.address)
    return Path("postgres:CRM_DATABASE/salesforce")


@pytest.fixture(scope="module")
def server_with_crm(postgres: Server, export: Path, folder: Path) -> Server:
    import psycopg

    with psycopg.connect(postgres.address) as server:
        server.execute("CREATE SCHEMA salesforce")
        server.execute("CREATE SCHEMA empty")
    queries = {
        file.stem: f"read_csv('{file}', sample_size=-1, types={{'Id': 'VARCHAR'}})"
        for file in sorted(export.glob("*.csv"))
    }
    load(f"{postgres.address}&options=-csearch_path%3Dsalesforce", queries, TYPES, folder)
    return postgres


@pytest.fixture(scope="module")
def from_files(export: Path, folder: Path) -> Rows:
    return open_rows(import_export([export], str(folder / "own.yml"), folder / "from_files"))


def test_the_same_tables_come_from_the_database(database: Path, from_files: Rows, folder: Path) -> None:
    found = open_rows(import_export([database], str(folder / "own.yml"), folder / "from_database"))
    assert set(found.tables) == set(from_files.tables)
    for table, columns in {**CARRIED, "opportunity_history": HISTORY}.items():
        assert not differences(
            comparable(from_files, table, columns.split()), comparable(found, table, columns.split())
        ), table


def test_the_preview_reads_it_too(database: Path, folder: Path) -> None:
    lines = "\n".join(preview_import([database], [str(folder / "own.yml")]).lines())
    assert "CRM_DATABASE[Opportunity]" in lines


def test_the_command_takes_it_and_tells_no_address(database: Path, folder: Path, tmp_path: Path) -> None:
    command = ["import", str(database), "--mapping", str(folder / "own.yml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "salesops_kit", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "opportunities:" in done.stdout
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"postgresql://" not in written + done.stdout.encode()


@pytest.mark.parametrize(
    ("source", "address", "message"),
    [
        ("postgres:CRM_DATABASE/empty", None, "schema empty of the database holds no table"),
        ("postgres:NO_SUCH_NAME", None, r"no such variable.*Choose one of: CRM_DATABASE"),
        ("postgres:OTHER", "mysql://u:secret@h/db", "no PostgreSQL address"),
        ("postgres:OTHER", "postgresql://u:secret@localhost:port/db", "no readable address"),
        ("postgres:OTHER", "postgresql://u:secret@127.0.0.1:1/db", "does not answer"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_password(
    source: str, address: str | None, message: str, database: Path, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if address:
        monkeypatch.setenv("OTHER", address)
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        import_export([Path(source)], str(folder / "own.yml"), tmp_path / "out")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "out").exists()
