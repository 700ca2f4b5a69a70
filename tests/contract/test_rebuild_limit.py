"""``connect_timeout`` is for one attempt as a whole: the handshake, and all that makes the session what it was.

A server, or a proxy in front of it, that falls silent behind the login must not hold up whoever waits for a connection.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.drivers import Driver
from persistconn.policy import Reason
from persistconn.testing import eventually
from persistconn.testing.faults import Delay, FaultProxy, Kind, Rule, Stall, Where, to_client, to_server

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("no_sweep")]

LIMIT = 0.8
HEALED_AFTER = 10.0
"""Without a limit a caller would wait until then, and get his connection from the attempt that was stalled."""
STEPS = {
    "set-session": to_server("lock_wait_timeout"),
    "charset": to_server("latin1"),
    "database": to_server(kind=Kind.INIT_DB),
    "autocommit": to_server(re.compile("autocommit ?= ?0", re.IGNORECASE)),
    "wait-timeout": to_server("@@session.wait_timeout"),
    "answer": to_client("lock_wait_timeout"),
}


@pytest.fixture
def proxy(contract_server: Any) -> Iterator[FaultProxy]:
    """On the way to the server; what it has stalled goes on in the end, so that no test waits for ever."""
    to = contract_server.arguments()
    with FaultProxy(to["host"], to["port"]) as proxy:
        healing = threading.Timer(HEALED_AFTER, proxy.heal)
        healing.start()
        yield proxy
        healing.cancel()


@pytest.fixture
def conn(module: ModuleType, arguments: dict[str, Any], proxy: FaultProxy) -> Iterator[Any]:
    """A connection with something to rebuild of each kind, whose session is lost."""
    db = persistconn.manage(module, connect_timeout=LIMIT)
    conn = db.connect(**{**arguments, "host": proxy.host, "port": proxy.port})
    run(conn, "SET SESSION lock_wait_timeout = 77")
    conn.set_character_set("latin1")
    conn.select_db("information_schema")
    conn.autocommit(False)
    yield conn
    conn.retire()


def run(conn: Any, sql: str) -> Any:
    """Run a statement and return its rows."""
    with conn.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def lose(conn: Any, contract_server: Any) -> None:
    """End the session, and wait until its socket tells."""
    held = conn._held
    contract_server.kill_session(held.driver.session_id(held.raw))
    eventually(lambda: held.driver.hung_up(held.raw))


@pytest.mark.parametrize("step", STEPS)
def test_caller_gets_the_session_of_the_next_attempt(
    conn: Any, proxy: FaultProxy, contract_server: Any, step: str
) -> None:
    """At whatever step of the rebuilding the way falls silent; the one that was stalled is given up."""
    lose(conn, contract_server)
    stalled = proxy.arm(Rule(Stall(), STEPS[step]))
    asked = "SELECT @@lock_wait_timeout, DATABASE(), @@character_set_client, @@autocommit"
    assert run(conn, asked) == ((77, "information_schema", "latin1", 0),)
    assert stalled.fired == 1
    assert {packet.conversation for packet in proxy.trace} == {1, 2, 3}


def test_sweep_gives_up_and_comes_again(conn: Any, proxy: FaultProxy, contract_server: Any) -> None:
    """Its few threads are not held up, and the next pass makes the connection."""
    lose(conn, contract_server)
    conn._held.discard_idle(Reason.HUNG_UP)
    stalled = proxy.arm(Rule(Stall(), STEPS["set-session"]))
    with pytest.raises(persistconn.DatabaseUnavailable, match="connect_timeout"):
        conn._held.renew(None)
    assert stalled.fired == 1

    def is_renewed() -> bool:
        with contextlib.suppress(persistconn.DatabaseUnavailable):  # Not yet: the next attempt is due a moment later.
            return bool(conn._held.renew(None))
        return False

    eventually(is_renewed)
    assert run(conn, "SELECT @@lock_wait_timeout") == ((77,),)


def test_server_that_answers_a_little_at_a_time_is_given_up(
    driver: Driver, arguments: dict[str, Any], proxy: FaultProxy
) -> None:
    """No single wait is as long as the limit, all of them are; the error names the setting and its value."""
    slow = proxy.arm(Rule(Delay(0.6 * LIMIT), Where(), times=None))
    with pytest.raises(driver.module.OperationalError, match=r"connect_timeout \(0.8 s\)") as told:
        driver.connect((), {**arguments, "host": proxy.host, "port": proxy.port}, LIMIT)
    assert slow.fired < 8
    assert told.value.args[0] == 2013


def test_what_is_prepared_counts(driver: Driver, arguments: dict[str, Any]) -> None:
    """The raw connection is handed out only if it was ready in time, and is closed otherwise."""
    made: list[Any] = []

    def prepare(raw: Any) -> None:
        made.append(raw)
        raw.query("SELECT SLEEP(30)")

    with pytest.raises(driver.module.OperationalError, match="connect_timeout"):
        driver.connect((), arguments, LIMIT, prepare)
    assert driver.hung_up(made[0])


def test_failure_in_time_is_passed_on_as_it_is(driver: Driver, arguments: dict[str, Any]) -> None:
    """A session that cannot be made as it was says why."""
    with pytest.raises(driver.module.Error, match="no_such_variable"):
        driver.connect((), arguments, 10.0, lambda raw: raw.query("SET SESSION no_such_variable = 1"))


def test_limit_ends_with_the_connect(
    driver: Driver, arguments: dict[str, Any], connect: Callable[..., Any], proxy: FaultProxy
) -> None:
    """A connection that was ready in time is never cut, however long its statement takes."""
    raw = connect({**arguments, "host": proxy.host, "port": proxy.port}, timeout=LIMIT)
    with raw.cursor() as cursor:
        cursor.execute(f"SELECT SLEEP({2.2 * LIMIT})")
        assert cursor.fetchall() == ((0,),)
    assert not driver.hung_up(raw)
