"""PyMySQL behind the driver protocol."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar

from persistconn import log
from persistconn.drivers import faults, sockets
from persistconn.drivers.arrival import Arrival, arrive
from persistconn.drivers.base import Fault, Raw, itself
from persistconn.drivers.faults import code_of
from persistconn.drivers.pymysql_names import FAST_READS, NAMES, OLDEST
from persistconn.drivers.pymysql_raw import raw_class
from persistconn.drivers.status import AUTOCOMMIT, may_be_open
from persistconn.private_names import insist

_COM_PING = 0x0E
_HEADER = 4  # bytes, of a packet
# Pings that are sent before the first answers are taken: their owners wait for as many, and not for a thousand.
_AT_ONCE = 16
T = TypeVar("T")
_Waiting = dict[int, tuple[Raw, float]]
"""Pings without an answer, in the order in which they were sent: by descriptor, the connection and when it is given up."""
_CLOSED_BEFORE = ((0, ""), ("Already closed",))
"""The arguments of the errors that PyMySQL raises where there is no connection any more to send on."""


class PyMySQL:
    """The driver for PyMySQL 1.2.1 and newer."""

    name = "pymysql"
    no_more_results = 0

    def __init__(self, module: ModuleType, *, fast_reads: bool = True) -> None:
        self.module: Any = module
        self._insist_on_names(fast_reads)
        self._raw_class = raw_class(module, fast_reads=fast_reads)

    def _insist_on_names(self, fast_reads: bool) -> None:
        product, remedy = f"PyMySQL {getattr(self.module, 'VERSION_STRING', '?')}", f"install PyMySQL {OLDEST}"
        insist(self.module, product, NAMES, remedy)
        if fast_reads:
            insist(self.module, product, FAST_READS, f"set fast_reads=False, or {remedy}")

    def address(self, arguments: Mapping[str, Any]) -> str:
        if path := arguments.get("unix_socket"):
            return str(path)
        return f"{arguments.get('host') or 'localhost'}:{arguments.get('port') or 3306}"

    def connect(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float, prepare: Callable[[Raw], T] = itself
    ) -> T:
        arguments = {"connect_timeout": timeout, **kwargs, "defer_connect": True}

        def make(arrival: Arrival) -> Raw:
            raw = self._raw_class(*args, **arguments)
            arrival.begin(raw, raw.connect_timeout)
            raw.connect()
            return raw

        return arrive(self, arguments["connect_timeout"], make, prepare)

    def wait_timeout(self, raw: Raw) -> float:
        # The last result is the caller's, whose cursor may not have taken it yet.
        result, raw._result = raw._result, None
        kept = raw._affected_rows, raw.status_is_current  # Reading a variable begins no transaction.
        limit, raw._read_timeout = raw._read_timeout, raw.connect_timeout
        try:
            raw.query("SELECT @@session.wait_timeout")
            (seconds,) = raw._result.rows[0]
        finally:
            raw._read_timeout = limit
            raw._result = result
            raw._affected_rows, raw.status_is_current = kept
        return float(seconds)

    def session_id(self, raw: Raw) -> int:
        return int(raw.thread_id())

    def wire(self, raw: Raw) -> Raw:
        return raw

    def carry_over(self, old: Raw, new: Raw) -> None:
        # Django takes an encoder out after connecting; a reconnect must not bring it back.
        new.encoders, new.decoders = old.encoders, old.decoders

    def carry_answer(self, old: Raw, new: Raw) -> None:
        new._result, new._affected_rows = old._result, old._affected_rows

    def watch_stream(self, raw: Raw, watch: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        result = raw._result
        result._read_rowdata_packet_unbuffered = watch(result._read_rowdata_packet_unbuffered)
        result._finish_unbuffered_query = watch(result._finish_unbuffered_query)  # What close() reads to the end.

    def in_transaction(self, raw: Raw) -> bool:
        return may_be_open(raw.server_status, raw.status_is_current)

    def autocommits(self, raw: Raw) -> bool:
        return bool(raw.server_status & AUTOCOMMIT)

    def has_unread(self, raw: Raw) -> bool:
        result = raw._result
        return result is not None and bool(result.unbuffered_active or result.has_next)

    def hung_up(self, raw: Raw) -> bool:
        sock = raw._sock
        return sock is None or sockets.hung_up(sock)

    def fileno(self, raw: Raw) -> int:
        return int(raw._sock.fileno())

    def ping(self, raws: Iterable[Raw], timeout: float) -> Iterator[tuple[Raw, bool]]:
        poll = select.poll()
        waiting: _Waiting = {}
        unexpected: list[Exception] = []
        for raw in raws:
            if (fileno := self._send_ping(raw, unexpected)) is not None:
                # Each has its own time: among busy threads it takes most of a second until a thousand are sent.
                waiting[fileno] = raw, time.monotonic() + timeout
                poll.register(fileno, select.POLLIN)
            else:
                yield raw, False
            if len(waiting) % _AT_ONCE == 0:
                yield from self._answered(poll, waiting, 0.0, unexpected)
        while waiting:
            _, deadline = next(iter(waiting.values()))
            yield from self._answered(poll, waiting, deadline - time.monotonic(), unexpected)
        if unexpected:
            raise unexpected[0]

    def _answered(
        self, poll: select.poll, waiting: _Waiting, wait: float, unexpected: list[Exception]
    ) -> Iterator[tuple[Raw, bool]]:
        began = time.monotonic()
        for fileno, _ in poll.poll(max(wait, 0.0) * 1000):
            poll.unregister(fileno)
            raw, deadline = waiting.pop(fileno)
            yield raw, self._read_pong(raw, max(deadline - time.monotonic(), 0.001), unexpected)
        # Only what was late before that look: an answer that had come in time was found by it, however long ago it came.
        for fileno in [fileno for fileno, (_, deadline) in waiting.items() if deadline <= began]:
            poll.unregister(fileno)
            raw, _ = waiting.pop(fileno)
            yield raw, False

    def _send_ping(self, raw: Raw, unexpected: list[Exception]) -> int | None:
        """Send a ping; returns the descriptor on which its answer comes, None if it could not be sent."""
        # insert_id() is read from the last result, which a command of ours must not take away.
        result, raw._result = raw._result, None
        try:
            sock = raw._sock
            raw._execute_command(_COM_PING, b"")
            fileno = int(sock.fileno())
        except Exception as error:
            self._note(raw, error, unexpected)
            return None
        finally:
            raw._result = result
        return fileno if fileno >= 0 else None

    def _read_pong(self, raw: Raw, timeout: float, unexpected: list[Exception]) -> bool:
        """Read what has begun to come."""
        read_timeout = raw._read_timeout
        try:
            # Nearly always it is here as a whole. To set a limit, wait under it and take it off again is three more system
            # calls, and after each of them all busy threads come first. In TLS, what has come need not be an answer.
            if isinstance(raw._sock, ssl.SSLSocket) or not _is_whole(raw._rfile.peek()):
                raw._read_timeout = timeout
            raw._read_ok_packet()
        except Exception as error:
            self._note(raw, error, unexpected)
            return False
        finally:
            raw._read_timeout = read_timeout
        return True

    def _note(self, raw: Raw, error: Exception, unexpected: list[Exception]) -> None:
        """Note what a ping has raised, unless that is what a lost connection raises."""
        # A thread that closes it meanwhile (a shutdown) says so first. Then anything may be raised here: None has no peek().
        if not (isinstance(error, (self.module.Error, OSError)) or raw._closed):
            unexpected.append(error)

    def quit(self, raw: Raw) -> None:
        self._forget_rows(raw)
        sock = raw._sock
        if sock is not None:
            # A peer that does not read must not hold up whoever says goodbye.
            with contextlib.suppress(OSError):
                sock.settimeout(1.0)
                raw._current_timeout = raw._write_timeout = 1.0
        self._close(raw, raw.close)

    def abandon(self, raw: Raw) -> None:
        self._forget_rows(raw)
        raw._closed = True
        sock = raw._sock
        if sock is not None and raw.pid == os.getpid():
            # Wakes a thread that waits for the server, whose reader could not be closed before. Not after a fork: it
            # would be the end of the parent's connection too. Not SSLSocket's own, which takes the reader's TLS away.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._close(raw, raw._force_close)

    def _close(self, raw: Raw, close: Callable[[], None]) -> None:
        try:
            close()
        except (self.module.Error, OSError, RuntimeError):
            pass  # Closed before, or lost; or this is a signal handler, and its thread is reading from it.
        except Exception as error:
            if raw._sock is not None:  # Else two threads closed it at once, and it is closed.
                log.unexpected("closing a connection failed", error)

    @staticmethod
    def _forget_rows(raw: Raw) -> None:
        # An unbuffered result reads the rest of its rows when it is collected, in whichever thread that happens.
        result = raw._result
        if result is not None:
            result.unbuffered_active = False

    def cursor(self, connection: Any, cursor_class: Any) -> Any:
        # Its unbuffered cursors ask query() for it themselves.
        return cursor_class(connection)

    def classify(self, raw: Raw | None, error: BaseException) -> Fault:
        fault = self.diagnose(raw, error)
        return Fault.NONE if fault.is_answer else fault

    def diagnose(self, raw: Raw | None, error: BaseException) -> Fault:
        if raw is None:
            return self._diagnose_connect(error)
        if isinstance(error, UnicodeEncodeError):  # Of the statement, so nothing was sent.
            return Fault.NONE
        if not isinstance(error, self.module.Error):
            return Fault.AMBIGUOUS
        code = code_of(error)
        if error.args in _CLOSED_BEFORE or (code == faults.SERVER_LOST and raw.goodbye is not None):
            return Fault.DEFINITE
        fault = faults.of_statement(code)
        return Fault.AMBIGUOUS if fault.is_answer and raw._sock is None else fault

    def _diagnose_connect(self, error: BaseException) -> Fault:
        if not isinstance(error, self.module.OperationalError):
            # Packets out of order are what a connection that is cut in the login looks like; the rest is a mistake.
            return Fault.AWAY if isinstance(error, (self.module.InternalError, OSError)) else Fault.REFUSED
        if isinstance(getattr(error, "original_exception", None), ssl.SSLCertVerificationError):
            return Fault.REFUSED
        return faults.of_connect(code_of(error))


def _is_whole(data: bytes) -> bool:
    """Say whether a packet is there from its header to its end."""
    return len(data) >= _HEADER + int.from_bytes(data[:3], "little")
