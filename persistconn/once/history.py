"""What the attempts of one job have met so far, and whether there is to be another one. Pure: the clock is an argument."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from persistconn.errors import PoisonJob
from persistconn.session import Session

POISON = 5
"""Losses in a row at the same statement, after which the job itself is taken for the cause. Three are no proof: a job that
waits for a lock is at that statement most of its time, and so it is whatever strikes at random strikes it there."""
FEWEST_REPLAYS = 3
"""Replays that are always made, however long an attempt takes."""
LONGEST_PAUSE = 1.0
_FIRST_PAUSE, _PAUSE_HERE = 0.01, 0.1


@dataclass(frozen=True)
class Mishap:
    """One attempt that did not come to its end."""

    cause: BaseException
    ordinal: int = 0
    """Which statement of the job it happened at; 0 if at none of the job's own."""
    statement: str = ""
    was_lost: bool = False
    """Whether the connection was lost, rather than the transaction rolled back by an answer."""
    has_run: bool = True
    """Whether the function was called; False if it only waited for the token."""


@dataclass
class History:
    """The attempts of one call. Used on one thread."""

    describe: Callable[[], str]
    """Names the job for people."""
    retries: int | None = None
    mishaps: list[Mishap] = field(default_factory=list)
    attempts: dict[bytes, Callable[[], None]] = field(default_factory=dict)
    """The attempts whose COMMIT was sent, with what is to be done once it is proved that it was executed."""
    failures: dict[bytes, BaseException] = field(default_factory=dict)
    """What the function raised in the attempts that were to record it."""
    session: Session | None = None
    """What the caller's session was like before the first attempt: the others begin with the same."""
    will: BaseException | None = None
    """The error by which somebody has stopped the job at its COMMIT; raised once the fence has shown that it stopped."""
    _first: float | None = None

    def note(self, mishap: Mishap, now: float, give_up_after: float) -> float:
        """Take in a mishap and return the longest pause (seconds) before the next attempt; raises if there is to be none.

        Raises PoisonJob, or the mishap's cause when the bounds are reached.
        """
        self.mishaps.append(mishap)
        if self._first is None:
            self._first = now
        if self._is_poisoned():
            raise self._poison(mishap) from mishap.cause
        if self._is_exhausted(now, give_up_after):
            raise mishap.cause
        if not mishap.was_lost:
            return float(min(LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(len(self.mishaps), 16)))
        # The gate spaces the connects out. At the same place again, a disturbance gets time to pass.
        again = self._losses_here() - 1
        return float(min(LONGEST_PAUSE, _PAUSE_HERE * 2.0**again)) if again > 0 else 0.0

    def _losses_here(self) -> int:
        """Return how many losses in a row there were at the job's statement of the last one."""
        here = self.mishaps[-1]
        same = (one.was_lost and one.ordinal == here.ordinal > 0 for one in reversed(self.mishaps))
        return sum(1 for _ in itertools.takewhile(bool, same))

    def _is_poisoned(self) -> bool:
        return self._losses_here() >= POISON

    def _is_exhausted(self, now: float, give_up_after: float) -> bool:
        replays = len(self.mishaps)
        if self.retries is not None and self.mishaps[-1].has_run:
            return sum(mishap.has_run for mishap in self.mishaps) > self.retries
        return self._first is not None and replays > FEWEST_REPLAYS and now - self._first > give_up_after

    def _poison(self, mishap: Mishap) -> PoisonJob:
        return PoisonJob(
            f"the job {self.describe()} lost its connection {POISON} times in a row at its statement {mishap.ordinal}"
            f" ({mishap.statement or 'unknown'}), each time on a new connection: it seems to be the cause itself, by a packet"
            " over max_allowed_packet, a pause beyond wait_timeout, a read_timeout shorter than the statement, or a query that"
            f" brings the server down. Nothing of it took effect. The last loss: {mishap.cause}"
        )
