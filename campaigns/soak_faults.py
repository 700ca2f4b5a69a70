"""The faults of the soak, one after the other, at random."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable

import pymysql

from campaigns import places
from campaigns.places import Private
from persistconn.keepalive import Keepalive
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
    Side,
    Stall,
    Where,
)

WAIT_TIMEOUT = 4
"""The server's, in seconds."""
SWEEPLESS = WAIT_TIMEOUT * 1.5
RESTARTED_PACE = 1.0
BETWEEN = (0.02, 0.2)
"""Seconds between two faults."""
CRASH_EVERY = 25.0
DOWN_FOR = (0.1, 1.5)
FROZEN_FOR = (0.1, 1.5)
_FURTHEST_PACKET = 30
_UNTIL_FIRED = 0.5
_RARE = 0.1
READ_TIMEOUT = 4
BEYOND_PATIENCE = READ_TIMEOUT + 2.0


def plan_crashes(seconds: float, rng: random.Random) -> list[float]:
    """Return when the server is killed, in seconds from the start: at least once, and not right at the end. Pure."""
    count = max(1, int(seconds / CRASH_EVERY))
    share = seconds / count
    return [share * (number + rng.uniform(0.3, 0.7)) for number in range(count)]


def choose_proxy_fault(rng: random.Random) -> Fault:
    """Return what happens to a packet. Pure."""
    side = rng.choice((None, None, Side.CLIENT, Side.SERVER))
    direction = rng.choice((None, Direction.TO_SERVER, Direction.TO_CLIENT))
    return rng.choice(
        (
            Cut(side),
            Reset(side),
            HalfClose(direction or Direction.TO_CLIENT),
            Stall(direction),
            Drop(direction),
            Delay(rng.random() * FROZEN_FOR[1]),
        )
    )


class Chaos:
    """Does one fault after the other, on a thread of its own between :meth:`start` and :meth:`stop`."""

    def __init__(
        self, private: Private, proxy: FaultProxy, keepalive: Keepalive, seconds: float, rng: random.Random
    ) -> None:
        self.done: Counter[str] = Counter()
        self.error: str | None = None
        self._private = private
        self._server = private.server
        self._proxy = proxy
        self._keepalive = keepalive
        self._rng = rng
        self._crashes = plan_crashes(seconds, rng)
        self._later: list[tuple[float, Callable[[], None]]] = []
        """What ends a fault, and when; the others go on meanwhile."""
        self._is_sweepless = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-chaos", daemon=True)
        self._kinds: dict[Callable[[], bool], int] = {
            self._kill_idle: 6,
            self._kill_running: 6,
            self._kill_query: 4,
            self._kill_everything: 1,
            self._freeze: 1,
            self._break_a_packet: 8,
            self._cut_all: 1,
            self._stop_sweeping: 1,
        }

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
                self._end_what_is_over()
                if self._crashes and time.monotonic() - began >= self._crashes[0]:
                    self._crashes.pop(0)
                    self._crash()
                else:
                    self._do_one()
        except Exception:
            self.error = traceback.format_exc()

    def _do_one(self) -> None:
        kind = self._rng.choices(tuple(self._kinds), tuple(self._kinds.values()))[0]
        if kind():
            self.done[kind.__name__.strip("_").replace("_", " ")] += 1

    def _sessions(self, *commands: str) -> list[int]:
        database = self._private.connect_args()["database"]
        listed = [session for session in self._server.processlist() if session.db == database]
        return [session.id for session in listed if not commands or session.command in commands]

    def _kill(self, sql: str, *commands: str) -> bool:
        found = self._sessions(*commands)
        if not found:
            return False
        # It may have gone in the meantime.
        with contextlib.suppress(pymysql.OperationalError):
            places.ask(self._private, f"{sql} {self._rng.choice(found)}")
        return True

    def _kill_idle(self) -> bool:
        return self._kill("KILL", "Sleep")

    def _kill_running(self) -> bool:
        return self._kill("KILL", "Query")

    def _kill_query(self) -> bool:
        return self._kill("KILL QUERY", "Query")

    def _kill_everything(self) -> bool:
        for session in self._sessions():
            self._server.kill_session(session)
        return True

    def _freeze(self) -> bool:
        assert self._server.pid is not None
        os.kill(self._server.pid, signal.SIGSTOP)
        try:
            self._stopping.wait(self._rng.uniform(*FROZEN_FOR))
        finally:
            os.kill(self._server.pid, signal.SIGCONT)
        return True

    def _break_a_packet(self) -> bool:
        place = self._rng.choice(tuple(Place))
        direction = self._rng.choice(tuple(Direction))
        where = Where(direction, nth=self._rng.randint(1, _FURTHEST_PACKET), place=place)
        fault = choose_proxy_fault(self._rng)
        armed = self._proxy.arm(Rule(fault, where))
        with contextlib.suppress(TimeoutError):
            armed.wait(_UNTIL_FIRED)
        armed.disarm()
        # Now and then it lasts longer than a client's patience.
        lasts = BEYOND_PATIENCE if self._rng.random() < _RARE else self._rng.uniform(*FROZEN_FOR)
        self._later.append((time.monotonic() + lasts, self._proxy.heal))
        self.done[f"proxy: {type(fault).__name__.lower()}"] += armed.fired
        return False

    def _cut_all(self) -> bool:
        return self._proxy.strike(self._rng.choice((Cut(), Reset()))) > 0

    def _stop_sweeping(self) -> bool:
        """Let the sessions that are idle now expire, while other faults go on."""
        if self._is_sweepless:
            return False
        self._is_sweepless = True
        self._later.append((time.monotonic() + SWEEPLESS, self._sweep_again))
        return True

    def _sweep_again(self) -> None:
        self._is_sweepless = False
        self._keepalive.ensure_running(RESTARTED_PACE)

    def _end_what_is_over(self) -> None:
        now = time.monotonic()
        over = [act for due, act in self._later if due <= now]
        self._later = [(due, act) for due, act in self._later if due > now]
        for act in over:
            act()
        if self._is_sweepless:
            # Each connect starts it, and there are many.
            self._keepalive.stop()

    def _crash(self) -> None:
        self._server.kill()
        self._stopping.wait(self._rng.uniform(*DOWN_FOR))
        self._server.start()
        self.done["kill -9 of the server"] += 1
