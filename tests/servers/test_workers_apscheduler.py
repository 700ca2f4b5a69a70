"""The executor for those who bring their own APScheduler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pymysql
import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler

import persistconn
from persistconn.apscheduler import UnitOfWorkExecutor
from persistconn.testing import MariaDB, eventually

pytestmark = pytest.mark.server

db = persistconn.manage(pymysql)
PATIENCE = 30  # seconds until a test gives up on a job


@pytest.fixture
def scheduler(database: dict[str, Any]) -> Iterator[BackgroundScheduler]:
    def warm() -> None:
        db.connect(**database)

    scheduler = BackgroundScheduler(executors={"default": UnitOfWorkExecutor(2, warm=warm)}, timezone=timezone.utc)
    scheduler.start()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


def run(scheduler: BackgroundScheduler, job: Callable[[], object], *, times: int = 1) -> None:
    """Have the scheduler run a job that was due so many times, and wait until it has."""
    ended = threading.Semaphore(0)
    scheduler.add_listener(lambda event: ended.release(), EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    due = datetime.now(timezone.utc) - timedelta(hours=times - 1)
    settings = {"id": "settle", "misfire_grace_time": None, "coalesce": False}
    scheduler.add_job(job, "interval", hours=1, next_run_time=due, **settings)
    for _ in range(times):
        assert ended.acquire(timeout=PATIENCE)


def sessions(server: MariaDB, database: dict[str, Any]) -> int:
    return sum(session.db == database["database"] for session in server.processlist())


def test_what_a_run_leaves_open_is_rolled_back_and_told_with_the_id_of_the_job(
    scheduler: BackgroundScheduler, database: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Each run is a unit of work."""
    caplog.set_level(logging.WARNING, "persistconn")
    run(scheduler, lambda: db.connect(**database).begin())
    assert "the task settle left an open transaction" in caplog.text


def test_each_run_is_a_unit_when_several_are_made_up_for(
    scheduler: BackgroundScheduler, database: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """APScheduler runs them in one task, where the second would find the first one's transaction."""
    caplog.set_level(logging.WARNING, "persistconn")
    run(scheduler, lambda: db.connect(**database).begin(), times=3)
    assert caplog.text.count("the task settle left an open transaction") == 3


def test_a_run_that_fails_leaves_the_thread_and_its_connection_as_they_are(
    scheduler: BackgroundScheduler, database: dict[str, Any]
) -> None:
    """The next run is as good as the first."""

    def fail() -> None:
        with db.connect(**database).cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    run(scheduler, fail, times=2)
    scheduler.shutdown()


def test_shutting_the_scheduler_down_closes_the_sessions(
    scheduler: BackgroundScheduler, server: MariaDB, database: dict[str, Any]
) -> None:
    """In order: the server has no complaint."""
    run(scheduler, lambda: db.connect(**database).ping())
    scheduler.shutdown()
    eventually(lambda: sessions(server, database) == 0)
    assert [line for line in server.aborted_in_log() if database["database"] in line] == []
