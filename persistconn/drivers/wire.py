"""What is known of one connection of mysqlclient's."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from persistconn.drivers import faults, status
from persistconn.drivers.arrival import shut_down


def _nothing() -> bytes:
    return b""


class Wire:
    """What is known of one connection. A plain object, because attributes of mysqlclient's own are slow to look up."""

    __slots__ = (
        "doomed",
        "duplicate",
        "inside",
        "kept",
        "limit",
        "look",
        "lost",
        "may_have_more",
        "pid",
        "read_status",
        "rows",
        "session",
        "status",
        "status_is_current",
        "stream",
        "streaming",
        "unbuffered",
        "watch",
    )

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.pid = os.getpid()
        self.session = 0
        self.look: Callable[[], bytes] = _nothing
        """See :func:`persistconn.drivers.sockets.watch`."""
        self.duplicate: socket.socket | None = None
        """Of the descriptor. The library's own number may be anybody's once it has closed it, and it does so unasked when
        the connection is lost; this one can be looked at and shut down from any thread."""
        self.status = 0
        self.status_is_current = True
        self.read_status: status.Reader | None = None
        self.rows: Any = None
        """Those of the last statement, until ``store_result()`` takes them."""
        self.unbuffered = False
        self.streaming = False
        self.stream: weakref.ref[Any] | None = None
        """The rows that are fetched from the wire, as long as somebody has them."""
        self.watch: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
        """What each fetch of the rows on the wire goes through."""
        self.may_have_more = False
        self.kept = False
        self.lost = False
        self.inside = 0
        """The thread that is in a call into the library, which must not be closed now: 2.2 would crash, 2.3 refuses."""
        self.doomed = False

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that connected, and not one that it forked."""
        return self.pid == os.getpid()

    @property
    def is_entered(self) -> bool:
        """Whether another thread is in a call into the library."""
        return self.is_ours and self.inside not in (0, threading.get_ident())

    @property
    def is_orphaned(self) -> bool:
        """Whether rows wait on the wire that nobody can read any more: an exception tore their reader away."""
        return self.streaming and (self.stream is None or self.stream() is None)

    def note_error(self, code: int) -> None:
        """Note what an error with this number says of the connection."""
        if not faults.is_client_code(code):
            self.status &= ~status.MORE_RESULTS  # A server error is the last of the results.
        elif code != faults.OUT_OF_SYNC:
            self.lose()

    def lose(self) -> None:
        """Note that nothing can be sent on it any more."""
        self.lost = True
        self.look = _nothing

    def cut(self) -> None:
        """Make whatever waits for the server fail at once. Any thread; nothing in a forked process."""
        if self.is_ours:
            shut_down(self.duplicate)
