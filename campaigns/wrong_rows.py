"""A query never gets the rows of another one, though exceptions strike its thread at any moment.

Threads run ``SELECT <unique number>``, whole and streamed result sets, writes and transactions on held connections, while
asynchronous exceptions are thrown into them. Whatever comes back must carry the number that was asked for; the statement
after an exception must work; what was acknowledged must be there once.
"""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims
from campaigns.interrupting import HANG, Injector, Target, counting_strays
from campaigns.outcomes import Said, Unit, judge
from campaigns.places import Place, Private
from persistconn.drivers import Driver
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy

TABLE, NUMBERS = "wrong_rows", "wrong_rows_numbers"
ROWS = 300
"""Of a longer result set: several packets, several reads."""
THREADS = 8
_BLOCK = 10**9
"""Each thread's numbers begin at a multiple of it."""


class WrongRows(AssertionError):
    """A query got something else than its own answer."""


class Worker:
    """One thread's statements. Whatever comes back is compared with what was asked for."""

    def __init__(self, number: int, keeper: Keeper, driver: Driver, arguments: dict[str, Any], seed: int) -> None:
        self._numbers = itertools.count(number * _BLOCK)
        self._rng = random.Random(seed + number)
        self._connect: Callable[[], Any] = lambda: keeper.connect(driver, _POLICY, (), arguments)
        self._streaming = driver.module.cursors.SSCursor
        self._connection: Any = None
        self._open: Unit | None = None
        self.units: list[Unit] = []
        self.asked: Counter[str] = Counter()
        self._kinds = (self._ask, self._ask, self._ask_many, self._stream, self._write, self._write_together)

    def step(self) -> None:
        """Do one thing, chosen at random."""
        if self._connection is None:
            self._connection = self._connect()
        kind = self._rng.choice(self._kinds)
        kind()
        self.asked[kind.__name__] += 1

    def recover(self) -> None:
        """End what the exception has struck; the next step must work without anything else."""
        if self._open is not None:
            self.units.append(self._open)
            self._open = None
        if self._connection is not None and self._rng.random() < 0.5:  # noqa: PLR2004 - one time of two
            self._connection.close()
        elif self._connection is not None:
            self._connection.rollback()

    def _expect(self, expected: object, got: object) -> None:
        if got != expected:
            raise WrongRows(f"asked for {expected!r} and got {got!r} on {self._connection!r}")

    def _ask(self) -> None:
        number = next(self._numbers)
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {number}")
            self._expect([(number,)], list(cursor.fetchall()))

    def _ask_many(self) -> None:
        number = next(self._numbers)
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT {number}, id FROM {NUMBERS} ORDER BY id")  # noqa: S608 - a number
            self._expect([(number, row) for row in range(ROWS)], list(cursor.fetchall()))

    def _stream(self) -> None:
        number = next(self._numbers)
        with self._connection.cursor(self._streaming) as cursor:
            cursor.execute(f"SELECT {number}, id FROM {NUMBERS} ORDER BY id")  # noqa: S608 - a number
            for row in range(ROWS):
                self._expect((number, row), cursor.fetchone())
            self._expect(None, cursor.fetchone())

    def _write(self) -> None:
        number = next(self._numbers)
        self._open = Unit(number, 1, Said.UNKNOWN)
        self._insert(number)
        self._acknowledge()

    def _write_together(self) -> None:
        first, count = next(self._numbers), 3
        for _ in range(count - 1):
            next(self._numbers)
        self._open = Unit(first, count, Said.UNKNOWN)
        self._connection.begin()
        for number in range(first, first + count):
            self._insert(number)
        self._ask()
        self._connection.commit()
        self._acknowledge()

    def _insert(self, number: int) -> None:
        with self._connection.cursor() as cursor:
            self._expect(1, cursor.execute(f"INSERT INTO {TABLE} (id) VALUES ({number})"))  # noqa: S608 - a number

    def _acknowledge(self) -> None:
        assert self._open is not None
        # In this order: an exception in between leaves the unit in both, and both are true.
        done = Unit(self._open.first, self._open.count, Said.DONE)
        self._open = done
        self.units.append(done)
        self._open = None


# Proofs of life run out while the campaign lasts, so pings before a statement are struck as well.
_POLICY = Policy(trust=0.05, ping_timeout=5.0, ping_every=5.0)


def run(driver: str = "pymysql", *, exceptions: int = 5000, seed: int = 1, place: Place | None = None) -> Figures:
    """Throw so many exceptions into eight threads; on a private MariaDB unless a place is given. Blocks."""
    if place is not None:
        return _run(driver, exceptions, seed, place)
    with Private() as private:
        return _run(driver, exceptions, seed, private)


def _run(driver: str, exceptions: int, seed: int, place: Place) -> Figures:
    keeper = Keeper()
    keepalive = Keepalive(keeper)
    keeper.on_connection = keepalive.ensure_running
    arguments = place.connect_args(autocommit=True)
    workers = [Worker(number, keeper, load(driver), arguments, seed) for number in range(1, THREADS + 1)]
    with (
        warnings.catch_warnings(),
        places.table(place, TABLE, "id BIGINT NOT NULL"),
        places.table(place, NUMBERS, "id INT NOT NULL PRIMARY KEY"),
    ):
        # Of a socket that was just being made, and of PyMySQL's streamed rows: a thread was torn away from both.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("ignore", "Previous unbuffered result")
        values = ", ".join(f"({number})" for number in range(ROWS))
        places.ask(place, f"INSERT INTO {NUMBERS} VALUES {values}")  # noqa: S608 - numbers
        # Started here, or its thread would be a child of one that is struck.
        keepalive.ensure_running(1.0)
        began = time.monotonic()
        targets, injector, strays = _interrupt(workers, exceptions, seed)
        seconds = time.monotonic() - began
        keepalive.stop()
        keeper.shutdown(timeout=1.0)
        # A connection that an exception has struck as it was made is closed when it is collected.
        gc.collect()
        is_empty = places.wait_for(lambda: not places.sessions(place), HANG)
        rows = places.counts(place, TABLE)
    return _judge(driver, workers, targets, injector, strays, rows, seconds, is_empty)


def _interrupt(workers: list[Worker], exceptions: int, seed: int) -> tuple[list[Target], Injector, int]:
    stop = threading.Event()
    targets = [Target(f"wrong-rows-{n}", worker.step, worker.recover, stop) for n, worker in enumerate(workers)]
    injector = Injector(targets, random.Random(seed))
    with counting_strays() as strays:
        for target in targets:
            target.thread.start()
        injector.run(exceptions)
        injector.settle()
        stop.set()
        for target in targets:
            target.release()
            target.thread.join(0.1 if injector.hung else HANG)
    return targets, injector, len(strays)


def _judge(
    driver: str,
    workers: list[Worker],
    targets: list[Target],
    injector: Injector,
    strays: int,
    rows: Any,
    seconds: float,
    is_empty: bool,
) -> Figures:
    asked: Counter[str] = Counter()
    for worker in workers:
        asked.update(worker.asked)
    failures = [target.failure for target in targets if target.failure]
    wrong = sum("WrongRows" in failure for failure in failures)
    verdict = judge(_distinct(workers), rows)
    caught = sum(target.caught for target in targets)
    table = {
        "exceptions caught by the workers": caught,
        "... behind another error that they had caused": sum(target.masked for target in targets),
        "swallowed on the way / in a finalizer or a new thread": f"{injector.swallowed} / {strays}",
        "operations completed": asked.total(),
        "operations that failed after an exception": len(failures) - wrong,
        "answers of another query": wrong,
        "hangs": len(injector.hung),
        **verdict.table(),
        "seconds": seconds,
    }
    broken = broken_claims(
        {
            "no query got the rows of another one": not wrong,
            "the statement after an exception works": len(failures) == wrong,
            "nothing hangs": not injector.hung,
            "the rows on the server are what was said": verdict.is_clean,
            "no session is left over": is_empty,
            "exceptions were caught": caught > 0,
        }
    )
    details = (*injector.hung[:1], *failures[:2], *verdict.examples[:3])
    proven = f"{caught:,} exceptions at random moments, 0 rows of another query, 0 hangs, 0 writes doubled or lost"
    return Figures(f"wrong rows, {driver}", table, proven, broken + (details if broken else ()))


def _distinct(workers: list[Worker]) -> list[Unit]:
    """Return the units, each once: one that an exception struck right behind its acknowledgement was noted twice."""
    units: dict[int, Unit] = {}
    for unit in itertools.chain.from_iterable(worker.units for worker in workers):
        if unit.first not in units or unit.said is Said.DONE:
            units[unit.first] = unit
    return list(units.values())
