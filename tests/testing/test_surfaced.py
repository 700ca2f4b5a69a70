"""`no_surfaced_errors`: which errors it means, and where it sees them."""

from __future__ import annotations

from collections.abc import Callable

import pymysql
import pytest

from persistconn.errors import bind
from persistconn.testing.surfaced import tells_of_loss

BOUND = bind(pymysql.err.OperationalError)


def caused(cause: BaseException) -> Exception:
    error = ValueError("the application's own words")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pymysql.err.OperationalError(2006, "gone away"), True),
        (pymysql.err.OperationalError(2013, "lost"), True),
        (pymysql.err.OperationalError(4031, "idle"), True),
        (pymysql.err.OperationalError(1927, "killed"), True),
        (pymysql.err.InterfaceError(0, ""), True),
        (BOUND.TransactionLost(2013, "told"), True),
        (BOUND.DatabaseUnavailable(2003, "away"), True),
        (caused(pymysql.err.OperationalError(2013, "lost")), True),
        (pymysql.err.OperationalError(1205, "lock wait"), False),
        (pymysql.err.OperationalError(1213, "deadlock"), False),
        (pymysql.err.IntegrityError(1062, "duplicate"), False),
        (pymysql.err.ProgrammingError(1146, "no such table"), False),
        (ConnectionResetError("of something else"), False),
        (ValueError("2013"), False),
    ],
)
def test_a_lost_connection_is_known_by_class_and_number(error: BaseException, expected: bool) -> None:
    """Told or raw, and as the cause of another error; the server's other answers are the task's own business."""
    assert expected is tells_of_loss(error)


TASKS = """
    import logging, threading, pymysql, pytest, persistconn
    from persistconn.apscheduler import UnitOfWorkExecutor
    def lost(): raise pymysql.err.OperationalError(2013, "lost")
    def own(): raise pymysql.err.IntegrityError(1062, "duplicate")
    def in_a_pool(task):
        with persistconn.Executor(max_workers=1) as pool: pool.submit(task)
    def by_apscheduler(task):
        from apscheduler.schedulers.background import BackgroundScheduler
        done = threading.Event()
        scheduler = BackgroundScheduler(executors={"default": UnitOfWorkExecutor(1)})
        scheduler.add_listener(lambda event: done.set(), 4096 | 8192)
        scheduler.add_job(task)
        scheduler.start()
        assert done.wait(120)
        scheduler.shutdown()
"""


@pytest.mark.server
@pytest.mark.parametrize("way", ["in_a_pool", "by_apscheduler"])
def test_the_test_fails_that_let_one_through(run_here: Callable[..., pytest.RunResult], way: str) -> None:
    """Nobody has looked at the task's result; the test itself fails, not its teardown, and an error of its own does not."""
    code = (
        f"{TASKS}    def test_bad(no_surfaced_errors): {way}(lost)\n    def test_fine(no_surfaced_errors): {way}(own)\n"
    )
    result = run_here(code, "-p", "no:logging")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*1 lost connection reached a task:*", "*: OperationalError: (2013, 'lost')*"])
