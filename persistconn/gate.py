"""Who may connect now: a few at a time, and one probe for all while the server is away.

Threads that lose their connections together would connect together. A gate per server lets ``max_connecting`` of them
through at once; after a failure only one thread tries at a time, with exponential backoff and full jitter, and its
success lets the others through.
"""

from __future__ import annotations

import random
import threading
import time
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


class Gate:
    """The gate to one server. Thread-safe; connects are made outside its lock.

    The lock guards ``_under_way``, ``_failures``, ``_not_before`` and ``_last_error``.
    """

    def __init__(
        self, address: str, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None
    ) -> None:
        self.address = address
        self._clock = clock
        self._rng = rng or random.Random()
        self._changed = threading.Condition(threading.Lock())
        self._under_way = 0
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
        started = self._clock()
        tries = 0
        while self._enter(policy, started + policy.give_up_after):
            fault, error = Fault.NONE, None
            try:
                return attempt()
            except Exception as caught:
                tries += 1
                fault, error = classify(caught), caught
                if fault is Fault.REFUSED:
                    raise
            finally:
                self._leave(fault, error)
        waited = self._clock() - started
        raise unavailable(self._farewell(waited, tries)) from self._last_error

    def _enter(self, policy: Policy, deadline: float) -> bool:
        """Wait for a place; False when the time is up."""
        with self._changed:
            while True:
                now = self._clock()
                if now >= deadline and self._last_error is not None:
                    return False
                # One probe for all while the server is away.
                places = 1 if self._failures else policy.max_connecting
                if self._under_way < places and now >= self._not_before:
                    self._under_way += 1
                    return True
                limits = [self._not_before - now, deadline - now]
                # With all places taken (or the time up) only somebody's leaving changes anything, and it wakes us.
                self._pause(min((limit for limit in limits if limit > 0), default=None))

    def _pause(self, timeout: float | None) -> None:
        self._changed.wait(timeout)

    def _leave(self, fault: Fault, error: BaseException | None) -> None:
        with self._changed:
            self._under_way -= 1
            if fault in DELAYS:
                self._failures += 1
                self._last_error = error
                self._not_before = self._clock() + backoff(self._failures, fault, self._rng)
                failures = self._failures
            else:
                # A refusal is an answer too: the server is there.
                failures, self._failures, self._not_before, self._last_error = 0, 0, 0.0, None
            self._changed.notify_all()
        if failures == 1:
            log.warning("no connection to %s, waiting for it: %s", self.address, error, extra={"action": "away"})

    def _farewell(self, waited: float, tries: int) -> str:
        return (
            f"no connection to {self.address} for {waited:.1f} s, after {tries} tries of this thread"
            f" (give_up_after); the last error was: {self._last_error}"
        )
