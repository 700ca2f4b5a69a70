"""The time limit of a connect: of the handshake, the login, and all that makes the session what it has to be."""

from __future__ import annotations

import contextlib
import os
import socket
import weakref
from collections.abc import Callable
from typing import TypeVar

from persistconn.drivers import faults
from persistconn.drivers.base import Driver, Raw
from persistconn.drivers.watchdog import WATCHDOG, Token, Watch

T = TypeVar("T")


class Arrival:
    """Cuts a connect that takes longer than its limit.

    No driver has a limit for the whole: PyMySQL's ends with TCP; that of mysqlclient's library ends with the login, and
    once TLS is up MariaDB's does not heed it at all.
    """

    def __init__(self) -> None:
        self._limit = 0.0
        self._raw: weakref.ref[Raw] | None = None
        self._socket: socket.socket | None = None
        self._watch: Watch | None = None
        self._verdict = Token()
        self._is_late = False

    def begin(self, raw: Raw, limit: float) -> None:
        """Watch a connection whose connect begins now; ``limit`` in seconds."""
        # Weak: one that an exception took away before end() is to be collected.
        self._raw, self._limit = weakref.ref(raw), limit
        self._watch = WATCHDOG.after(limit / 2, self._look)

    def end(self) -> bool:
        """Stop watching; False if it was late and has been cut. After a True nothing is cut any more."""
        in_time = self._verdict.take()
        self._raw, sock = None, self._socket
        if self._watch is not None:
            self._watch.call_off()
        if sock is not None:
            sock.close()
        return in_time

    def _look(self) -> None:
        raw = self._alive()
        if raw is None:
            self.end()
            return
        # Taken at half-time and used at the end: should the driver just have closed the descriptor, whose number is then
        # anybody's, the connect is about to fail, and nobody looks here again. A name may have several addresses, each with
        # a limit of its own: the one that takes the connection has at least half of it for the rest.
        if self._socket is None:
            self._socket = raw.find_socket()
        else:
            self._cut()
        del raw
        self._watch = WATCHDOG.after(self._limit / 2, self._look)
        if self._alive() is None:
            self.end()  # It has ended in the meantime, or was given up by an exception that nobody could catch.

    def _alive(self) -> Raw | None:
        watched = self._raw
        return None if watched is None else watched()

    def _cut(self) -> None:
        # Either this or end(); and once more at each look, until it has ended.
        self._is_late = self._is_late or self._verdict.take()
        if self._is_late:
            shut_down(self._socket)


def arrive(driver: Driver, limit: float, make: Callable[[Arrival], Raw], prepare: Callable[[Raw], T]) -> T:
    """Make a raw connection and return what ``prepare`` makes of it, all of it within ``limit`` seconds.

    Raises what the driver raises, or its ``OperationalError`` if the time was not enough; then nothing is left open.
    """
    arrival, raw = Arrival(), None
    try:
        raw = make(arrival)
        prepared = prepare(raw)
    except BaseException as error:
        in_time = arrival.end()
        if raw is not None:
            driver.abandon(raw)
        if in_time or not isinstance(error, (driver.module.Error, OSError)):
            raise
        raise _late(driver, limit) from error
    if arrival.end():
        return prepared
    driver.abandon(raw)
    raise _late(driver, limit)


def _late(driver: Driver, limit: float) -> Exception:
    text = f"connecting, the session's settings included, took longer than connect_timeout ({limit:g} s)"
    late: Exception = driver.module.OperationalError(faults.SERVER_LOST, text)
    return late


def duplicate(fileno: int) -> socket.socket | None:
    """Return a socket that stands for the same connection, or None; it can be shut down from any thread."""
    with contextlib.suppress(OSError):
        return socket.socket(fileno=os.dup(fileno))
    return None


def shut_down(sock: socket.socket | None) -> None:
    """Make whatever waits on a connection fail at once; the descriptor stays open. Any thread."""
    with contextlib.suppress(OSError):
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
