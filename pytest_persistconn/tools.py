"""The fixtures that do something to the server of a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from persistconn.testing.anyserver import AnyServer
    from persistconn.testing.asking import Session
    from persistconn.testing.expiry import Who
    from persistconn.testing.serverproxy import ServerProxy
    from persistconn.testing.surfaced import Lookout

LOOKOUT: pytest.StashKey[Lookout] = pytest.StashKey()


class Expire:
    """`expire()`, `expire(thread)`: see persistconn.testing.expiry.expire."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server

    def __call__(self, who: Who = None, *, within: float = 60.0) -> int:
        """Let every session, or one thread's, run into its real wait_timeout now; return how many did."""
        from persistconn.testing.expiry import expire

        return expire(self._server, who, within=within)


class KillConnections:
    """`kill_connections()`, `kill_connections(thread)`: see persistconn.testing.expiry.kill_connections."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server

    def __call__(self, who: Who = None, *, within: float = 60.0) -> int:
        """End every session, or one thread's, by KILL; return how many there were."""
        from persistconn.testing.expiry import kill_connections

        return kill_connections(self._server, who, within=within)


class RestartServer:
    """`restart_server()`, `restart_server(kill=True)`."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server

    def __call__(self, *, kill: bool = False) -> None:
        """Restart the server in order, or after kill -9, on the same port; returns when it accepts logins."""
        self._server.restart(kill=kill)


class Sessions:
    """`sessions()` is the process list without the test's own questions; `sessions.opened` counts new ones."""

    def __init__(self, server: AnyServer) -> None:
        self._server = server
        self._before = server.status("Connections")

    def __call__(self, database: str | None = None) -> list[Session]:
        """Return what the server sees now, oldest first; of one database if that is named."""
        return [session for session in self._server.clients() if database in {None, session.db}]

    @property
    def opened(self) -> int:
        """How many sessions have been opened since the test began; a restart of the server begins anew."""
        return self._server.status("Connections") - self._before


@pytest.fixture
def expire(mysql_under_test: AnyServer) -> Expire:
    """Let every session, or one thread's, run into its real `wait_timeout` now, without waiting for hours."""
    return Expire(mysql_under_test)


@pytest.fixture
def kill_connections(mysql_under_test: AnyServer) -> KillConnections:
    """End every session, or one thread's, as an administrator does."""
    return KillConnections(mysql_under_test)


@pytest.fixture
def restart_server(mysql_under_test: AnyServer) -> Iterator[RestartServer]:
    """Restart the server, in order or by kill -9; afterwards it runs, whatever the test has done."""
    yield RestartServer(mysql_under_test)
    mysql_under_test.start()


@pytest.fixture
def sessions(mysql_under_test: AnyServer) -> Sessions:
    """What the server sees."""
    return Sessions(mysql_under_test)


@pytest.fixture
def fault_proxy(mysql_under_test: AnyServer) -> Iterator[ServerProxy]:
    """A proxy in front of the server, which cuts, stalls or holds at a statement; connect by its `connect_args()`."""
    from persistconn.testing.lines import close_held_to
    from persistconn.testing.serverproxy import ServerProxy

    with ServerProxy(mysql_under_test) as proxy:
        yield proxy
        proxy.heal()
        close_held_to(*proxy.address)


@pytest.fixture
def no_surfaced_errors(request: pytest.FixtureRequest) -> Iterator[Lookout]:
    """Fail the test if a lost connection came out of a task: of Executor, APScheduler, `workers`, or a thread."""
    from persistconn.testing.surfaced import watch

    with watch() as lookout:
        request.node.stash[LOOKOUT] = lookout
        yield lookout
    if lookout.errors and not request.node.stash.get(TOLD, False):
        pytest.fail(lookout.told, pytrace=False)


#: Whether what had surfaced by the end of the test has failed it already.
TOLD: pytest.StashKey[bool] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail the test itself, not its teardown, if an error had surfaced by its end."""
    outcome = yield
    lookout = item.stash.get(LOOKOUT, None)
    if lookout is not None and lookout.errors:
        item.stash[TOLD] = True
        pytest.fail(lookout.told, pytrace=False)
    return outcome
