"""Mixed work on sixteen threads under random faults, for as long as one likes; judged by the rows on the server.

Everything that was acknowledged must be there exactly once, everything that was told as lost must be absent, an unknown
outcome may be either, and no lost connection may reach a task as the driver's raw error.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims, counted
from campaigns.outcomes import Verdict, judge
from campaigns.places import Private
from campaigns.resources import Resources, measure, open_files
from campaigns.soak_book import Book
from campaigns.soak_faults import READ_TIMEOUT, WAIT_TIMEOUT, Chaos
from campaigns.soak_work import NUMBERS, ROWS, TABLE, Abort, Task
from persistconn.drivers import Driver
from persistconn.executor import Executor
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy
from persistconn.testing.faults import FaultProxy

HANG = 180.0
"""Seconds after which a task hangs; everything that blocks has a limit far below."""
ROUND = 15.0
"""Seconds after which the threads are exchanged for new ones, whose connections must be reaped."""
GRACE = 60.0
"""Seconds until a thread or a descriptor is left over; what is on its last lines needs milliseconds on an idle machine."""
WARM = 10.0
"""Seconds after which the first resources are measured, or a tenth of the time."""
_QUEUED = 2
"""Tasks in flight for each thread."""
_TICK = 0.2
_POLICY = Policy(
    keepalive=3.0,
    max_lifetime=5.0,
    ping_every=1.0,
    ping_timeout=0.5,
    trust=1.5,
    connect_timeout=3.0,
    give_up_after=60.0,
)

Connect = Callable[[], Any]


@dataclass
class Ending:
    """What was found when it was over."""

    before: Resources
    warm: Resources
    end: Resources
    after: Resources
    left: int
    verdict: Verdict
    opened: list[str]
    """What is open at the end that was not before."""
    hung: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def run(
    drivers: tuple[str, ...] = ("pymysql",),
    *,
    minutes: float = 30.0,
    threads: int = 16,
    seed: int = 1,
    longer: float = 1.0,
) -> Figures:
    """Soak a private MariaDB and both drivers for ``longer`` times so many minutes. Blocks."""
    minutes *= longer
    before, opened = measure(), Counter(open_files())
    with ExitStack() as stack:
        private = stack.enter_context(Private(wait_timeout=WAIT_TIMEOUT, max_connections=threads * 8 + 50))
        proxy = stack.enter_context(FaultProxy(private.server.host, private.server.port, trace_limit=0))
        soak = _Soak(private, proxy, [load(name) for name in drivers], minutes * 60.0, threads, seed)
        warm, end = soak.work()
        left, verdict = soak.shut_down()
    after = _at_rest(before)
    new = [*(Counter(open_files()) - opened).elements()]
    ending = Ending(before, warm, end, after, left, verdict, new, soak.hung, soak.unexpected)
    return _judge(", ".join(drivers), minutes, threads, soak.book, soak.chaos, ending)


def _at_rest(before: Resources) -> Resources:
    """Return what the process uses when what was on its last lines is over, a daemon thread for example."""

    def is_over() -> bool:
        gc.collect()  # A raw connection of mysqlclient has a descriptor until it is collected.
        return measure().fits_into(before)

    places.wait_for(is_over, GRACE)
    return measure()


class _Soak:
    def __init__(
        self, private: Private, proxy: FaultProxy, drivers: list[Driver], seconds: float, threads: int, seed: int
    ) -> None:
        self.book = Book()
        self.hung: list[str] = []
        self.unexpected: list[str] = []
        self._private, self._proxy = private, proxy
        self._seconds, self._threads = seconds, threads
        self._rng = random.Random(seed)
        self._keeper = Keeper()
        self._keepalive = Keepalive(self._keeper)
        self._keeper.on_connection = self._keepalive.ensure_running
        self.chaos = Chaos(private, proxy, self._keepalive, seconds, random.Random(seed + 1))
        self._connects = [(driver, connect) for driver in drivers for connect in self._ways(driver)]
        self._since: dict[int, float] = {}
        self._warm: Resources | None = None
        self._warm_at = 0.0
        _make_tables(private)

    def _ways(self, driver: Driver) -> list[Connect]:
        """Return the ways to connect: straight or through the proxy, with autocommit or without."""
        patience = {"read_timeout": READ_TIMEOUT, "write_timeout": READ_TIMEOUT}
        plain = [self._private.connect_args(autocommit=autocommit, **patience) for autocommit in (True, False)]
        return [self._way(driver, way) for way in (*plain, *map(self._proxy.connect_args, plain))]

    def _way(self, driver: Driver, arguments: dict[str, Any]) -> Connect:
        return lambda: self._keeper.connect(driver, _POLICY, (), arguments)

    # --- the work ----------------------------------------------------------------------------------------------------

    def work(self) -> tuple[Resources, Resources]:
        """Work under faults until the time is up; return the resources soon after the start and at the end."""
        began = time.monotonic()
        deadline, self._warm_at = began + self._seconds, began + min(WARM, self._seconds / 10)
        self.chaos.start()
        try:
            while (now := time.monotonic()) < deadline and not self._has_failed():
                self._work_a_round(min(deadline, now + ROUND))
        finally:
            self.chaos.stop()
        end = measure()
        return self._warm or end, end

    def _has_failed(self) -> bool:
        return bool(self.hung or self.chaos.error or self.unexpected)

    def _work_a_round(self, deadline: float) -> None:
        pool = Executor(ThreadPoolExecutor(self._threads, thread_name_prefix="soak"), keeper=self._keeper)
        free = threading.Semaphore(self._threads * _QUEUED)
        while time.monotonic() < deadline and not self._has_failed():
            if free.acquire(timeout=_TICK):
                self._submit(pool, free)
            self._look_for_hangs()
            if self._warm is None and time.monotonic() > self._warm_at:
                self._warm = measure()
        # What is queued is soon done, but a task that waits for the server may take as long as it is away.
        for _ in range(self._threads * _QUEUED):
            while not self.hung and not free.acquire(timeout=_TICK):
                self._look_for_hangs()
        pool.shutdown(wait=not self.hung)

    def _submit(self, pool: Executor, free: threading.Semaphore) -> None:
        driver, connect = self._rng.choice(self._connects)
        task = Task(self.book, driver, connect, random.Random(self._rng.random()))

        def over(future: Future[None]) -> None:
            self._note(future)
            free.release()

        pool.submit_named("soak", self._run_task, task).add_done_callback(over)

    def _run_task(self, task: Task) -> None:
        ident = threading.get_ident()
        self._since[ident] = time.monotonic()
        try:
            task.run()
        finally:
            # The boundary follows, which has its limits too; the next task of this thread sets it anew.
            self._since.pop(ident, None)

    def _note(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, Abort):
            self.unexpected.append("".join(traceback.format_exception(error)))

    def _look_for_hangs(self) -> None:
        now = time.monotonic()
        for ident, since in list(self._since.items()):
            if now - since > HANG:
                frame = sys._current_frames().get(ident)
                self.hung.append("".join(traceback.format_stack(frame)) if frame is not None else "(gone)")

    # --- the end -----------------------------------------------------------------------------------------------------

    def shut_down(self) -> tuple[int, Verdict]:
        """Close everything; return how many sessions are left on the server, and what its rows say."""
        self._keepalive.stop()
        self._keeper.shutdown(timeout=1.0)
        self._proxy.close()
        expired = self._expired()
        places.wait_for(lambda: not places.sessions(self._private), HANG)
        # What was forgotten is ended by the server's own wait_timeout soon; then its log alone tells of it.
        left = len(places.sessions(self._private)) + self._expired() - expired
        return left, judge(self.book.units(), places.counts(self._private, TABLE))

    def _expired(self) -> int:
        return sum("Got timeout reading" in line for line in self._private.server.aborted_in_log())


def _make_tables(private: Private) -> None:
    values = ", ".join(f"({number})" for number in range(ROWS))
    places.ask(
        private,
        # Not unique: a write that was doubled has to be seen.
        f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, KEY (id)) ENGINE=InnoDB",
        f"CREATE TABLE {NUMBERS} (id INT NOT NULL PRIMARY KEY) ENGINE=InnoDB",
        f"INSERT INTO {NUMBERS} VALUES {values}",  # noqa: S608 - numbers
    )


def _judge(drivers: str, minutes: float, threads: int, book: Book, chaos: Chaos, ending: Ending) -> Figures:
    raw, done = book.counted("raw "), book.counted("did ")
    table = {
        "statements": done.get("statements", 0),
        "faults": counted(chaos.done),
        "raw lost-connection errors surfaced": counted(raw),
        "told, typed": counted(book.counted("told ")),
        "passed on (answers of the server, the tasks' own)": counted(book.counted("passed ")),
        "statements refused behind a lost transaction": done.get("refusals", 0),
        "wrong answers": len(book.wrong),
        **ending.verdict.table(),
        "sessions left on the server after shutdown": ending.left,
        "before": str(ending.before),
        "soon after the start": str(ending.warm),
        "at the end of the work": str(ending.end),
        "after shutdown": str(ending.after),
    }
    new = ", ".join(ending.opened)
    broken = broken_claims(
        {
            f"no raw error surfaces: {counted(raw)}": not raw,
            "every answer is right": not book.wrong,
            "the rows on the server are what was said": ending.verdict.is_clean,
            "nothing hangs": not ending.hung,
            "nothing else is raised": not ending.unexpected,
            "no session is left over": not ending.left,
            f"no file descriptor is left over: {new}": ending.after.descriptors <= ending.before.descriptors,
            "no thread is left over": ending.after.threads <= ending.before.threads,
            f"all faults could be done: {chaos.error}": chaos.error is None,
        }
    )
    doubts = broken_claims(
        {
            f"no write was acknowledged in {minutes:g} minutes": ending.verdict.done > 0,
            f"no fault was done in {minutes:g} minutes": chaos.done.total() > 0,
        }
    )
    details = (*book.wrong[:5], *ending.hung[:1], *ending.unexpected[:2], *ending.verdict.examples[:5])
    proven = f"{table['statements']:,} statements, {chaos.done.total():,} faults: nothing lost, doubled, wrong or raw"
    title = f"soak, {drivers}, {minutes:g} minutes, {threads} threads"
    return Figures(title, table, proven, broken + (details if broken else ()), doubts)
