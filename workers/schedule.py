"""The edge to APScheduler: when a job is due, and to whom the fire is handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from persistconn.cronjobs import UTC, CronJob

LONGEST_LOOK_AWAY = 5.0
"""How long, in seconds, the scheduler may go without looking at the wall clock."""

Due = Callable[[CronJob, list[datetime]], None]
"""Called on the scheduler's thread with a job and its due times, the oldest first. It must not block."""


class CronTrigger(BaseTrigger):
    """The times of a :class:`CronJob`, as APScheduler asks for them."""

    def __init__(self, job: CronJob) -> None:
        self.job = job

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the time after the previous one, in UTC: a late look must find each time that has passed."""
        return self.job.next_after(previous_fire_time or now).astimezone(UTC)


class HandOver(BaseExecutor):
    """The APScheduler executor that only passes fires on: threads, overlaps and reports are the service's own.

    APScheduler would skip an overlapping or a late run with a log line of its own at best.
    """

    def __init__(self, due: Due) -> None:
        super().__init__()
        self._due = due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Pass on the due times, in the time zone of the job."""
        cron_job: CronJob = job.trigger.job
        self._due(cron_job, [moment.astimezone(cron_job.zone) for moment in run_times])

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        raise NotImplementedError("submit_job() does it all")


class WallClockScheduler(BackgroundScheduler):
    """A BackgroundScheduler that notices when the wall clock is set or the machine has been suspended.

    APScheduler sleeps until the next fire on the monotonic clock, which stands still while a machine is suspended: the
    fire would come late by that long.
    """

    def _process_jobs(self) -> float:
        until_next = super()._process_jobs()
        return LONGEST_LOOK_AWAY if until_next is None else min(until_next, LONGEST_LOOK_AWAY)


def scheduler_for(jobs: Iterable[CronJob], due: Due) -> BackgroundScheduler:
    """Return a scheduler, not yet started, that calls ``due`` for each job; in memory, with one daemon thread."""
    scheduler = WallClockScheduler(executors={"default": HandOver(due)}, timezone=UTC)
    for job in jobs:
        # coalesce is off so that the service hears of every time that has passed, and can tell.
        scheduler.add_job(
            job.function, CronTrigger(job), id=job.name, name=job.name, coalesce=False, misfire_grace_time=None
        )
    return scheduler
