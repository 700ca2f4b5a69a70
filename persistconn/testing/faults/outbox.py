"""What is on its way in one direction: bytes, and between them the marks at which something happens. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from persistconn.testing.faults.armed import Order


@dataclass
class Chunk:
    """Bytes that may be forwarded from `due` on (seconds, monotonic; 0 is at once)."""

    data: bytearray = field(repr=False)
    due: float = 0.0


@dataclass(frozen=True)
class End:
    """The sender has ended the stream: in order, or by a reset."""

    by_reset: bool = False


@dataclass(frozen=True)
class Barrier:
    """Nothing behind it goes on: until the packet is released, or (without an order) until the proxy heals."""

    order: Order | None = None


Mark = Order | End | Barrier


class Outbox:
    """A queue of bytes and marks, first in, first out; `size` is the bytes in it."""

    def __init__(self) -> None:
        self.size = 0
        self._items: deque[Chunk | Mark] = deque()

    @property
    def first(self) -> Chunk | Mark | None:
        """What is next, or None."""
        return self._items[0] if self._items else None

    @property
    def second(self) -> Chunk | Mark | None:
        """What comes behind that, or None."""
        return self._items[1] if len(self._items) > 1 else None

    def put(self, data: bytes, due: float = 0.0) -> None:
        """Append bytes; small ones that are due together travel together."""
        if not data:
            return
        self.size += len(data)
        last = self._items[-1] if self._items else None
        if isinstance(last, Chunk) and last.due == due:
            last.data += data
        else:
            self._items.append(Chunk(bytearray(data), due))

    def put_mark(self, mark: Mark) -> None:
        """Append a mark: it is met when all bytes before it are gone."""
        self._items.append(mark)

    def put_first(self, mark: Mark) -> None:
        """Put a mark before all that is still here."""
        self._items.appendleft(mark)

    def sent(self, count: int) -> None:
        """Take off the first bytes of the first chunk."""
        chunk = self._items[0]
        assert isinstance(chunk, Chunk)
        self.size -= count
        del chunk.data[:count]
        if not chunk.data:
            self._items.popleft()

    def pop(self) -> None:
        """Take off the first mark."""
        assert not isinstance(self._items.popleft(), Chunk)

    def remove_barriers(self) -> None:
        """Take away what waits for the proxy to heal; packets that are held stay so."""
        self._items = deque(item for item in self._items if item != Barrier())

    def clear(self) -> None:
        """Throw everything away."""
        self._items.clear()
        self.size = 0
