"""Sessions that the server ends at ``wait_timeout`` are never noticed by their threads.

With the sweep switched off the look at the socket before a statement must do alone; with the sweep on no session gets
that far. At the edge, where a statement is sent in the same moment in which the server ends the session, a read must
come through, and a write may at most be told as one whose outcome is unknown.

A busy machine can miss the moment: no session ends, or a thread or the sweep does not run for so long that one ends which
was not to. Then nothing is proven, and ``longer`` makes for a longer moment.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims, counted
from campaigns.outcomes import Said, Unit, judge
from campaigns.places import Place, Private
from campaigns.sweeps import TimedKeeper
from persistconn.drivers import Driver
from persistconn.errors import ConnectionLost, OutcomeUnknown
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy

TABLE = "expiry"
THREADS = 100
PATIENCE = 120.0
"""Seconds beyond wait_timeout until something hangs."""
EDGE = 0.004
"""Seconds before and after the end of a session in which the statement is sent."""
_BLOCK = 10**9


class Mode(Enum):
    """How the sessions come to their end, and who must notice."""

    LOOK = "the sweep off: the look at the socket alone"
    SWEEP = "the sweep on"
    EDGE = "the sweep off, statements at the very moment of the expiry"


class Sleeper:
    """One thread's connection, used once in a while."""

    def __init__(self, number: int, connect: Callable[[], Any], seed: int) -> None:
        self._numbers = itertools.count(number * _BLOCK)
        self._connect = connect
        self.rng = random.Random(seed + number)
        self.units: list[Unit] = []
        self.surfaced: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.longest = 0.0
        """Seconds that the longest unit of work has taken; within one of ``wait_timeout`` the server ends the session."""
        self.used = 0

    def use(self) -> None:
        """Run one thing as the first after the pause, and note what came of it."""
        work = self.rng.choice((_read, _write, _write_together))
        number = next(self._numbers)
        count = _WRITES[work]
        for _ in range(count - 1):
            next(self._numbers)
        began = time.monotonic()
        said = self._said(work, number)
        self.longest = max(self.longest, time.monotonic() - began)
        self.used += 1
        if count:
            self.units.append(Unit(number, count, said))

    def _said(self, work: Callable[[Any, int], None], number: int) -> Said:
        try:
            work(self._connect(), number)
        except ConnectionLost as error:
            self.told[type(error).__name__] += 1
            self._connect().close()
            return Said.UNKNOWN if isinstance(error, OutcomeUnknown) else Said.UNDONE
        except Exception as error:
            self.surfaced[f"{type(error).__name__}{error.args[:1]}"] += 1
            return Said.UNKNOWN
        return Said.DONE


def _read(connection: Any, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {number}")
        assert list(cursor.fetchall()) == [(number,)], "a query got the rows of another one"


def _write(connection: Any, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (id) VALUES ({number})")  # noqa: S608 - a number


def _write_together(connection: Any, number: int) -> None:
    connection.begin()
    _write(connection, number)
    _write(connection, number + 1)
    connection.commit()


_WRITES: dict[Callable[[Any, int], None], int] = {_read: 0, _write: 1, _write_together: 2}


def run(
    driver: str,
    timeout: int,
    mode: Mode,
    *,
    count: int = 1000,
    seed: int = 1,
    place: Place | None = None,
    longer: float = 1.0,
) -> Figures:
    """Let ``count`` pauses outlast a ``wait_timeout`` (seconds), on a hundred threads at once. Blocks."""
    timeout = round(timeout * longer)
    if place is not None:
        return _Campaign(driver, timeout, mode, count, seed, place, longer).run()
    with Private(max_connections=THREADS + 50) as private:
        return _Campaign(driver, timeout, mode, count, seed, private, longer).run()


@dataclass(frozen=True)
class Course:
    """What has become of the sessions while the threads rested."""

    ended: int
    """How many the server has ended (Aborted_clients)."""
    unexpired: int
    """How many it had left, at most, when all were to have ended."""
    longest_gap: float
    """Seconds without a sweep, at most."""
    was_late: bool
    """Whether that is so long that a session may have expired meanwhile."""


class _Campaign:
    def __init__(
        self, driver: str, timeout: int, mode: Mode, count: int, seed: int, place: Place, longer: float
    ) -> None:
        self._title = f"expiry, {driver}, wait_timeout={timeout}, {mode.value}"
        self._timeout, self._mode, self._place = timeout, mode, place
        # Squared: a machine that is late by more than the first edge is late by far more, and needs a wide one.
        self._edge = EDGE * longer**2
        threads = min(THREADS, count)
        self._rounds = -(-count // threads)
        self._keeper = TimedKeeper()
        connect = _connecting(self._keeper, load(driver), place, timeout)
        self._sleepers = [Sleeper(number, connect, seed) for number in range(1, threads + 1)]
        # Nobody may wait for ever for one who hangs.
        self._together = threading.Barrier(threads + 1, timeout=timeout + PATIENCE)

    def run(self) -> Figures:
        keepalive = Keepalive(self._keeper)
        if self._mode is Mode.SWEEP:
            self._keeper.on_connection = keepalive.ensure_running
        with places.table(self._place, TABLE, "id BIGINT NOT NULL"):
            course = self._expire()
            keepalive.stop()
            self._keeper.shutdown(timeout=1.0)
            is_empty = places.wait_for(lambda: not places.sessions(self._place), PATIENCE)
            rows = places.counts(self._place, TABLE)
        return self._judge(course, is_empty, rows)

    def _expire(self) -> Course:
        before = places.status(self._place, "Aborted_clients")
        threads = [threading.Thread(target=self._sleep, args=(sleeper,), daemon=True) for sleeper in self._sleepers]
        for thread in threads:
            thread.start()
        unexpired = 0
        try:
            for _ in range(self._rounds):
                self._together.wait()
                unexpired = max(unexpired, self._wait_for_the_end())
                self._together.wait()
            for thread in threads:
                thread.join(PATIENCE)
        except threading.BrokenBarrierError:
            pass  # A thread hangs; what is missing from its uses tells.
        ended = places.status(self._place, "Aborted_clients") - before
        return Course(ended, unexpired, self._keeper.longest_gap(), self._keeper.was_late(self._timeout))

    def _sleep(self, sleeper: Sleeper) -> None:
        sleeper.use()
        for _ in range(self._rounds):
            self._together.wait()
            if self._mode is Mode.EDGE:
                sleeper.use()
                time.sleep(self._timeout + sleeper.rng.uniform(-self._edge, self._edge))
            else:
                self._together.wait()
            sleeper.use()
            if self._mode is Mode.EDGE:
                self._together.wait()

    def _wait_for_the_end(self) -> int:
        """Wait for what the mode waits for; return how many sessions are there that were to have ended."""
        if self._mode is Mode.LOOK:
            places.wait_for(lambda: not places.sessions(self._place), self._timeout + PATIENCE / 2)
            return len(places.sessions(self._place))
        if self._mode is Mode.SWEEP:
            time.sleep(self._timeout * 1.25)
        return 0

    def _judge(self, course: Course, is_empty: bool, rows: Any) -> Figures:
        surfaced: Counter[str] = Counter()
        told: Counter[str] = Counter()
        for sleeper in self._sleepers:
            surfaced.update(sleeper.surfaced)
            told.update(sleeper.told)
        verdict = judge(itertools.chain.from_iterable(sleeper.units for sleeper in self._sleepers), rows)
        pauses = self._rounds * len(self._sleepers)
        uses = 1 + self._rounds * (2 if self._mode is Mode.EDGE else 1)
        hung = sum(sleeper.used < uses for sleeper in self._sleepers)
        table = {
            "pauses longer than wait_timeout": pauses,
            "sessions that the server ended (Aborted_clients)": course.ended,
            "errors surfaced": sum(surfaced.values()),
            "told (OutcomeUnknown, TransactionLost)": counted(told),
            **verdict.table(),
        }
        broken = broken_claims(
            {
                f"nothing surfaces: {counted(surfaced)}": not surfaced,
                f"nothing is told but at the edge: {counted(told)}": not self._is_amiss(told) or self._was_slow,
                f"nothing hangs: {hung} threads": not hung,
                "the rows on the server are what was said": verdict.is_clean,
                "no session is left over": is_empty,
                f"no session expires: {course.ended}": not self._has_missed(course) or self._may_have_missed(course),
            }
        )
        doubts = tuple(self._doubts(course, told, pauses))
        return Figures(self._title, table, f"{pauses:,} pauses, 0 errors surfaced", broken, doubts)

    # --- what a busy machine may have spoilt -------------------------------------------------------------------------

    @property
    def _longest(self) -> float:
        return max(sleeper.longest for sleeper in self._sleepers)

    @property
    def _was_slow(self) -> bool:
        """Whether a unit of work took so long that the server may have ended its session between two statements."""
        return self._longest >= self._timeout

    def _is_amiss(self, told: Counter[str]) -> bool:
        return bool(told) and self._mode is not Mode.EDGE

    def _has_missed(self, course: Course) -> bool:
        """Say whether a session has expired that the sweep was to replace; on a server of others nobody can tell."""
        return self._mode is Mode.SWEEP and isinstance(self._place, Private) and course.ended > 0

    def _may_have_missed(self, course: Course) -> bool:
        return course.was_late or self._was_slow

    def _doubts(self, course: Course, told: Counter[str], pauses: int) -> Iterator[str]:
        slow = f"a unit of work took {self._longest:.1f} s under wait_timeout={self._timeout}"
        if course.unexpired:
            yield f"{course.unexpired} sessions had not expired {PATIENCE / 2:g} s after their time"
        if self._mode is Mode.EDGE and not 0 < course.ended < pauses:
            edge = f"an edge of {self._edge * 1000:g} ms"
            yield f"{course.ended} sessions ended in {pauses} pauses, none on the other side of {edge}"
        if self._is_amiss(told) and self._was_slow:
            yield f"{slow}, and was told of its loss: {counted(told)}"
        if self._has_missed(course) and self._may_have_missed(course):
            gap = f"for {course.longest_gap:.1f} s there was no sweep under wait_timeout={self._timeout}"
            yield f"{gap if course.was_late else slow}, and {course.ended} sessions expired"


def _connecting(keeper: Keeper, driver: Driver, place: Place, timeout: int) -> Callable[[], Any]:
    # In the session, so that a server that others use as well need not be changed.
    arguments = place.connect_args(autocommit=True, init_command=f"SET SESSION wait_timeout = {timeout}")
    policy = Policy()
    return lambda: keeper.connect(driver, policy, (), arguments)
