"""The service: a scheduler, a pool of threads that keep their connections, and an orderly end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue
from signal import Signals
from typing import Any

import persistconn
from persistconn.cronjobs import UTC, CronJob
from persistconn.executor import Executor
from workers.checks import (
    checked_grace,
    checked_pair,
    checked_takeover,
    checked_threads,
    checked_window,
    distinct,
    opener_of,
)
from workers.fenced import fenced_among, service_of
from workers.lines import log, log_dropped, log_stuck, log_unfinished, log_waiting
from workers.reconciler import Reconciler
from workers.runner import Runner
from workers.runs import Fire, RunReport
from workers.schedule import WallClockScheduler, scheduler_for
from workers.signals import caught, next_message
from workers.watchdog import Watchdog, trouble

BRUTAL = 128
"""What a shell adds to the number of the signal that ended a process."""
PATIENT, IMPATIENT, A_MOMENT = 5.0, 1.0, 0.1
"""Seconds for the statements and threads that are left at the end; fewer if the grace has been used up already."""


@dataclass(frozen=True)
class StopReport:
    """What the end of a service left behind: fires that were dropped, and runs that outlived their grace."""

    dropped: tuple[Fire, ...]
    unfinished: tuple[Fire, ...]


class _Finished:
    """A message to the thread that waits for signals: there is nothing left to wait for."""


class _Ended:
    """A message to the thread that waits for signals: everything is closed."""


class Service:
    """Runs cron jobs on ``threads`` threads until it is stopped.

    Each run is a unit of work on one thread, with that thread's connections. ``warm`` is what each thread opens when it
    starts: Django aliases or callables. ``on_run`` is called after each run, on its thread. ``grace`` is in seconds. A
    service starts once. Raises :class:`ConfigError` for a setting that cannot work.

    Fenced jobs take effect once on all machines whose service has the same ``name`` (None: the top package of the first
    job). What of the last ``window`` seconds is missing in the ledger is made up, within ``takeover`` seconds.

    Its lock guards ``_scheduler``, ``_was_started`` and ``_is_stopping``; ``_ending`` lets one thread at a time through
    :meth:`stop`.
    """

    def __init__(
        self,
        jobs: Iterable[CronJob],
        *,
        threads: int = 8,
        grace: float = 30.0,
        warm: Iterable[str | Callable[[], object]] = (),
        on_run: Callable[[RunReport], None] | None = None,
        name: str | None = None,
        takeover: float = 30.0,
        window: float = 86400.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = distinct(jobs)
        self.threads = checked_threads(threads)
        self.grace = checked_grace(grace)
        self._warm = tuple(opener_of(item) for item in warm)
        self.name = service_of(name, self.jobs)
        checked_pair(checked_takeover(takeover), checked_window(window))
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        # Threads start with the first task, so there is none before start().
        self._threads = ThreadPoolExecutor(self.threads, thread_name_prefix="workers")
        self._pool = self._units_on(self._threads)
        self._runner = Runner(self.name, self._pool, clock=clock, stopwatch=stopwatch, on_run=on_run)
        self._reconciler = Reconciler(
            self.name, self.jobs, self._runner.make_up, takeover=takeover, window=window, clock=stopwatch
        )
        self._runner.on_end = self._reconciler.ended
        self._watchdog = Watchdog(self._watch_scheduler)
        self._scheduler: WallClockScheduler | None = None
        self._is_stopping = False
        self._stopped: StopReport | None = None
        self._was_started = False
        self._has_ended = False

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the connections and begin to fire; returns at once after that.

        Blocks while the database is away, up to the policy's ``give_up_after``, and then raises what the driver or the
        keeper raised; a wrong password or an unknown database is raised at once, and so is a ledger that is missing or
        does not fence (``LedgerError``).
        """
        # On one thread first: what is wrong with the connection is wrong with all of them, and is said once.
        if self._warm:
            self._pool.submit_named("warm-up", self._open_connections).result()
        if any(fenced_among(self.jobs)):
            self._pool.submit_named("ledger", self._reconciler.prepare).result()
        with self._lock:
            if self._is_stopping or self._scheduler is not None:
                return
            if self._warm:
                self._pool = self._runner.pool = self._units_on(self._threads, self._warm)
            self._scheduler = scheduler_for(self.jobs, self._runner.fire)
            self._scheduler.start()
            self._was_started = True
            self._reconciler.start()
            self._watchdog.start()
        log.info("started: %d jobs on %d threads", len(self.jobs), self.threads, extra={"action": "start"})

    def stop(self, grace: float | None = None) -> StopReport:
        """Stop in order: no new fires at once, then ``grace`` seconds (None: the service's own) for what runs.

        What has not begun by now is dropped and named in the log. Blocks for the grace at most, and for the ends of
        the threads if all runs have ended. Idempotent, from any thread: a second call returns the first one's report.
        """
        grace = self.grace if grace is None else checked_grace(grace)
        with self._ending:
            if self._stopped is None:
                self._stopped = self._stop(grace)
                self._inbox.put(_Finished())
            return self._stopped

    def run_until_signalled(self) -> int:
        """Start, run until SIGTERM or SIGINT, and end in order; returns the exit status.

        That is 0, or 128 + the number of a second signal, which ends it at once. Closes every held connection of the
        process. Raises what :meth:`start` raised. Off the main thread no signal is caught: it runs until :meth:`stop`.
        """
        return self._conduct(self.start)

    def run_once(self, job: CronJob) -> int:
        """Run one job now, with signals and the end as in :meth:`run_until_signalled`; returns the exit status."""
        self._runner.shows_tracebacks = False

        def fire_and_wait() -> None:
            self._runner.run_by_hand(job)
            self._runner.board.wait_until_idle(None)
            self._inbox.put(_Finished())

        return self._conduct(fire_and_wait)

    @property
    def has_ended(self) -> bool:
        """Whether no thread is left behind: the interpreter would wait for it, and ``os._exit`` is the way out."""
        return self._has_ended

    def under_way(self) -> list[Fire]:
        """Return what waits for a thread and what runs; safe from any thread."""
        return self._runner.board.under_way()

    def _conduct(self, begin: Callable[[], None]) -> int:
        """Begin in the background and wait for a message; end in the background and wait for another one.

        So this thread is always free for a second signal, whatever the database does to the others.
        """
        with caught(self._inbox):
            starting = self._in_background("workers-start", begin)
            first = next_message(self._inbox)
            if isinstance(first, Signals):
                log.info("stopping on %s", first.name, extra={"action": "stop"})
            self._in_background("workers-stop", self._end)
            while not isinstance(last := next_message(self._inbox), (Signals, _Ended)):
                pass
        if isinstance(last, Signals):
            self._has_ended = False
            log.warning("ended at once on a second signal, %s", last.name, extra={"action": "cut"})
            return BRUTAL + last
        # It may be on its last line, or wait for a database that is away.
        starting.join(A_MOMENT)
        self._has_ended = self._has_ended and not starting.is_alive()
        if isinstance(first, BaseException):
            raise first
        return 0

    def _in_background(self, name: str, step: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                step()
            except BaseException as error:  # Raised again by the thread that waits for it
                self._inbox.put(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    # --- the end ---------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        try:
            report = self.stop()
            persistconn.shutdown(IMPATIENT if report.unfinished else PATIENT, final=True)
            if self._was_started:
                log.info("ended", extra={"action": "end"})
        except Exception:  # The process must still end
            log.exception("the end was not in order", extra={"action": "end"})
        finally:
            self._inbox.put(_Ended())

    def _stop(self, grace: float) -> StopReport:
        with self._lock:
            self._is_stopping = True
            scheduler, self._scheduler = self._scheduler, None
        board = self._runner.board
        dropped = board.close()
        self._watchdog.stop()
        if scheduler is not None:
            scheduler.retire()
        for fire in dropped:
            log_dropped(fire)
        for fire in board.under_way():
            log_waiting(fire, grace)
        unfinished = board.wait_until_idle(grace)
        for fire in unfinished:
            log_unfinished(fire, grace)
        self._reconciler.stop(IMPATIENT)
        self._has_ended = self._close_pool(0.0 if unfinished else PATIENT)
        return StopReport(tuple(dropped), tuple(unfinished))

    def _close_pool(self, patience: float) -> bool:
        """End the pool's threads, which closes their connections; returns whether they have ended in time.

        A thread may still be waiting for a database that is away, to open its connections.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        closing = threading.Thread(target=self._pool.shutdown, name="workers-close", daemon=True)
        closing.start()
        closing.join(patience)
        return not closing.is_alive()

    # --- the threads -----------------------------------------------------------------------------------------------

    @staticmethod
    def _units_on(threads: ThreadPoolExecutor, warm: Iterable[Callable[[], object]] | None = None) -> Executor:
        return Executor(threads, warm=warm)

    def _open_connections(self) -> None:
        for opener in self._warm:
            opener()

    def _watch_scheduler(self) -> None:
        """Put another scheduler in the place of one that fires no more; on the watchdog's thread."""
        with self._lock:
            scheduler = self._scheduler
            why = None if scheduler is None else trouble(scheduler.is_alive, scheduler.silent_for)
            if scheduler is None or why is None:
                return
            scheduler.retire()
            self._scheduler = scheduler_for(self.jobs, self._runner.fire, scheduler)
            self._scheduler.start()
        log_stuck(why)
