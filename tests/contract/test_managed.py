"""``manage()`` over each driver: what the owner of a connection sees when it dies."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.testing import eventually
from persistconn.testing.waiting import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("no_sweep")]

UntilConclusive = Callable[[Callable[[float], "str | None"]], None]
OnceUnderWay = Callable[[int, Callable[[], object]], Any]

INTERRUPTIONS = 500
SHORTEST = 0.003
"""Seconds within which the next interruption comes."""


@pytest.fixture(params=[None, {"max_size": 3}], ids=["kept", "lent"])
def conn(module: ModuleType, arguments: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """This thread's connection: its own, or one that borrows."""
    conn = persistconn.manage(module, pool=request.param).connect(**arguments)
    yield conn
    conn.retire()


@pytest.fixture
def kill(contract_server: Any) -> Callable[[Any], None]:
    """End the session of a connection, and wait until the server has."""

    def kill(conn: Any) -> None:
        held = conn._held
        contract_server.kill_session(held.driver.session_id(held.raw))
        eventually(lambda: held.driver.hung_up(held.raw))

    return kill


def run(conn: Any, sql: str, *values: Any) -> Any:
    """Run a statement with a cursor of the driver's and return its rows."""
    with conn.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def session(conn: Any) -> int:
    """Ask the server for the id of the session."""
    return int(run(conn, "SELECT CONNECTION_ID()")[0][0])


def test_statements_and_cursors_are_the_driver_s(conn: Any, module: ModuleType) -> None:
    """Parameters, rowcount, lastrowid, executemany, dictionaries and streams."""
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO t (x) VALUES (%s)", [(1,), (2,), (3,)])
        assert (cursor.rowcount, cursor.lastrowid) == (3, 1)
        cursor.execute("UPDATE t SET x = x + %s WHERE id > %s", (10, 1))
        assert cursor.rowcount == 2
        cursor.execute("SET SESSION wait_timeout = 1000")
        assert cursor.rowcount == 0
    with conn.cursor(module.cursors.DictCursor) as cursor:
        cursor.execute("SELECT x FROM t WHERE id = %s", (3,))
        assert list(cursor.fetchall()) == [{"x": 13}]
    with conn.cursor(module.cursors.SSCursor) as cursor:
        assert isinstance(cursor, module.cursors.SSCursor)
        cursor.execute("SELECT x FROM t ORDER BY id")
        assert [row[0] for row in cursor] == [1, 12, 13]
    assert run(conn, "SELECT 'it''s', %s", "it's") == (("it's", "it's"),)


def test_several_results_are_read_one_by_one(conn: Any) -> None:
    """And a cursor that leaves some does not disturb the next."""
    run(conn, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END")
    with conn.cursor() as cursor:
        cursor.execute("CALL p()")
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset()
        assert cursor.fetchall() == ((2,),)
    with conn.cursor() as cursor:
        cursor.execute("CALL p()")
    assert run(conn, "SELECT 3") == ((3,),)


@pytest.mark.parametrize("how", ["fetchall", "close"])
def test_rows_that_are_lost_half_way_are_told(conn: Any, module: ModuleType, contract_server: Any, how: str) -> None:
    """A stream is read from the wire long after its statement; a loss there is no raw error either."""
    cursor = conn.cursor(module.cursors.SSCursor)
    columns = "information_schema.columns"
    cursor.execute(f"SELECT REPEAT('x', 10000) FROM {columns} a, {columns} b")
    cursor.fetchone()
    # Nobody can see yet that the server has hung up: what it had sent before comes first.
    contract_server.kill_session(conn._held.driver.session_id(conn._held.raw))
    with pytest.raises(persistconn.ConnectionLost) as told:
        getattr(cursor, how)()
    assert isinstance(told.value.__cause__, module.Error)
    cursor.close()
    assert run(conn, "SELECT 42") == ((42,),)


def test_session_that_was_replaced_at_the_boundary_leaves_a_connection_that_works(conn: Any) -> None:
    """A user variable pins the session; behind the boundary there is a new one, without it."""
    run(conn, "SET @a = 1")
    conn.close()
    assert run(conn, "SELECT @a") == ((None,),)


def test_the_kernel_watches_the_path(conn: Any) -> None:
    """Keepalive probes and the user timeout, both: either alone misses a case."""
    fileno = conn._held.driver.fileno(conn._held.raw)
    with socket.socket(fileno=os.dup(fileno)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_session_that_was_killed_while_idle_is_replaced(conn: Any, kill: Callable[[Any], None]) -> None:
    """The statement is sent once, on the new one."""
    before = session(conn)
    kill(conn)
    run(conn, "INSERT INTO t (x) VALUES (%s)", 1)
    assert run(conn, "SELECT x FROM t") == ((1,),)
    assert session(conn) != before


def test_session_that_expired_is_replaced(
    module: ModuleType, arguments: dict[str, Any], until_conclusive: UntilConclusive
) -> None:
    """Again and again, by the check before the statement alone."""

    def experiment(factor: float) -> str | None:
        conn = persistconn.manage(module).connect(**arguments)
        held = conn._held
        try:
            run(conn, f"SET SESSION wait_timeout = {factor:.0f}")
            run(conn, "TRUNCATE t")
            for n in range(3):
                eventually(lambda: held.driver.hung_up(held.raw))
                run(conn, "INSERT INTO t (x) VALUES (%s)", n)
            assert run(conn, "SELECT x FROM t ORDER BY id") == ((0,), (1,), (2,))
        except persistconn.ConnectionLost:
            return f"{factor:.0f} s passed between the check, or the connect, and the statement"
        finally:
            conn.retire()
        return None

    until_conclusive(experiment)


def test_transaction_that_was_lost_is_told_and_its_rest_refused(conn: Any, kill: Callable[[Any], None]) -> None:
    """A half of it must never commit."""
    conn.begin()
    run(conn, "INSERT INTO t (x) VALUES (1)")
    kill(conn)
    for _ in range(2):
        with pytest.raises(persistconn.TransactionLost):
            run(conn, "INSERT INTO t (x) VALUES (2)")
    conn.rollback()
    assert run(conn, "SELECT x FROM t") == ()


def test_write_that_was_cut_in_the_middle_is_unknown(
    conn: Any, contract_server: Any, module: ModuleType, once_under_way: OnceUnderWay
) -> None:
    """The error is the driver's OperationalError too."""
    before = session(conn)
    with (
        once_under_way(before, lambda: contract_server.kill_session(before)),
        pytest.raises(persistconn.OutcomeUnknown) as caught,
    ):
        run(conn, f"INSERT INTO t (x) SELECT SLEEP({4 * PATIENCE})")
    assert isinstance(caught.value, module.OperationalError)
    assert run(conn, "SELECT 7") == ((7,),)


def test_read_that_was_cut_in_the_middle_is_read_again(
    conn: Any, contract_server: Any, once_under_way: OnceUnderWay
) -> None:
    """It has no effect, so nobody needs to know."""
    before = session(conn)
    with once_under_way(before, lambda: contract_server.kill_session(before)):
        assert run(conn, f"SELECT IF(CONNECTION_ID() = {before}, SLEEP({4 * PATIENCE}), 7)") == ((7,),)


def test_session_s_settings_survive(conn: Any, kill: Callable[[Any], None], database: str) -> None:
    """However they were made."""
    run(conn, "SET SESSION time_zone = '+05:00'")
    run(conn, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    run(conn, "USE information_schema")
    conn.autocommit(False)
    ask = "SELECT @@time_zone, DATABASE(), @@autocommit"
    before = run(conn, ask)
    conn.rollback()
    kill(conn)
    assert run(conn, ask) == before == (("+05:00", "information_schema", 0),)
    isolation = run(conn, "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
    assert {row[1] for row in isolation} == {"READ-COMMITTED"}


class Interruption(Exception):
    """What Dramatiq's and Celery's time limits throw into a thread."""


def test_exception_that_strikes_in_a_ping_is_the_caller_s(
    module: ModuleType, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised at once, for it says nothing of the server; and what it left is given up."""
    conn = persistconn.manage(module, trust=1e-9).connect(**arguments)
    before = session(conn)

    def strike(*args: Any) -> None:
        raise Interruption

    with monkeypatch.context() as struck:
        struck.setattr(type(conn._held.raw), "_execute_command" if module.__name__ == "pymysql" else "ping", strike)
        with pytest.raises(Interruption):
            run(conn, "SELECT 1")
    assert session(conn) != before
    conn.retire()


def test_exception_at_any_moment_never_leads_to_another_query_s_rows(
    module: ModuleType, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asynchronous exceptions strike between send and read as anywhere else."""
    # They strike in destructors too, where nobody can catch them, and leave what was being made to the collector.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    # A record that pytest keeps until the test is over holds the traceback, and that what was being closed when it was struck.
    monkeypatch.setattr(logging.getLogger("persistconn"), "disabled", True)
    managed, rng, stop = persistconn.manage(module), random.Random(7), threading.Event()
    answers: list[tuple[int, int]] = []

    def work() -> None:
        conn = managed.connect(**arguments)
        for n in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(Interruption, module.Error):
                rows = run(conn, f"SELECT {n}, REPEAT('x', {rng.randrange(1, 40000)})")
                answers.append((n, rows[0][0]))

    worker = threading.Thread()
    struck, heard, longest = 0, 0, SHORTEST
    while struck < INTERRUPTIONS:
        if not worker.is_alive():
            worker = threading.Thread(target=work)  # The last one was struck outside of every try.
            worker.start()
        # A machine may be so busy that each one strikes before the first answer: then they come more slowly.
        heard, longest = len(answers), (SHORTEST if len(answers) > heard else 2 * longest)
        time.sleep(rng.random() * longest)
        target, exception = ctypes.c_ulong(worker.ident or 0), ctypes.py_object(Interruption)
        struck += ctypes.pythonapi.PyThreadState_SetAsyncExc(target, exception)
    stop.set()
    worker.join(PATIENCE)
    gc.collect()
    assert not worker.is_alive()
    assert [pair for pair in answers if pair[0] != pair[1]] == []
    assert answers


def test_close_ends_what_the_server_refuses_to_roll_back(conn: Any) -> None:
    """An XA transaction that was ended but not committed: it goes with its session."""
    for sql in ("XA START 'x'", "INSERT INTO t (x) VALUES (1)", "XA END 'x'"):
        run(conn, sql)
    conn.close()
    assert run(conn, "SELECT COUNT(*) FROM t") == ((0,),)
