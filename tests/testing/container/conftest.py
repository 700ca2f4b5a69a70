"""A MySQL container with `wait_timeout` set to two seconds, and a bare connection that proves that sessions expire."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.once import probe
from persistconn.testing import AnyServer, eventually
from persistconn.testing.containers import EngineNotFound, find_engine

PATIENCE = 120.0
"""Seconds until a test gives up waiting for the server."""


@pytest.fixture(scope="session", autouse=True)
def container_engine() -> None:
    """Leave all of these tests out where no container engine answers; where one is required, they fail."""
    try:
        find_engine()
    except EngineNotFound as missing:
        if os.environ.get("PERSISTCONN_REQUIRE_CONTAINER"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip("no MySQL in a container here; `make test-container` makes one and runs them")


@pytest.fixture
def server(mysql_container: AnyServer) -> AnyServer:
    """The container under test; the marker `persistconn(wait_timeout=2)` of each module sets its `wait_timeout`."""
    assert mysql_container.ask("SELECT @@GLOBAL.wait_timeout") == [(2,)]
    return mysql_container


@pytest.fixture(params=["pymysql", "MySQLdb"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Both drivers."""
    if request.param == "MySQLdb" and not os.environ.get("PERSISTCONN_REQUIRE_MYSQLCLIENT"):
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    return __import__(request.param)


@pytest.fixture
def arguments(server: AnyServer, mysql_database: dict[str, Any], module: ModuleType) -> dict[str, Any]:
    """Connect arguments for a database with an empty table, in autocommit."""
    server.ask(f"CREATE TABLE {mysql_database['database']}.t (x INT) ENGINE=InnoDB")
    plain = {"ssl_disabled": True} if module.__name__ == "pymysql" else {"ssl_mode": "DISABLED"}
    return {**mysql_database, **plain, "autocommit": True}


class Bare:
    """A connection of the bare driver, without persistconn."""

    def __init__(self, server: AnyServer, module: ModuleType, arguments: dict[str, Any]) -> None:
        self._server, self._module = server, module
        self._raw = module.connect(**arguments)
        self.session = int(self._raw.thread_id())

    def expire(self) -> None:
        """Wait until the server has ended this session, and its log says that inactivity was the reason."""
        eventually(lambda: self.session not in {one.id for one in self._server.processlist()}, PATIENCE)
        why = rf"Aborted connection {self.session} .*because of inactivity"
        eventually(lambda: re.search(why, self._server.read_log()), PATIENCE)

    def fail(self) -> tuple[type[Exception], Any]:
        """Run a statement that must fail; return the class and the number of its error."""
        with pytest.raises(self._module.Error) as caught:
            self._raw.cursor().execute("INSERT INTO t VALUES (-1)")
        return type(caught.value), caught.value.args[0]


@pytest.fixture
def bare(server: AnyServer, module: ModuleType, arguments: dict[str, Any]) -> Callable[[], Bare]:
    """Open a bare connection."""
    return lambda: Bare(server, module, arguments)


@pytest.fixture
def kept(server: AnyServer, arguments: dict[str, Any]) -> Callable[[], list[int]]:
    """Read the table in a session of the test's own."""
    return lambda: [x for (x,) in server.ask(f"SELECT x FROM {arguments['database']}.t ORDER BY x")]


@pytest.fixture
def connect(module: ModuleType, arguments: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    """Connect to a database with a ledger."""
    db = persistconn.manage(module)

    def connect() -> Any:
        return db.connect(**arguments)

    persistconn.ledger.create(connect())
    yield connect
    persistconn.shutdown()
    probe.forget()
