"""The fixtures that are servers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_persistconn.asked import ALIASES, Asked

if TYPE_CHECKING:
    from persistconn.testing.anyserver import AnyServer
    from persistconn.testing.containers import MySQLContainer
    from persistconn.testing.fleet import Fleet
    from persistconn.testing.servers import Server

REQUIRED = ("CI", "PERSISTCONN_REQUIRE_SERVER")
REQUIRED_CONTAINER = ("PERSISTCONN_REQUIRE_CONTAINER",)


@pytest.fixture(scope="session")
def mysql_variables() -> dict[str, Any]:
    """The variables of every server that the fixtures start; override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def mysql_servers(pytestconfig: pytest.Config, mysql_variables: dict[str, Any]) -> Iterator[Fleet]:
    """Starts further servers: `mysql_servers.shared("mariadb", wait_timeout=2)`; all are gone at the end of the run."""
    from persistconn.testing.fleet import Fleet

    fleet = Fleet(image=pytestconfig.getoption("--persistconn-mysql-image"), variables=mysql_variables)
    yield fleet
    fleet.close()


@pytest.fixture(scope="session")
def mysql_server(request: pytest.FixtureRequest, mysql_servers: Fleet) -> Iterator[Server]:
    """A private MariaDB or MySQL, found on the machine and shared by the run, unless the marker asks for one of its own."""
    kind = request.config.getoption("--persistconn-server")
    yield from _lend(request, mysql_servers, kind if kind in {"mariadb", "mysql"} else "local", REQUIRED)


@pytest.fixture(scope="session")
def mysql_container(request: pytest.FixtureRequest, mysql_servers: Fleet) -> Iterator[MySQLContainer]:
    """A MySQL in a container, shared by the run; without an engine the test is skipped, with the reason."""
    yield from _lend(request, mysql_servers, "container", REQUIRED_CONTAINER)


@pytest.fixture(scope="session")
def mysql(request: pytest.FixtureRequest, mysql_servers: Fleet) -> Iterator[AnyServer]:
    """The server that --persistconn-server names: by default a private one, else one in a container."""
    yield from _lend(request, mysql_servers, request.config.getoption("--persistconn-server"), REQUIRED)


@pytest.fixture
def mysql_database(mysql_under_test: AnyServer) -> Iterator[dict[str, Any]]:
    """Connect arguments for an empty database that is this test's own and is dropped after it."""
    from persistconn.testing.lines import close_held_to

    name = f"t_{secrets.token_hex(6)}"
    mysql_under_test.ask(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    arguments = mysql_under_test.connect_args(database=name)
    yield arguments
    # A transaction that the test left open holds a metadata lock, and the DROP would wait for it for ever.
    close_held_to(arguments["host"], arguments["port"], name)
    for session in mysql_under_test.processlist():
        if session.db == name:
            mysql_under_test.kill_session(session.id)
    mysql_under_test.ask(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def mysql_under_test(request: pytest.FixtureRequest) -> AnyServer:
    """The server of this test, by whichever name it asks for it: what all the tools work on."""
    names = [name for name in ALIASES if name in request.fixturenames]
    server: AnyServer = request.getfixturevalue(names[0] if names else ALIASES[0])
    return server


def _lend(request: Any, fleet: Fleet, kind: str, required: tuple[str, ...]) -> Iterator[Any]:
    from persistconn.testing.fleet import Wish
    from persistconn.testing.installation import ServerNotFound

    asked: Asked = getattr(request, "param", Asked())
    wish = Wish(asked.variables, bool(asked.faults), asked.own)
    try:
        lending = fleet.lend(kind, wish)
        server = lending.__enter__()
    except ServerNotFound as missing:
        _skip_or_fail(request.config, str(missing), required)
    try:
        yield server
    finally:
        lending.__exit__(None, None, None)


def _skip_or_fail(config: pytest.Config, missing: str, required: tuple[str, ...]) -> NoReturn:
    """Say what is missing. Where it is required, or was named, a skipped test would prove nothing."""
    is_named = required is REQUIRED and config.getoption("--persistconn-server") != "auto"
    if is_named or any(map(os.environ.get, required)):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
