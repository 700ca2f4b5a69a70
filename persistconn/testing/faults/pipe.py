"""One direction of a connection: bytes in, packets told apart, bytes and faults out in order."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from persistconn.testing.faults.armed import Order
from persistconn.testing.faults.endpoint import Endpoint, State
from persistconn.testing.faults.framing import Frame, Framing, PacketReader
from persistconn.testing.faults.outbox import Chunk, End, Outbox
from persistconn.testing.faults.packet import Direction
from persistconn.testing.faults.rules import Delay

#: Bytes that are kept in one direction before the sender has to wait, as it would for a full window.
LIMIT = 256 * 1024

#: Told of each frame; returns the faults that are to strike it, by offset.
Inspect = Callable[[Direction, Frame], list[Order]]


class Flow(Enum):
    """What becomes of the bytes that come."""

    FLOWING = "forwarded"
    SWALLOWING = "swallowed"
    ENDED = "the receiver has been told that no more will come"


class Pipe:
    """From one endpoint to the other. It belongs to the proxy's thread."""

    def __init__(self, direction: Direction, source: Endpoint, sink: Endpoint, inspect: Inspect) -> None:
        self.direction = direction
        self.source = source
        self.sink = sink
        self.flow = Flow.FLOWING
        self.outbox = Outbox()
        self.has_swallowed = False
        self._inspect = inspect
        self._reader = PacketReader()
        self._orders: list[Order] = []  # those of the frame under way that are still to be placed
        self._at = 0  # bytes of that frame that are in the outbox already
        self._delay = 0.0

    @property
    def wants_read(self) -> bool:
        """Whether the source may be read now."""
        if self.source.state not in {State.OPEN, State.BROKEN}:
            return False
        return self.flow is not Flow.FLOWING or self.outbox.size < LIMIT

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever come out of it again."""
        return self.flow is Flow.ENDED or (self.flow is Flow.SWALLOWING and not self._can_receive())

    def _can_receive(self) -> bool:
        return self.source.state in {State.CONNECTING, State.OPEN, State.BROKEN}

    def due(self, now: float) -> float | None:
        """Return when the next bytes may go, None if there are none or they may go now."""
        first = self.outbox.first
        return first.due if isinstance(first, Chunk) and first.due > now else None

    def wants_write(self, now: float) -> bool:
        """Tell whether bytes wait for nothing but room in the sink."""
        first = self.outbox.first
        return isinstance(first, Chunk) and first.due <= now and self.sink.state is not State.CLOSED

    def speak(self, framing: Framing) -> None:
        """Read the next frames as these."""
        self._reader.framing = framing

    def take_in(self, now: float) -> None:
        """Read once from the source."""
        data = self.source.receive()
        if data is None:
            return
        if not data:
            self._take_end()
        elif self.flow is Flow.FLOWING:
            self._parse(data, now)
        else:
            self.has_swallowed = True

    def _parse(self, data: bytes, now: float) -> None:
        for piece in self._reader.feed(data):
            if piece.frame is not None:
                self._begin(self._inspect(self.direction, piece.frame))
            self._lay(piece.data, now)

    def _begin(self, orders: list[Order]) -> None:
        delays = [order.fault.seconds for order in orders if isinstance(order.fault, Delay)]
        self._delay = max(delays) if delays else 0.0
        self._orders = orders
        self._at = 0

    def _lay(self, data: bytes, now: float) -> None:
        """Put bytes of the frame under way into the outbox, with each fault where it strikes."""
        due = now + self._delay if self._delay else 0.0
        start = 0
        while self._orders and self._orders[0].offset <= self._at + len(data):
            end = self._orders[0].offset - self._at
            self.outbox.put(data[start:end], due)
            self.outbox.put_mark(self._orders.pop(0))
            start = end
        self.outbox.put(data[start:], due)
        self._at += len(data)

    def _take_end(self) -> None:
        by_reset = self.source.state is State.BROKEN
        self.source.state = State.SPENT
        if self.flow is Flow.FLOWING:
            self.outbox.put(self._reader.rest())
            self.outbox.put_mark(End(by_reset))
        else:
            self.has_swallowed = True

    def swallow(self) -> None:
        """Throw away what is on its way, and whatever comes from now on."""
        self.has_swallowed |= self.outbox.first is not None
        self.outbox.clear()
        if self.flow is Flow.FLOWING:
            self.flow = Flow.SWALLOWING

    def end(self) -> None:
        """Tell the receiver that no more will come; what comes is thrown away."""
        self.swallow()
        self.sink.shut_down()
        self.flow = Flow.ENDED
