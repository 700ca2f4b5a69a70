"""The edge to APScheduler: when a job is due, and to whom the fire is handed over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from persistconn.cronjobs import UTC, CronJob
from persistconn.keepalive import insist_on_names

LONGEST_LOOK_AWAY = 5.0
"""How long, in seconds, the scheduler may go without looking at the wall clock."""

Due = Callable[[CronJob, list[datetime]], None]
"""Called on the scheduler's thread with a job and its due times, the oldest first. It must not block."""


class CronTrigger(BaseTrigger):
    """The times of a :class:`CronJob`, as APScheduler asks for them: those after ``since``, or after now if that is None."""

    def __init__(self, job: CronJob, since: datetime | None = None) -> None:
        self.job = job
        self._since = since

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the time after the previous one, in UTC: a late look must find each time that has passed."""
        return self.job.next_after(previous_fire_time or self._since or now).astimezone(UTC)


class HandOver(BaseExecutor):
    """The APScheduler executor that only passes fires on: threads, overlaps and reports are the service's own.

    APScheduler would skip an overlapping or a late run with a log line of its own at best.
    """

    def __init__(self, due: Due, since: Mapping[str, datetime]) -> None:
        super().__init__()
        self._due = due
        self.is_retired = False
        self.until = dict(since)
        """Up to when the times of each job have been passed on."""

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Pass on the due times, in the time zone of the job."""
        if self.is_retired:
            return
        cron_job: CronJob = job.trigger.job
        self.until[cron_job.name] = run_times[-1]
        self._due(cron_job, [moment.astimezone(cron_job.zone) for moment in run_times])

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job() does it all")


class WallClockScheduler(BackgroundScheduler):
    """A BackgroundScheduler that notices when the wall clock is set or the machine has been suspended.

    APScheduler sleeps until the next fire on the monotonic clock, which stands still while a machine is suspended: the
    fire would come late by that long.
    """

    def __init__(self, hand_over: HandOver) -> None:
        super().__init__(executors={"default": hand_over}, timezone=UTC)
        self.hand_over = hand_over
        self._looked_at = time.monotonic()

    def _process_jobs(self) -> float:
        until_next = super()._process_jobs()
        self._looked_at = time.monotonic()
        return LONGEST_LOOK_AWAY if until_next is None else min(until_next, LONGEST_LOOK_AWAY)

    @property
    def is_alive(self) -> bool:
        """Whether its thread is; ``running`` says so long after that has died of an error."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def silent_for(self) -> float:
        """The seconds since it last looked at the clock to the end."""
        return time.monotonic() - self._looked_at

    def retire(self) -> None:
        """Pass nothing on any more, whatever the thread is stuck in; does not wait for its end."""
        self.hand_over.is_retired = True
        threading.Thread(target=self.shutdown, args=(False,), name="workers-retired", daemon=True).start()


def scheduler_for(
    jobs: Iterable[CronJob], due: Due, predecessor: WallClockScheduler | None = None
) -> WallClockScheduler:
    """Return a scheduler, not yet started, that calls ``due`` for each job; in memory, with one daemon thread.

    It goes on where its ``predecessor`` stopped, which must be retired.
    """
    insist_on_names()
    jobs = list(jobs)
    begun = datetime.now(UTC)
    known = {job.name: begun for job in jobs} if predecessor is None else predecessor.hand_over.until
    scheduler = WallClockScheduler(HandOver(due, known))
    for job in jobs:
        # coalesce is off so that the service hears of every time that has passed, and can tell.
        scheduler.add_job(
            job.function,
            CronTrigger(job, known[job.name]),
            id=job.name,
            name=job.name,
            coalesce=False,
            misfire_grace_time=None,
        )
    return scheduler
