"""Sessions that run into their real `wait_timeout` now, or that an administrator ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.asking import Session
from persistconn.testing.installation import ServerError
from persistconn.testing.lines import Line, belongs_to, find_lines

Who = threading.Thread | str | int | None
"""A thread, its name or its ident; None is everybody."""

#: The shortest `wait_timeout` there is, and one so short that it can be waited for.
_SHORTEST, _SHORT = 1, 10
#: Seconds within which a session that nobody here can reach may yet turn out to be one that was just leaving.
_GRACE = 10.0
_LOOK = 0.02


def expire(server: AnyServer, who: Who = None, *, within: float = 60.0) -> int:
    """Let every session, or those that persistconn holds for one thread, run into `wait_timeout`; return how many did.

    Each session is told `SET SESSION wait_timeout = 1` behind its owner's back, and then left alone: the server itself
    ends it as it would after eight hours, a session inside a transaction too. Blocks for a little over a second, until the
    server has closed them and that has arrived here. Sessions made afterwards have the server's own `wait_timeout`.
    Raises ServerError, with the reason, if one has not expired `within` so many seconds.
    """
    lines, ids = _find(server, who)
    told: set[int] = set()
    started = time.monotonic()
    while left := _still_there(server, ids):
        for session in left:
            line = lines.get(session.id)
            # While a statement is under way nobody else may speak.
            if line is not None and session.id not in told and session.command == "Sleep" and line.try_to_say(_SHORTEN):
                told.add(session.id)
        waited = time.monotonic() - started
        if waited > within or (waited > _GRACE and _unreachable(server, left, lines)):
            raise ServerError(_complaint(server, left, lines, told, waited))
        time.sleep(_LOOK)
    _await_cut(lines, ids, within)
    return len(ids)


_SHORTEN = f"SET SESSION wait_timeout = {_SHORTEST}"


def kill_connections(server: AnyServer, who: Who = None, *, within: float = 60.0) -> int:
    """End every session, or those held for one thread, by KILL; return how many there were.

    Blocks until they are gone from the server and that has arrived here. Raises ServerError if one is not.
    """
    lines, ids = _find(server, who)
    for session in ids:
        server.kill_session(session)
    deadline = time.monotonic() + within
    while left := _still_there(server, ids):
        if time.monotonic() > deadline:
            raise ServerError(f"still there {within:g} s after KILL: {left}")
        time.sleep(_LOOK)
    _await_cut(lines, ids, within)
    return len(ids)


def _find(server: AnyServer, who: Who) -> tuple[dict[int, Line], set[int]]:
    lines = find_lines(server)
    present = {session.id for session in server.clients()}
    if who is None:
        return lines, present
    ids = {number for number, line in lines.items() if belongs_to(line, who)} & present
    if not ids:
        raise ServerError(
            f"persistconn holds no connection to {server!r} for {who!r}: persistconn.connections() lists them"
        )
    return lines, ids


def _still_there(server: AnyServer, ids: set[int]) -> list[Session]:
    return [session for session in server.clients() if session.id in ids and session.command != "Killed"]


def _unreachable(server: AnyServer, left: list[Session], lines: dict[int, Line]) -> bool:
    return _patience_of(server) > _SHORT and any(session.id not in lines for session in left)


def _patience_of(server: AnyServer) -> int:
    return int(server.ask("SELECT @@GLOBAL.wait_timeout")[0][0])


def _complaint(server: AnyServer, left: list[Session], lines: dict[int, Line], told: set[int], waited: float) -> str:
    whys = "; ".join(f"session {session.id}: {_why(session, lines, told)}" for session in left)
    return f"{len(left)} sessions of {server!r} have not expired within {waited:.0f} s. {whys}"


def _why(session: Session, lines: dict[int, Line], told: set[int]) -> str:
    if session.command != "Sleep":
        return f"it is not idle ({session.command})"
    if session.id not in lines:
        return (
            "no connection of this process, so its wait_timeout cannot be shortened: give the test a server of its own,"
            " @pytest.mark.persistconn(wait_timeout=1)"
        )
    if session.id not in told:
        return "it has rows to read, or its thread uses it again and again"
    return "its thread has used it again meanwhile, or a ping has"


def _await_cut(lines: dict[int, Line], ids: set[int], within: float) -> None:
    """Wait until the end of each session has arrived here: the next look at the socket finds it."""
    deadline = time.monotonic() + within
    waiting: list[Callable[[], bool]] = [line.is_cut for number, line in lines.items() if number in ids]
    while waiting := [is_cut for is_cut in waiting if not is_cut()]:
        if time.monotonic() > deadline:
            raise ServerError(
                f"{len(waiting)} connections have not heard of their end within {within:g} s: a proxy holds it"
            )
        time.sleep(_LOOK)
