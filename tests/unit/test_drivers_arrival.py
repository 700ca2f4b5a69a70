"""The limit of a connect: it is either met or cut, never both."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import pytest

from persistconn.drivers.arrival import Arrival, duplicate
from persistconn.drivers.watchdog import Watchdog
from persistconn.testing import eventually

LATER = 3600.0
"""A limit that does not run out by itself: the tests look in the watchdog's place."""


class Raw:
    """A raw connection as the watch sees it."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock

    def find_socket(self) -> socket.socket | None:
        """Return a duplicate, as the drivers do."""
        return None if self.sock is None else duplicate(self.sock.fileno())


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a connection, and theirs."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


def is_cut(theirs: socket.socket) -> bool:
    """Say whether the other end has been shut down."""
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False


def test_late_connect_is_cut_at_the_second_look(ends: tuple[socket.socket, socket.socket]) -> None:
    """Half-time and the end; then nobody may use it."""
    ours, theirs = ends
    raw, arrival = Raw(ours), Arrival()
    arrival.begin(raw, LATER)
    arrival._look()
    assert not is_cut(theirs)
    arrival._look()
    assert is_cut(theirs)
    assert not arrival.end()


def test_connect_that_has_ended_is_not_cut_by_a_look_under_way(ends: tuple[socket.socket, socket.socket]) -> None:
    """The watchdog may be about to cut when the connect ends."""
    ours, theirs = ends
    raw, arrival = Raw(ours), Arrival()
    arrival.begin(raw, LATER)
    arrival._look()
    assert arrival.end()
    arrival._socket = raw.find_socket()  # As a look sees it that began before the end.
    arrival._cut()
    assert not is_cut(theirs)
    assert arrival._socket is not None
    arrival._socket.close()


def test_connect_that_has_no_socket_yet_is_not_late(ends: tuple[socket.socket, socket.socket]) -> None:
    """The second address of a name is asked when the first has not answered, and has its own time."""
    ours, theirs = ends
    raw, arrival = Raw(None), Arrival()
    arrival.begin(raw, LATER)
    for _ in range(3):
        arrival._look()
    raw.sock = ours
    arrival._look()
    assert not is_cut(theirs)
    assert arrival.end()


def test_connect_that_an_exception_took_away_is_not_kept(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nobody said that it had ended: the next look closes what is left."""
    ours, _ = ends
    raw, arrival = Raw(ours), Arrival()
    arrival.begin(raw, LATER)
    arrival._look()
    found = arrival._socket
    del raw
    gc.collect()
    arrival._look()
    assert found is not None
    assert found.fileno() == -1


def test_watch_is_either_called_off_or_run() -> None:
    """Whoever calls it off is told if it was too late."""
    watchdog = Watchdog()
    late = watchdog.after(0.0, lambda: None)
    eventually(lambda: not late.turn._left)
    assert not late.call_off()
    in_time = watchdog.after(LATER, lambda: None)
    assert in_time.call_off()
    assert in_time.act is None
