"""The Executor against a real server: each task a unit of work, each thread one session."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.testing import MariaDB, eventually

pytestmark = pytest.mark.server

db = persistconn.manage(pymysql)


PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    persistconn.shutdown()
    yield
    persistconn.shutdown()


def sessions(server: MariaDB, arguments: dict[str, Any]) -> list[int]:
    """Return the ids of the sessions on this test's database, as the server sees them."""
    return [session.id for session in server.processlist() if session.db == arguments["database"]]


def run(arguments: dict[str, Any], *statements: str) -> Any:
    """Run statements on the calling thread's connection, without committing; return the last one's rows."""
    with db.connect(**arguments).cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
        return cursor.fetchall()


def test_a_thousand_tasks_use_one_session_per_thread(server: MariaDB, database: dict[str, Any]) -> None:
    """However often the tasks connect and close."""

    def task(number: int) -> tuple[int, int]:
        with db.connect(**database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT %s, CONNECTION_ID()", (number,))
            return cursor.fetchone()

    with persistconn.Executor(max_workers=4) as pool:
        numbers, used = zip(*pool.map(task, range(1000)), strict=True)
    assert tuple(range(1000)) == numbers
    assert len(set(used)) <= 4


@pytest.mark.parametrize("wrapped", [True, False])
def test_what_a_task_leaves_open_is_rolled_back_and_told(
    server: MariaDB, database: dict[str, Any], caplog: pytest.LogCaptureFixture, wrapped: bool
) -> None:
    """Before its future is done, so that whoever waits for it finds no lock; the warning names the task."""
    run({**database, "autocommit": True}, "CREATE TABLE t (id INT PRIMARY KEY)")

    def careless() -> None:
        run(database, "INSERT INTO t VALUES (1)")
        raise RuntimeError("and fails")

    with persistconn.Executor(
        *([ThreadPoolExecutor(1)] if wrapped else []), **({} if wrapped else {"max_workers": 1})
    ) as pool:
        with caplog.at_level(logging.WARNING, "persistconn"), pytest.raises(RuntimeError, match="and fails"):
            pool.submit(careless).result()
        run({**database, "autocommit": True}, "SELECT * FROM t FOR UPDATE NOWAIT", "INSERT INTO t VALUES (1)")
        assert ((1,),) == pool.submit(run, database, "SELECT COUNT(*) FROM t").result()
    (told,) = [record for record in caplog.records if record.action == "rollback" and "careless" in record.task]  # type: ignore[attr-defined]
    assert "careless left an open transaction on 127.0.0.1" in told.message


def test_threads_are_warm_before_the_first_task(server: MariaDB, database: dict[str, Any]) -> None:
    """`warm` runs on every thread when it starts; no task waits for a connection."""
    warmed: list[str] = []

    def warm() -> None:
        db.connect(**database)
        warmed.append(threading.current_thread().name)

    with persistconn.Executor(max_workers=3, warm=warm):
        eventually(lambda: len(warmed) == 3)
        assert 3 == len(set(warmed))
        assert 3 == len(sessions(server, database))


def test_warm_that_fails_is_told_and_breaks_nothing(database: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The pool works; the first task meets the error itself."""
    wrong = {**database, "password": "wrong"}
    with persistconn.Executor(max_workers=2, warm=[lambda: db.connect(**wrong)]) as pool:
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            pool.submit(db.connect, **wrong).result()
        assert 7 == pool.submit(lambda: 7).result()
    assert 2 == sum("could not warm" in record.message for record in caplog.records)


def test_shutdown_closes_the_connections_of_its_threads(server: MariaDB, database: dict[str, Any]) -> None:
    """In order, and only those: the caller's own stays."""
    db.connect(**database)
    pool, together = persistconn.Executor(max_workers=3), threading.Barrier(3, timeout=PATIENCE)

    def task() -> None:
        run(database, "SELECT 1")
        together.wait()  # Each on a thread of its own, for none is through before all have begun.

    for future in [pool.submit(task) for _ in range(3)]:
        future.result()
    assert 4 == len(sessions(server, database))
    pool.shutdown()
    eventually(lambda: len(sessions(server, database)) == 1)
    assert 1 == len(persistconn.connections())


def test_asyncio_runs_its_work_on_it(database: dict[str, Any]) -> None:
    """`run_in_executor` takes it, as it takes any executor of concurrent.futures."""

    async def main(pool: persistconn.Executor) -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(pool, run, database, f"SELECT {number}") for number in range(5))
        )

    with persistconn.Executor(max_workers=2) as pool:
        assert [((number,),) for number in range(5)] == asyncio.run(main(pool))


def test_killed_between_tasks_is_never_seen(server: MariaDB, database: dict[str, Any]) -> None:
    """An administrator kills every session over and over; no task notices."""

    def own_session() -> int:
        return int(run({**database, "autocommit": True}, "SELECT CONNECTION_ID()")[0][0])

    with persistconn.Executor(max_workers=2) as pool:
        for _ in range(10):
            killed = set(sessions(server, database))
            for session in killed:
                server.kill_session(session)
            eventually(lambda killed=killed: not killed & set(sessions(server, database)))
            wait(futures := [pool.submit(own_session) for _ in range(4)])
            assert all(future.result() for future in futures)
