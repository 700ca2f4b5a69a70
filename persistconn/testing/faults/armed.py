"""The rules under arms, how often they have fired, and the trace."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from persistconn.testing.faults.packet import Packet, Sighting
from persistconn.testing.faults.rules import Fault, Hold, Rule, decide
from persistconn.testing.waiting import PATIENCE


class Armed:
    """A rule that a proxy follows: how often it has fired, waiting for it, and an end to it. Safe from any thread.

    Its lock guards all its fields and is held over nothing but them.
    """

    def __init__(self, rule: Rule, wake: Callable[[], None]) -> None:
        self.rule = rule
        self._wake = wake  # the proxy's thread
        self._changed = threading.Condition()
        self._left = rule.times
        self._packets: list[Packet] = []
        self._is_released = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Armed {self.rule}, fired {self.fired} times>"

    @property
    def fired(self) -> int:
        """How often the fault has struck."""
        with self._changed:
            return len(self._packets)

    @property
    def packets(self) -> list[Packet]:
        """The packets that were struck."""
        with self._changed:
            return list(self._packets)

    @property
    def is_released(self) -> bool:
        """Whether a held packet may go."""
        with self._changed:
            return self._is_released

    def wait(self, timeout: float = PATIENCE, *, times: int = 1) -> Packet:
        """Wait (seconds) until the fault has struck, and return the packet that it last struck.

        Raises TimeoutError if it has not, and at once if the proxy is closed meanwhile.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._packets) < times:
                left = deadline - time.monotonic()
                if self._is_over or left <= 0:
                    why = "before the proxy was closed" if self._is_over else f"within {timeout:g} s"
                    raise TimeoutError(f"struck {len(self._packets)} of {times} times {why}: {self.rule}")
                self._changed.wait(left)
            return self._packets[-1]

    def release(self) -> None:
        """Let a held packet go, and hold no other one; a second call does nothing. Other faults: disarm alone."""
        with self._changed:
            self._is_released, self._left = True, 0
        self._wake()

    def disarm(self) -> None:
        """Fire no more. What has struck already stays as it is, and a held packet stays held."""
        with self._changed:
            self._left = 0

    def take(self) -> bool:
        """Take one firing; False if none is left. For the proxy."""
        with self._changed:
            if self._left == 0:
                return False
            if self._left is not None:
                self._left -= 1
            return True

    @property
    def is_used_up(self) -> bool:
        """Whether it will fire no more."""
        with self._changed:
            return self._left == 0

    def note(self, packet: Packet) -> None:
        """Note that the fault has struck. For the proxy."""
        with self._changed:
            self._packets.append(packet)
            self._changed.notify_all()

    def end(self) -> None:
        """Wake all who wait; the proxy is closed."""
        with self._changed:
            self._is_over = self._is_released = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Order:
    """A fault that is to strike when `offset` bytes of its packet are forwarded."""

    fault: Fault
    offset: int
    armed: Armed
    packet: Packet


class Book:
    """The rules that a proxy follows, and the newest `limit` packets of its trace. Its lock guards all its fields."""

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._followed: tuple[Armed, ...] = ()
        self._known: weakref.WeakSet[Armed] = weakref.WeakSet()
        self._fired = 0
        self._trace: deque[Packet] = deque(maxlen=limit)

    def add(self, armed: Armed) -> None:
        """Follow a rule from the next packet on."""
        with self._lock:
            self._known.add(armed)
            # In a soak rules come and go by the thousand, and each packet is shown to all that are left.
            self._followed = (*(other for other in self._followed if not other.is_used_up), armed)

    def end(self) -> None:
        """Wake all who wait for a rule to fire, and let go what is held."""
        with self._lock:
            known = list(self._known)
        for armed in known:
            armed.end()

    @property
    def fired(self) -> int:
        """How many faults have struck."""
        with self._lock:
            return self._fired

    @property
    def trace(self) -> list[Packet]:
        """The packets seen so far."""
        with self._lock:
            return list(self._trace)

    def forget_trace(self) -> None:
        """Start an empty trace."""
        with self._lock:
            self._trace.clear()

    def inspect(self, sighting: Sighting, counts: Counter[Armed]) -> list[Order]:
        """Record a packet, and return the faults that are to strike it, in the order in which they do."""
        with self._lock:
            self._trace.append(sighting.packet)
            followed = self._followed
        orders: list[Order] = []
        for armed in followed:
            action = decide(armed.rule, sighting, counts[armed])
            if action.counts:
                counts[armed] += 1
            if action.fault is not None and armed.take():
                orders.append(Order(action.fault, action.offset, armed, sighting.packet))
        orders.sort(key=lambda order: order.offset)
        return orders

    def note(self, order: Order) -> None:
        """Note that a fault has struck."""
        with self._lock:
            self._fired += 1
        order.armed.note(order.packet)


def is_holding(order: Order) -> bool:
    """Tell whether a packet is still held by the fault that struck it."""
    return isinstance(order.fault, Hold) and not order.armed.is_released
