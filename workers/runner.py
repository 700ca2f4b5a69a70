"""From due times to runs: fires are queued, one of each job at a time, and run as units of work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from persistconn.cronjobs import CronJob
from workers import complaints, fenced
from workers.lines import log, log_missed, log_overlap, log_run
from workers.runs import Board, BoardClosed, Fire, RunReport

if TYPE_CHECKING:
    from persistconn.executor import Executor
    from workers.backlog import Due


class Runner:
    """Queues fires on a pool and runs them. Thread-safe.

    ``on_run`` is called after each run, ``on_end`` after that, when the job may be fired again; both on the run's thread.
    """

    def __init__(
        self,
        service: str,
        pool: Executor,
        *,
        clock: Callable[[], datetime],
        stopwatch: Callable[[], float],
        on_run: Callable[[RunReport], None] | None,
    ) -> None:
        self.board = Board()
        self.pool = pool
        self.shows_tracebacks = True
        self.on_end: Callable[[Fire, RunReport], None] = lambda fire, report: None
        self._service = service
        self._clock = clock
        self._stopwatch = stopwatch
        self._on_run = on_run

    def fire(self, job: CronJob, due: list[datetime]) -> None:
        """Queue the latest of a job's due times; each one left out is told. Does not block."""
        if due[:-1]:
            log_missed(job, due[:-1])
        token = fenced.token_of(self._service, job, due[-1]) if job.fenced is not None else None
        fire = Fire(job, due[-1], queued=self._clock(), token=token)
        earlier = self._queue(fire)
        if earlier is not None:
            log_overlap(fire, earlier)

    def make_up(self, job: CronJob, due: Due) -> None:
        """Queue a fire of a fenced job that is missing in the ledger, unless one of that job is under way here."""
        self._queue(Fire(job, due.scheduled, queued=self._clock(), token=due.token, is_made_up=True))

    def run_by_hand(self, job: CronJob) -> None:
        """Queue a run of its own, at no time of the schedule's."""
        self._queue(Fire(job, self._clock().astimezone(job.zone), queued=self._clock()))

    def _queue(self, fire: Fire) -> Fire | None:
        """Queue a fire; returns the earlier one of the same job that goes first, and then this one is not queued."""
        try:
            earlier = self.board.admit(fire)
        except BoardClosed:
            return None
        if earlier is None:
            self.pool.submit_named(fire.job.name, self._run, fire)
        return earlier

    def _run(self, fire: Fire) -> None:
        """Run one fire, on a thread of the pool, which ends the unit of work afterwards."""
        now = self._clock()
        running = self.board.begin(fire, now)
        if running is None:
            return
        try:
            began = self._stopwatch()
            elsewhere, error = fenced.run(fire)
            took = self._stopwatch() - began
            report = RunReport(fire.job, fire.scheduled, now, took, error, elsewhere, fire.is_made_up)
            self._tell(report)
        finally:
            self.board.end(running)
        self.on_end(fire, report)

    def _tell(self, report: RunReport) -> None:
        explained = report.error is not None and complaints.explain(report.error) is not None
        log_run(report, with_traceback=self.shows_tracebacks or not explained)
        if self._on_run is not None:
            try:
                self._on_run(report)
            except Exception:  # Somebody else's code, and the run is over
                log.exception("on_run failed after %s", report.job.name, extra={"action": "on_run"})
