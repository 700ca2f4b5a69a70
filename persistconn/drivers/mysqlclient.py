"""mysqlclient (the module ``MySQLdb``) behind the driver protocol."""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar

from persistconn import log
from persistconn.drivers import faults, sockets
from persistconn.drivers.arrival import Arrival, arrive
from persistconn.drivers.base import Fault, Raw, itself
from persistconn.drivers.faults import code_of
from persistconn.drivers.mysqlclient_names import NAMES, OLDEST
from persistconn.drivers.mysqlclient_pings import Pings
from persistconn.drivers.mysqlclient_raw import raw_class
from persistconn.drivers.status import AUTOCOMMIT, MORE_RESULTS, may_be_open
from persistconn.drivers.watchdog import WATCHDOG
from persistconn.drivers.wire import Wire
from persistconn.private_names import insist

T = TypeVar("T")


class MySQLClient:
    """The driver for mysqlclient 2.2 and newer, with MariaDB's client library or Oracle's."""

    name = "MySQLdb"
    no_more_results = -1

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module
        for name in ("connections", "cursors"):
            importlib.import_module(f"{module.__name__}.{name}")
        self._insist_on_names()
        self._raw_class = raw_class(module)
        # Asked at each statement, nearly always for the same one.
        self._maker = functools.lru_cache(maxsize=64)(self._cursor_maker)
        WATCHDOG.start()

    def _insist_on_names(self) -> None:
        version = ".".join(map(str, self.module.version_info[:3]))
        oldest = ".".join(map(str, OLDEST))
        insist(self.module, f"mysqlclient {version}", NAMES, f"install mysqlclient {oldest}")

    def address(self, arguments: Mapping[str, Any]) -> str:
        if path := arguments.get("unix_socket"):
            return str(path)
        return f"{arguments.get('host') or 'localhost'}:{arguments.get('port') or 3306}"

    def connect(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float, prepare: Callable[[Raw], T] = itself
    ) -> T:
        arguments = dict(kwargs)
        limit = arguments.pop("connect_timeout", None) or timeout
        return arrive(self, limit, lambda arrival: self._make(arrival, limit, args, arguments), prepare)

    def _make(self, arrival: Arrival, limit: float, args: tuple[Any, ...], arguments: dict[str, Any]) -> Raw:
        try:
            return self._raw_class(arrival, limit, *args, **arguments)
        except self.module.OperationalError as error:
            if code_of(error) == faults.TLS_FAILED and not _verifies(arguments):
                # The library names the certificate whenever a handshake ends early, asked to verify it or not.
                raise self.module.OperationalError(faults.SERVER_LOST, *error.args[1:]) from error
            raise

    def wait_timeout(self, raw: Raw) -> float:
        rows = raw.wire.rows
        raw.keep_answer()
        watch = WATCHDOG.after(raw.wire.limit, raw.wire.cut)
        try:
            raw.wire.rows = None
            raw._call(raw._query, "SELECT @@session.wait_timeout")
            (seconds,) = raw.wire.rows.fetch_row(0)[0]
        finally:
            if not watch.call_off():
                raw.wire.lose()
            raw.wire.rows = rows
        return float(seconds)

    def session_id(self, raw: Raw) -> int:
        return int(raw.wire.session)

    def wire(self, raw: Raw) -> Wire:
        return raw.wire  # type: ignore[no-any-return]

    def carry_over(self, old: Raw, new: Raw) -> None:
        # Django takes an encoder out after connecting; a reconnect must not bring it back.
        new.encoders = old.encoders
        new.decoders.clear()
        new.decoders.update(old.decoders)

    def carry_answer(self, old: Raw, new: Raw) -> None:
        new.wire.rows = old.wire.rows
        new.keep_answer(old)

    def watch_stream(self, raw: Raw, watch: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        raw.wire.watch = watch

    def in_transaction(self, raw: Raw) -> bool:
        wire = raw.wire
        return may_be_open(wire.status, wire.status_is_current)

    def autocommits(self, raw: Raw) -> bool:
        return bool(raw.wire.status & AUTOCOMMIT)

    def has_unread(self, raw: Raw) -> bool:
        wire = raw.wire
        return bool(wire.streaming or wire.status & MORE_RESULTS)

    def hung_up(self, raw: Raw) -> bool:
        wire = raw.wire
        return wire.lost or wire.duplicate is None or sockets.hung_up(wire.duplicate)

    def fileno(self, raw: Raw) -> int:
        return int(raw.wire.duplicate.fileno())

    def ping(self, raws: Iterable[Raw], timeout: float) -> Iterator[tuple[Raw, bool]]:
        all_of_them = iter(raws)
        first = list(itertools.islice(all_of_them, 2))
        if len(first) == 1:
            # An owner's: on his own thread.
            yield first[0], _ping_here(first[0], timeout)
        elif first:
            yield from Pings(itertools.chain(first, all_of_them), _send_ping).run(timeout)

    def quit(self, raw: Raw) -> None:
        # A peer that does not read must not hold up whoever says goodbye.
        wire = raw.wire
        if wire.is_entered or not wire.is_ours or self.hung_up(raw) or not sockets.is_writable(wire.duplicate):
            raw.abandon()
            return
        self._close(raw.close)

    def abandon(self, raw: Raw) -> None:
        self._close(raw.abandon)

    def _close(self, close: Callable[[], None]) -> None:
        try:
            close()
        except (self.module.Error, OSError):
            pass  # Closed before, or lost.
        except Exception as error:
            log.unexpected("closing a connection failed", error)

    def cursor(self, connection: Any, cursor_class: Any) -> Any:
        return self._maker(cursor_class)(connection)

    def _cursor_maker(self, cursor_class: Any) -> Any:
        streams = isinstance(cursor_class, type) and issubclass(cursor_class, self.module.cursors.CursorUseResultMixIn)
        return _streaming(cursor_class) if streams else cursor_class

    def classify(self, raw: Raw | None, error: BaseException) -> Fault:
        fault = self.diagnose(raw, error)
        return Fault.NONE if fault.is_answer else fault

    def diagnose(self, raw: Raw | None, error: BaseException) -> Fault:
        if raw is None:
            return self._diagnose_connect(error)
        if isinstance(error, (TypeError, UnicodeEncodeError)):  # Of the statement, so nothing was sent.
            return Fault.NONE
        if not isinstance(error, self.module.Error):
            return Fault.AMBIGUOUS
        code = code_of(error)
        if code is None and isinstance(error, self.module.ProgrammingError):
            return Fault.DEFINITE  # Another thread is inside: nothing was sent, and who knows what that one does.
        if code == faults.OUT_OF_SYNC:
            # The library's own refusal, while rows are unread: nothing was sent.
            return Fault.DEFINITE if raw.wire.is_orphaned else Fault.NONE
        return faults.of_statement(code or None)

    def _diagnose_connect(self, error: BaseException) -> Fault:
        if not isinstance(error, self.module.Error):
            return Fault.AWAY if isinstance(error, OSError) else Fault.REFUSED
        code = code_of(error)
        if code == faults.TLS_FAILED:
            # A handshake that was cut has the same number as a certificate that is wrong; only the text differs.
            return Fault.REFUSED if "certificate" in str(error).lower() else Fault.AWAY
        return faults.of_connect(code)


def _verifies(arguments: Mapping[str, Any]) -> bool:
    return str(arguments.get("ssl_mode", "")).startswith("VERIFY") or bool((arguments.get("ssl") or {}).get("ca"))


def _ping_here(raw: Raw, timeout: float) -> bool:
    watch = WATCHDOG.after(timeout, raw.wire.cut)
    alive = in_time = False
    try:
        alive = _send_ping(raw)
    finally:
        in_time = watch.call_off()
    return alive and in_time


def _send_ping(raw: Raw) -> bool:
    try:
        raw.keep_answer()
        raw.ping()
    except raw.module.Error:
        return False
    return True


class _Streamed:
    """The connection as a streaming cursor sees it: its statements leave their rows on the wire."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, sql: Any) -> Any:
        return self._connection.query(sql, unbuffered=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@functools.cache
def _streaming(cursor_class: Any) -> Any:
    """Return the cursor class whose ``execute()`` says that it streams; mysqlclient's tells that only afterwards."""

    class Streaming(cursor_class):  # type: ignore[misc]
        def _get_db(self) -> Any:
            return _Streamed(super()._get_db())

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(Streaming, name, getattr(cursor_class, name))
    return Streaming
