"""The process beside ours: stock Django on PyMySQL with ``CONN_MAX_AGE=None`` and a plain thread pool. Run by the demo.

The jobs, their times and the number of threads are the same, and so is the rule that a job does not overlap itself.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from queue import SimpleQueue

from persistconn.cronjobs import UTC, CronJob
from workers import jobs as jobs_modules
from workers.demo.events import Started, run_event
from workers.demo.side import Teller, set_up
from workers.runs import Board, BoardClosed, Fire
from workers.schedule import scheduler_for
from workers.signals import caught


class StockService:
    """A scheduler and a ``ThreadPoolExecutor``, the way people have it: nobody looks after the connections."""

    def __init__(self, jobs: list[CronJob], threads: int, teller: Teller) -> None:
        self._teller = teller
        self._board = Board()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stock")
        self._scheduler = scheduler_for(jobs, self._fire)

    def run_until_signalled(self) -> int:
        """Run until SIGTERM or SIGINT, and wait for the jobs that run then."""
        inbox: SimpleQueue[object] = SimpleQueue()
        with caught(inbox):
            self._scheduler.start()
            self._teller.tell(Started())
            inbox.get()
            self._board.close()
            self._scheduler.shutdown(wait=False)
            self._pool.shutdown()
        return 0

    def _fire(self, job: CronJob, due: list[datetime]) -> None:
        fire = Fire(job, due[-1], queued=datetime.now(UTC))
        try:
            if self._board.admit(fire) is None:
                self._pool.submit(self._run, fire)
        except BoardClosed:
            return

    def _run(self, fire: Fire) -> None:
        running = self._board.begin(fire, datetime.now(UTC))
        if running is None:
            return
        error: Exception | None = None
        try:
            fire.job.function()
        except Exception as raised:  # Whatever comes out of a job is what this side is about.
            error = raised
        self._teller.tell(run_event(fire.job.name, threading.current_thread().name, error))
        self._board.end(running)


def main() -> int:
    """Run the service until SIGTERM; returns the exit status."""
    threads = set_up()
    return StockService(jobs_modules.load(()), threads, Teller()).run_until_signalled()


if __name__ == "__main__":
    sys.exit(main())
