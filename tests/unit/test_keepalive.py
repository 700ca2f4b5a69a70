"""The keepalive's jobs on a scheduler that only notes them, and the watch over a sweep that does not run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from persistconn.keepalive import LATE, Keepalive
from persistconn.keeper import Keeper
from persistconn.testing import eventually
from persistconn.testing.clock import FakeClock
from persistconn.testing.waiting import PATIENCE


class NotingScheduler:
    """Stands in for a scheduler of the user's: nothing runs unless the test runs it."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Callable[[], None], float, str]] = {}
        self.executors: list[str] = []

    def add_jobstore(self, kind: str, alias: str) -> None: ...

    def remove_jobstore(self, alias: str) -> None: ...

    def add_executor(self, executor: object, alias: str) -> None:
        self.executors.append(alias)

    def remove_executor(self, alias: str) -> None:
        self.executors.remove(alias)

    def add_job(self, function: Callable[[], None], trigger: str, **options: Any) -> None:
        self.jobs[options["id"]] = function, options["seconds"], options["executor"]

    def remove_job(self, job: str, jobstore: str) -> None:
        del self.jobs[job]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keepalive(clock: FakeClock) -> Keepalive:
    return Keepalive(Keeper(clock=clock))


@pytest.fixture
def scheduler(keepalive: Keepalive) -> NotingScheduler:
    noting = NotingScheduler()
    keepalive.use_scheduler(noting)
    return noting


def test_a_sweep_that_does_not_run_is_told_once(
    keepalive: Keepalive, scheduler: NotingScheduler, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Idle connections would expire unseen; but a log that repeats itself is not read."""
    clock.advance(LATE * 10)
    keepalive.look_after()
    keepalive.look_after()
    assert [record.getMessage() for record in caplog.records] == [
        "the sweep has not run for 300 s: its scheduler does not get to it, or was stopped"
    ]


def test_a_sweep_that_runs_again_can_be_late_again(
    keepalive: Keepalive, scheduler: NotingScheduler, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each silence is told."""
    for _ in range(2):
        clock.advance(LATE * 10)
        keepalive.look_after()
        scheduler.jobs["persistconn-sweep"][0]()
    assert len(caplog.records) == 2


@pytest.mark.usefixtures("scheduler")
def test_a_sweep_in_time_is_not_told(keepalive: Keepalive, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A machine under load may be a little late."""
    clock.advance(LATE)
    keepalive.look_after()
    assert not caplog.records


def test_nothing_is_late_before_the_first_connection_or_after_the_stop(
    keepalive: Keepalive, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a sweep there is none to be late."""
    clock.advance(LATE * 10)
    keepalive.look_after()
    keepalive.use_scheduler(NotingScheduler())
    keepalive.stop()
    clock.advance(LATE * 10)
    keepalive.look_after()
    assert not caplog.records


def test_a_thread_that_died_is_replaced(
    keepalive: Keepalive, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """APScheduler's thread ends with an error in a job store, and the scheduler goes on saying that it runs."""
    keepalive.ensure_running(15.0)
    dead = keepalive._scheduler
    dead.shutdown()
    clock.advance(LATE * 10)
    keepalive.look_after()
    try:
        assert keepalive._scheduler is not dead
        assert keepalive._scheduler._thread.is_alive()
        assert "its thread had died, and there is a new one" in caplog.text
    finally:
        keepalive.stop()


def test_a_chore_runs_beside_the_sweep(keepalive: Keepalive, scheduler: NotingScheduler) -> None:
    """On an executor of its own: a purge that hangs must not hold up the pings."""
    keepalive.add_chore("purge", 3600.0, lambda: None)
    _, seconds, executor = scheduler.jobs["purge"]
    assert seconds == 3600.0
    assert executor != scheduler.jobs["persistconn-sweep"][2]


def test_a_chore_that_was_given_before_starts_with_the_scheduler(keepalive: Keepalive) -> None:
    """And ends with it: nothing of ours is left on a user's scheduler."""
    keepalive.add_chore("purge", 3600.0, lambda: None)
    noting = NotingScheduler()
    keepalive.use_scheduler(noting)
    assert "purge" in noting.jobs
    keepalive.stop()
    assert not noting.jobs
    assert not noting.executors


def test_a_sweep_that_outlasts_its_pace_is_no_news(keepalive: Keepalive, caplog: pytest.LogCaptureFixture) -> None:
    """APScheduler would warn each time of a maximum number of running instances, which nobody has set."""
    begun, release = threading.Event(), threading.Event()
    twice = threading.Event()

    def slow() -> None:
        if begun.is_set():
            twice.set()
        begun.set()
        release.wait(3 * PATIENCE)

    keepalive.add_chore("slow", 0.02, slow)
    keepalive.ensure_running(15.0)
    try:
        assert begun.wait(PATIENCE)
        # Its later times come while the first one still runs.
        due = keepalive._scheduler.get_job("slow").next_run_time
        eventually(lambda: keepalive._scheduler.get_job("slow").next_run_time > due)
        release.set()
        assert twice.wait(PATIENCE)
    finally:
        release.set()
        keepalive.stop()
    assert "maximum number" not in caplog.text
