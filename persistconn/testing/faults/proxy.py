"""The proxy itself, as a test sees it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from persistconn.testing.faults.armed import Armed, Book
from persistconn.testing.faults.link import Link
from persistconn.testing.faults.loop import Loop
from persistconn.testing.faults.packet import Packet
from persistconn.testing.faults.rules import Delay, Fault, Hold, Rule, Where

if TYPE_CHECKING:
    from typing_extensions import Self

_BACKLOG = 1024


class FaultProxy:
    """Stands between clients and a MySQL or MariaDB server, and breaks what it is told to, packet by packet.

    It listens on a free port of 127.0.0.1, or on the one that is named, from the moment it is made until `close()`, which
    the end of a `with` block calls. All methods may be called from any thread. `trace_limit` is how many packets the trace
    keeps, the newest.
    """

    host = "127.0.0.1"

    def __init__(self, target_host: str, target_port: int, *, port: int = 0, trace_limit: int = 100_000) -> None:
        """Listen. Raises OSError if the port is taken or the target's name has no address; nothing is connected yet."""
        if trace_limit < 0:
            raise ValueError(f"trace_limit must be 0 or more, not {trace_limit!r}")
        family, _, _, _, address = socket.getaddrinfo(target_host, target_port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server((self.host, port), backlog=_BACKLOG)
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        self.target = target_host, target_port
        self._book = Book(trace_limit)
        self._loop = Loop(listener, family, (str(address[0]), int(address[1])), self._book)
        self._loop.start()

    def __repr__(self) -> str:
        return (
            f"<FaultProxy {self.host}:{self.port} to {self.target[0]}:{self.target[1]}, {self.connections} connections>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect to: host and port."""
        return self.host, self.port

    def connect_args(self, args: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
        """Return arguments of `connect()` redirected to the proxy; `extra` adds to them or replaces them."""
        kept = {name: value for name, value in args.items() if name != "unix_socket"}
        return {**kept, "host": self.host, "port": self.port, **extra}

    @property
    def connections(self) -> int:
        """How many connections go through the proxy now, those included of which one side alone is left."""
        return self._loop.count

    @property
    def taken(self) -> int:
        """How many connections there have been: the number of the last one, be it in the trace or not."""
        return self._loop.taken

    @property
    def trace(self) -> list[Packet]:
        """The packets that have come so far, of all conversations, in the order in which they came."""
        return self._book.trace

    def forget_trace(self) -> None:
        """Start an empty trace; the numbers of conversations and packets go on."""
        self._book.forget_trace()

    @property
    def fired(self) -> int:
        """How many faults have struck, of all rules; `arm()` returns what counts those of one rule."""
        return self._book.fired

    def arm(self, rule: Rule) -> Armed:
        """Follow a rule from the next packet on, beside the others; it is in force when this returns."""
        armed = Armed(rule, self._loop.wake)
        self._book.add(armed)
        return armed

    @contextlib.contextmanager
    def holding(self, where: Where) -> Iterator[Armed]:
        """Hold the one packet at `where` from its `wait()` to its `release()`, which the end of the block calls too."""
        armed = self.arm(Rule(Hold(), where))
        try:
            yield armed
        finally:
            armed.release()

    def strike(self, fault: Fault) -> int:
        """Apply a fault to every open connection now, idle ones too, and return how many there were.

        It has struck when this returns. Raises ValueError for Hold and Delay, which need a packet.
        """
        if isinstance(fault, (Hold, Delay)):
            raise ValueError(f"{type(fault).__name__} needs a packet: arm a Rule")  # noqa: TRY004 - a value of Fault
        return self._loop.for_each(lambda link, now: link.strike_now(fault, now))

    def heal(self) -> None:
        """End what Stall, Drop and one-sided cuts have begun; in force when this returns.

        What was stalled goes on with all its bytes. A connection of which Drop has swallowed something is reset, and
        what a cut has left to one side alone is closed. Rules stay armed, and held packets stay held.
        """
        self._loop.for_each(Link.heal)

    def close(self) -> None:
        """Close everything in order and wait for the thread; whoever waits for a rule is woken with TimeoutError."""
        self._loop.stop()
        self._book.end()
