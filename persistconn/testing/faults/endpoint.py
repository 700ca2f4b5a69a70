"""One of the two sockets of a connection through the proxy, and what the selector is to tell about it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
from collections.abc import Callable
from enum import Enum

Watcher = Callable[[int], None]

_RECEIVE = 65536  # bytes; a segment on loopback is no longer
_DRAIN = 64  # reads
_LINGER_ZERO = struct.pack("ii", 1, 0)
_MORE = getattr(socket, "MSG_MORE", 0)
_SIOCOUTQNSD = 0x894B  # Linux: bytes that are still to be sent; acknowledgements may be 40 ms late


class State(Enum):
    """What a socket is still good for."""

    CONNECTING = "connecting"
    OPEN = "open"
    BROKEN = "reset by the peer, but what came before can be read"
    SPENT = "read to its end"
    CLOSED = "closed"


class Endpoint:
    """A non-blocking socket in a selector. It belongs to the proxy's thread."""

    def __init__(self, sock: socket.socket, selector: selectors.BaseSelector, state: State = State.OPEN) -> None:
        sock.setblocking(False)
        # A packet that is kept back to be sent with the next one would move the place at which a fault strikes.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state = state
        self._sock = sock
        self._selector = selector
        self._mask = 0

    def watch(self, mask: int, watcher: Watcher) -> None:
        """Ask the selector for these events; for none, it forgets the socket (epoll would tell of a hang-up for ever)."""
        if mask == self._mask:
            return
        if not mask:
            self._selector.unregister(self._sock)
        elif self._mask:
            self._selector.modify(self._sock, mask, watcher)
        else:
            self._selector.register(self._sock, mask, watcher)
        self._mask = mask

    def finish_connect(self) -> bool:
        """Tell whether the connect that the selector has reported has succeeded."""
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        self.state = State.OPEN
        return True

    def receive(self) -> bytes | None:
        """Return what has come, nothing at the end of the stream (`state` says which end), None if it is not there yet."""
        try:
            data = self._sock.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.state = State.BROKEN
            return b""
        return data

    def send(self, data: bytearray, *, with_end: bool = False) -> int:
        """Send what the kernel takes now and return how much; `state` is BROKEN if the peer is gone.

        `with_end` says that the stream is about to be ended: bytes and FIN then arrive together (on Linux).
        """
        try:
            return self._sock.send(data, _MORE if with_end else 0)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            if self.state is State.OPEN:
                self.state = State.BROKEN
            raise

    def has_sent_all(self) -> bool:
        """Tell whether our kernel has put all on the wire, for which the peer must read; True where it cannot say."""
        if not sys.platform.startswith("linux"):
            return True
        import fcntl

        try:
            answer = fcntl.ioctl(self._sock, _SIOCOUTQNSD, b"\0" * 4)
        except (OSError, ValueError):  # not a socket of Linux's own kind; closed
            return True
        return answer == b"\0" * 4

    def shut_down(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):  # the peer was quicker
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in order: FIN."""
        if self.state is State.CLOSED:
            return
        self._drain()
        # First shut down: in a forked child there may be a second descriptor, which would keep FIN from being sent.
        self.shut_down()
        self._close()

    def reset(self) -> None:
        """Close with RST."""
        if self.state is not State.CLOSED:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self._close()

    def _drain(self) -> None:
        # Linux answers close() with RST if anything was left unread, and throws away what is still to be sent.
        with contextlib.suppress(OSError):
            for _ in range(_DRAIN):
                if not self._sock.recv(_RECEIVE):
                    break

    def _close(self) -> None:
        if self._mask:
            self._selector.unregister(self._sock)
            self._mask = 0
        self._sock.close()
        self.state = State.CLOSED
