"""The connections of this process to a server: those that persistconn holds, and those that a test has made itself."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from persistconn.drivers import sockets
from persistconn.held import Held, State
from persistconn.keeper import KEEPER
from persistconn.policy import Reason
from persistconn.testing.anyserver import AnyServer
from persistconn.testing.faults import FaultProxy

#: Seconds that a connection has been at rest before anybody but its owner speaks on it: the owner's cursor may not have
#: taken the last statement's rows yet.
_REST = 0.02
_READ_TIMEOUT = 5.0


@dataclass(frozen=True)
class Line:
    """One connection. `try_to_say` sends a statement without a result, or returns False where that cannot be done now."""

    session: int
    try_to_say: Callable[[str], bool]
    is_cut: Callable[[], bool]
    held: Held | None = None


def find_lines(server: AnyServer) -> dict[int, Line]:
    """Return this process's connections to a server, straight or through a proxy, by the session's id."""
    everything = [thing for thing in gc.get_objects() if _is_wanted(thing)]
    addresses = _addresses(server, [thing for thing in everything if isinstance(thing, FaultProxy)])
    held = list(_held_lines(addresses))
    own = {id(line.held.raw) for line in held if line.held is not None}
    bare = [thing for thing in everything if not isinstance(thing, FaultProxy) and id(thing) not in own]
    lines = [*_bare_lines(bare, addresses), *held]
    return {line.session: line for line in lines}


def close_held(is_meant: Callable[[Held], bool]) -> None:
    """Really close the held connections, of any thread, that are meant."""
    for held in KEEPER._all():
        if is_meant(held):
            held.close(Reason.RETIRED)
    KEEPER._forget_closed()


def close_held_to(host: str, port: int, database: str | None = None) -> None:
    """Really close what is held to an address, of one database if that is named."""

    def is_meant(held: Held) -> bool:
        args = held.opening.kwargs
        if (args.get("host"), args.get("port")) != (host, port):
            return False
        return database in {None, args.get("database", args.get("db")), held.session.database}

    close_held(is_meant)


def belongs_to(line: Line, thread: threading.Thread | str | int) -> bool:
    """Say whether a line is held for a thread, that is given as such, by its name or by its ident."""
    if line.held is None:
        return False
    owner = line.held.owner
    wanted = thread.ident if isinstance(thread, threading.Thread) else thread
    return wanted in (owner.ident, owner.name)


# --- held by persistconn -------------------------------------------------------------------------------------------------


def _held_lines(addresses: Iterable[Any]) -> Iterator[Line]:
    for held in KEEPER._all():
        with contextlib.suppress(Exception):  # It may lose its connection while it is looked at.
            raw = held.raw
            if held.has_raw and _peer(held.driver.fileno(raw)) in addresses:
                yield Line(held.driver.session_id(raw), _sayer(held, raw), _looker(held, raw), held)


def _sayer(held: Held, raw: Any) -> Callable[[str], bool]:
    def try_to_say(sql: str) -> bool:
        if not _reserve(held, raw):
            return held.raw is not raw or not held.has_raw
        try:
            _say(raw, sql)
        except held.driver.module.Error:
            pass  # Lost meanwhile: its owner finds out.
        finally:
            _give_back(held)
        return True

    return try_to_say


def _reserve(held: Held, raw: Any) -> bool:
    """Take an idle connection as the sweep does, but one inside a transaction too: it shall expire as well."""
    if held.clock() - held.used_at < _REST or held.driver.has_unread(raw):
        return False
    with held._lock:
        if held.state is not State.IDLE or held.raw is not raw:
            return False
        held._move(State.RESERVED)
        return True


def _give_back(held: Held) -> None:
    with held._lock:
        if held.state is State.RESERVED:
            held._move(State.IDLE)
            held._freed.notify_all()


def _looker(held: Held, raw: Any) -> Callable[[], bool]:
    return lambda: held.raw is not raw or not held.has_raw or held.driver.hung_up(raw)


# --- the test's own ------------------------------------------------------------------------------------------------------


def _is_wanted(thing: object) -> bool:
    # Not isinstance(): it asks Django's lazy objects for their class, which makes them.
    return issubclass(type(thing), (FaultProxy, *_driver_classes()))


def _driver_classes() -> list[type]:
    """Return the connection classes of the drivers that this process has loaded."""
    modules = [sys.modules.get(name) for name in ("pymysql.connections", "MySQLdb.connections")]
    return [module.Connection for module in modules if module is not None]


def _bare_lines(connections: Iterable[Any], addresses: Iterable[Any]) -> Iterator[Line]:
    for bare in connections:
        with contextlib.suppress(Exception):  # Never connected, closed, or being closed.
            fileno = bare._sock.fileno() if hasattr(bare, "_sock") else bare.fileno()
            if _peer(fileno) in addresses:
                yield Line(int(bare.thread_id()), _bare_sayer(bare), _bare_looker(bare))


def _bare_sayer(bare: Any) -> Callable[[str], bool]:
    def try_to_say(sql: str) -> bool:
        result = getattr(bare, "_result", None)
        if result is not None and (result.unbuffered_active or result.has_next):
            return False
        with contextlib.suppress(Exception):  # Lost meanwhile: whoever uses it finds out.
            _say(bare, sql)
        return True

    return try_to_say


def _bare_looker(bare: Any) -> Callable[[], bool]:
    def is_cut() -> bool:
        try:
            fileno = bare._sock.fileno() if hasattr(bare, "_sock") else bare.fileno()
            with socket.socket(fileno=os.dup(fileno)) as sock:
                return sockets.hung_up(sock)
        except Exception:
            return True

    return is_cut


# --- speaking ------------------------------------------------------------------------------------------------------------


def _say(raw: Any, sql: str) -> None:
    """Send a statement that returns no rows, and leave what the last one returned as it was."""
    if hasattr(raw, "wire"):
        _say_on_wire(raw, sql)
    elif hasattr(raw, "_affected_rows"):
        _say_on_pymysql(raw, sql)
    else:
        raw.query(sql)


def _say_on_pymysql(raw: Any, sql: str) -> None:
    names = ("_result", "_affected_rows", "_read_timeout")
    kept = [getattr(raw, name) for name in names]
    raw._result, raw._read_timeout = None, _READ_TIMEOUT
    try:
        raw.query(sql)
    finally:
        for name, value in zip(names, kept, strict=True):
            setattr(raw, name, value)


def _say_on_wire(raw: Any, sql: str) -> None:
    rows = raw.wire.rows
    raw.keep_answer()
    try:
        raw.wire.rows = None
        raw._call(raw._query, sql)
    finally:
        raw.wire.rows = rows


# --- where a connection leads --------------------------------------------------------------------------------------------


def _addresses(server: AnyServer, proxies: Iterable[FaultProxy]) -> set[Any]:
    own = _resolve(server.host, server.port) | {getattr(server, "socket", None)}
    through = [proxy.address for proxy in proxies if _resolve(*proxy.target) & own]
    return own.union(*(_resolve(*address) for address in through)) - {None}


def _resolve(host: str, port: int) -> set[Any]:
    with contextlib.suppress(OSError):
        return {info[4][:2] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return set()


def _peer(fileno: int) -> Any:
    with socket.socket(fileno=os.dup(fileno)) as sock:
        peer = sock.getpeername()
    return peer[:2] if isinstance(peer, tuple) else peer
