"""One connection through the proxy: two endpoints, two pipes, and the faults that strike them."""

from __future__ import annotations

import selectors
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from persistconn.testing.faults.armed import Armed, Book, Order, is_holding
from persistconn.testing.faults.conversation import Conversation
from persistconn.testing.faults.endpoint import Endpoint, State
from persistconn.testing.faults.framing import Frame
from persistconn.testing.faults.outbox import Barrier, Chunk, End
from persistconn.testing.faults.packet import Direction
from persistconn.testing.faults.pipe import Flow, Pipe
from persistconn.testing.faults.rules import Cut, Drop, Fault, HalfClose, Hold, Reset, Side, Stall

#: Seconds between two looks whether our kernel has sent what a reset would destroy, and how long it may take if a peer
#: does not read.
_LOOK, _PATIENCE = 0.002, 1.0


class _Parting(NamedTuple):
    """A reset that waits until all that went before it is on the wire, or for so long."""

    order: Order
    until: float


class Link:
    """A client's connection and the one to the server behind it. It belongs to the proxy's thread."""

    def __init__(self, number: int, client: Endpoint, server: Endpoint, book: Book) -> None:
        self.number = number
        self.alarm: float | None = None
        self._book = book
        self._conversation = Conversation(number)
        self._counts: Counter[Armed] = Counter()
        self._endpoints = {Side.CLIENT: client, Side.SERVER: server}
        self._to_server = Pipe(Direction.TO_SERVER, client, server, self._inspect)
        self._to_client = Pipe(Direction.TO_CLIENT, server, client, self._inspect)
        self._parting: _Parting | None = None

    def _inspect(self, direction: Direction, frame: Frame) -> list[Order]:
        sighting = self._conversation.see(direction, frame)
        for pipe in self._pipes:
            pipe.speak(self._conversation.framing)
        return self._book.inspect(sighting, self._counts)

    @property
    def _pipes(self) -> tuple[Pipe, Pipe]:
        return self._to_server, self._to_client

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint]:
        """The client's socket and the server's."""
        return self._endpoints[Side.CLIENT], self._endpoints[Side.SERVER]

    @property
    def is_closed(self) -> bool:
        """Whether nothing is left of it."""
        return all(endpoint.state is State.CLOSED for endpoint in self.endpoints)

    def next_due(self, now: float) -> float | None:
        """Return when it wants to be pumped although nothing has happened; None if never."""
        times = [due for pipe in self._pipes if (due := pipe.due(now)) is not None]
        if self._parting is not None:
            times.append(now + _LOOK)
        return min(times, default=None)

    def find_mask(self, endpoint: Endpoint, now: float) -> int:
        """Return the events that an endpoint has to wait for."""
        if endpoint.state is State.CONNECTING:
            return selectors.EVENT_WRITE
        reads = any(pipe.source is endpoint and pipe.wants_read for pipe in self._pipes)
        writes = any(pipe.sink is endpoint and pipe.wants_write(now) for pipe in self._pipes)
        return selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes

    def on_event(self, endpoint: Endpoint, mask: int, now: float) -> None:
        """Take in what has come, and pass on what may go."""
        if endpoint.state is State.CLOSED:
            return  # by what the same round of events has told of the other end
        if endpoint.state is State.CONNECTING and not endpoint.finish_connect():
            self._close(Endpoint.reset)  # the nearest thing to a refusal that an accepted connection can get
            return
        for pipe in self._pipes:
            if pipe.source is endpoint and mask & selectors.EVENT_READ and pipe.wants_read:
                pipe.take_in(now)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Pass on what may go, in both directions."""
        for pipe in self._pipes:
            while self._advance(pipe, now):
                pass
        if self._parting is not None:
            self._try_to_part(self._parting, now)
        elif all(pipe.is_over for pipe in self._pipes):
            self.close()

    def _advance(self, pipe: Pipe, now: float) -> bool:
        """Take the first thing in the outbox one step on; False if there is none or it has to wait."""
        first = pipe.outbox.first
        if isinstance(first, Chunk):
            return self._send(pipe, first, now)
        if isinstance(first, Order):
            return self._strike(pipe, first, now)
        if isinstance(first, Barrier):
            if first.order is None or is_holding(first.order):
                return False
            pipe.outbox.pop()
        elif isinstance(first, End):
            self._end(pipe, first)
        return first is not None

    def _send(self, pipe: Pipe, chunk: Chunk, now: float) -> bool:
        if not pipe.wants_write(now) or pipe.sink.state is State.CONNECTING:
            return False
        try:
            count = pipe.sink.send(chunk.data, with_end=_ends_behind(pipe))
        except OSError:
            self._lose(pipe)
            return False
        if count:
            pipe.outbox.sent(count)
        return count > 0

    def _lose(self, pipe: Pipe) -> None:
        """Note that the receiver has reset the connection."""
        pipe.swallow()
        pipe.flow = Flow.ENDED
        # If there is still something to read from it, the reset is passed on behind that, by the other pipe.
        if pipe.sink.state is not State.BROKEN:
            self._close(Endpoint.reset)

    def _end(self, pipe: Pipe, end: End) -> None:
        pipe.outbox.pop()
        if end.by_reset:
            self._close(Endpoint.reset)
        else:
            pipe.end()

    # --- faults ----------------------------------------------------------------------------------------------------

    def _strike(self, pipe: Pipe, order: Order, now: float) -> bool:
        pipe.outbox.pop()
        other = self._to_client if pipe is self._to_server else self._to_server
        if isinstance(order.fault, Reset):
            self._part(order, other, now)
            return True
        if isinstance(order.fault, Hold):
            pipe.outbox.put_first(Barrier(order))
        else:
            self._apply(order.fault, now, flush=(other,))
        self._book.note(order)
        return True

    def _part(self, order: Order, other: Pipe, now: float) -> None:
        """Begin to reset: nothing more goes either way, but what went before is to arrive."""
        self._flush(other, now)
        for pipe in self._pipes:
            pipe.swallow()
        self._parting = _Parting(order, until=now + _PATIENCE)

    def _try_to_part(self, parting: _Parting, now: float) -> None:
        if now < parting.until and not all(endpoint.has_sent_all() for endpoint in self.endpoints):
            return
        self._parting = None
        self._apply(parting.order.fault, now, flush=())
        self._book.note(parting.order)

    def strike_now(self, fault: Fault, now: float) -> None:
        """Apply a fault between packets, whatever is under way."""
        self._apply(fault, now, flush=self._pipes)
        self.pump(now)

    def _apply(self, fault: Fault, now: float, flush: tuple[Pipe, ...]) -> None:
        if isinstance(fault, (Cut, Reset)):
            for pipe in flush:
                self._flush(pipe, now)
            self._close(Endpoint.close if isinstance(fault, Cut) else Endpoint.reset, fault.side)
        elif isinstance(fault, (HalfClose, Stall, Drop)):
            for pipe in self._pipes:
                if fault.direction in {None, pipe.direction}:
                    _block(pipe, fault)

    def _flush(self, pipe: Pipe, now: float) -> None:
        """Send the bytes that no fault and no delay stands before, as far as the kernel takes them."""
        while isinstance(chunk := pipe.outbox.first, Chunk) and self._send(pipe, chunk, now):
            pass

    def heal(self, now: float) -> None:
        """Let what is stalled go on, reset what a black hole has torn a piece out of, end what leads nowhere."""
        if any(endpoint.state is State.CLOSED for endpoint in self.endpoints):
            self.close()
        elif any(pipe.flow is Flow.SWALLOWING and pipe.has_swallowed for pipe in self._pipes):
            self._close(Endpoint.reset)
        else:
            for pipe in self._pipes:
                pipe.outbox.remove_barriers()
                pipe.flow = Flow.FLOWING if pipe.flow is Flow.SWALLOWING else pipe.flow
            self.pump(now)

    def close(self) -> None:
        """Close both endpoints in order; what is on its way is lost."""
        self._close(Endpoint.close)

    def _close(self, how: Callable[[Endpoint], None], side: Side | None = None) -> None:
        for name, endpoint in self._endpoints.items():
            if side in {None, name}:
                how(endpoint)
        for pipe in self._pipes:
            pipe.swallow()


def _ends_behind(pipe: Pipe) -> bool:
    """Say whether the first bytes are the last that the receiver gets, with FIN behind them."""
    # The receiver must not be quicker with its next statement than we with the end: it runs in this same process, perhaps.
    mark = pipe.outbox.second
    if not isinstance(mark, Order) or not isinstance(mark.fault, Cut):
        return False
    receiver = Side.CLIENT if pipe.direction is Direction.TO_CLIENT else Side.SERVER
    return mark.fault.side in {None, receiver}


def _block(pipe: Pipe, fault: HalfClose | Stall | Drop) -> None:
    if isinstance(fault, HalfClose):
        pipe.end()
    elif isinstance(fault, Stall):
        pipe.outbox.put_first(Barrier())
    else:
        pipe.swallow()
