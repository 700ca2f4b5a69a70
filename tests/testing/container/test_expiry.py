"""Real `wait_timeout` expiry against a MySQL container, which is what this project is for.

No test shortens the `wait_timeout` of a session or kills one. The server ends each session after two idle seconds, and a
bare connection beside the code under test proves each time that it did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.testing import AnyServer, eventually
from persistconn.testing.lines import find_lines

pytestmark = [pytest.mark.server, pytest.mark.persistconn(wait_timeout=2)]

PATIENCE = 120.0
"""Seconds until a test gives up waiting for the server."""
GONE = {2006, 2013, 4031}
THREADS = 4


@pytest.fixture(params=["at work", "stopped"])
def sweep(request: pytest.FixtureRequest) -> str:
    """With the sweep at work no held session expires. With the sweep stopped all do, as in a process that was suspended."""
    if request.param == "stopped":
        request.getfixturevalue("no_sweep")
    return str(request.param)


@pytest.fixture
def wait(server: AnyServer, bare: Callable[[], Any], sessions: Any, sweep: str) -> Callable[[], None]:
    """Wait until the server has ended a bare connection; with the sweep stopped, until it has ended ours as well."""

    def wait() -> None:
        ours = {one.id for one in sessions()}
        lines = [line for session, line in find_lines(server).items() if session in ours]
        control = bare()
        control.expire()
        assert control.fail()[1] in GONE
        if sweep == "stopped":
            eventually(lambda: not ours & {one.id for one in sessions()}, PATIENCE)
            # The server forgets a session before its FIN has arrived here.
            eventually(lambda: all(line.is_cut() for line in lines), PATIENCE)

    return wait


Write = Callable[[int], int]


@pytest.fixture
def write(module: ModuleType, arguments: dict[str, Any]) -> Iterator[Write]:
    """Write a number through persistconn; return the id of the session that was used."""
    db = persistconn.manage(module)

    def write(number: int) -> int:
        with db.connect(**arguments) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (%s)", (number,))
            return int(connection.thread_id())

    yield write
    persistconn.shutdown()


# --- the contrast ------------------------------------------------------------------------------------------------------


def test_the_bare_driver_fails(
    server: AnyServer, bare: Callable[[], Any], module: ModuleType, kept: Callable[[], list[int]]
) -> None:
    """The first statement raises 2006, 2013 or 4031, the next one InterfaceError (0, '') on PyMySQL."""
    before = server.status("Aborted_clients")
    connection = bare()
    connection.expire()
    kind, number = connection.fail()
    assert (kind, number in GONE) == (module.OperationalError, True)
    assert connection.fail() == ((module.InterfaceError, 0) if module.__name__ == "pymysql" else (kind, 2006))
    eventually(lambda: before < server.status("Aborted_clients"))
    assert [] == kept()


# --- with persistconn --------------------------------------------------------------------------------------------------


def test_one_thread_writes_after_each_expiry(
    write: Write, wait: Callable[[], None], kept: Callable[[], list[int]], sweep: str
) -> None:
    """Each write takes effect once. With the sweep stopped each one needs a new session."""
    taken = []
    for night in range(3):
        taken.append(write(night))
        wait()
    taken.append(write(3))
    assert [0, 1, 2, 3] == kept()
    assert sweep == "at work" or len(set(taken)) == 4


def test_threads_of_an_executor_write_after_an_expiry(
    write: Write, wait: Callable[[], None], kept: Callable[[], list[int]], sessions: Any, no_surfaced_errors: Any
) -> None:
    """Four threads, each with a session that is idle for longer than the server allows."""
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> int:
        taken = write(number)
        barrier.wait(PATIENCE)
        return taken

    with persistconn.Executor(max_workers=THREADS) as pool:
        assert THREADS == len(set(pool.map(work, range(THREADS))))
        wait()
        assert THREADS == len(set(pool.map(work, range(THREADS, 2 * THREADS))))
        # A session that the sweep replaces is closed after the new one has been opened.
        eventually(lambda: len(sessions()) <= THREADS)
    assert list(range(2 * THREADS)) == kept()


@pytest.mark.usefixtures("no_sweep")
def test_a_transaction_that_expires_is_told(
    server: AnyServer, arguments: dict[str, Any], module: ModuleType, kept: Callable[[], list[int]]
) -> None:
    """The server has rolled back its first half, so the second half must not be committed."""
    connection = persistconn.manage(module).connect(**arguments)
    connection.begin()
    connection.cursor().execute("INSERT INTO t VALUES (1)")
    session = connection.thread_id()
    eventually(lambda: session not in {one.id for one in server.processlist()}, PATIENCE)
    for _ in range(2):
        with pytest.raises(persistconn.TransactionLost):
            connection.cursor().execute("INSERT INTO t VALUES (2)")
    connection.rollback()
    connection.cursor().execute("INSERT INTO t VALUES (3)")
    assert [3] == kept()


# --- jobs --------------------------------------------------------------------------------------------------------------


def add(number: int) -> None:
    with persistconn.current().cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s)", (number,))


def test_jobs_take_effect_once_after_an_expiry(
    connect: Callable[[], Any], wait: Callable[[], None], kept: Callable[[], list[int]], no_surfaced_errors: Any
) -> None:
    """Twenty jobs on four threads leave twenty rows."""
    job = persistconn.job(using=connect)(add)
    with persistconn.Executor(max_workers=THREADS) as pool:
        list(pool.map(job, range(10)))
        wait()
        list(pool.map(job, range(10, 20)))
    assert list(range(20)) == kept()


@pytest.mark.usefixtures("no_sweep")
def test_a_job_that_expires_in_its_middle_is_replayed(
    server: AnyServer, connect: Callable[[], Any], kept: Callable[[], list[int]], no_surfaced_errors: Any
) -> None:
    """The job sleeps too long inside its transaction. The server rolls it back, and the job runs again."""
    runs: list[int] = []

    def doze() -> None:
        add(len(runs))
        runs.append(persistconn.current().thread_id())
        if len(runs) == 1:
            eventually(lambda: runs[0] not in {one.id for one in server.processlist()}, PATIENCE)
        add(10)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(persistconn.job(using=connect)(doze)).result(PATIENCE)
    assert len(runs) > 1
    assert [len(runs) - 1, 10] == kept()
