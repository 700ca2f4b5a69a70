"""Our own session on a private server: it stays open, so that asking does not move the counters of connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pymysql

Row = tuple[Any, ...]

#: The server is shutting down; MariaDB: killed; gone before the question; before the answer; MySQL: timed out.
_SESSION_GONE = (1053, 1927, 2006, 2013, 4031)


@dataclass(frozen=True)
class Session:
    """One line of the server's process list; `time` is the seconds it has been in this command."""

    id: int
    user: str
    db: str | None
    command: str
    time: int
    info: str | None


class OwnSession:
    """A session that is made when it is first needed, and again when somebody has ended it. Any thread may ask."""

    def __init__(self, connect: Callable[[], pymysql.Connection[Any]]) -> None:
        self._connect = connect
        self._lock = threading.Lock()  # guards _session, and is held while it is asked
        self._session: pymysql.Connection[Any] | None = None

    def ask(self, statement: str, *args: object) -> list[Row]:
        """Run a statement and return its rows; once more if the session was gone."""
        import pymysql

        with self._lock:
            if self._session is None or not self._session.open:  # closed by an interrupt in its middle, say
                self._session = self._connect()
            try:
                return _fetch(self._session, statement, args)
            except pymysql.err.OperationalError as error:
                if error.args[0] not in _SESSION_GONE:
                    raise
                # A test has killed our session with all the others, and nothing that we ask is harmful twice.
                self._session = self._connect()
                return _fetch(self._session, statement, args)

    def close(self) -> None:
        """Say goodbye to the server; the next question makes a new session."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None and session.open:
            session.close()


def _fetch(session: pymysql.Connection[Any], statement: str, args: tuple[object, ...]) -> list[Row]:
    with session.cursor() as cursor:
        cursor.execute(statement, args or None)  # Without any, a per cent sign is one.
        return list(cursor.fetchall())
