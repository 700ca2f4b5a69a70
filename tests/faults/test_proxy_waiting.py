"""Faults that keep a conversation waiting: hold, delay, stall, black hole; and what healing makes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import (
    Delay,
    Direction,
    Drop,
    FaultProxy,
    Hold,
    Place,
    Rule,
    Stall,
    Where,
    to_client,
    to_server,
)
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

INSERT = "INSERT INTO t VALUES (1)"


@pytest.fixture
def proxy(server: MariaDB) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    with FaultProxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def admin(server: MariaDB, database: dict[str, Any]) -> Iterator[pymysql.Connection[Any]]:
    """A connection that does not go through the proxy, to a table `t`."""
    with closing(pymysql.connect(**database, autocommit=True, ssl_disabled=True)) as admin:
        ask(admin, "CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        yield admin


@pytest.fixture
def client(
    proxy: FaultProxy, database: dict[str, Any], admin: pymysql.Connection[Any]
) -> Iterator[pymysql.Connection[Any]]:
    """A bare connection through the proxy, in autocommit."""
    args = {"autocommit": True, "ssl_disabled": True, "read_timeout": 30}
    client = pymysql.connect(**proxy.connect_args(database, **args))
    yield client
    client._force_close()


def ask(connection: pymysql.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


class Asking(threading.Thread):
    """Asks on another thread; `result()` is the answer, or the error that came instead."""

    def __init__(self, connection: pymysql.Connection[Any], statement: str) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._statement = statement
        self._answer: list[tuple[Any, ...]] = []
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._answer = ask(self._connection, self._statement)
        except Exception as error:
            self._error = error

    def result(self) -> list[tuple[Any, ...]]:
        self.join(PATIENCE)
        assert not self.is_alive(), "it is still waiting"
        if self._error is not None:
            raise self._error
        return self._answer


def test_held_packet_waits_for_its_release(
    proxy: FaultProxy, admin: pymysql.Connection[Any], client: pymysql.Connection[Any]
) -> None:
    """Between `wait()` and `release()` the statement is on its way: the test may look at what others see meanwhile."""
    with proxy.holding(to_server("INSERT")) as held:
        asking = Asking(client, INSERT)
        assert held.wait().words == "INSERT INTO"
        assert ask(admin, "SELECT a FROM t") == []
        assert asking.is_alive()
        held.release()
        assert asking.result() == []
    assert ask(admin, "SELECT a FROM t") == [(1,)]


def test_held_answer_shows_that_the_server_has_executed(
    proxy: FaultProxy, admin: pymysql.Connection[Any], client: pymysql.Connection[Any]
) -> None:
    """Held on its way back, the row is there while the client still waits; the block's end releases it as well."""
    with proxy.holding(to_client("INSERT")) as held:
        asking = Asking(client, INSERT)
        held.wait()
        assert ask(admin, "SELECT a FROM t") == [(1,)]
        assert asking.is_alive()
    assert asking.result() == []


def test_only_one_packet_is_held(proxy: FaultProxy, client: pymysql.Connection[Any]) -> None:
    """The next statement like it passes: a rule fires once."""
    with proxy.holding(to_server("SELECT 7")) as held:
        asking = Asking(client, "SELECT 7")
        held.wait()
        held.release()
        asking.result()
        assert ask(client, "SELECT 7") == [(7,)]
        assert held.fired == 1


def test_other_connections_go_on_while_a_packet_is_held(
    proxy: FaultProxy, database: dict[str, Any], client: pymysql.Connection[Any]
) -> None:
    """The proxy's one thread waits for nobody."""
    with proxy.holding(to_server("SELECT 7")) as held:
        asking = Asking(client, "SELECT 7")
        held.wait()
        with closing(pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))) as other:
            assert ask(other, "SELECT 8") == [(8,)]
        assert asking.is_alive()
    assert asking.result() == [(7,)]


def test_killed_while_held(server: MariaDB, proxy: FaultProxy, client: pymysql.Connection[Any]) -> None:
    """What holding is for: the session dies while its statement is on the way, at a moment that the test chooses."""
    with proxy.holding(to_server("SELECT 7")) as held:
        asking = Asking(client, "SELECT 7")
        held.wait()
        server.kill_session(client.thread_id())
    with pytest.raises(pymysql.err.OperationalError):
        asking.result()


def test_delay_is_paid_by_each_packet_each_way(proxy: FaultProxy, client: pymysql.Connection[Any]) -> None:
    """A round trip costs both ways; disarmed, it costs nothing any more. Compared with itself, not with a clock."""
    armed = proxy.arm(Rule(Delay(0.1), Where(), times=None))
    started = time.monotonic()
    assert ask(client, "SELECT 7") == [(7,)]
    assert time.monotonic() - started >= 0.2
    # A result of five packets is one flight, not five.
    assert armed.fired == 6
    armed.disarm()
    ask(client, "SELECT 7")
    assert armed.fired == 6


@pytest.mark.parametrize("where", [to_server("INSERT"), to_server("INSERT", place=Place.MIDDLE)])
@pytest.mark.parametrize("direction", [None, Direction.TO_SERVER])
def test_stalled_statement_arrives_when_the_line_heals(
    where: Where,
    direction: Direction | None,
    proxy: FaultProxy,
    admin: pymysql.Connection[Any],
    client: pymysql.Connection[Any],
) -> None:
    """Nothing is lost of what was stalled, a half of a packet included, and the conversation goes on."""
    armed = proxy.arm(Rule(Stall(direction), where))
    asking = Asking(client, INSERT)
    armed.wait()
    assert ask(admin, "SELECT a FROM t") == []
    assert asking.is_alive()
    proxy.heal()
    assert asking.result() == []
    assert ask(client, "SELECT a FROM t") == [(1,)]


def test_fault_behind_a_stalled_packet_strikes_after_the_line_has_healed(
    proxy: FaultProxy, client: pymysql.Connection[Any]
) -> None:
    """Faults strike in the order of the bytes; the second stall needs a second healing."""
    first = proxy.arm(Rule(Stall(), to_server("SELECT 7")))
    second = proxy.arm(Rule(Stall(), to_server("SELECT 7", place=Place.AFTER)))
    asking = Asking(client, "SELECT 7")
    first.wait()
    assert second.fired == 0
    proxy.heal()
    second.wait()
    assert asking.is_alive()
    proxy.heal()
    assert asking.result() == [(7,)]


def test_stall_of_the_answers_lets_statements_through(
    proxy: FaultProxy, admin: pymysql.Connection[Any], client: pymysql.Connection[Any]
) -> None:
    """One direction alone: the server goes on hearing what it cannot answer."""
    assert proxy.strike(Stall(Direction.TO_CLIENT)) == 1
    asking = Asking(client, INSERT)
    eventually(lambda: ask(admin, "SELECT a FROM t") == [(1,)])
    assert asking.is_alive()
    proxy.heal()
    assert asking.result() == []


def test_late_commit_of_a_client_that_has_left(
    server: MariaDB, proxy: FaultProxy, admin: pymysql.Connection[Any], client: pymysql.Connection[Any]
) -> None:
    """A COMMIT that was stalled still arrives after its client has given up: the transaction commits behind its back."""
    client.begin()
    ask(client, INSERT)
    armed = proxy.arm(Rule(Stall(), to_server("COMMIT")))
    client._read_timeout = 0.1
    with pytest.raises(pymysql.err.OperationalError):
        client.commit()
    armed.wait()
    assert ask(admin, "SELECT a FROM t") == []
    proxy.heal()
    eventually(lambda: ask(admin, "SELECT a FROM t") == [(1,)])
    eventually(lambda: all(session.id != client.thread_id() for session in server.processlist()))


def test_black_hole_that_swallowed_something_resets_when_it_heals(
    server: MariaDB, proxy: FaultProxy, admin: pymysql.Connection[Any], client: pymysql.Connection[Any]
) -> None:
    """What it swallowed never arrives, and a stream with a gap does not go on: both peers are told by RST."""
    armed = proxy.arm(Rule(Drop(), to_server("INSERT")))
    asking = Asking(client, INSERT)
    armed.wait()
    assert asking.is_alive()
    proxy.heal()
    with pytest.raises(pymysql.err.OperationalError, match="reset by peer"):
        asking.result()
    eventually(lambda: all(session.id != client.thread_id() for session in server.processlist()))
    assert ask(admin, "SELECT a FROM t") == []


def test_black_hole_that_swallowed_nothing_heals_without_a_trace(
    proxy: FaultProxy, client: pymysql.Connection[Any]
) -> None:
    """Who said nothing in the meantime has noticed nothing."""
    assert proxy.strike(Drop()) == 1
    proxy.heal()
    assert ask(client, "SELECT 7") == [(7,)]


def test_black_hole_swallows_the_end_of_the_stream(
    server: MariaDB, proxy: FaultProxy, inside: Any, client: pymysql.Connection[Any]
) -> None:
    """The client closes in vain: its session stays until the hole heals."""
    proxy.strike(Drop())
    client._force_close()
    eventually(inside.has_read_the_client_s_end)
    assert not inside.has_ended_towards_the_server
    assert any(session.id == client.thread_id() for session in server.processlist())
    assert proxy.connections == 1
    proxy.heal()
    eventually(lambda: all(session.id != client.thread_id() for session in server.processlist()))


def test_close_ends_all_waiting(server: MariaDB, proxy: FaultProxy, client: pymysql.Connection[Any]) -> None:
    """Stalled and held alike: the client reads the end of the stream, the session goes, waiters are told."""
    held = proxy.arm(Rule(Hold(), to_server("SELECT")))
    never = proxy.arm(Rule(Stall(), to_server("never said")))
    asking = Asking(client, "SELECT 7")
    held.wait()
    proxy.close()
    with pytest.raises(pymysql.err.OperationalError):
        asking.result()
    with pytest.raises(TimeoutError, match="before the proxy was closed"):
        never.wait(timeout=600)
    eventually(lambda: all(session.id != client.thread_id() for session in server.processlist()))


def test_faults_that_need_a_packet_cannot_strike_at_once(proxy: FaultProxy) -> None:
    """Hold and Delay are about a packet that comes by."""
    for fault in (Hold(), Delay(1.0)):
        with pytest.raises(ValueError, match="needs a packet: arm a Rule"):
            proxy.strike(fault)
