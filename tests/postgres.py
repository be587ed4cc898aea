"""A PostgreSQL of the tests' own: that of RECSYS_TEST_POSTGRES, or one that is started in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url

PASSWORD = "s3cret-word"  # which no message may show


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """SQLAlchemy URL of a server, with a password; a skip that says why if there is none."""
    if url := os.environ.get("RECSYS_TEST_POSTGRES"):
        yield url
        return
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or RECSYS_TEST_POSTGRES=postgresql+psycopg://…")
    with server(binaries, "-c fsync=off") as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database of the test's own."""
    url, name = make_url(postgres_server), f"recsys_{secrets.token_hex(6)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)  # a test may end all connections
    with engine.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"drop database {name} with (force)")


@contextlib.contextmanager
def server(binaries: Path, settings: str = "") -> Iterator[str]:
    """Start a server in a temporary folder, with options of `postgres`. Yields the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-", dir="/tmp"))  # short: a socket's path has 107 characters
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")  # the server refuses to run as root
        os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        data = str(folder / "data")
        _run([str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "shop", "-E", "UTF8", "--no-sync"])
        options = f"-k {folder} -c listen_addresses= {settings}"
        _run([str(binaries / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start"])
        try:
            yield f"postgresql+psycopg://shop:{PASSWORD}@/postgres?host={folder}"
        finally:
            _run([str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_binaries() -> Path | None:
    """The folder of the newest server; Debian does not have it in PATH."""
    if found := shutil.which("pg_ctl"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return folders[-1] if folders else None


def _run(command: Sequence[str]) -> None:
    as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*as_postgres, *command], capture_output=True, text=True, cwd="/", timeout=60)
    assert done.returncode == 0, done.stderr
