"""The APScheduler job that runs the sweep: on an executor and a job store of its own, never late enough to be skipped."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import timezone
from typing import Any

from persistconn import log
from persistconn.keeper import KEEPER, Keeper

_NAME = "persistconn"
_JOB = "persistconn-sweep"


class Keepalive:
    """Runs a keeper's sweep at the pace that its connections need.

    Starts a scheduler of its own with the first connection, unless the user gave one. Its lock guards all fields.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._lock = threading.RLock()
        self._scheduler: Any = None
        self._is_own = False
        self._pace = 0.0

    def use_scheduler(self, scheduler: Any) -> None:
        """Run the sweep on the user's APScheduler (3.x) instead of one of our own; it may be started later.

        Its job lives in a memory store and on an executor that are added to it, so neither the user's jobs nor the
        database that is being watched can hold it up. Stopping the scheduler stops the sweep.
        """
        self.stop()
        scheduler.add_jobstore("memory", alias=_NAME)
        scheduler.add_executor(_sweep_executor(), alias=_NAME)
        with self._lock:
            self._scheduler, self._is_own = scheduler, False
            self._schedule(self._keeper.pace())

    def ensure_running(self, pace: float) -> None:
        """Start the job if it does not run yet, or make it faster (``pace``: seconds between two sweeps). Any thread."""
        with self._lock:
            if self._scheduler is None:
                self._start(pace)
            elif pace < self._pace:
                self._schedule(pace)

    def stop(self) -> None:
        """Stop the sweep; waits for one under way (``ping_timeout``). The user's scheduler goes on without it."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
        if scheduler is None:
            return
        if self._is_own:
            scheduler.shutdown(wait=threading.current_thread() is not getattr(scheduler, "_thread", None))
        else:
            # A KeyError: the user has shut his scheduler down before us.
            with contextlib.suppress(KeyError):
                scheduler.remove_job(_JOB, jobstore=_NAME)
            with contextlib.suppress(KeyError):
                scheduler.remove_jobstore(_NAME)
                scheduler.remove_executor(_NAME)

    def after_fork_in_child(self) -> None:
        """Forget the scheduler, whose thread is the parent's; the child's first connection starts another."""
        self._lock = threading.RLock()
        self._scheduler = None

    def _start(self, pace: float) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(
            daemon=True,
            timezone=timezone.utc,
            jobstores={_NAME: {"type": "memory"}},
            executors={_NAME: _sweep_executor()},
        )
        self._scheduler, self._is_own = scheduler, True
        self._schedule(pace)
        scheduler.start()

    def _schedule(self, pace: float) -> None:
        self._pace = pace
        self._scheduler.add_job(
            self._sweep,
            "interval",
            seconds=pace,
            id=_JOB,
            name="the keepalive of persistconn",
            jobstore=_NAME,
            executor=_NAME,
            coalesce=True,
            misfire_grace_time=None,
            max_instances=1,
            replace_existing=True,
        )

    def _sweep(self) -> None:
        try:
            self._keeper.sweep()
            self._fit_pace()
        except Exception:
            # The next one may go well, and a keepalive that has stopped would be noticed hours later.
            log.exception("the sweep failed", extra={"action": "sweep"})

    def _fit_pace(self) -> None:
        pace = self._keeper.pace()
        with self._lock:
            # Stopped in the meantime, it must not start again.
            if self._scheduler is not None and pace != self._pace:
                self._schedule(pace)


def _sweep_executor() -> Any:
    from apscheduler.executors.pool import ThreadPoolExecutor

    class SweepExecutor(ThreadPoolExecutor):
        """One thread, for the sweep alone."""

        def _do_submit_job(self, job: Any, run_times: Any) -> None:
            try:
                super()._do_submit_job(job, run_times)
            except RuntimeError:
                # The interpreter ends: it has stopped all thread pools before the daemon threads and the exit hooks.
                self._run_job_success(job.id, [])

    return SweepExecutor(max_workers=1, pool_kwargs={"thread_name_prefix": "persistconn-sweep"})


KEEPALIVE = Keepalive(KEEPER)
use_scheduler = KEEPALIVE.use_scheduler
KEEPER.on_connection = KEEPALIVE.ensure_running
os.register_at_fork(after_in_child=KEEPALIVE.after_fork_in_child)
