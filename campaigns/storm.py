"""All threads lose the server at once, and come back without a storm.

The server is killed with -9 while so many connections are held, each thread runs its next statement while it is away,
and it is started again. How many connect at once is counted by a forwarder in another process; what was written is read
from the server. Beside it the same with bare PyMySQL, whose threads connect anew in a tight loop.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pymysql

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims, counted
from campaigns.forwarder import CountingForwarder, Counts
from campaigns.outcomes import Said, Unit, judge
from campaigns.places import Private
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy

TABLE = "storm"
PATIENCE = 120.0
"""Seconds after which a thread hangs."""
DOWN_FOR = 1.0
"""Seconds that the server stays down once the threads want it back."""
MAX_CONNECT_ERRORS = 100
_HOST_IS_BLOCKED = 1129


class Side(Protocol):
    """How a thread gets its connection and its next statement through."""

    def write(self, number: int) -> None:
        """Write a number; blocks while the server is away."""

    def close(self) -> None:
        """Close what the thread has."""


class Held:
    """On a held connection: one statement, whatever has happened."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def write(self, number: int) -> None:
        _insert(self._connect(), number)

    def close(self) -> None:
        self._connect().retire()


class Bare:
    """On bare PyMySQL, as its users write it: on any error connect anew, at once, until it works."""

    def __init__(self, arguments: Mapping[str, Any], stop: threading.Event) -> None:
        self._arguments, self._stop = arguments, stop
        self._connection: Any = None

    def write(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                if self._connection is None:
                    self._connection = pymysql.connect(**self._arguments)
                _insert(self._connection, number)
            except pymysql.MySQLError:
                self._connection = None
            else:
                return

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _insert(connection: Any, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (id) VALUES ({number})")  # noqa: S608 - a number


@dataclass
class Passage:
    """What came of one side."""

    seconds: float
    """From the moment at which the server listened again until the last thread was back."""
    cpu: float
    """Seconds of processor time that the client has used, from the crash on."""
    counts: Counts
    units: list[Unit]
    surfaced: Counter[str]
    hung: int
    aborted_connects: int
    is_blocked: bool


class _Crowd:
    """The threads of one side: each writes once before the crash and once after it."""

    def __init__(self, sides: list[Side]) -> None:
        self._sides = sides
        self._numbers = itertools.count(1)
        self.units: list[Unit] = []
        self.surfaced: Counter[str] = Counter()
        self.is_blocked = False
        self.ready = threading.Barrier(len(sides) + 1, timeout=PATIENCE)
        self.go = threading.Event()
        self.let_go = threading.Event()
        self.back = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._run, args=(side,), daemon=True) for side in sides]
        for thread in self._threads:
            thread.start()

    def _run(self, side: Side) -> None:
        self._write(side)
        self.ready.wait()
        self.go.wait()
        self._write(side)
        self.back.release()
        self.let_go.wait()
        side.close()

    def _write(self, side: Side) -> None:
        number = next(self._numbers)
        said = Said.DONE
        try:
            side.write(number)
        except Exception as error:
            said = Said.UNKNOWN
            self.surfaced[f"{type(error).__name__}: {str(error)[:80]}"] += 1
            self.is_blocked = self.is_blocked or str(_HOST_IS_BLOCKED) in repr(error.__cause__)
        self.units.append(Unit(number, 1, said))

    def wait_until_back(self) -> int:
        """Wait for all; return how many have not come."""
        deadline = time.monotonic() + PATIENCE
        return sum(not self.back.acquire(timeout=max(0.0, deadline - time.monotonic())) for _ in self._sides)

    def end(self) -> None:
        """Have the threads close what they have."""
        self.let_go.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def run(driver: str = "pymysql", *, threads: int = 200, seed: int = 1, compare: bool = True) -> Figures:
    """Kill a private MariaDB under so many held connections and start it again; ``seed`` changes nothing. Blocks.

    ``compare`` has as many bare PyMySQL threads go through the same.
    """
    del seed
    # Patient: a connect that a busy machine lets come to nothing would be counted beside the one that is made after it.
    policy = Policy(connect_timeout=PATIENCE, give_up_after=PATIENCE)
    with Private(max_connections=threads + 50, max_connect_errors=MAX_CONNECT_ERRORS) as private:
        server = private.server
        with places.table(private, TABLE, "id BIGINT NOT NULL"), CountingForwarder(server.host, server.port) as counter:
            arguments = private.connect_args(port=counter.port, autocommit=True)
            ours, is_empty = _pass_held(private, counter, arguments, threads, driver, policy)
            rows = places.counts(private, TABLE)
            places.ask(private, f"DELETE FROM {TABLE}")  # noqa: S608 - the campaign's own name
            bare = _pass_bare(private, counter, arguments, threads) if compare else None
    return _judge(driver, threads, policy, ours, rows, is_empty, bare)


def _pass_held(
    private: Private, counter: CountingForwarder, arguments: dict[str, Any], threads: int, driver: str, policy: Policy
) -> tuple[Passage, bool]:
    keeper = Keeper()
    keepalive = Keepalive(keeper)
    keeper.on_connection = keepalive.ensure_running
    one = load(driver)
    connect = _connecting(keeper, one, policy, arguments)
    passage = _pass(private, counter, [Held(connect) for _ in range(threads)])
    keepalive.stop()
    keeper.shutdown(timeout=1.0)
    return passage, places.wait_for(lambda: not places.sessions(private), PATIENCE)


def _connecting(keeper: Keeper, driver: Any, policy: Policy, arguments: dict[str, Any]) -> Callable[[], Any]:
    return lambda: keeper.connect(driver, policy, (), arguments)


def _pass_bare(private: Private, counter: CountingForwarder, arguments: dict[str, Any], threads: int) -> Passage:
    stop = threading.Event()
    try:
        return _pass(private, counter, [Bare(arguments, stop) for _ in range(threads)])
    finally:
        stop.set()


def _pass(private: Private, counter: CountingForwarder, sides: list[Any]) -> Passage:
    crowd = _Crowd(sides)
    crowd.ready.wait()
    warm = counter.counts()
    private.server.kill()
    # Each thread's socket has to tell of it: a statement that was under way is another campaign's matter.
    places.wait_for(lambda: not counter.counts().open, PATIENCE)
    used = time.process_time()
    crowd.go.set()
    time.sleep(DOWN_FOR)
    private.server.start()
    began = time.monotonic()
    hung = crowd.wait_until_back()
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    counts = counter.counts()
    counts.peak = max(counts.peak, warm.peak)
    aborted = places.status(private, "Aborted_connects")
    crowd.end()
    return Passage(seconds, cpu, counts, crowd.units, crowd.surfaced, hung, aborted, crowd.is_blocked)


def _judge(
    driver: str,
    threads: int,
    policy: Policy,
    ours: Passage,
    rows: Mapping[int, int],
    is_empty: bool,
    bare: Passage | None,
) -> Figures:
    verdict = judge(ours.units, rows)
    table = {
        "threads, each with a held connection": threads,
        "statements lost, or told as lost": ours.surfaced.total(),
        "most connects under way at once, by the forwarder": ours.counts.peak,
        "connects / of them while the server was away": f"{ours.counts.accepted} / {ours.counts.refused}",
        "handshakes that the server saw fail (Aborted_connects)": ours.aborted_connects,
        "seconds until all were back": ours.seconds,
        "seconds of processor time since the crash": ours.cpu,
        **verdict.table(),
        **_comparison(ours, bare),
    }
    broken = broken_claims(
        {
            f"each thread's next statement succeeds: {counted(ours.surfaced)}": not ours.surfaced,
            f"nothing hangs: {ours.hung} threads": not ours.hung,
            f"never more than max_connecting ({policy.max_connecting}) connects are under way": (
                0 < ours.counts.peak <= policy.max_connecting
            ),
            "max_connect_errors is not reached": ours.aborted_connects < MAX_CONNECT_ERRORS and not ours.is_blocked,
            "the rows on the server are what was said": verdict.is_clean and verdict.done == 2 * threads,
            "no session is left over": is_empty,
        }
    )
    proven = f"{threads} connections lost at once, 0 statements lost, at most {ours.counts.peak} connects at once"
    return Figures(f"storm, {driver}", table, proven, broken)


def _comparison(ours: Passage, bare: Passage | None) -> dict[str, object]:
    if bare is None:
        return {}
    accepted, refused = bare.counts.accepted - ours.counts.accepted, bare.counts.refused - ours.counts.refused
    return {
        "bare PyMySQL: most connects under way at once": bare.counts.peak,
        "bare PyMySQL: connects / of them while the server was away": f"{accepted} / {refused}",
        "bare PyMySQL: handshakes that the server saw fail": bare.aborted_connects,
        "bare PyMySQL: seconds until all were back": bare.seconds,
        "bare PyMySQL: seconds of processor time since the crash": bare.cpu,
        "bare PyMySQL / persistconn, until all were back": bare.seconds / ours.seconds,
        "bare PyMySQL / persistconn, processor time": bare.cpu / ours.cpu,
    }
