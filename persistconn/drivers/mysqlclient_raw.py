"""mysqlclient's connection class with what persistconn needs of it: see :class:`RawConnection`."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from persistconn.drivers import faults, sockets, status
from persistconn.drivers.arrival import Arrival, duplicate
from persistconn.drivers.wire import Wire
from persistconn.statement import SQL

# Charsets in which the second byte of a character can be a backslash.
_BACKSLASH_INSIDE = ("big5", "cp932", "gb18030", "gbk", "sjis")

_Driver: Any = object  # What :func:`raw_class` puts beneath: the driver is not imported before it is used.


def raw_class(module: Any) -> Any:
    """Return :class:`RawConnection` on top of the connection class of ``MySQLdb``."""
    rows = type("Rows", (Rows, module._mysql.result), {})
    return type(
        "RawConnection",
        (RawConnection, module.connections.Connection),
        {
            "module": module,
            "rows_class": rows,
            "_send": staticmethod(module._mysql.connection.query),
            "_store": staticmethod(module._mysql.connection.store_result),
        },
    )


def _unwatched(call: Callable[..., Any]) -> Callable[..., Any]:
    return call


class Rows(_Driver):  # type: ignore[misc]
    """Rows that are fetched from the server one by one; tells its connection when the last was read."""

    def __init__(self, raw: Any) -> None:
        self._raw: Any = None
        # Asked at each fetch, not bound once: a cycle would keep a stream that was torn off until the next collection.
        self._watch = raw.wire.watch or _unwatched
        super().__init__(raw, 1, raw.converter)
        self._raw = raw
        raw.wire.stream = weakref.ref(self)

    def fetch_row(self, maxrows: int = 1, how: int = 0) -> Any:
        if self._raw is None:
            return super().fetch_row(maxrows, how)
        rows = self._watch(self._raw._call)(super().fetch_row, maxrows, how)
        if not maxrows or len(rows) < maxrows:
            self._end()
        return rows

    def discard(self) -> None:
        if self._raw is not None and not self._raw.wire.lost:
            self._watch(self._raw._call)(super().discard)
            self._end()

    def _end(self) -> None:
        raw, self._raw = self._raw, None
        raw.wire.streaming = False

    def __del__(self) -> None:
        if self._raw is not None:
            self._end()  # The library reads the rest now.


def _blocking(name: str) -> Callable[..., Any]:
    sql = name if name in ("commit", "rollback") else ""

    def call(self: Any, *args: Any) -> Any:
        self._refuse_while_streaming()
        return self._call(getattr(super(RawConnection, self), name), *args, sql=sql)

    call.__name__ = name
    return call


class RawConnection(_Driver):  # type: ignore[misc]
    """mysqlclient's connection that knows its status, and that can be cut from another thread.

    Rows are fetched inside ``query()``, so that a statement and its rows succeed or fail as one; ``store_result()`` then
    hands them over. ``query(sql, unbuffered=True)`` leaves them on the wire for ``use_result()``.
    """

    module: Any
    rows_class: Any

    def __init__(self, arrival: Arrival, limit: float, *args: Any, **kwargs: Any) -> None:
        self.wire = wire = Wire(max(limit, 0.1))
        arrival.begin(self, wire.limit)
        try:
            super().__init__(*args, connect_timeout=max(1, math.ceil(limit)), **kwargs)
        except BaseException:
            self.abandon()
            raise
        wire.session = self.thread_id()
        # Closing takes the library's reference to it away.
        self.decoders = self.converter

    def find_socket(self) -> socket.socket | None:
        with contextlib.suppress(OSError, self.module.Error):
            if (ours := self.wire.duplicate) is not None:
                return duplicate(ours.fileno())
            fileno = super().fileno() if self.open else 0  # Not open until the library has connected.
            return duplicate(fileno) if fileno else None
        return None

    # --- the calls that block --------------------------------------------------------------------------------------

    def _call(self, method: Callable[..., Any], *args: Any, sql: SQL = "") -> Any:
        wire = self.wire
        if wire.lost:
            raise self.module.OperationalError(faults.SERVER_GONE, "the connection was lost before")
        wire.inside, wire.status_is_current = threading.get_ident(), False
        try:
            answer = method(*args)
        except self.module.Error as error:
            wire.note_error(faults.code_of(error) or 0)
            raise
        finally:
            wire.inside = 0
            if wire.doomed:
                self._let_go()
        self._note(wire, sql)
        wire.may_have_more = True
        return answer

    def _refuse_while_streaming(self) -> None:
        # As the library does, which however would go on to tell the cursor that streams of the same error.
        if self.wire.streaming and not self.wire.lost:
            raise self.module.ProgrammingError(
                faults.OUT_OF_SYNC, "Commands out of sync; the rows of the last statement are not all read yet"
            )

    def query(self, sql: SQL, unbuffered: bool = False) -> None:
        wire = self.wire
        if wire.streaming:
            self._refuse_while_streaming()
        if wire.kept:
            self._forget_kept()
        wire.rows, wire.unbuffered, wire.watch = None, unbuffered, None
        if unbuffered or wire.lost or wire.read_status is None:
            self._call(self._query, sql, sql=sql)
            return
        # What _call() does, without its frames.
        wire.inside, wire.status_is_current = threading.get_ident(), False
        try:
            self._send(self, bytes(sql) if isinstance(sql, bytearray) else sql)
            if self.field_count():
                wire.rows = self._store(self)
        except self.module.Error as error:
            wire.note_error(faults.code_of(error) or 0)
            raise
        finally:
            wire.inside = 0
            if wire.doomed:
                self._let_go()
        status_flags = wire.status = wire.read_status()
        wire.status_is_current = True
        wire.may_have_more = bool(status_flags & status.MORE_RESULTS)

    def _query(self, sql: SQL) -> None:
        super().query(sql)
        if self.field_count():
            self._take_rows()

    def _take_rows(self) -> None:
        # What is behind the first packet is on the wire, and fails as the statement does.
        if self.wire.unbuffered:
            self.wire.streaming = True
        else:
            self.wire.rows = super().store_result()

    def next_result(self) -> int:
        """Read the next result set of the same statement; -1 if there is none, which costs no I/O."""
        wire = self.wire
        if not (wire.status & status.MORE_RESULTS or wire.streaming):
            return -1
        wire.rows = None
        return int(self._call(self._next_result))

    def _next_result(self) -> int:
        left = int(super().next_result())
        if left == 0 and self.field_count():
            self._take_rows()
        return left

    def store_result(self) -> Any:
        """Hand over the rows of the last query, once."""
        wire = self.wire
        if wire.streaming:
            wire.rows = self._call(super().store_result)
            wire.streaming = False
        rows, wire.rows = wire.rows, None
        return rows

    def use_result(self) -> Any:
        """Return the rows of the last query: from the wire, if it was sent for that."""
        if not self.wire.streaming:
            return self.store_result()
        return self.rows_class(self)

    def discard_result(self) -> None:
        if self.wire.streaming:
            self._call(super().discard_result)
        self.wire.rows, self.wire.streaming = None, False

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        if self.wire.duplicate is None and not self.wire.lost:
            self._arrive(self.wire)
        self._call(super().set_character_set, charset, collation)

    def _arrive(self, wire: Wire) -> None:
        # The first thing that the constructor does with a connection that is made.
        wire.duplicate = socket.socket(fileno=os.dup(super().fileno()))
        wire.look = sockets.watch(wire.duplicate)
        wire.read_status = status.open_reader(self.module._mysql, self)
        self._note(wire, "")

    # --- what the server told --------------------------------------------------------------------------------------

    def _note(self, wire: Wire, sql: SQL) -> None:
        if wire.read_status is not None:
            wire.status = wire.read_status()
        elif not wire.lost:
            wire.status = status.conclude(
                sql, wire.status, autocommit=bool(self.get_autocommit()), more_results=self._has_more(sql)
            )
        wire.status_is_current = True

    def _has_more(self, sql: SQL) -> bool:
        with contextlib.suppress(AttributeError):
            return bool(super().more_results())
        # Before 2.3 only a set of rows told what follows it.
        rows = self.wire.rows
        return bool(rows.has_next) if rows is not None else status.is_several(sql)

    def keep_answer(self, of: Any = None) -> None:
        """Keep what the caller's last statement left, here or on another connection: a statement of ours comes now."""
        for name in ("affected_rows", "insert_id", "warning_count"):
            try:
                value = getattr(of or self, name)()
            except self.module.Error:
                return  # It was closed in order at a boundary: there is nobody left who would ask.
            # An attribute of the object goes before the class's method, so other statements pay nothing for it.
            self.__dict__[name] = lambda value=value: value
        self.wire.kept = True

    def _forget_kept(self) -> None:
        for name in ("affected_rows", "insert_id", "warning_count"):
            self.__dict__.pop(name, None)
        self.wire.kept = False

    def _escape_without_server(self, item: Any, converters: Any = None) -> Any:
        convert = (converters or self.decoders).get(type(item))
        return self._literal_without_server(item) if convert is None else convert(item, converters)

    def _literal_without_server(self, text: Any) -> bytes:
        # An owner may escape while his connection is being replaced. The library does that on a closed one too, but
        # without regard to the charset and to the server's mode, which is how injections come about.
        if self.encoding in _BACKSLASH_INSIDE:
            raise self.module.OperationalError(
                faults.SERVER_GONE, "cannot escape for this charset without a connection"
            )
        if self.wire.status & status.NO_BACKSLASH_ESCAPES:
            data = text if isinstance(text, bytes) else str(text).encode(self.encoding)
            return b"'" + data.replace(b"'", b"''") + b"'"
        return bytes(self.module._mysql.string_literal(text))

    # --- the end ---------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Close the socket of this process without a word to the server."""
        self.wire.lose()
        self.wire.cut()
        if self.wire.is_entered:
            self.wire.doomed = True  # The thread that is inside lets go on its way out, which begins now.
        else:
            self._let_go()

    def _let_go(self) -> None:
        # The handle itself stays open: it is needed for escaping. Closing it, later, must not say COM_QUIT on a
        # socket that a forked process shares with its parent, so the descriptor is pointed elsewhere first.
        sock, self.wire.duplicate = self.wire.duplicate, None
        if sock is None:
            return
        with contextlib.suppress(OSError, self.module.Error):
            library = super().fileno()
            if os.path.samestat(os.fstat(library), os.fstat(sock.fileno())):
                _point_to_nothing(library)
        sock.close()

    def close(self) -> None:
        sock, self.wire.duplicate = self.wire.duplicate, None
        self.string_literal, self.escape = self._literal_without_server, self._escape_without_server
        try:
            super().close()
        finally:
            if sock is not None:
                sock.close()

    def __del__(self) -> None:
        # A connection that nobody closed: orderly at home, without a word in a forked process.
        wire = self.wire
        if not wire.is_ours:
            self.abandon()
        elif wire.duplicate is not None:
            wire.duplicate.close()

    # Whatever else talks to the server.
    autocommit = _blocking("autocommit")
    change_user = _blocking("change_user")
    commit = _blocking("commit")
    dump_debug_info = _blocking("dump_debug_info")
    kill = _blocking("kill")
    ping = _blocking("ping")
    read_query_result = _blocking("read_query_result")
    rollback = _blocking("rollback")
    select_db = _blocking("select_db")
    send_query = _blocking("send_query")
    set_server_option = _blocking("set_server_option")
    shutdown = _blocking("shutdown")
    stat = _blocking("stat")


def _point_to_nothing(fileno: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, fileno, inheritable=False)
    finally:
        os.close(nothing)
