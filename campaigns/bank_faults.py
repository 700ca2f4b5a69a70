"""What the bank is put through: cuts at random packets, half of them where it commits, kills of sessions and of the server."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable

import pymysql

from campaigns import places
from campaigns.places import Private
from persistconn.once.rows import END
from persistconn.testing.faults import (
    Cut,
    Delay,
    Direction,
    Drop,
    Fault,
    FaultProxy,
    HalfClose,
    Place,
    Reset,
    Rule,
    Stall,
    Where,
)

BETWEEN = (0.02, 0.2)
"""Seconds between two faults."""
DOWN_FOR = (0.1, 1.5)
LASTS = (0.1, 5.0)
"""Seconds until what is stalled or swallowed goes on: sooner or later than a client's patience."""
CRASHES = 3
_AT_COMMIT = 0.5
_UNTIL_FIRED = 0.3
_FURTHEST_PACKET = 40


def plan_crashes(seconds: float, rng: random.Random) -> list[float]:
    """Return when the server is killed, in seconds from the start; in a short run once. Pure."""
    count = CRASHES if seconds >= 60 else 1  # noqa: PLR2004 - a minute
    share = seconds / count
    return [share * (number + rng.uniform(0.3, 0.7)) for number in range(count)]


def choose_rule(rng: random.Random) -> Rule:
    """Return what happens to which packet. Pure."""
    direction = rng.choice(tuple(Direction))
    fault: Fault = rng.choice(
        (Cut(), Reset(), HalfClose(rng.choice(tuple(Direction))), Stall(), Drop(), Delay(rng.uniform(*LASTS)))
    )
    place = rng.choice(tuple(Place))
    if rng.random() < _AT_COMMIT:
        return Rule(fault, Where(direction, text=END, place=place, share=rng.uniform(0.05, 0.95)))
    return Rule(fault, Where(direction, nth=rng.randint(1, _FURTHEST_PACKET), place=place))


class Chaos:
    """Does one fault after the other, on a thread of its own between :meth:`start` and :meth:`stop`."""

    def __init__(self, private: Private, proxy: FaultProxy, seconds: float, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.error: str | None = None
        self._private = private
        self._proxy = proxy
        self._rng = rng
        self._crashes = plan_crashes(seconds, rng)
        self._heal_at: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bank-chaos", daemon=True)
        self._kinds: dict[Callable[[], None], int] = {self._break_a_packet: 10, self._kill: 6, self._cut_all: 1}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the server runs and the proxy is whole then."""
        self._stopping.set()
        self._thread.join()
        self._proxy.heal()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            while not self._stopping.wait(self._rng.uniform(*BETWEEN)):
                if self._heal_at is not None and time.monotonic() > self._heal_at:
                    self._heal_at = None
                    self._proxy.heal()
                if self._crashes and time.monotonic() - began >= self._crashes[0]:
                    self._crashes.pop(0)
                    self._crash()
                else:
                    self._rng.choices(tuple(self._kinds), tuple(self._kinds.values()))[0]()
        except Exception:
            self.error = traceback.format_exc()

    def _break_a_packet(self) -> None:
        rule = choose_rule(self._rng)
        armed = self._proxy.arm(rule)
        with contextlib.suppress(TimeoutError):
            armed.wait(_UNTIL_FIRED)
        armed.disarm()
        where = "at the commit" if rule.where.text else "at a packet"
        if armed.fired:
            self.done[f"{type(rule.fault).__name__.lower()} {where}"] += 1
        if self._heal_at is None and isinstance(rule.fault, (Stall, Drop)):
            self._heal_at = time.monotonic() + self._rng.uniform(*LASTS)

    def _kill(self) -> None:
        found = places.sessions(self._private)
        if found:
            # It may have gone in the meantime.
            with contextlib.suppress(pymysql.OperationalError):
                places.ask(self._private, f"KILL {self._rng.choice(found)}")
            self.done["KILL"] += 1

    def _cut_all(self) -> None:
        self._proxy.strike(self._rng.choice((Cut(), Reset())))
        self.done["all connections of the proxy cut"] += 1

    def _crash(self) -> None:
        self._private.server.kill()
        self._stopping.wait(self._rng.uniform(*DOWN_FOR))
        self._private.server.start()
        self.done["kill -9 of the server"] += 1
