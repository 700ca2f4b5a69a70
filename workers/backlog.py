"""What is missing of one fenced job, and when it is tried. Pure: clocks are arguments, and nothing here is shared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from persistconn.cronjobs import UTC, CronJob
from persistconn.once.rows import RowState
from persistconn.once.token import Token
from workers.fenced import ledger_name, token_of

BATCH = 1000
"""Fires of one job that are made up between two looks at most."""
LONGEST_PAUSE = 3600.0
"""Seconds after which a job that fails is tried again, however often it has failed."""
A_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Due:
    """One fire that should have taken effect by now. ``scheduled`` is in the job's time zone."""

    scheduled: datetime
    token: Token


@dataclass(frozen=True)
class Span:
    """The due times that one look is about: after ``since``, up to ``until``. In UTC, by the database's clock."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Findings:
    """What one look has found: the fires of its span of which there is no row, and the tokens of those that are torn."""

    span: Span
    absent: tuple[Due, ...] = ()
    torn: tuple[Token, ...] = ()


class Ended(Enum):
    """What the run of a fire says of its token."""

    SETTLED = "its row is there for good"
    UNDER_WAY = "another machine is at it"
    FAILED = "the job failed and has left no row"
    UNREACHED = "there was no database to ask"


class Backlog:
    """The fires of one job that the ledger lacks. Used under the reconciler's lock.

    ``window`` (seconds) is how far back it looks, ``grace`` how long a fire has before it is missing, ``pace`` the time
    between two looks.
    """

    def __init__(self, service: str, job: CronJob, *, window: float, grace: float, pace: float) -> None:
        self.job = job
        self.name = ledger_name(service, job)
        self._service = service
        self._window = timedelta(seconds=window)
        self._grace = timedelta(seconds=grace)
        self._pace = pace
        self._queue: list[Due] = []
        self._tries: dict[bytes, int] = {}
        self._failures = 0
        self._not_before = -math.inf
        self._torn: set[bytes] = set()
        self.look_at_all()

    def look_at_all(self) -> None:
        """Look at the whole window again: the server may be another one, that has lost what this one had acknowledged."""
        self._settled_until = datetime.min.replace(tzinfo=UTC)
        self._settled: dict[bytes, datetime] = {}

    def span(self, now: datetime, *, known_since: datetime, low_water: datetime) -> Span:
        """Return what the next look is about; ``now`` is the database's.

        Not what was due before the schedule was known, nor what the ledger has forgotten, nor what is settled up to a
        time without a gap.
        """
        floor = max(now - self._window, known_since, low_water, self._settled_until)
        return Span(floor, max(floor, now - self._grace))

    def find(self, span: Span, rows: Mapping[bytes, RowState]) -> Findings:
        """Compare the fires of a span with the tokens of the job whose rows are committed. Takes a while for a long span."""
        absent: list[Due] = []
        torn: list[Token] = []
        for scheduled in self.job.between(span.since, span.until):
            token = token_of(self._service, self.job, scheduled)
            state = rows.get(token.digest)
            if state is None:
                absent.append(Due(scheduled, token))
            elif state is RowState.OPEN:
                # Committed while it was open: no job that is under way shows its row.
                torn.append(token)
        return Findings(span, tuple(absent), tuple(torn))

    def take_in(self, findings: Findings) -> list[Due]:
        """Take in what a look has found; returns the fires that are missing, of which a batch is tried next."""
        missing = [due for due in findings.absent if due.token.digest not in self._settled]
        first = missing[0].scheduled.astimezone(UTC) - A_TICK if missing else findings.span.until
        self._settled_until = first
        self._settled = {token: due for token, due in self._settled.items() if due > first}
        self._tries = {due.token.digest: self._tries.get(due.token.digest, 0) for due in missing}
        self._queue = sorted(missing, key=lambda due: self._tries[due.token.digest])[:BATCH]
        return missing

    def new_torn(self, findings: Findings) -> list[Token]:
        """Return the torn fires that were not returned before."""
        new = [token for token in findings.torn if token.digest not in self._torn]
        self._torn.update(token.digest for token in new)
        return new

    def next(self, now: float) -> Due | None:
        """Return the fire to make up next, the oldest of those that were tried least; None if none is due to be tried."""
        return self._queue[0] if self._queue and now >= self._not_before else None

    def note(self, token: Token, ended: Ended, now: float) -> None:
        """Take in how the run of a fire has ended, one at its time or one that was made up. ``now`` is monotonic."""
        self._queue = [due for due in self._queue if due.token != token]
        if ended is Ended.SETTLED:
            self._failures, self._not_before = 0, -math.inf
            if token.scheduled is not None:
                self._settled[token.digest] = token.scheduled
        elif ended is Ended.FAILED:
            self._failures += 1
            self._tries[token.digest] = self._tries.get(token.digest, 0) + 1
            self._not_before = now + min(self._pace * 2.0 ** min(self._failures - 1, 30), LONGEST_PAUSE)
        elif ended is Ended.UNREACHED:
            self._queue.clear()
