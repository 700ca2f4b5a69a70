"""A look behind the proxy's face, for what could be seen from outside only by waiting for a while."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Any

import pytest

from persistconn.testing.faults import FaultProxy

_ESTABLISHED = 1


class Inside:
    """The one connection of a proxy, and what its thread waits for."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._loop: Any = proxy._loop
        self.waits: list[tuple[float | None, list[Any]]] = []
        """Those that have ended: the limit of each in seconds, and the sockets that ended it."""

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """That to the client, and that to the server."""
        (link,) = self._loop._links
        client, server = link.endpoints
        return client._sock, server._sock

    def has_read_the_client_s_end(self) -> bool:
        """Say whether the thread knows that the client has closed, and has done what it does then."""
        (link,) = self._loop._links
        is_read = link.endpoints[0].state.name == "SPENT"
        self.let_it_turn()
        return is_read

    @property
    def has_ended_towards_the_server(self) -> bool:
        """Whether FIN or RST has been sent to the server, as the kernel tells."""
        return self.sockets[1].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED

    def let_it_turn(self) -> None:
        """Return when the thread has looked at all its sockets once more."""
        # The first may be done behind a look that was made before.
        for _ in range(2):
            self._loop.run(lambda: None)

    def unread(self) -> tuple[int, int]:
        """Return the bytes in the kernel that the proxy has not read: from the client, and from the server."""
        client, server = (
            struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0" * 4))[0] for sock in self.sockets
        )
        return client, server

    def is_full(self) -> bool:
        """Say whether it has stopped reading from the server because the client does not read."""
        before = self.unread(), len(self._proxy.trace)
        self.let_it_turn()
        return before[0][1] > 0 and before == (self.unread(), len(self._proxy.trace))

    def note_waits(self) -> None:
        """Begin to note what the thread waits for, and what wakes it."""
        selector, wait = self._loop._selector, self._loop._selector.select

        def note(timeout: float | None = None) -> list[tuple[Any, int]]:
            found: list[tuple[Any, int]] = wait(timeout)
            self.waits.append((timeout, [key.fileobj for key, _ in found]))
            return found

        selector.select = note
        self.let_it_turn()

    def is_quiet(self) -> bool:
        """Say whether nothing wakes the thread but who calls it, and no time is set for it."""
        self.waits.clear()
        for _ in range(3):
            self.let_it_turn()
        return all(wait == (None, [self._loop._bell]) for wait in self.waits)


@pytest.fixture
def inside(proxy: FaultProxy) -> Inside:
    """The inside of the test's proxy."""
    return Inside(proxy)
