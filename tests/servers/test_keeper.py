"""The sweep and the registry against a real server. Where time matters, the server's own is 1 s; ours is a fake clock."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pymysql
import pymysql.cursors
import pytest

import persistconn
from persistconn import forking
from persistconn.drivers import driver_for
from persistconn.held import Held, State
from persistconn.keepalive import KEEPALIVE, Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy, Reason
from persistconn.testing import FakeClock, MariaDB, eventually

pytestmark = pytest.mark.server

DRIVER = driver_for(pymysql)
PATIENCE = 30.0
GENEROUS = {"connect_timeout": PATIENCE, "ping_timeout": PATIENCE, "ping_every": 60.0, "give_up_after": 1e9}
"""What a busy machine must not make fail. The clock that ``give_up_after`` is taken by goes as fast as the test likes."""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Nobody else holds a connection, for they are counted, and so is what is said on them."""
    KEEPALIVE.stop()
    persistconn.shutdown()


@pytest.fixture
def clock() -> FakeClock:
    """The keeper's clock: it moves when the test says so."""
    return FakeClock(1000.0)


@pytest.fixture
def keeper(clock: FakeClock) -> Iterator[Keeper]:
    """A keeper of the test's own, whose sweep runs when the test calls it."""
    keeper = Keeper(clock=clock)
    yield keeper
    keeper.shutdown()


def connect(keeper: Keeper, arguments: dict[str, Any], **settings: Any) -> Any:
    """Hold a connection for the calling thread."""
    policy = Policy.from_settings({**GENEROUS, **settings})
    return keeper.connect(DRIVER, policy, (), {"autocommit": True, **arguments})


def sessions(server: MariaDB, arguments: dict[str, Any]) -> list[int]:
    """Return the ids of the sessions on this test's database, as the server sees them."""
    return [session.id for session in server.processlist() if session.db == arguments["database"]]


def aborted(server: MariaDB, arguments: dict[str, Any]) -> list[str]:
    """Return the log's lines on sessions on this test's database that ended without a goodbye.

    The server writes them before it strikes a session off: wait for that first.
    """
    return [line for line in server.aborted_in_log() if f"'{arguments['database']}'" in line]


def assert_all_left_in_order(server: MariaDB, arguments: dict[str, Any]) -> None:
    """Wait until no session is left on this test's database, and see that each said goodbye."""
    eventually(lambda: sessions(server, arguments) == [])
    assert [] == aborted(server, arguments)


def wait_for_renewals(keeper: Keeper) -> None:
    """Wait until all background replacements have come to their end."""
    eventually(lambda: not keeper._renewals._under_way)


def has_stopped(pid: int) -> bool:
    """Say whether every thread of a process has stopped, as Linux tells; the signal takes a moment to reach them."""
    try:
        stats = [task.joinpath("stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # One has ended meanwhile.
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def test_idle_connection_is_pinged(keeper: Keeper, clock: FakeClock, database: dict[str, Any]) -> None:
    """The ping is a proof of life, and does not make the connection look used."""
    connection = connect(keeper, database)
    clock.advance(60)
    keeper.sweep()
    (view,) = keeper.snapshots()
    assert (1, 0.0, 60.0, "idle") == (view.pings, view.proof_age, view.idle, view.state)
    assert connection.thread_id() == view.session_id


def test_connection_idle_for_keepalive_is_recycled_in_the_background(
    keeper: Keeper, clock: FakeClock, server: MariaDB, database: dict[str, Any]
) -> None:
    """A new session is in place before the old one goes, and the owner's object stays the same."""
    connection = connect(keeper, database, keepalive=3600)
    old = connection.thread_id()
    clock.advance(3600)
    keeper.sweep()
    eventually(lambda: connection.thread_id() != old)
    eventually(lambda: sessions(server, database) == [connection.thread_id()])
    (view,) = keeper.snapshots()
    assert {Reason.IDLE.value: 1} == view.recycles
    assert 0.0 == view.age


def test_connection_older_than_max_lifetime_is_recycled_although_in_use(
    keeper: Keeper, clock: FakeClock, database: dict[str, Any]
) -> None:
    """At rest between two statements, outside a transaction, nobody can notice."""
    connection = connect(keeper, database, keepalive=100, max_lifetime=1000)
    old = connection.thread_id()
    for _ in range(20):
        clock.advance(50)
        connection.query("SELECT 1")
    keeper.sweep()
    eventually(lambda: connection.thread_id() != old)
    assert {Reason.LIFETIME.value: 1} == keeper.snapshots()[0].recycles


def test_no_replacement_begins_during_a_statement(
    keeper: Keeper, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be made like the session before that statement, and lose the setting or the lock that it brings."""
    connection = connect(keeper, database)
    held, raw = connection._held, connection._held.raw
    query, begun = raw.query, []

    def renewed_meanwhile(*args: Any, **kwargs: Any) -> Any:
        begun.append(held.renew(Reason.LIFETIME))
        return query(*args, **kwargs)

    monkeypatch.setattr(raw, "query", renewed_meanwhile)
    connection.query("SET SESSION sort_buffer_size = 654336")
    assert [False] == begun
    assert held.renew(Reason.LIFETIME)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@session.sort_buffer_size")
        assert ((654336,),) == cursor.fetchall()


def test_dead_connection_is_replaced_before_its_owner_needs_it(
    keeper: Keeper, server: MariaDB, database: dict[str, Any]
) -> None:
    """After a KILL the next sweep has a new session ready."""
    connection = connect(keeper, database)
    old = connection.thread_id()
    server.kill_session(old)
    eventually(lambda: (keeper.sweep(), connection.thread_id() != old)[1])
    assert {Reason.HUNG_UP.value: 1} == keeper.snapshots()[0].recycles
    eventually(lambda: [connection.thread_id()] == sessions(server, database))


def test_transaction_is_never_touched(
    keeper: Keeper, clock: FakeClock, server: MariaDB, database: dict[str, Any]
) -> None:
    """Neither pinged, which would keep it alive past the DBA's limits, nor recycled, which would roll it back."""
    connection = connect(keeper, database)
    session = connection.thread_id()
    connection.begin()
    connection.query("SELECT 1")
    before = server.status("Com_admin_commands")
    for seconds in (60, 8 * 3600):
        clock.advance(seconds)
        keeper.sweep()
        wait_for_renewals(keeper)
    (view,) = keeper.snapshots()
    assert (0, {}, True) == (view.pings, view.recycles, view.in_transaction)
    assert session == connection.thread_id()
    assert before == server.status("Com_admin_commands")


def test_unread_rows_and_results_are_left_alone(keeper: Keeper, clock: FakeClock, database: dict[str, Any]) -> None:
    """A ping would swallow the rows of an unbuffered cursor and all further results."""
    rows = connect(keeper, database)
    cursor = rows.cursor(pymysql.cursors.SSCursor)
    cursor.execute("SELECT seq FROM seq_1_to_5")
    cursor.fetchone()
    results = connect(keeper, database, trust=91)
    several = connect(keeper, {**database, "client_flag": pymysql.constants.CLIENT.MULTI_STATEMENTS}).cursor()
    several.execute("SELECT 1; SELECT 2")
    clock.advance(8 * 3600)
    keeper.sweep()
    wait_for_renewals(keeper)
    assert [(2,), (3,), (4,), (5,)] == list(cursor)
    assert several.nextset()
    assert ((2,),) == several.fetchall()
    assert results.open


def test_pinned_session_is_pinged_and_not_recycled(
    keeper: Keeper, clock: FakeClock, server: MariaDB, database: dict[str, Any]
) -> None:
    """Its lock must last as long as its owner wants."""
    connection = connect(keeper, database)
    session = connection.thread_id()
    connection.query("SELECT GET_LOCK('persistconn-pinned', 1)")
    clock.advance(8 * 3600)
    keeper.sweep()
    wait_for_renewals(keeper)
    (view,) = keeper.snapshots()
    assert (1, {}) == (view.pings, view.recycles)
    assert session == connection.thread_id()


def test_worker_is_never_cut_off_by_a_sweep(keeper: Keeper, clock: FakeClock, database: dict[str, Any]) -> None:
    """While sweeps ping and recycle without pause, eight busy threads get their own rows and no error."""
    stop = threading.Event()
    done = [0] * 8

    def work(number: int) -> None:
        connection = connect(keeper, database, keepalive=60 if number % 2 else 10**6, trust=10**6)
        while not stop.is_set():
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s", (number * 10**6 + done[number],))
                assert ((number * 10**6 + done[number],),) == cursor.fetchall()
            done[number] += 1
            # At rest for a moment, or the sweep would find every connection in use every time; and now and then for long
            # enough for a new one to be made, which takes a busy machine longer than others.
            stop.wait(0.002 if done[number] % 20 else max(0.1, done[number] / 1000))

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, number) for number in range(8)]
        pings = recycles = 0
        while (min(done) < 100 or not pings or not recycles) and not any(future.done() for future in futures):
            clock.advance(90)
            keeper.sweep()
            views = keeper.snapshots()
            pings, recycles = sum(view.pings for view in views), sum(sum(view.recycles.values()) for view in views)
        stop.set()
        for future in futures:
            future.result()


def test_dead_thread_s_connection_is_closed_within_one_sweep(
    keeper: Keeper, server: MariaDB, database: dict[str, Any]
) -> None:
    """In order (no aborted connection), also when its transaction was open; idents may be reused by then."""

    def short_life() -> None:
        connect(keeper, database).begin()

    for _ in range(3):
        thread = threading.Thread(target=short_life)
        thread.start()
        thread.join()
    assert 3 == len(sessions(server, database))
    keeper.sweep()
    eventually(lambda: sessions(server, database) == [])
    assert [] == keeper.snapshots()
    assert [] == aborted(server, database)


LONG = 9000.0
"""Seconds without a ping, of the fake clock; under ``wait_timeout`` of eight hours it may be no more than a third of them."""


def test_black_hole_does_not_hold_up_the_others(
    keeper: Keeper, clock: FakeClock, server: MariaDB, database: dict[str, Any]
) -> None:
    """A peer that is silent costs the sweep one `ping_timeout`, and is replaced like any dead one."""
    settings = {"ping_timeout": 0.3, "ping_every": LONG}
    with ThreadPoolExecutor(4) as pool:
        barrier = threading.Barrier(4)
        held = list(pool.map(lambda _: (barrier.wait(), connect(keeper, database, **settings))[1], range(4)))
        silent = held[0].thread_id()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            eventually(lambda: has_stopped(server.pid))
            clock.advance(LONG)
            keeper.sweep()
            assert 4 == sum(view.state in ("vacant", "idle") for view in keeper.snapshots())
        finally:
            os.kill(server.pid, signal.SIGCONT)
        # No ping is due again meanwhile: such a short one a busy server may not answer in time.
        eventually(lambda: (keeper.sweep(), clock.advance(1), all(v.state == "idle" for v in keeper.snapshots()))[2])
        assert silent not in [view.session_id for view in keeper.snapshots()]
        assert {Reason.PING_FAILED.value: 1} == keeper.snapshots()[0].recycles


def test_shutdown_closes_everything_in_order(keeper: Keeper, server: MariaDB, database: dict[str, Any]) -> None:
    """COM_QUIT on each, open transactions rolled back, idempotent; connect() starts anew afterwards."""
    connection = connect(keeper, database)
    connection.begin()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(connect, keeper, database).result()
        keeper.shutdown()
        keeper.shutdown()
        assert [] == keeper.snapshots()
    assert_all_left_in_order(server, database)
    assert connect(keeper, database) is not connection


class NoticingLock:
    """A lock that knows which threads have asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.asked = set[int]()
        self.release = self._lock.release

    def acquire(self, *args: Any) -> bool:
        self.asked.add(threading.get_ident())
        return self._lock.acquire(*args)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class Beginning(Held):
    """One whose owner is held up between his look at it and the move to BUSY; it knows what it has been."""

    hold_up: Callable[[], None]
    moves: list[State]

    @property
    def state(self) -> State:
        return cast(State, self.__dict__["state"])

    @state.setter
    def state(self, state: State) -> None:
        if state is State.BUSY:
            self.hold_up()
        self.moves.append(state)
        self.__dict__["state"] = state


def test_shutdown_waits_for_a_statement_that_is_about_to_begin(
    keeper: Keeper, server: MariaDB, database: dict[str, Any]
) -> None:
    """It is not closed in the middle of it, as one would be that is idle."""
    connection = connect(keeper, database)
    held, lock = connection._held, NoticingLock()
    held.__class__, held._lock, held._freed = Beginning, lock, threading.Condition(cast(Any, lock))
    shutdown = threading.Thread(target=keeper.shutdown, args=(PATIENCE,))

    def begin_shutdown() -> None:
        shutdown.start()
        eventually(lambda: shutdown.ident in lock.asked)

    held.hold_up, held.moves = begin_shutdown, []
    connection.query("SELECT SLEEP(0.2)")
    shutdown.join(PATIENCE)
    assert [State.BUSY, State.IDLE, State.CLOSED] == held.moves
    assert_all_left_in_order(server, database)


class HeldUp:
    """A method of the driver that takes until ``go_on`` is set, and notes its end in ``ended``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._name, self._method = name, getattr(DRIVER, name)
        self.has_begun, self.go_on, self.ended = threading.Event(), threading.Event(), list[str]()
        monkeypatch.setattr(DRIVER, name, self)

    def __call__(self, *args: Any) -> Any:
        self.has_begun.set()
        assert self.go_on.wait(PATIENCE)
        result = self._method(*args)
        self.ended.append(self._name)
        return result


def shutdown_beside(keeper: Keeper, held_up: HeldUp, work: Callable[[], object]) -> list[str]:
    """Shut down while work is held up, and let it go on as soon as that waits; return what ended, in order."""

    def shut_down() -> None:
        keeper.shutdown(PATIENCE)
        held_up.ended.append("shutdown")

    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(work)
        assert held_up.has_begun.wait(PATIENCE)
        shutting_down = pool.submit(shut_down)
        eventually(lambda: held_up.ended or any(held._freed._waiters for held in keeper._all()))  # type: ignore[attr-defined]
        held_up.go_on.set()
        working.result()
        shutting_down.result()
    return held_up.ended


def test_shutdown_waits_for_the_goodbye_of_another_thread(
    keeper: Keeper, server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may end behind it: a pool that is shut down beside it closes what its threads had."""
    monkeypatch.setattr("persistconn.keeper.GOODBYE", PATIENCE)
    held = connect(keeper, database)._held
    quit_ = HeldUp(monkeypatch, "quit")

    def close() -> None:
        held.close(Reason.OWNER_DIED)

    assert ["quit", "shutdown"] == shutdown_beside(keeper, quit_, close)
    assert_all_left_in_order(server, database)


def test_shutdown_waits_for_a_connection_that_is_being_opened(
    keeper: Keeper, server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes, is closed in order, and its owner is told with the first statement."""
    monkeypatch.setattr("persistconn.keeper.OPENING", PATIENCE)
    opening = HeldUp(monkeypatch, "wait_timeout")  # Asked for when the driver has connected.

    def open_one() -> None:
        connection = connect(keeper, database)
        with pytest.raises(pymysql.InterfaceError, match="was closed by shutdown"):
            connection.query("SELECT 1")

    assert ["wait_timeout", "shutdown"] == shutdown_beside(keeper, opening, open_one)
    assert [] == keeper.snapshots()
    assert_all_left_in_order(server, database)


def test_shutdown_does_not_wait_for_a_server_that_is_away(
    keeper: Keeper, server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes of it in the end is closed in order."""
    monkeypatch.setattr("persistconn.keeper.OPENING", 0.01)
    opening = HeldUp(monkeypatch, "connect")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(connect, keeper, database)
        assert opening.has_begun.wait(PATIENCE)
        keeper.shutdown(timeout=PATIENCE)
        assert not future.done()
        opening.go_on.set()
        future.result(PATIENCE)
    assert [] == keeper.snapshots()
    assert_all_left_in_order(server, database)


def test_shutdown_cancels_a_statement_that_does_not_end(
    keeper: Keeper, server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told why, and the server sees an orderly goodbye."""
    monkeypatch.setattr("persistconn.keeper.CANCELLED", PATIENCE)
    running = threading.Event()

    def slow() -> None:
        connection = connect(keeper, database)
        running.set()
        connection.query("SELECT SUM(SQRT(seq)) FROM seq_1_to_100000000000")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(slow)
        assert running.wait(PATIENCE)
        eventually(lambda: any(session.info and "SQRT" in session.info for session in server.processlist()))
        keeper.shutdown(timeout=0.05)
        with pytest.raises(pymysql.MySQLError) as cancelled:
            future.result(PATIENCE)
        assert 1317 == cancelled.value.args[0]
    assert_all_left_in_order(server, database)


def test_expiry_without_a_sweep_is_found_by_the_look_at_the_socket(keeper: Keeper, database: dict[str, Any]) -> None:
    """The poll alone must do, for eight threads that expire together."""
    arguments = {**database, "init_command": "SET SESSION wait_timeout = 1"}
    connected, expired = threading.Barrier(9, timeout=PATIENCE), threading.Barrier(9, timeout=PATIENCE)

    def work(number: int) -> Any:
        connection = connect(keeper, arguments)
        connected.wait()
        expired.wait()
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", (number,))
            return cursor.fetchone()[0]

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(work, range(8))
        connected.wait()
        eventually(lambda: all(DRIVER.hung_up(held.raw) for held in keeper._all()))
        expired.wait()
        assert list(range(8)) == list(answers)
        assert [1] * 8 == [view.recycles[Reason.HUNG_UP.value] for view in keeper.snapshots()]


def test_forked_child_leaves_its_parent_s_session_alone(
    keeper: Keeper, server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child gets a session of its own, also for the object it inherited; the parent's lives on."""
    monkeypatch.setattr(forking, "_hooks", [*forking._hooks, keeper.after_fork_in_child])
    connection = connect(keeper, database)
    session = connection.thread_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            connection.query("SELECT 1")
            os.write(writer, str(connection.thread_id()).encode())
            connection.close()
            keeper.shutdown()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(reader, 20) or b"0")
    os.close(reader)
    os.close(writer)
    assert theirs not in (0, session)
    connection.query("SELECT 1")
    assert session == connection.thread_id()
    eventually(lambda: [session] == sessions(server, database))


def test_child_that_forked_inside_a_transaction_is_told(keeper: Keeper, database: dict[str, Any]) -> None:
    """The transaction is the parent's; going on outside of it would commit half of it."""
    connection = connect(keeper, database)
    connection.begin()
    connection.query("SELECT 1")
    child = os.fork()
    if child == 0:  # pragma: no cover
        keeper.after_fork_in_child()
        try:
            connection.query("SELECT 1")
        except persistconn.TransactionLost:
            os._exit(7)
        finally:
            os._exit(1)
    assert 7 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.commit()


def test_sweep_runs_on_the_user_s_scheduler(keeper: Keeper, clock: FakeClock, database: dict[str, Any]) -> None:
    """In a memory store and on an executor of its own, at the pace that the connections need; theirs goes on after it."""
    from apscheduler.schedulers.background import BackgroundScheduler

    swept = threading.Event()
    keepalive = Keepalive(keeper)
    keeper.on_connection = keepalive.ensure_running
    keeper.sweep = swept.set  # type: ignore[method-assign]
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    try:
        keepalive.use_scheduler(scheduler)
        (job,) = scheduler.get_jobs()
        assert (15.0, True, None, "persistconn") == (
            job.trigger.interval.total_seconds(),
            job.coalesce,
            job.misfire_grace_time,
            job.executor,
        )
        connect(keeper, database, keepalive=0.4, ping_every=0.4, ping_timeout=0.4)
        (job,) = scheduler.get_jobs()
        assert 0.1 == job.trigger.interval.total_seconds()
        assert swept.wait(PATIENCE)
        keepalive.stop()
        assert scheduler.running
        assert [] == scheduler.get_jobs()
        keepalive.use_scheduler(scheduler)
    finally:
        scheduler.shutdown()
    keepalive.stop()
