"""The server that a campaign runs against, and the questions that it is asked."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pymysql

from persistconn.testing import MariaDB, MySQL
from persistconn.testing.servers import Server

Row = tuple[Any, ...]
_PAUSE = 0.02
_DATABASE = "campaign"


class Place(Protocol):
    """A server with a database."""

    def connect_args(self, **extra: Any) -> dict[str, Any]:
        """Return the arguments of ``connect()``."""

    def admin(self) -> Any:
        """Return a bare connection in autocommit."""


class GivenServer:
    """A server that is named: one that somebody else runs, whose database is used as it is, or a private MySQL."""

    def __init__(self, name: str) -> None:
        """Take ``mysql://user:password@host:port/database``, or ``mysql``; raises ValueError for anything else.

        The private MySQL is started when it is first asked for, once in the process, and ends with it.
        """
        self._args = None if name == "mysql" else _parse(name)

    def connect_args(self, **extra: Any) -> dict[str, Any]:
        args = _private_mysql().connect_args() if self._args is None else self._args
        return {**args, **extra}

    def admin(self) -> Any:
        return _private_mysql().admin() if self._args is None else pymysql.connect(**self._args, autocommit=True)


def _parse(dsn: str) -> dict[str, Any]:
    parts = urlsplit(dsn)
    if parts.scheme != "mysql" or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("a server is named mysql (a private one), or mysql://user:password@host:port/database")
    return {
        "host": parts.hostname,
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.strip("/"),
    }


@functools.cache
def _private_mysql() -> Private:
    # Nobody closes it: its own exit handler does, and its watcher where a campaign ends without one.
    return Private(MySQL(max_connections=1000, innodb_buffer_pool_size="64M")).__enter__()


class Private:
    """A private server, on whose database no session is but the campaign's."""

    def __init__(self, server: Server | None = None, **variables: Any) -> None:
        """Prepare it: a MariaDB with these variables, unless it is given."""
        self.server = server or MariaDB(**variables)

    def __enter__(self) -> Private:
        self.server.__enter__()
        with contextlib.closing(self.server.admin()) as admin, admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_DATABASE} CHARACTER SET utf8mb4")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server.close()

    def connect_args(self, **extra: Any) -> dict[str, Any]:
        return self.server.connect_args(**{"database": _DATABASE, **extra})

    def admin(self) -> Any:
        admin = self.server.admin()
        admin.select_db(_DATABASE)
        return admin


def ask(place: Place, *statements: str) -> list[Row]:
    """Run statements on a bare connection of their own and return the rows of the last one."""
    with contextlib.closing(place.admin()) as admin, admin.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def sessions(place: Place) -> list[int]:
    """Return the ids of the clients' sessions on the place's database, but for the one that asks."""
    return [int(row[0]) for row in processes(place)]


def processes(place: Place) -> list[Row]:
    """Return what the server says of these sessions: id, host, command, seconds in it, state, statement."""
    database = place.connect_args()["database"]
    everything = "SELECT ID, HOST, COMMAND, TIME, STATE, INFO FROM information_schema.PROCESSLIST"
    return ask(place, f"{everything} WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' AND DB = '{database}'")


def status(place: Place, name: str) -> int:
    """Return a counter of SHOW GLOBAL STATUS."""
    ((_, value),) = ask(place, f"SHOW GLOBAL STATUS LIKE '{name}'")
    return int(value)


def wait_for(claim: Callable[[], object], limit: float) -> bool:
    """Wait until a claim is true; False if it is not within ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


@contextlib.contextmanager
def table(place: Place, name: str, columns: str) -> Iterator[str]:
    """Make a table without a unique key, in which a write that was doubled can be seen; dropped at the end."""
    ask(place, f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} ({columns}) ENGINE=InnoDB")
    yield name
    ask(place, f"DROP TABLE IF EXISTS {name}")


def counts(place: Place, name: str) -> Mapping[int, int]:
    """Return how often each id is in a table."""
    rows = ask(place, f"SELECT id, COUNT(*) FROM {name} GROUP BY id")  # noqa: S608 - the campaign's own name
    return {int(number): int(count) for number, count in rows}
