"""The APScheduler job that runs the sweep: on an executor and a job store of its own, never late enough to be skipped."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from datetime import timezone
from typing import Any

from persistconn import forking, log
from persistconn.keeper import KEEPER, Keeper
from persistconn.private_names import Names, insist

_NAME = "persistconn"
_CHORES = "persistconn-chores"
_JOB = "persistconn-sweep"

NAMES: Names = {
    "executors.base.BaseExecutor": "_do_submit_job _instances _run_job_success",
    "schedulers.base.BaseScheduler": "_process_jobs",
    "schedulers.background.BackgroundScheduler": "_thread",
}
"""What we use of APScheduler that is private, here and in :mod:`workers.schedule`."""

LATE, LATE_PACES = 30.0, 4
"""A sweep is late after so many seconds, and after so many times its pace."""


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
        self._swept_at = math.inf
        self._is_late = False
        self._chores: dict[str, tuple[float, Callable[[], None]]] = {}

    def use_scheduler(self, scheduler: Any) -> None:
        """Run the sweep on the user's APScheduler (3.x) instead of one of our own; it may be started later.

        Its job lives in a memory store and on an executor that are added to it, so neither the user's jobs nor the
        database that is being watched can hold it up. Stopping the scheduler stops the sweep.
        """
        self.stop()
        scheduler.add_jobstore("memory", alias=_NAME)
        for alias, executor in _executors().items():
            scheduler.add_executor(executor, alias=alias)
        with self._lock:
            self._scheduler, self._is_own = scheduler, False
            self._schedule(self._keeper.pace())
            self._schedule_chores()

    def ensure_running(self, pace: float) -> None:
        """Start the job if it does not run yet, or make it faster (``pace``: seconds between two sweeps). Any thread."""
        with self._lock:
            if self._scheduler is None:
                self._start(pace)
            elif pace < self._pace:
                self._schedule(pace)

    def look_after(self) -> None:
        """Say so if the sweep has not run for long, and start it again if its thread has died. Cheap; any thread."""
        if self._keeper.clock() - self._swept_at <= max(LATE, LATE_PACES * self._pace):
            return
        with self._lock:
            if self._scheduler is None or self._is_late:
                return
            self._is_late = True
            late = self._keeper.clock() - self._swept_at
            has_died = self._is_own and not self._is_thread_alive()
            if has_died:
                self._start(self._pace)
        log.warning(
            "the sweep has not run for %.0f s: %s",
            late,
            "its thread had died, and there is a new one"
            if has_died
            else "its scheduler does not get to it, or was stopped",
            extra={"action": "late"},
        )

    def _is_thread_alive(self) -> bool:
        thread = getattr(self._scheduler, "_thread", None)
        return thread is not None and thread.is_alive()

    def add_chore(self, name: str, every: float, chore: Callable[[], None]) -> None:
        """Run ``chore`` each ``every`` seconds beside the sweep, on a thread of its own, for as long as the keepalive runs."""
        with self._lock:
            self._chores[name] = every, chore
            if self._scheduler is not None:
                self._add(name, name, every, chore, _CHORES)

    def stop(self) -> None:
        """Stop the sweep; waits for one under way (``ping_timeout``). The user's scheduler goes on without it."""
        forking.check()  # A forked child would wait for a thread of its parent's.
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            self._swept_at = math.inf
        if scheduler is None:
            return
        if self._is_own:
            scheduler.shutdown(wait=threading.current_thread() is not getattr(scheduler, "_thread", None))
        else:
            # A KeyError: the user has shut his scheduler down before us.
            for job in (_JOB, *self._chores):
                with contextlib.suppress(KeyError):
                    scheduler.remove_job(job, jobstore=_NAME)
            with contextlib.suppress(KeyError):
                scheduler.remove_jobstore(_NAME)
                scheduler.remove_executor(_NAME)
                scheduler.remove_executor(_CHORES)

    def after_fork_in_child(self, survivor: int | None = None) -> None:  # noqa: ARG002
        """Forget the scheduler, whose thread is the parent's; the child's first connection starts another."""
        self._lock = threading.RLock()
        self._scheduler = None
        self._swept_at = math.inf

    def _start(self, pace: float) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(
            daemon=True,
            timezone=timezone.utc,
            jobstores={_NAME: {"type": "memory"}},
            executors=_executors(),
        )
        self._scheduler, self._is_own = scheduler, True
        self._schedule(pace)
        self._schedule_chores()
        scheduler.start()

    def _schedule(self, pace: float) -> None:
        self._pace = pace
        self._swept_at = self._keeper.clock()
        self._add(_JOB, "the keepalive of persistconn", pace, self._sweep, _NAME)

    def _schedule_chores(self) -> None:
        for name, (every, chore) in self._chores.items():
            self._add(name, name, every, chore, _CHORES)

    def _add(self, job: str, name: str, seconds: float, function: Callable[[], None], executor: str) -> None:
        self._scheduler.add_job(
            function,
            "interval",
            seconds=seconds,
            id=job,
            name=name,
            jobstore=_NAME,
            executor=executor,
            coalesce=True,
            misfire_grace_time=None,
            max_instances=1,
            replace_existing=True,
        )

    def _sweep(self) -> None:
        try:
            self._keeper.sweep()
            self._swept_at, self._is_late = self._keeper.clock(), False
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


def insist_on_names() -> None:
    """Raise ConfigError for an APScheduler that is not built as the sweep needs it."""
    import apscheduler
    import apscheduler.executors.base
    import apscheduler.schedulers.background

    insist(apscheduler, f"APScheduler {apscheduler.__version__}", NAMES, "install APScheduler 3.11")


def _executors() -> dict[str, Any]:
    insist_on_names()
    return {_NAME: _thread("persistconn-sweep"), _CHORES: _thread("persistconn-chore")}


def _thread(name: str) -> Any:
    from apscheduler.executors.pool import ThreadPoolExecutor

    class OneThread(ThreadPoolExecutor):
        """One thread, for the sweep alone or for the chores."""

        def submit_job(self, job: Any, run_times: Any) -> None:
            # A server that is frozen holds a sweep up for longer than its pace. The next one comes soon, and APScheduler's
            # warning about it would only tell people of a limit that they have not set.
            if not self._instances[job.id]:
                super().submit_job(job, run_times)

        def _do_submit_job(self, job: Any, run_times: Any) -> None:
            try:
                super()._do_submit_job(job, run_times)
            except RuntimeError:
                # The interpreter ends: it has stopped all thread pools before the daemon threads and the exit hooks.
                self._run_job_success(job.id, [])

    return OneThread(max_workers=1, pool_kwargs={"thread_name_prefix": name})


KEEPALIVE = Keepalive(KEEPER)
use_scheduler = KEEPALIVE.use_scheduler
KEEPER.on_connection = KEEPALIVE.ensure_running
KEEPER.at_boundary(KEEPALIVE.look_after)
forking.at_fork(KEEPALIVE.after_fork_in_child)
