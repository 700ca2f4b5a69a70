"""The edge to APScheduler: triggers, and fires handed over. Driven by hand, without a thread."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler

from persistconn.cronjobs import CronJob
from persistconn.testing import eventually
from workers.schedule import LONGEST_LOOK_AWAY, CronTrigger, scheduler_for
from workers.watchdog import SILENT, Watchdog, trouble

UTC = timezone.utc
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
VIENNA = ZoneInfo("Europe/Vienna")


def settle() -> None:
    """Stands for a job."""


def look(scheduler: BackgroundScheduler) -> float:
    """Let the scheduler look once, as its thread would; returns the seconds until it wants to look again."""
    seconds: float = scheduler._process_jobs()
    return seconds


@pytest.fixture
def fires() -> list[tuple[str, list[datetime]]]:
    return []


@pytest.fixture
def scheduler(fires: list[Any]) -> Any:
    """A scheduler of one job that has no thread of its own."""
    job = CronJob("settle", settle, "*/5 * * * *", "Europe/Vienna")
    scheduler = scheduler_for([job], lambda job, due: fires.append((job.name, due)))
    scheduler._main_loop = lambda: None  # the thread ends at once; the test is the loop
    scheduler.start()
    yield scheduler
    with contextlib.suppress(SchedulerNotRunningError):
        scheduler.shutdown(wait=False)


def due_since(scheduler: BackgroundScheduler, moment: datetime) -> None:
    scheduler.get_job("settle").modify(next_run_time=moment)


def test_the_first_time_is_the_next_one_after_now() -> None:
    """A service that starts does not make up for the time before."""
    trigger = CronTrigger(CronJob("settle", settle, "*/5 * * * *"))
    assert trigger.get_next_fire_time(None, NOON) == NOON + timedelta(minutes=5)


def test_the_following_time_is_after_the_previous_not_after_now() -> None:
    """A late look finds every time that has passed, or they would be lost without a word."""
    trigger = CronTrigger(CronJob("settle", settle, "*/5 * * * *"))
    assert trigger.get_next_fire_time(NOON, NOON + timedelta(hours=1)) == NOON + timedelta(minutes=5)


def test_times_are_given_in_utc() -> None:
    """APScheduler compares them with its own clock, and times of one zone compare by the wall."""
    trigger = CronTrigger(CronJob("settle", settle, "0 2 * * *", "Europe/Vienna"))
    assert trigger.get_next_fire_time(None, NOON).tzinfo is UTC


def test_a_due_job_is_handed_over_with_its_time_in_its_zone(scheduler: Any, fires: list[Any]) -> None:
    """What reaches the log is the time that the expression meant."""
    now = datetime.now(UTC)
    due_since(scheduler, now)
    look(scheduler)
    assert fires == [("settle", [now])]
    assert fires[0][1][0].tzinfo == VIENNA


def test_a_late_look_hands_over_each_time_that_has_passed(scheduler: Any, fires: list[Any]) -> None:
    """APScheduler would drop them as misfires, or merge them in silence."""
    now = datetime.now(UTC)
    first = now - timedelta(hours=1)
    due_since(scheduler, first)
    look(scheduler)
    [(_, due)] = fires
    job = CronJob("settle", settle, "*/5 * * * *")
    # One more may have become due between the two looks at the clock.
    assert due in ([first, *job.between(first, now)], [first, *job.between(first, datetime.now(UTC))])


def test_a_job_that_is_still_running_is_handed_over_all_the_same(scheduler: Any, fires: list[Any]) -> None:
    """APScheduler would skip it; whether it overlaps is for the service to tell."""
    for _ in range(3):
        due_since(scheduler, datetime.now(UTC))
        look(scheduler)
    assert len(fires) == 3


def test_the_scheduler_looks_at_the_clock_although_nothing_is_due(scheduler: Any) -> None:
    """The monotonic clock stands still while a machine is suspended, and a fire would come late by that long."""
    due_since(scheduler, datetime.now(UTC) + timedelta(hours=8))
    assert look(scheduler) == LONGEST_LOOK_AWAY


def test_a_watchdog_that_fails_goes_on_watching(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody watches the watchdog."""
    looks: list[int] = []

    def look_and_fail() -> None:
        looks.append(1)
        raise ValueError("no")

    others = set(threading.enumerate())
    watchdog = Watchdog(look_and_fail, every=0.001)
    watchdog.start()
    eventually(lambda: len(looks) >= 2)
    watchdog.stop()
    assert "the watchdog failed" in caplog.text
    # What it still writes is not to stand among the lines of the next test.
    own = [thread for thread in threading.enumerate() if thread not in others and thread.name == "workers-watchdog"]
    eventually(lambda: not any(thread.is_alive() for thread in own))


# --- a scheduler in the place of another ---------------------------------------------------------------------------


def successor_of(predecessor: Any, fires: list[Any]) -> Any:
    predecessor.retire()
    job = CronJob("settle", settle, "*/5 * * * *", "Europe/Vienna")
    scheduler = scheduler_for([job], lambda job, due: fires.append((job.name, due)), predecessor)
    scheduler._main_loop = lambda: None
    scheduler.start()
    return scheduler


def test_a_successor_begins_where_its_predecessor_stopped(scheduler: Any, fires: list[Any]) -> None:
    """What became due while the first one was stuck is not lost, and what it has passed on comes no second time."""
    last = datetime.now(UTC) - timedelta(minutes=11)
    scheduler.hand_over.until["settle"] = last
    successor = successor_of(scheduler, fires)
    look(successor)
    [(_, due)] = fires
    assert len(due) in (2, 3)
    assert min(due).astimezone(UTC) > last
    successor.retire()


def test_a_retired_scheduler_passes_nothing_on(scheduler: Any, fires: list[Any]) -> None:
    """It may come to itself again, beside the one that has taken its place."""
    due_since(scheduler, datetime.now(UTC))
    scheduler.hand_over.is_retired = True
    look(scheduler)
    assert fires == []


def test_a_scheduler_knows_that_its_thread_has_died(scheduler: Any) -> None:
    """APScheduler's own `running` stays True."""
    eventually(lambda: not scheduler.is_alive)
    assert scheduler.running


@pytest.mark.parametrize(
    ("is_alive", "silent_for", "expected"),
    [
        (True, LONGEST_LOOK_AWAY, None),
        (True, SILENT, None),
        (True, SILENT + 1, "has not looked at the clock for 31 s"),
        (False, 0.0, "thread has died"),
    ],
)
def test_what_is_wrong_with_a_scheduler(is_alive: bool, silent_for: float, expected: str | None) -> None:
    """A table."""
    assert trouble(is_alive, silent_for) == expected
