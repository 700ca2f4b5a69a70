"""Which session is ours: a named lock that lives as long as it does.

A session's id is no identity, because ids start again with the server: a KILL by a remembered id would hit a stranger.
"""

from __future__ import annotations

import threading

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.errors import LedgerError
from persistconn.once.codes import NO_SUCH_THREAD, NOT_OWNER
from persistconn.once.heartbeat import heart_at
from persistconn.once.line import Line
from persistconn.once.lockwaits import cap, longest_wait
from persistconn.once.names import election_name, heart_of, session_name

_lock = threading.Lock()
_lost: dict[str, set[str]] = {}
"""By address, the identities of sessions that this process has lost, and the server perhaps not."""


def note_lost(line: Line, identity: str) -> None:
    """Note that a session was lost which may still hold the token, for the next attempt at any job there to end it."""
    with _lock:
        _lost.setdefault(line.opening.address, set()).add(identity)


def end_lost_sessions(line: Line) -> None:
    """End what was lost on the line's server, by any job of this process; no round trip if there is nothing."""
    if not _lost.get(line.opening.address):
        return  # As nearly always, and without the lock: what is noted right now is as good as noted behind us.
    with _lock:
        lost = tuple(_lost[line.opening.address])
    for identity in lost:
        end_session(line, identity)
        with _lock:
            _lost[line.opening.address].discard(identity)


def identify(line: Line) -> str:
    """Return the name of the lock that the line's session holds; one round trip the first time, none after that.

    It is another one when the process's heart has begun to beat, or has stopped: a job must not be known by one that does
    not. Where there is a ``read_timeout``, waits for locks are bounded too, in one more round trip.

    Raises LedgerError where the server (or a proxy before it) knows no named locks, ConfigError for a ``read_timeout`` that
    is too short.
    """
    heart = heart_at(line.opening.address)
    if (known := line.identity) is not None and heart_of(known) == heart:
        return known
    wait = longest_wait(line.opening.kwargs.get("read_timeout"))
    while True:
        name = _take_name(line, heart)
        if wait is None or line.run_on_this_session(cap(wait)):
            return name


def _take_name(line: Line, heart: str | None) -> str:
    name = session_name(heart)
    if line.ask(f"SELECT GET_LOCK('{name}', 0)") != [(1,)]:
        raise LedgerError(
            "the server gave no named lock (GET_LOCK), by which a job's session is known: connect to it without a proxy"
            " that shares sessions among clients"
        )
    line.identity = name
    return name


def end_session(line: Line, identity: str) -> None:
    """End (KILL) a session of ours that we have lost and the server has not: it may hold the token for hours.

    Nothing happens if it has ended already, or if another session has its id by now. No proof of anything: the fence is.
    """
    if identity == line.identity:
        return
    ((session,),) = line.ask(f"SELECT IS_USED_LOCK('{identity}')")
    if session is None:
        return
    try:
        line.run(f"KILL {session}")
    except line.Error as error:
        if code_of(error) == NOT_OWNER:
            log.warning("could not end the lost session %s: %s", session, error, extra={"action": "kill"})
        elif code_of(error) != NO_SUCH_THREAD:
            raise
    else:
        log.info("ended the lost session %s", session, extra={"action": "kill"})


def elect(line: Line, token: bytes, patience: float) -> str | None:
    """Return the named lock by which this session is the one that runs a token; None if another session is that.

    Waits for ``patience`` seconds at most. One round trip; the lock ends with :func:`resign` or with the session.
    """
    name = election_name(token)
    return name if line.ask(f"SELECT GET_LOCK('{name}', {patience:g})") == [(1,)] else None


def resign(line: Line, election: str) -> None:
    """Give the lock of :func:`elect` back, on the session that has it."""
    line.run(f"DO RELEASE_LOCK('{election}')")
