"""Who may connect now: a few at a time, and one probe for all while the server is away.

Threads that lose their connections together would connect together. A gate per server lets ``max_connecting`` of them
through at once; after a failure only one thread tries at a time, with exponential backoff and full jitter, and its
success lets the others through.
"""

from __future__ import annotations

import random
import sys
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
DELAYS = {Fault.AWAY: (0.1, 0.5), Fault.NO_CAPACITY: (1.0, 10.0)}


def backoff(failures: int, fault: Fault, rng: random.Random) -> float:
    """Return the seconds to wait after so many failures in a row: exponential, with full jitter."""
    first, longest = DELAYS[fault]
    # The exponent is bounded so that a week of failures does not overflow a float.
    ceiling = min(longest, first * 2.0 ** min(failures - 1, 16))
    return first / 2 + rng.random() * (ceiling - first / 2)


# Until a waiter looks again whether a place is free whose holder, or the one whose turn it was, was torn away without a
# word.
_LONGEST_WAIT = 1.0


class _Place:
    """One connect under way, or waiting.

    The gate knows it by a weak reference: an asynchronous exception that strikes on the way out of ``connect()``, where
    nothing can be put right any more, takes it away with the frame.
    """

    __slots__ = ("__weakref__", "turn")

    def __init__(self) -> None:
        self.turn = threading.Lock()
        """Locked until it is the waiter's turn to look again."""
        self.turn.acquire()


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
        self._waiting: list[weakref.ref[_Place]] = []
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
        handled = sys.exc_info()[1]
        while True:
            fault, error = None, None
            try:
                if not self._enter(place, policy, started + policy.give_up_after):
                    break
                raw = attempt()
            except Exception as caught:
                tries += 1
                fault, error = classify(caught), caught
                if fault is Fault.REFUSED:
                    raise
                _let_go(error, handled)
            else:
                fault = Fault.NONE
                return raw
            finally:
                self._leave(place, policy, fault, error)
        waited = self._clock() - started
        raise unavailable(self._farewell(waited, tries)) from self._last_error

    def _enter(self, place: _Place, policy: Policy, deadline: float) -> bool:
        """Wait for a place; False when the time is up."""
        while True:
            with self._lock:
                now = self._clock()
                self._forget(place)
                if self._room(policy) > 0 and now >= self._not_before:
                    self._places.append(weakref.ref(place))
                    return True
                if now >= deadline and self._last_error is not None:
                    return False
                self._waiting.append(weakref.ref(place))
                limits = [self._not_before - now, deadline - now, _LONGEST_WAIT]
            self._pause(place.turn, min(limit for limit in limits if limit > 0))

    def _room(self, policy: Policy) -> int:
        self._places = [taken for taken in self._places if taken() is not None]
        # One probe for all while the server is away.
        places = 1 if self._failures else policy.max_connecting
        return places - len(self._places)

    def _pause(self, turn: threading.Lock, timeout: float) -> None:
        turn.acquire(timeout=timeout)

    def _leave(self, place: _Place, policy: Policy, fault: Fault | None, error: BaseException | None) -> None:
        """Give the place back, if there is one, and have as many others look as there is room for."""
        with self._lock:
            self._places = [taken for taken in self._places if taken() is not place]
            self._forget(place)
            is_first = self._note(fault, error)
            # Not all of them: among hundreds of threads that costs more than the connects do.
            for _ in range(self._room(policy)):
                self._wake()
        if is_first:
            log.warning("no connection to %s, waiting for it: %s", self.address, error, extra={"action": "away"})

    def _forget(self, place: _Place) -> None:
        self._waiting = [waiter for waiter in self._waiting if waiter() not in (place, None)]

    def _note(self, fault: Fault | None, error: BaseException | None) -> bool:
        """Note how an attempt has ended, None being nothing that tells; True if it was the first that failed."""
        if fault in DELAYS:
            self._failures += 1
            self._last_error = error
            self._not_before = self._clock() + backoff(self._failures, fault, self._rng)
            return self._failures == 1
        if fault is not None:
            # A refusal is an answer too: the server is there.
            self._failures, self._not_before, self._last_error = 0, 0.0, None
        return False

    def _wake(self) -> None:
        place = self._waiting.pop(0)() if self._waiting else None
        # Not locked: he has not heard yet of the last time that he was woken.
        if place is not None and place.turn.locked():
            place.turn.release()

    def _farewell(self, waited: float, tries: int) -> str:
        return (
            f"no connection to {self.address} for {waited:.1f} s, after {tries} tries of this thread"
            f" (give_up_after); the last error was: {self._last_error}"
        )


def _let_go(error: BaseException, handled: BaseException | None) -> None:
    """Take from an error that is kept what it would keep: the frames of its attempt, with a connection in them.

    ``handled`` is the caller's own error, because of which it connects, and is left as it is.
    """
    left: list[BaseException | None] = [error]
    while left:
        if (one := left.pop()) is None or one.__traceback__ is None:
            continue
        one.__traceback__ = None
        if one.__cause__ is handled:
            one.__cause__ = None
        if one.__context__ is handled:
            one.__context__ = None
        left += [one.__cause__, one.__context__]
