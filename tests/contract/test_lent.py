"""A bounded pool over each driver: who has which session is read from the server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.keeper import KEEPER
from persistconn.opening import Opening
from persistconn.testing import eventually
from persistconn.testing.waiting import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("no_sweep")]

Connect = Callable[[], Any]


@pytest.fixture
def pool() -> dict[str, Any]:
    """The settings of the pool; a test may change them before it connects."""
    return {"max_size": 2, "timeout": 2 * PATIENCE}


@pytest.fixture
def connect(module: ModuleType, arguments: dict[str, Any], pool: dict[str, Any]) -> Connect:
    """Connects the calling thread."""
    return lambda: persistconn.manage(module, pool=pool).connect(**arguments)


@pytest.fixture
def sessions(contract_server: Any, database: str) -> Callable[[], set[int]]:
    """What the server has of this test."""
    ask = "SELECT ID, DB FROM information_schema.PROCESSLIST"
    return lambda: {session for session, db in contract_server.ask(ask) if db == database}


def run(conn: Any, sql: str, *values: Any) -> Any:
    """Run a statement and return its rows."""
    with conn.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def session(conn: Any) -> int:
    """Ask the server for the id of the session; borrows one."""
    return int(run(conn, "SELECT CONNECTION_ID()")[0][0])


def in_thread(call: Callable[[], Any]) -> Any:
    """Call it on a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def test_nothing_is_borrowed_before_the_first_statement(connect: Connect, sessions: Any) -> None:
    """Nor by what can be said without a session."""
    conn = connect()
    conn.close()
    assert (conn.open, repr(conn).startswith("<LentConnection"), sessions()) == (True, True, set())
    assert session(conn) in sessions()


def test_what_is_given_back_is_the_next_one_s(connect: Connect, sessions: Any) -> None:
    """On another thread, without a connect."""

    def unit() -> int:
        with connect() as conn:
            return session(conn)

    first = unit()
    assert {in_thread(unit), in_thread(unit), unit()} == {first} == sessions()


def test_one_thread_has_one_session_until_it_gives_it_back(connect: Connect) -> None:
    """Whoever connects in the middle of a unit of work is in it."""
    assert session(connect()) == session(connect())


def test_a_burst_is_bounded(connect: Connect, contract_server: Any, database: str) -> None:
    """Forty threads, two sessions: each is answered, and the server never sees a third."""
    most: list[int] = []
    ask = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{database}'"

    def unit(number: int) -> int:
        with connect() as conn:
            most.append(int(run(conn, ask)[0][0]))
            return int(run(conn, "SELECT %s", number)[0][0])

    with ThreadPoolExecutor(40) as threads:
        assert sorted(threads.map(unit, range(200))) == list(range(200))
    assert max(most) <= 2


def test_no_session_is_ever_in_two_units_of_work(connect: Connect) -> None:
    """A hunt: each unit of work marks its session, and would see another's mark."""
    in_use: set[int] = set()
    shared: list[int] = []

    def unit(number: int) -> None:
        conn = connect()
        mine = session(conn)
        if mine in in_use:
            shared.append(mine)
        in_use.add(mine)
        run(conn, "SELECT SLEEP(0.001)")
        assert run(conn, "SELECT CONNECTION_ID(), %s", number)[0] == (mine, number)
        in_use.discard(mine)
        if number % 7:
            conn.close()
        else:
            conn.retire()

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(unit, range(300)))
    assert shared == []


def test_a_transaction_does_not_outlive_its_unit_of_work(connect: Connect) -> None:
    """It is rolled back before the session is lent again."""
    conn = connect()
    conn.begin()
    run(conn, "INSERT INTO t (x) VALUES (1)")
    conn.close()
    assert in_thread(lambda: run(connect(), "SELECT COUNT(*) FROM t")[0][0]) == 0
    assert not conn._held.driver.in_transaction(conn._held.raw)


@pytest.mark.parametrize(
    "leave",
    [
        lambda conn: run(conn, "SET SESSION sql_mode = ''"),
        lambda conn: run(conn, "SET @x = 1"),
        lambda conn: run(conn, "CREATE TEMPORARY TABLE tt (id INT)"),
        lambda conn: run(conn, "SELECT GET_LOCK('mine', 0)"),
        lambda conn: run(conn, "USE information_schema"),
        lambda conn: conn.autocommit(False),
        lambda conn: conn.set_character_set("latin1"),
    ],
    ids=["a setting", "a variable", "a temporary table", "a lock", "a database", "autocommit", "a character set"],
)
def test_what_a_unit_of_work_left_in_its_session_is_not_the_next_one_s(
    connect: Connect, sessions: Any, leave: Callable[[Any], None]
) -> None:
    """A session that is not as it was is closed."""
    conn = connect()
    before = session(conn)
    leave(conn)
    conn.close()
    assert session(conn) != before
    eventually(lambda: len(sessions()) == 1)


def test_a_session_that_died_while_it_was_free_is_replaced_before_use(
    connect: Connect, contract_server: Any, sessions: Any
) -> None:
    """Nobody hears of it."""
    conn = connect()
    dead = session(conn)
    held = conn._held
    conn.close()
    contract_server.kill_session(dead)
    eventually(lambda: held.driver.hung_up(held.raw))
    run(conn, "INSERT INTO t (x) VALUES (1)")
    # The server hangs up before it takes a session out of its list.
    eventually(lambda: sessions() == {session(conn)})


def test_a_thread_that_ends_without_a_word_leaves_no_place_taken(connect: Connect, sessions: Any) -> None:
    """What it left open is rolled back."""

    def die() -> None:
        conn = connect()
        conn.begin()
        run(conn, "INSERT INTO t (x) VALUES (1)")

    for _ in range(5):
        in_thread(die)
    assert run(connect(), "SELECT COUNT(*) FROM t")[0][0] == 0
    KEEPER.sweep()
    eventually(lambda: len(sessions()) == 1)


def test_who_waits_too_long_is_told_who_holds_the_sessions(connect: Connect, pool: dict[str, Any]) -> None:
    """As an OperationalError, with the function where it was borrowed."""
    pool.update(max_size=1, timeout=0.1, leak_stacks=True)

    def hold() -> None:
        session(connect())

    hold()
    with pytest.raises(persistconn.PoolTimeout, match=r"all 1 \(max_size\) are lent, to MainThread.*\.hold \("):
        in_thread(lambda: session(connect()))
    connect().close()
    assert in_thread(lambda: session(connect()))


def test_a_connection_is_its_thread_s(connect: Connect, module: ModuleType) -> None:
    """Also while nothing is lent."""
    conn = connect()
    with pytest.raises(module.ProgrammingError, match="each thread gets its own"):
        in_thread(lambda: session(conn))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_borrows_from_its_own_pool(connect: Connect, sessions: Any) -> None:
    """What is free in the parent is not free in the child."""
    conn = connect()
    mine = session(conn)
    conn.close()
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writes, str(session(connect())).encode())
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with open(reads, encoding="utf-8") as told:
        assert int(told.read()) != mine
    assert session(conn) == mine


class TestSweep:
    """What is free is looked after."""

    def test_keeps_min_size_open(self, connect: Connect, pool: dict[str, Any], sessions: Any) -> None:
        """Before anybody wants them."""
        pool["min_size"] = 2
        connect().ping()
        KEEPER.sweep()
        eventually(lambda: len(sessions()) == 2)

    def test_replaces_what_has_died(self, connect: Connect, contract_server: Any, sessions: Any) -> None:
        """In the background."""
        conn = connect()
        dead = session(conn)
        held = conn._held
        conn.close()
        contract_server.kill_session(dead)
        eventually(lambda: held.driver.hung_up(held.raw))
        KEEPER.sweep()
        eventually(lambda: sessions() and held.has_raw)
        assert session(conn) in sessions() - {dead}

    def test_is_waited_for_by_who_wants_what_it_is_opening(
        self, connect: Connect, pool: dict[str, Any], contract_server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or there would be two sessions for one place."""
        pool["max_size"] = 1
        conn = connect()
        dead, held = session(conn), conn._held
        conn.close()
        contract_server.kill_session(dead)
        eventually(lambda: held.driver.hung_up(held.raw))
        connect_one, connecting, go = Opening._connect, [], threading.Event()

        def connect_when_told(opening: Opening, *args: Any) -> Any:
            connecting.append(opening)
            go.wait(3 * PATIENCE)
            return connect_one(opening, *args)

        monkeypatch.setattr(Opening, "_connect", connect_when_told)
        KEEPER.sweep()
        eventually(lambda: connecting)
        with ThreadPoolExecutor(1) as thread:
            borrowed = thread.submit(lambda: session(connect()))
            eventually(lambda: held.owner.name != "nobody (free to be lent)")
            go.set()
            assert borrowed.result(PATIENCE)
        assert len(connecting) == 1

    def test_never_has_one_too_many(
        self, module: ModuleType, arguments: dict[str, Any], sessions: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even while it recycles: a session that is too old is broken before the next one is made."""
        connect_one = Opening._connect

        def connect_when_there_is_a_place(opening: Opening, *args: Any) -> Any:
            eventually(lambda: not sessions())
            return connect_one(opening, *args)

        monkeypatch.setattr(Opening, "_connect", connect_when_there_is_a_place)
        conn = persistconn.manage(module, pool={"max_size": 1}, max_lifetime=0.001).connect(**arguments)
        before = session(conn)
        eventually(lambda: time.monotonic() - conn._held.connected_at > 0.001)
        KEEPER.sweep()
        eventually(lambda: sessions() - {before})
        assert session(conn) in sessions() - {before}


class TestUnitOfWork:
    """``unit_of_work`` gives back what a function has borrowed."""

    def test_ends_with_the_function(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        """And rolls back what that left open, with a word."""

        @persistconn.unit_of_work
        def settle() -> None:
            conn = connect()
            conn.begin()
            run(conn, "INSERT INTO t (x) VALUES (1)")

        settle()
        assert connect()._claim is None
        assert run(connect(), "SELECT COUNT(*) FROM t")[0][0] == 0
        assert "settle left an open transaction" in caplog.text

    def test_ends_with_the_block_although_it_raises(self, connect: Connect) -> None:
        """What it raised comes out."""

        @persistconn.unit_of_work
        def fail() -> None:
            session(connect())
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            fail()
        assert connect()._claim is None

    def test_inside_another_ends_with_that(self, connect: Connect) -> None:
        """A function that is called in the middle must not end its caller's transaction."""
        with persistconn.unit_of_work():
            conn = connect()
            conn.begin()
            run(conn, "INSERT INTO t (x) VALUES (1)")
            with persistconn.unit_of_work():
                run(connect(), "INSERT INTO t (x) VALUES (2)")
            conn.commit()
        assert run(connect(), "SELECT COUNT(*) FROM t")[0][0] == 2


def test_a_job_borrows_and_gives_back(connect: Connect, contract_server: Any, database: str) -> None:
    """Exactly once, also when its session is killed in the middle, and what it borrowed is free afterwards."""
    persistconn.ledger.create(connect())
    connect().close()
    runs: list[int] = []

    @persistconn.job(using=connect, name="pay")
    def pay() -> None:
        conn = persistconn.current()
        run(conn, "INSERT INTO t (x) VALUES (7)")
        runs.append(session(conn))
        if len(runs) == 1:
            contract_server.kill_session(runs[0])
        run(conn, "INSERT INTO t (x) VALUES (8)")

    with persistconn.unit_of_work():
        pay()
    assert [x for (x,) in contract_server.ask(f"SELECT x FROM {database}.t ORDER BY id")] == [7, 8]
    assert len(set(runs)) == 2
    assert connect()._claim is None
