"""The bank: threads of several processes move money between accounts while everything breaks, and it is counted at the end.

Each transfer is a ``@job`` under a key that the campaign hands out; what a killed process has not answered is handed to
another. In the end the accounts hold together what they held, each key has exactly one effect and one row of the ledger,
and no error has surfaced.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from campaigns import places
from campaigns.bank_branch import Book, Process
from campaigns.bank_faults import Chaos
from campaigns.bank_teller import ACCOUNT, ACCOUNTS, EFFECT, JOB, START
from campaigns.figures import Figures, broken_claims, counted
from campaigns.ledgers import make_ledger
from campaigns.places import Private
from persistconn.once.rows import LEDGER
from persistconn.testing.faults import FaultProxy

PROCESSES = 3
READ_TIMEOUT = 3
KILL_EVERY = 20.0
"""Seconds between two worker processes that are killed; in a short run a third of it."""
_QUEUED = 2
"""Transfers in flight for each thread."""
_GRACE = 180.0
"""Seconds that what is under way may take when the faults have ended."""
_GONE = 60.0
"""Seconds until a session is left over: no time limit of the server's ends it."""
_TOTAL = ACCOUNTS * START


def run(driver: str = "pymysql", *, minutes: float = 5.0, threads: int = 16, seed: int = 1) -> Figures:
    """Run the bank for so many minutes. Blocks."""
    with ExitStack() as stack:
        private = stack.enter_context(Private(max_connections=threads * 10 + 50))
        proxy = stack.enter_context(FaultProxy(private.server.host, private.server.port, trace_limit=0))
        _open_accounts(private)
        bank = _Bank(private, proxy, driver, minutes * 60.0, threads, seed)
        bank.work()
        return bank.close()


def _open_accounts(private: Private) -> None:
    accounts = ", ".join(f"({number}, {START})" for number in range(ACCOUNTS))
    places.ask(
        private,
        f"CREATE TABLE {ACCOUNT} (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB",
        # Not unique: an effect that was doubled has to be seen.
        f"CREATE TABLE {EFFECT} (token VARCHAR(40), source INT, target INT, amount INT, KEY (token)) ENGINE=InnoDB",
        f"INSERT INTO {ACCOUNT} VALUES {accounts}",  # noqa: S608 - our own numbers
    )
    make_ledger(private.connect_args())


class _Bank:
    def __init__(
        self, private: Private, proxy: FaultProxy, driver: str, seconds: float, threads: int, seed: int
    ) -> None:
        self._private, self._proxy = private, proxy
        self._driver = driver
        self._seconds, self._threads = seconds, threads
        self._book = Book(random.Random(seed))
        self._rng = random.Random(seed + 1)
        self._chaos = Chaos(private, proxy, seconds, random.Random(seed + 2))
        self._answered = threading.Event()
        arguments = private.connect_args(autocommit=True)
        ways = [arguments, proxy.connect_args(arguments, read_timeout=READ_TIMEOUT)]
        self._settings: list[dict[str, Any]] = [
            {"driver": driver, "connections": ways, "threads": share} for share in _shares(threads, PROCESSES)
        ]
        self._processes = [self._start(number) for number in range(PROCESSES)]
        self._killed = 0
        self._has_finished = False

    def _start(self, number: int) -> Process:
        return Process(self._book, self._settings[number], self._answered.set)

    # --- the work ----------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Hand out transfers until the time is up; then wait until all are answered."""
        began = time.monotonic()
        every = min(KILL_EVERY, self._seconds / 3)
        next_kill = began + every
        self._chaos.start()
        try:
            while (now := time.monotonic()) < began + self._seconds and not self._book.errors:
                self._hand_out(only_orphans=False)
                if now >= next_kill:
                    next_kill += every
                    self._kill_one()
                self._wait()
        finally:
            self._chaos.stop()
        self._has_finished = self._finish()

    def _finish(self) -> bool:
        deadline = time.monotonic() + _GRACE
        while self._book.orphans or any(process.load for process in self._processes):
            if time.monotonic() > deadline or not all(process.is_alive for process in self._processes):
                return False
            self._hand_out(only_orphans=True)
            self._wait()
        return True

    def _hand_out(self, *, only_orphans: bool) -> None:
        for process, settings in zip(self._processes, self._settings, strict=True):
            while process.load < settings["threads"] * _QUEUED:
                transfer = self._book.next(only_orphans=only_orphans)
                if transfer is None:
                    return
                process.hand(transfer)

    def _wait(self) -> None:
        self._answered.wait(0.1)
        self._answered.clear()

    def _kill_one(self) -> None:
        number = self._rng.randrange(PROCESSES)
        self._processes[number].kill()
        self._processes[number] = self._start(number)
        self._killed += 1

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> Figures:
        """End the processes and count."""
        in_order = [process.close(_GRACE) for process in self._processes]
        # A black hole that waited behind a stall begins when the stall is healed: it would swallow the end of a process.
        self._proxy.heal()
        places.wait_for(lambda: not places.sessions(self._private), _GONE)
        left = places.processes(self._private)
        return self._judge(all(in_order), left)

    def _judge(self, in_order: bool, left: Sequence[Sequence[object]]) -> Figures:
        book, end = self._book, _Counted(self._private)
        answered = set(book.results)
        others = sum(f"pid {book.tellers[key]} " not in place for key, place in end.places.items() if key in answered)
        table = {
            "transfers answered": len(answered),
            "faults": counted(self._chaos.done),
            "worker processes killed with kill -9": self._killed,
            "transfers handed to another process after that": book.handed_again,
            "done by one process, answered by another": others,
            "transfers that took more than one attempt": end.replayed,
            "errors surfaced": len(book.errors),
            "what the accounts hold together, of": f"{end.total:,}, {_TOTAL:,}",
            "sessions left on the server": len(left),
        }
        broken = broken_claims(
            {
                "no error surfaces": not book.errors,
                "all transfers are answered": self._has_finished and len(answered) == book.given,
                "the worker processes end in order": in_order,
                "the sum is constant": end.total == _TOTAL,
                "each transaction saw that sum": set(book.results.values()) <= {_TOTAL},
                "each account holds what its transfers say": not end.odd_accounts,
                "each key has exactly one effect": end.effects == dict.fromkeys(answered, 1),
                "each key has exactly one row of the ledger, done": end.rows == dict.fromkeys(answered, "done"),
                f"no session is left over: {left}": not left,
                f"all faults could be done: {self._chaos.error}": self._chaos.error is None,
            }
        )
        proven = f"{len(answered):,} transfers, {self._chaos.done.total():,} faults: each exactly one effect"
        title = (
            f"bank, {self._driver}, {self._seconds / 60:g} minutes, {self._threads} threads in {PROCESSES} processes"
        )
        return Figures(title, table, proven, (*broken, *(book.errors[:5] if broken else ())))


class _Counted:
    """What the server says at the end."""

    def __init__(self, private: Private) -> None:
        ((total,),) = places.ask(private, f"SELECT SUM(balance) FROM {ACCOUNT}")  # noqa: S608 - our own names
        self.total = int(total)
        self.effects = {
            str(token): int(count)
            for token, count in places.ask(private, f"SELECT token, COUNT(*) FROM {EFFECT} GROUP BY token")  # noqa: S608
        }
        rows = places.ask(private, f"SELECT job_key, state, place, attempts FROM {LEDGER} WHERE job = '{JOB}'")  # noqa: S608
        self.rows = {str(row[0]): str(row[1]) for row in rows}
        self.places = {str(row[0]): str(row[2]) for row in rows}
        self.replayed = sum(int(row[3]) > 1 for row in rows)
        self.odd_accounts = places.ask(private, _ODD)


_ODD = (
    f"SELECT id, balance FROM {ACCOUNT} AS a WHERE balance <> {START}"  # noqa: S608 - our own names
    f" + (SELECT COALESCE(SUM(amount), 0) FROM {EFFECT} WHERE target = a.id)"
    f" - (SELECT COALESCE(SUM(amount), 0) FROM {EFFECT} WHERE source = a.id)"
)


def _shares(threads: int, processes: int) -> Sequence[int]:
    return [threads // processes + (number < threads % processes) for number in range(processes)]
