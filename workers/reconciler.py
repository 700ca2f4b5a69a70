"""Makes up the fires that the ledger lacks: skipped, dropped, lost with a machine, or with a commit that a failover undid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from persistconn import ledger
from persistconn.connection import PersistentConnection
from persistconn.cronjobs import CronJob
from persistconn.errors import DatabaseUnavailable, LedgerError
from persistconn.once.identity import identify
from persistconn.once.job import Job
from persistconn.once.line import Line
from persistconn.once.records import Records, fires_of, sight_of
from persistconn.once.rows import COMMIT
from workers.backlog import BATCH, Backlog, Due, Ended, Findings
from workers.fenced import fenced_among
from workers.lines import log_many_missing, log_no_look, log_torn
from workers.runs import Elsewhere, Fire, RunReport

LOOKS_PER_TAKEOVER = 3
"""So a fire is missing after a third of the time, found after two, and the last third is for running it."""

MakeUp = Callable[[CronJob, Due], None]
"""Fires once more what is missing, unless a fire of that job is under way here. Any thread; it must not block."""


class Reconciler:
    """Looks at the ledger every now and then, on a thread and connections of its own, and has fired what is missing.

    ``takeover`` and ``window`` are in seconds. Its lock guards the backlogs.
    """

    def __init__(
        self,
        service: str,
        jobs: Iterable[CronJob],
        make_up: MakeUp,
        *,
        takeover: float,
        window: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace = takeover / LOOKS_PER_TAKEOVER
        self._make_up = make_up
        self._clock = clock
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._backlogs = {
            job.name: (Backlog(service, job, window=window, grace=self._pace, pace=self._pace), fenced)
            for job, fenced in fenced_among(jobs)
        }
        self._connections: set[PersistentConnection] = set()
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Prove the ledgers, and have them know the jobs' schedules before the first fire; on a thread of the pool.

        Blocks for about 0.2 s. Raises LedgerError for a ledger that is missing or does not fence.
        """
        for backlog, fenced in self._backlogs.values():
            line = line_to(fenced)
            ledger.check(line.connection)
            line.run(Records(line.schema).know(backlog.name, backlog.job.schedule))
            line.run(COMMIT)

    def start(self) -> None:
        """Begin to look, now and then every third of ``takeover``; there is nothing to do without fenced jobs."""
        if self._backlogs:
            self._thread = threading.Thread(target=self._run, name="workers-reconciler", daemon=True)
            self._thread.start()

    def stop(self, patience: float) -> None:
        """Look no more, and wait (seconds) for the look under way, with which the thread and its connections end."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(patience)

    def ended(self, fire: Fire, report: RunReport) -> None:
        """Hear how the run of a fire has ended, on its thread, and have the next missing one of its job fired."""
        if fire.token is None or fire.job.name not in self._backlogs:
            return
        backlog, _ = self._backlogs[fire.job.name]
        now = self._clock()
        with self._lock:
            backlog.note(fire.token, ended_as(report), now)
        self._offer(backlog)

    def _offer(self, backlog: Backlog) -> None:
        with self._lock:
            due = backlog.next(self._clock())
        if due is not None and not self._stopping.is_set():
            self._make_up(backlog.job, due)

    # --- looking ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                self._look()
                if self._stopping.wait(self._pace):
                    return
        finally:
            for connection in self._connections:
                connection.retire()

    def _look(self) -> None:
        try:
            for line, backlogs in self._ledgers():
                self._look_into(line, backlogs)
        except Exception as error:  # Whatever it is, the next look may go well
            if not self._stopping.is_set():
                log_no_look(error, self._pace)

    def _ledgers(self) -> list[tuple[Line, list[Backlog]]]:
        """Return this thread's line to each ledger, with the jobs that have their tokens there."""
        found: dict[tuple[str, str | None], tuple[Line, list[Backlog]]] = {}
        for backlog, fenced in self._backlogs.values():
            line = line_to(fenced)
            self._connections.add(line.connection)
            found.setdefault((line.opening.address, line.schema), (line, []))[1].append(backlog)
        return list(found.values())

    def _look_into(self, line: Line, backlogs: list[Backlog]) -> None:
        records = Records(line.schema)
        line.roll_back()  # Without autocommit, what was read before would be read again.
        if line.identity is None:
            identify(line)
            self._meet(line, records, backlogs)
        sight = sight_of(line.ask(records.sight(backlog.name for backlog in backlogs)))
        if sight is None:
            raise LedgerError(f"the horizon of the ledger in {line.schema} has lost its row")
        spans = {
            backlog: backlog.span(
                sight.now, known_since=sight.known_since.get(backlog.name, sight.now), low_water=sight.low_water
            )
            for backlog in backlogs
        }
        rows = fires_of(line.ask(records.fires({backlog.name: span.since for backlog, span in spans.items()})))
        line.roll_back()
        for backlog, span in spans.items():
            self._take_in(backlog, backlog.find(span, rows.get(backlog.name, {})))

    def _take_in(self, backlog: Backlog, findings: Findings) -> None:
        with self._lock:
            missing, torn = backlog.take_in(findings), backlog.new_torn(findings)
        for token in torn:
            log_torn(backlog.name, str(token))
        if len(missing) > BATCH:
            log_many_missing(backlog.name, BATCH, len(missing), missing[0].scheduled)
        self._offer(backlog)

    def _meet(self, line: Line, records: Records, backlogs: list[Backlog]) -> None:
        """Begin with a session that was not there before: it may be one with another server, after a failover."""
        for backlog in backlogs:
            line.run(records.know(backlog.name, backlog.job.schedule))
            with self._lock:
                backlog.look_at_all()
        line.run(COMMIT)


def ended_as(report: RunReport) -> Ended:
    """Say what a run's end means for its token."""
    if report.elsewhere is not None:
        return Ended.UNDER_WAY if report.elsewhere is Elsewhere.UNDER_WAY else Ended.SETTLED
    if report.error is None:
        return Ended.SETTLED
    return Ended.UNREACHED if isinstance(report.error, (DatabaseUnavailable, LedgerError)) else Ended.FAILED


def line_to(fenced: Job[[], object]) -> Line:
    """Return this thread's line to the database of a job. Blocks and raises as a connect does."""
    return Line(fenced.settings.site(fenced.name).connection(fenced.name))
