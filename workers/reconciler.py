"""Makes up the fires that the ledger lacks: skipped, dropped, lost with a machine, or with a commit that a failover undid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from persistconn import ledger
from persistconn.connection import PersistentConnection
from persistconn.cronjobs import CronJob
from persistconn.errors import DatabaseUnavailable, LedgerError
from persistconn.once.heartbeat import Heartbeat
from persistconn.once.identity import identify
from persistconn.once.job import Job
from persistconn.once.line import Line
from persistconn.once.records import Records, fires_of, sight_of
from persistconn.once.rows import COMMIT
from persistconn.once.takeover import Takeover
from workers.backlog import BATCH, Backlog, Due, Ended, Findings, Span
from workers.fenced import fenced_among
from workers.lines import log_many_missing, log_no_look, log_torn
from workers.runs import Elsewhere, Fire, RunReport

LOOKS_PER_TAKEOVER = 3
"""So a fire is missing after a third of the time, found after two, and the last third is for running it."""
PATIENCE_SHARE = 2
"""What a vanished machine's heartbeat may be silent for: half the time, then there is a look for sure, and time to run."""

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
        # Servers count in whole seconds.
        self._patience = max(1, int(takeover / PATIENCE_SHARE))
        self._hearts: dict[str, Heartbeat] = {}
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

        Blocks for about 0.2 s. Raises LedgerError for a ledger that is missing or does not fence. From then on other
        machines know by a heartbeat that this one lives.
        """
        for backlog, fenced in self._backlogs.values():
            line = line_to(fenced)
            ledger.check(line.connection)
            line.run(Records(line.schema).know(backlog.name, backlog.job.schedule))
            line.run(COMMIT)
            self._have_heart(line)

    def _have_heart(self, line: Line) -> None:
        """Let the heart beat before the first job, or that would be known without it; one for each server."""
        address = line.opening.address
        if address not in self._hearts and not self._stopping.is_set():
            self._hearts[address] = Heartbeat(line.opening, self._patience)
            self._hearts[address].start()

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
        for heart in list(self._hearts.values()):
            heart.stop(patience)

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
        missing = {
            backlog: self._take_in(backlog, backlog.find(span, rows.get(backlog.name, {})))
            for backlog, span in spans.items()
        }
        try:
            self._take_over(line, records, spans, missing)
        finally:
            for backlog in backlogs:
                self._offer(backlog)

    def _take_over(
        self, line: Line, records: Records, spans: Mapping[Backlog, Span], missing: Mapping[Backlog, Sequence[Due]]
    ) -> None:
        """End whoever is at a missing fire and is gone, or the fire would be left to him for as long as his session lives."""
        since = {backlog.name: spans[backlog].since for backlog, dues in missing.items() if dues}
        if since:
            tokens = [due.token for dues in missing.values() for due in dues]
            heart = self._hearts.get(line.opening.address)
            takeover = Takeover(line, records, heart=None if heart is None else heart.name)
            takeover.of_fires(since, tokens, self._patience)

    def _take_in(self, backlog: Backlog, findings: Findings) -> list[Due]:
        with self._lock:
            missing, torn = backlog.take_in(findings), backlog.new_torn(findings)
        for token in torn:
            log_torn(backlog.name, str(token))
        if len(missing) > BATCH:
            log_many_missing(backlog.name, BATCH, len(missing), missing[0].scheduled)
        return missing

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
