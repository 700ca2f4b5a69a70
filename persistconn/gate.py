"""Who may connect now: a few at a time, and one probe for all while the server is away.

Threads that lose their connections together would connect together. A gate per server lets ``max_connecting`` of them
through at once; after a failure only one thread tries at a time, with exponential backoff and full jitter, and its
success lets the others through.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

from persistconn import log
from persistconn.drivers import Fault
from persistconn.errors import DatabaseUnavailable
from persistconn.policy import Policy

T = TypeVar("T")

# The first and the longest delay, in seconds. One thread of the process asks for all, so a server that is back is noticed
# soon without being hammered. One without a free place is not helped by questions, and handshakes that are cut count
# towards its max_connect_errors.
DELAYS = {Fault.AWAY: (0.1, 1.0), Fault.NO_CAPACITY: (1.0, 10.0)}


def backoff(failures: int, fault: Fault, rng: random.Random) -> float:
    """Return the seconds to wait after so many failures in a row: exponential, with full jitter."""
    first, longest = DELAYS[fault]
    # The exponent is bounded so that a week of failures does not overflow a float.
    ceiling = min(longest, first * 2.0 ** min(failures - 1, 16))
    return first / 2 + rng.random() * (ceiling - first / 2)


# Until a waiter looks again whether a place is free whose holder was torn away without a word.
_LONGEST_WAIT = 1.0


class _Place:
    """One connect under way.

    The gate knows it by a weak reference: an asynchronous exception that strikes on the way out of ``connect()``, where
    nothing can be put right any more, takes it away with the frame.
    """

    __slots__ = ("__weakref__",)


class Gate:
    """The gate to one server. Thread-safe; connects are made outside its lock.

    The lock guards ``_places``, ``_waiting``, ``_failures``, ``_not_before`` and ``_last_error``.
    """

    def __init__(
        self, address: str, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None
    ) -> None:
        self.address = address
        self._clock = clock
        self._rng = rng or random.Random()
        # A plain lock: an asynchronous exception inside a Condition would leave it locked, or open.
        self._lock = threading.Lock()
        self._waiting: list[threading.Lock] = []
        self._places: list[weakref.ref[_Place]] = []
        self._failures = 0
        self._not_before = 0.0
        self._last_error: BaseException | None = None

    def connect(
        self,
        attempt: Callable[[], T],
        classify: Callable[[BaseException], Fault],
        policy: Policy,
        unavailable: type[DatabaseUnavailable],
    ) -> T:
        """Run ``attempt`` until it succeeds; blocks for up to ``give_up_after`` seconds and one attempt.

        Raises what ``attempt`` raised if trying again will not help, and ``unavailable`` when the time is up.
        """
        started, place, tries = self._clock(), _Place(), 0
        while True:
            fault, error = Fault.NONE, None
            try:
                if not self._enter(place, policy, started + policy.give_up_after):
                    break
                return attempt()
            except Exception as caught:
                tries += 1
                fault, error = classify(caught), caught
                if fault is Fault.REFUSED:
                    raise
            finally:
                self._leave(place, fault, error)
        waited = self._clock() - started
        raise unavailable(self._farewell(waited, tries)) from self._last_error

    def _enter(self, place: _Place, policy: Policy, deadline: float) -> bool:
        """Wait for a place; False when the time is up."""
        while True:
            with self._lock:
                now = self._clock()
                if now >= deadline and self._last_error is not None:
                    return False
                if self._is_free(policy) and now >= self._not_before:
                    self._places.append(weakref.ref(place))
                    return True
                waiter = threading.Lock()
                waiter.acquire()
                self._waiting.append(waiter)
            limits = [self._not_before - now, deadline - now, _LONGEST_WAIT]
            self._pause(waiter, min(limit for limit in limits if limit > 0))

    def _is_free(self, policy: Policy) -> bool:
        self._places = [taken for taken in self._places if taken() is not None]
        # One probe for all while the server is away.
        places = 1 if self._failures else policy.max_connecting
        return len(self._places) < places

    def _pause(self, waiter: threading.Lock, timeout: float) -> None:
        waiter.acquire(timeout=timeout)

    def _leave(self, place: _Place, fault: Fault, error: BaseException | None) -> None:
        with self._lock:
            others = [taken for taken in self._places if taken() is not place]
            if len(others) == len(self._places):
                return
            self._places = others
            if fault in DELAYS:
                self._failures += 1
                self._last_error = error
                self._not_before = self._clock() + backoff(self._failures, fault, self._rng)
                failures = self._failures
            else:
                # A refusal is an answer too: the server is there.
                failures, self._failures, self._not_before, self._last_error = 0, 0, 0.0, None
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.release()
        if failures == 1:
            log.warning("no connection to %s, waiting for it: %s", self.address, error, extra={"action": "away"})

    def _farewell(self, waited: float, tries: int) -> str:
        return (
            f"no connection to {self.address} for {waited:.1f} s, after {tries} tries of this thread"
            f" (give_up_after); the last error was: {self._last_error}"
        )
