"""The servers that the tests run against, each started once, and a fresh database for each test that asks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from persistconn.testing import MariaDB, ServerNotFound, find_mariadbd


def _prepare(wait_timeout: int) -> MariaDB:
    """Prepare a server, or skip on a laptop without one.

    In CI a missing server fails: a skipped test proves nothing.
    """
    try:
        find_mariadbd()
    except ServerNotFound as missing:
        if os.environ.get("CI") or os.environ.get("PERSISTCONN_REQUIRE_SERVER"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    return MariaDB(wait_timeout=wait_timeout)


@pytest.fixture(scope="session")
def server() -> Iterator[MariaDB]:
    """A private server with the usual patience (`wait_timeout` of 8 h), shared by the whole run."""
    with _prepare(wait_timeout=28800) as server:
        yield server


@pytest.fixture(scope="session")
def short_server() -> Iterator[MariaDB]:
    """A private server that ends a session after 2 s without a statement, shared by the whole run."""
    with _prepare(wait_timeout=2) as server:
        yield server


@pytest.fixture
def database(server: MariaDB) -> Iterator[dict[str, Any]]:
    """Connect arguments for a database that is this test's own and is dropped after it."""
    name = f"t_{secrets.token_hex(6)}"
    _run(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield server.connect_args(database=name)
    # A transaction that the test left open would hold a metadata lock, and the DROP would wait for it for ever.
    for session in server.processlist():
        if session.db == name:
            server.kill_session(session.id)
    _run(server, f"DROP DATABASE IF EXISTS {name}")


def _run(server: MariaDB, statement: str) -> None:
    admin = server.admin()
    try:
        with admin.cursor() as cursor:
            cursor.execute(statement)
    finally:
        admin.close()
