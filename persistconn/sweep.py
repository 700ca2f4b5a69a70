"""One maintenance pass over the held connections: decide for each, then ping, reap, and renew in the background."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from persistconn import log
from persistconn.drivers.base import Driver, Raw
from persistconn.errors import PersistconnError
from persistconn.held import Held
from persistconn.policy import Reason, Verdict, decide

# A thread each: connecting blocks, and a server that is slow to answer must not hold up the sweep.
MOST_RENEWING = 4


class Sweep:
    """One pass. Owners wait for it only while their own connection's ping is under way."""

    def __init__(self, everything: list[Held], renewals: Renewals) -> None:
        self._everything = everything
        self._renewals = renewals

    def run(self, clock: Callable[[], float]) -> None:
        """Do what is due; blocks for the longest ``ping_timeout`` among the connections that are pinged."""
        began = clock()
        due: list[Held] = []
        for held in self._everything:
            try:
                if self._is_due(held, clock()):
                    due.append(held)
            except Exception as error:
                log.unexpected(f"sweeping a connection to {held.address} failed", error)
        for driver in {held.driver for held in due}:
            try:
                self._ping(driver, [held for held in due if held.driver is driver], began)
            except Exception as error:
                log.unexpected(f"pinging connections of {driver.name} failed", error)

    def _is_due(self, held: Held, now: float) -> bool:
        """Do what is to be done with a connection, but for the ping that it may be due for."""
        verdict, reason = decide(held.condition(), held.policy, now)
        if verdict is Verdict.REAP:
            held.close(Reason.OWNER_DIED)
        elif verdict is Verdict.RECYCLE and held.policy.pool is None:
            self._renewals.add(held, reason)
        elif verdict in (Verdict.REPLACE, Verdict.RECYCLE):
            if reason is not None:
                # Alive, it is one of a bounded pool: made before the old one is broken, the new one would be too many.
                held.discard_idle(reason, orderly=verdict is Verdict.RECYCLE)
            self._renewals.add(held, None)
        return verdict is Verdict.PING

    def _ping(self, driver: Driver, due: list[Held], began: float) -> None:
        timeout = max(held.policy.ping_timeout for held in due)
        mine: dict[int, Held] = {}
        try:
            for raw, alive in driver.ping(self._reserve(due, began, mine), timeout):
                self._give_back(mine.pop(id(raw)), alive)
        finally:
            # Whatever went wrong, no owner may wait for ever.
            for held in mine.values():
                self._give_back(held, alive=False)

    @staticmethod
    def _reserve(due: list[Held], began: float, mine: dict[int, Held]) -> Iterator[Raw]:
        # Each only when its ping is about to be sent, so that its owner waits for that one and not for all before it.
        for held in due:
            # Reserve before touch: an owner who came first has it, or has had it since we decided, and his statement is a
            # better proof of life.
            if held.proved_at <= began and held.reserve():
                mine[id(held.raw)] = held
                yield held.raw

    def _give_back(self, held: Held, alive: bool) -> None:
        held.unreserve(alive)
        if not alive:
            self._renewals.add(held, None)


class Renewals:
    """Makes new connections in the background, on daemon threads that end when there is nothing to do.

    Its lock guards ``_waiting``, ``_under_way`` and ``_threads``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: deque[tuple[Held, Reason | None]] = deque()
        self._under_way: set[Held] = set()
        self._threads = 0

    def add(self, held: Held, reason: Reason | None) -> None:
        """Renew a connection soon, unless that is under way already."""
        with self._lock:
            if held in self._under_way:
                return
            self._under_way.add(held)
            self._waiting.append((held, reason))
            start = self._threads < MOST_RENEWING
            self._threads += start
        if start:
            threading.Thread(target=self._work, name="persistconn-renewal", daemon=True).start()

    def drain(self, timeout: float = 1.0) -> None:
        """Drop what has not begun and wait (seconds) for what has."""
        with self._lock:
            for held, _ in self._waiting:
                self._under_way.discard(held)
            self._waiting.clear()
            self._idle.wait_for(lambda: not self._under_way, timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                held, reason = self._waiting.popleft()
            try:
                self._renew(held, reason)
            finally:
                with self._lock:
                    self._under_way.discard(held)
                    self._idle.notify_all()

    @staticmethod
    def _renew(held: Held, reason: Reason | None) -> None:
        try:
            held.renew(reason) if held.policy.pool is None else held.fill()
        except PersistconnError as error:
            log.debug("not renewed yet: %s", error, extra={"action": "renew"})
        except Exception as error:
            # A refusal, say of a password that was changed: its owner will hear of it when he needs the connection.
            if not isinstance(error, (held.driver.module.Error, OSError)):
                log.unexpected("renewing a connection failed", error)
            log.warning("could not renew %s: %s", held.describe(), error, extra={"action": "renew"})
