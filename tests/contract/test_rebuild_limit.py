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
from persistconn.testing import eventually, within
from persistconn.testing.faults import Delay, FaultProxy, Kind, Rule, Stall, Where, to_client, to_server
from persistconn.testing.waiting import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("no_sweep")]

UntilConclusive = Callable[[Callable[[float], "str | None"]], None]
Conn = Callable[[float], Any]

LIMIT = 0.8
HEALED_AFTER = PATIENCE
"""Without a limit a caller would wait until then, and get its connection from the attempt that was stalled."""
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
    to = contract_server.connect_args()
    with FaultProxy(to["host"], to["port"]) as proxy:
        healing = threading.Timer(HEALED_AFTER, proxy.heal)
        healing.start()
        yield proxy
        healing.cancel()


@pytest.fixture
def connect_with(module: ModuleType, arguments: dict[str, Any], proxy: FaultProxy) -> Iterator[Conn]:
    """Make connections with a ``connect_timeout``, and with something to rebuild of each kind."""
    with contextlib.ExitStack() as stack:

        def connect_with(limit: float) -> Any:
            db = persistconn.manage(module, connect_timeout=limit)
            conn = db.connect(**{**arguments, "host": proxy.host, "port": proxy.port})
            stack.callback(conn.retire)
            run(conn, "SET SESSION lock_wait_timeout = 77")
            conn.set_character_set("latin1")
            conn.select_db("information_schema")
            conn.autocommit(False)
            return conn

        yield connect_with


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
    connect_with: Conn, proxy: FaultProxy, contract_server: Any, step: str
) -> None:
    """At whatever step of the rebuilding the way falls silent; the one that was stalled is given up."""
    conn = connect_with(LIMIT)
    lose(conn, contract_server)
    stalled = proxy.arm(Rule(Stall(), STEPS[step]))
    asked = "SELECT @@lock_wait_timeout, DATABASE(), @@character_set_client, @@autocommit"
    assert run(conn, asked) == ((77, "information_schema", "latin1", 0),)
    assert stalled.fired == 1
    (struck,) = stalled.packets
    answering = [packet.conversation for packet in proxy.trace if packet.kind is Kind.ROW][-1]
    # The next one, unless the machine was too slow for that, too.
    assert answering > struck.conversation > 1


def test_sweep_gives_up_and_comes_again(
    connect_with: Conn, proxy: FaultProxy, contract_server: Any, until_conclusive: UntilConclusive
) -> None:
    """Its few threads are not held up, and the next pass makes the connection."""

    def experiment(factor: float) -> str | None:
        conn = connect_with(LIMIT * factor)
        lose(conn, contract_server)
        conn._held.discard_idle(Reason.HUNG_UP)
        stalled = proxy.arm(Rule(Stall(), STEPS["set-session"]))
        with pytest.raises(persistconn.DatabaseUnavailable, match="connect_timeout"):
            conn._held.renew(None)
        if not stalled.fired:
            stalled.disarm()
            return "the attempt was too slow to come as far as the statement that is stalled"

        def is_renewed() -> bool:
            # Not yet: the next attempt is due a moment later.
            with contextlib.suppress(persistconn.DatabaseUnavailable):
                return bool(conn._held.renew(None))
            return False

        eventually(is_renewed)
        assert run(conn, "SELECT @@lock_wait_timeout") == ((77,),)
        return None

    until_conclusive(experiment)


def test_server_that_answers_a_little_at_a_time_is_given_up(
    driver: Driver, arguments: dict[str, Any], proxy: FaultProxy, until_conclusive: UntilConclusive
) -> None:
    """No single wait is as long as the limit, all of them are; the error names the setting and its value."""

    def experiment(factor: float) -> str | None:
        limit = LIMIT * factor
        slow = proxy.arm(Rule(Delay(0.6 * limit), Where(), times=None))
        told: Any = None
        try:
            driver.quit(driver.connect((), {**arguments, "host": proxy.host, "port": proxy.port}, limit))
        except driver.module.OperationalError as error:
            told = error
        slow.disarm()
        if f"connect_timeout ({limit:g} s)" not in str(told):
            return f"the watchdog came too late with its {limit:g} s: {told}"
        assert told.args[0] == 2013
        assert slow.fired < 8
        return None

    until_conclusive(experiment)


def test_what_is_prepared_counts(driver: Driver, arguments: dict[str, Any], until_conclusive: UntilConclusive) -> None:
    """The raw connection is handed out only if it was ready in time, and is closed otherwise."""

    def experiment(factor: float) -> str | None:
        made: list[Any] = []

        def prepare(raw: Any) -> None:
            made.append(raw)
            raw.query(f"SELECT SLEEP({2 * PATIENCE})")

        with within(), pytest.raises(driver.module.OperationalError, match="connect_timeout"):
            driver.connect((), arguments, LIMIT * factor, prepare)
        if not made:
            return f"the connect alone took longer than {LIMIT * factor:g} s"
        assert driver.hung_up(made[0])
        return None

    until_conclusive(experiment)


def test_failure_in_time_is_passed_on_as_it_is(driver: Driver, arguments: dict[str, Any]) -> None:
    """A session that cannot be made as it was says why."""
    with pytest.raises(driver.module.Error, match="no_such_variable"):
        driver.connect((), arguments, 10.0, lambda raw: raw.query("SET SESSION no_such_variable = 1"))


def test_limit_ends_with_the_connect(
    driver: Driver,
    arguments: dict[str, Any],
    connect: Callable[..., Any],
    proxy: FaultProxy,
    until_conclusive: UntilConclusive,
) -> None:
    """A connection that was ready in time is never cut, however long its statement takes."""

    def experiment(factor: float) -> str | None:
        limit = LIMIT * factor
        try:
            raw = connect({**arguments, "host": proxy.host, "port": proxy.port}, timeout=limit)
        except driver.module.Error:
            return f"the connect alone took longer than {limit:g} s"
        with raw.cursor() as cursor:
            cursor.execute(f"SELECT SLEEP({2.2 * limit})")
            assert cursor.fetchall() == ((0,),)
        assert not driver.hung_up(raw)
        return None

    until_conclusive(experiment)
