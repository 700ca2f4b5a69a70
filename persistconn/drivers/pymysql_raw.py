"""PyMySQL's connection class with what persistconn needs of it: see :class:`RawConnection`."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from persistconn.drivers import sockets
from persistconn.drivers.answers import Answers
from persistconn.drivers.arrival import duplicate
from persistconn.drivers.faults import SERVER_LOST

_ERR = b"\xff"
_contexts: dict[str, ssl.SSLContext] = {}

_Driver: Any = object  # What :func:`raw_class` puts beneath: the driver is not imported before it is used.


def raw_class(module: Any, *, fast_reads: bool) -> Any:
    """Return :class:`RawConnection` or :class:`FastReads` on top of PyMySQL's connection class."""
    if fast_reads:
        bases = FastReads, module.connections.Connection
        return type("RawConnection", bases, {"module": module, "answers": Answers(module)})
    return type("RawConnection", (RawConnection, module.connections.Connection), {"module": module})


class RawConnection(_Driver):  # type: ignore[misc]
    """PyMySQL's connection with a cheap connect, and a status that can be trusted."""

    module: Any
    look: Callable[[], bytes]
    status = property(operator.attrgetter("server_status"))
    pid = 0
    _read_timeout: float | None
    _write_timeout: float | None
    _current_timeout: float | None
    """Of the socket, as PyMySQL notes it."""
    _next_seq_id = 0
    goodbye: int | None = None
    """The number of the error that the server had sent before it read our statement."""
    may_have_more = False
    status_is_current = False
    """PyMySQL takes the status flags from OK packets only, not from the EOF behind rows, nor with an error: after
    those, under autocommit=0, a transaction may have been opened (by SELECT ... FOR UPDATE, say) unseen."""

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self.status_is_current = False
        self._result: Any = None
        result: Any = None if unbuffered else self._whole_answer()
        self.may_have_more = result is None
        if result is None:
            super()._read_query_result(unbuffered)
            result = self._result
        elif result.server_status is not None:
            self.server_status = result.server_status
        self._result = result
        self.status_is_current = result.server_status is not None
        return result.affected_rows

    def _read_ok_packet(self) -> Any:
        ok = self._whole_answer(with_rows=False) or super()._read_ok_packet()
        self.server_status = ok.server_status
        self.status_is_current = True
        return ok

    def _whole_answer(self, *, with_rows: bool = True) -> Any:  # noqa: ARG002
        """Return the answer that has arrived whole; None leaves it to the driver, as here."""
        return None

    def _force_close(self) -> None:
        # PyMySQL takes an error with sequence number 0, which is how a server says goodbye to an idle session (4031,
        # 1053), for a loss at the statement: it closes here, with the error's text unread, and raises 2013.
        if self._next_seq_id == 1 and self._rfile and self._sock:
            self.goodbye = _unread_error(self._sock, self._rfile)
        super()._force_close()

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        # PyMySQL loads the CA bundle for every connection: 20 ms of CPU, even for a server without TLS.
        if isinstance(sslp, ssl.SSLContext):
            return sslp
        key = json.dumps(sslp, sort_keys=True, default=repr)
        if key not in _contexts:
            _contexts[key] = super()._create_ssl_ctx(sslp) if sslp else _unverifying_context()
        return _contexts[key]

    def connect(self, sock: socket.socket | None = None) -> None:
        # PyMySQL's connect_timeout ends with the TCP connect. The whole is limited elsewhere, but for the handshake of
        # TLS, during which nobody else can find the socket: it has as much time as a read.
        self.pid = os.getpid()
        limits = self._read_timeout, self._write_timeout
        self._read_timeout = self._write_timeout = self.connect_timeout
        try:
            super().connect(sock)
            self.look = sockets.watch(self._sock)
        finally:
            self._read_timeout, self._write_timeout = limits

    def find_socket(self) -> socket.socket | None:
        sock = self._sock
        return None if sock is None else duplicate(sock.fileno())


class FastReads(RawConnection):
    """The same, with answers that are read at one go."""

    answers: Answers

    def _whole_answer(self, *, with_rows: bool = True) -> Any:
        if self._current_timeout != self._read_timeout:
            return None  # The driver sets it, with its first read.
        try:
            waiting = self._rfile.peek()  # Of a buffer that is empty, what comes next.
        except OSError as error:  # As the driver does.
            self._force_close()
            text = f"Lost connection to MySQL server during query ({error})"
            raise self.module.OperationalError(SERVER_LOST, text) from error
        except BaseException:
            self._force_close()
            raise
        return self.answers.take(self, waiting, with_rows=with_rows)


def _unverifying_context() -> ssl.SSLContext:
    # What PyMySQL takes where nothing was said of TLS, but without the system's certificates: OpenSSL would look for the
    # server's among them, a quarter of the handshake, although nobody has asked to verify it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _unread_error(sock: socket.socket, stream: Any) -> int | None:
    """Return the number of the server's error whose header alone has been read; None if something else is there."""
    # Lost; closed by another thread; or this is a signal handler, and its thread is reading.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        sock.settimeout(0.0)  # It came with its header, or is not waited for.
        packet = stream.peek(1)
        if packet[:1] == _ERR and packet[3:4] == b"#":
            return int.from_bytes(packet[1:3], "little")
    return None
