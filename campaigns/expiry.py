"""Sessions that the server ends at ``wait_timeout`` are never noticed by their threads.

With the sweep switched off the look at the socket before a statement must do alone; with the sweep on no session gets
that far. At the edge, where a statement is sent in the same moment in which the server ends the session, a read must
come through, and a write may at most be told as one whose outcome is unknown.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims, counted
from campaigns.outcomes import Said, Unit, judge
from campaigns.places import Place, Private
from persistconn.drivers import Driver
from persistconn.errors import ConnectionLost, OutcomeUnknown
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy

TABLE = "expiry"
THREADS = 100
PATIENCE = 60.0
"""Seconds beyond wait_timeout until something hangs."""
EDGE = 0.004
"""Seconds before and after the end of a session in which the statement is sent."""
_BLOCK = 10**9
_COUNTED = 0.98
"""Of the sessions that have ended; MariaDB counts them without a lock, and loses a few of those that end together."""


class Mode(Enum):
    """How the sessions come to their end, and who must notice."""

    LOOK = "the sweep off: the look at the socket alone"
    SWEEP = "the sweep on"
    EDGE = "the sweep off, statements at the very moment of the expiry"

    @property
    def expires(self) -> bool:
        """Whether sessions must have ended, or else nothing was proven."""
        return self is not Mode.SWEEP


class Sleeper:
    """One thread's connection, used once in a while."""

    def __init__(self, number: int, connect: Callable[[], Any], seed: int) -> None:
        self._numbers = itertools.count(number * _BLOCK)
        self._connect = connect
        self.rng = random.Random(seed + number)
        self.units: list[Unit] = []
        self.surfaced: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.used = 0

    def use(self) -> None:
        """Run one thing as the first after the pause, and note what came of it."""
        work = self.rng.choice((_read, _write, _write_together))
        number = next(self._numbers)
        count = _WRITES[work]
        for _ in range(count - 1):
            next(self._numbers)
        said = self._said(work, number)
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
    driver: str, timeout: int, mode: Mode, *, count: int = 1000, seed: int = 1, place: Place | None = None
) -> Figures:
    """Let ``count`` pauses outlast a ``wait_timeout`` (seconds), on a hundred threads at once. Blocks."""
    if place is not None:
        return _Campaign(driver, timeout, mode, count, seed, place).run()
    with Private(max_connections=THREADS + 50) as private:
        return _Campaign(driver, timeout, mode, count, seed, private).run()


class _Campaign:
    def __init__(self, driver: str, timeout: int, mode: Mode, count: int, seed: int, place: Place) -> None:
        self._title = f"expiry, {driver}, wait_timeout={timeout}, {mode.value}"
        self._timeout, self._mode, self._place = timeout, mode, place
        threads = min(THREADS, count)
        self._rounds = -(-count // threads)
        self._keeper = Keeper()
        connect = _connecting(self._keeper, load(driver), place, timeout)
        self._sleepers = [Sleeper(number, connect, seed) for number in range(1, threads + 1)]
        # Nobody may wait for ever for one who hangs.
        self._together = threading.Barrier(threads + 1, timeout=timeout + PATIENCE)

    def run(self) -> Figures:
        keepalive = Keepalive(self._keeper)
        if self._mode is Mode.SWEEP:
            self._keeper.on_connection = keepalive.ensure_running
        with places.table(self._place, TABLE, "id BIGINT NOT NULL"):
            ended = self._expire()
            keepalive.stop()
            self._keeper.shutdown(timeout=1.0)
            is_empty = places.wait_for(lambda: not places.sessions(self._place), PATIENCE)
            rows = places.counts(self._place, TABLE)
        return self._judge(ended, is_empty, rows)

    def _expire(self) -> int:
        before = places.status(self._place, "Aborted_clients")
        threads = [threading.Thread(target=self._sleep, args=(sleeper,), daemon=True) for sleeper in self._sleepers]
        for thread in threads:
            thread.start()
        try:
            for _ in range(self._rounds):
                self._together.wait()
                self._wait_for_the_end()
                self._together.wait()
            for thread in threads:
                thread.join(PATIENCE)
        except threading.BrokenBarrierError:
            pass  # A thread hangs; what is missing from its uses tells.
        return places.status(self._place, "Aborted_clients") - before

    def _sleep(self, sleeper: Sleeper) -> None:
        sleeper.use()
        for _ in range(self._rounds):
            self._together.wait()
            if self._mode is Mode.EDGE:
                sleeper.use()
                time.sleep(self._timeout + sleeper.rng.uniform(-EDGE, EDGE))
            else:
                self._together.wait()
            sleeper.use()
            if self._mode is Mode.EDGE:
                self._together.wait()

    def _wait_for_the_end(self) -> None:
        if self._mode is Mode.LOOK:
            places.wait_for(lambda: not places.sessions(self._place), self._timeout + PATIENCE)
        elif self._mode is Mode.SWEEP:
            time.sleep(self._timeout * 1.25)

    def _judge(self, ended: int, is_empty: bool, rows: Any) -> Figures:
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
            "sessions that the server ended (Aborted_clients)": ended,
            "errors surfaced": sum(surfaced.values()),
            "told (OutcomeUnknown, TransactionLost)": counted(told),
            **verdict.table(),
        }
        broken = broken_claims(
            {
                f"nothing surfaces: {counted(surfaced)}": not surfaced,
                f"nothing is told but at the edge: {counted(told)}": self._mode is Mode.EDGE or not told,
                f"nothing hangs: {hung} threads": not hung,
                "the rows on the server are what was said": verdict.is_clean,
                "no session is left over": is_empty,
                "sessions have expired": ended > 0
                if self._mode is Mode.EDGE
                else ended >= pauses * self._mode.expires * _COUNTED,
            }
        )
        return Figures(self._title, table, f"{pauses:,} pauses, 0 errors surfaced", broken)


def _connecting(keeper: Keeper, driver: Driver, place: Place, timeout: int) -> Callable[[], Any]:
    # In the session, so that a server that others use as well need not be changed.
    arguments = place.connect_args(autocommit=True, init_command=f"SET SESSION wait_timeout = {timeout}")
    policy = Policy()
    return lambda: keeper.connect(driver, policy, (), arguments)
