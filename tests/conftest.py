"""Our own tests run on the fixtures of our pytest plugin, as a user's do; here they get the names that ours know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import persistconn
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.testing import MariaDB
from persistconn.testing.fleet import Fleet

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def server(mysql_server: Any) -> MariaDB:
    """A private MariaDB with the usual patience (`wait_timeout` of 8 h), shared by the whole run."""
    if not isinstance(mysql_server, MariaDB):
        pytest.skip(f"these tests are written for MariaDB, and this machine has {mysql_server!r} alone")
    return mysql_server


@pytest.fixture(scope="session")
def short_server(server: MariaDB, mysql_servers: Fleet) -> Any:
    """A private MariaDB that ends a session after 2 s without a statement, shared by the whole run."""
    return mysql_servers.shared("mariadb", wait_timeout=2)


@pytest.fixture
def database(server: MariaDB, mysql_database: dict[str, Any]) -> dict[str, Any]:
    """Connect arguments for a database that is this test's own and is dropped after it."""
    return mysql_database


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The owner's side alone: no sweep replaces anything behind it, but one that the test makes itself."""
    monkeypatch.setattr(KEEPER, "on_connection", lambda pace: None)
    KEEPALIVE.stop()
    yield
    persistconn.shutdown()
