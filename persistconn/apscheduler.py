"""For those who bring their own APScheduler (3.x): an executor whose job runs are units of work.

``BackgroundScheduler(executors={"default": UnitOfWorkExecutor(8)})``
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from apscheduler.executors.pool import BasePoolExecutor

from persistconn import log
from persistconn.executor import Executor, Warm
from persistconn.keeper import KEEPER

Run = Callable[[Any, str, list[datetime], str], list[Any]]
"""APScheduler's ``run_job``: job, alias of its store, due times, name of a logger; returns events."""


class UnitOfWorkExecutor(BasePoolExecutor):
    """Runs APScheduler's jobs on threads that keep their connections.

    At the end of each run what it left open is rolled back, with a warning that names the job's id. ``warm`` is what
    each thread opens when it starts: a callable, a Django alias, or several. Shutting the scheduler down closes the
    threads' connections.
    """

    def __init__(self, max_workers: int = 8, warm: Warm | None = None) -> None:
        super().__init__(_NamedByJob(Executor(max_workers=max_workers, warm=warm, thread_name_prefix="apscheduler")))


class _NamedByJob:
    """An :class:`Executor` as APScheduler calls a pool: the task goes by the id of the job that it runs."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, run: Run, job: Any, alias: str, run_times: list[datetime], logger: str) -> Future[list[Any]]:
        return self._executor.submit_named(job.id, _run_each, run, job, alias, run_times, logger)

    def shutdown(self, wait: bool = True) -> None:
        self._executor.shutdown(wait)


def _run_each(run: Run, job: Any, alias: str, run_times: list[datetime], logger: str) -> list[Any]:
    """Run each due time as a unit of its own: without ``coalesce`` APScheduler makes up for several in one task."""
    events = run(job, alias, run_times[:1], logger)
    for run_time in run_times[1:]:
        for left in KEEPER.end_unit():
            log.warning("the task %s left %s: rolled back", job.id, left, extra={"action": "rollback", "task": job.id})
        events += run(job, alias, [run_time], logger)
    return events
