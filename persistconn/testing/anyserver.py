"""What a test may ask of a server and do to it, wherever that server runs."""

from __future__ import annotations

import dataclasses
import weakref
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from persistconn.testing.asking import OwnSession, Row, Session
from persistconn.testing.installation import ServerError

if TYPE_CHECKING:
    import pymysql
    from typing_extensions import Self

    from persistconn.testing.faults import FaultProxy

_NO_SUCH_THREAD = 1094
_INTERRUPTED = 1317  # MySQL's answer to a session that has killed itself
_LONG = 365 * 86400  # seconds; the longest wait_timeout there is


class AnyServer(ABC):
    """A MySQL or MariaDB server for tests: private, in a container, or one that is there anyhow.

    Safe to use from several threads, except that starting and stopping it is for one thread at a time.
    """

    host = "127.0.0.1"
    port: int
    user = "test"
    password = "test"  # noqa: S105 - of a server that is thrown away
    database = "test"

    def __init__(self) -> None:
        self.proxy: FaultProxy | None = None
        """What `connect_args()` leads to in the server's stead, while there is one. `admin()` goes straight."""
        #: What `admin()` has made: these are the test's hands, and no fault may meet them.
        self._admins: weakref.WeakSet[Any] = weakref.WeakSet()
        self._own_session = OwnSession(self.admin)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it answers. Raises ServerError, which says why not."""

    @abstractmethod
    def restart(self, *, kill: bool = False) -> None:
        """Stop it in order, or with SIGKILL, and start it again: same data, same port, other session ids."""

    @abstractmethod
    def paused(self) -> AbstractContextManager[None]:
        """Freeze the server for the block: it accepts connections and statements, and answers nothing.

        To a client this looks like a peer that has vanished. `ask()`, and what is built on it, blocks until the end.
        Raises ServerError if the server is not running.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind; a second call does nothing."""

    # --- where it is -----------------------------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """The address of its database, for those who want one string."""
        args = self.connect_args()
        login = f"{quote(args['user'], safe='')}:{quote(args['password'], safe='')}"
        return f"mysql://{login}@{args['host']}:{args['port']}/{args['database']}"

    def connect_args(self, **extra: Any) -> dict[str, Any]:
        """Return the arguments of `connect()` for its database; `extra` adds to them or replaces them."""
        args = self._direct_args()
        return {**(args if self.proxy is None else self.proxy.connect_args(plain(args, extra))), **extra}

    def django_settings(self, **extra: Any) -> dict[str, Any]:
        """Return an entry of Django's DATABASES for it, on persistconn's engine; `extra` adds to it or replaces."""
        return django_settings(self.connect_args(), extra)

    def _direct_args(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }

    # --- what it is asked ------------------------------------------------------------------------------------------

    def admin(self) -> pymysql.Connection[Any]:
        """Return a new bare connection with all privileges, in autocommit, that `wait_timeout` does not end."""
        import pymysql

        patience = f"SET SESSION wait_timeout = {_LONG}, SESSION interactive_timeout = {_LONG}"
        own = {"autocommit": True, "init_command": patience, **self._admin_args()}
        made = pymysql.connect(**{**self._direct_args(), **own})
        self._admins.add(made)
        return made

    def _admin_args(self) -> dict[str, Any]:
        """Return what our own connections need beside the address."""
        return {}

    def ask(self, statement: str, *args: object) -> list[Row]:
        """Run a statement on a session of our own, which stays open, and return its rows."""
        return self._own_session.ask(statement, *args)

    _ask = ask

    def processlist(self) -> list[Session]:
        """Return the sessions of clients, oldest first, without the one that asks and the server's own threads."""
        rows = self.ask(
            "SELECT ID, USER, DB, COMMAND, TIME, HEX(INFO) FROM information_schema.PROCESSLIST"
            " WHERE ID <> CONNECTION_ID() AND USER <> 'system user' AND COMMAND <> 'Daemon' ORDER BY ID"
        )
        sessions = (Session(*row) for row in rows)
        return [dataclasses.replace(session, info=_as_text(session.info)) for session in sessions]

    def clients(self) -> list[Session]:
        """Return the sessions of the code under test: the process list without those that `admin()` has made."""
        ours = {made.thread_id() for made in list(self._admins) if made.open}
        return [session for session in self.processlist() if session.id not in ours]

    def kill_session(self, session_id: int) -> None:
        """Close a session as an administrator would (KILL). One that has gone already is no error, nor is our own."""
        import pymysql

        try:
            self.ask("KILL %s", session_id)
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (_NO_SUCH_THREAD, _INTERRUPTED):
                raise

    def status(self, name: str) -> int:
        """Return a counter of SHOW GLOBAL STATUS; each call adds one to Questions. Raises ServerError if unknown."""
        rows = self.ask("SHOW GLOBAL STATUS WHERE Variable_name = %s", name)
        if not rows:
            raise ServerError(f"the server has no status counter {name!r}; SHOW GLOBAL STATUS lists them")
        return int(rows[0][1])

    @abstractmethod
    def read_log(self) -> str:
        """Return what the server has written to its error log so far. Raises ServerError where that is out of reach."""

    def aborted_in_log(self) -> list[str]:
        """Return the log's lines on connections whose client left without COM_QUIT, or that were cut by the server."""
        return [line for line in self.read_log().splitlines() if "Aborted connection" in line]


def _as_text(info: str | None) -> str | None:
    # A statement may have bytes in it that are no text, which the driver would refuse to decode.
    return None if info is None else bytes.fromhex(info).decode(errors="replace")


def plain(args: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return connect arguments without TLS, behind which no proxy reads a statement, unless it is `chosen`."""
    if {"ssl", "ssl_mode", "ssl_disabled"} & {*args, *chosen}:
        return args
    return {**args, "ssl_disabled": True}


def django_settings(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return connect arguments as an entry of Django's DATABASES; arguments without a place there become OPTIONS."""
    places = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "database": "NAME"}
    entry: dict[str, Any] = {"ENGINE": "persistconn.backends.mysql"}
    entry.update({places[name]: value for name, value in args.items() if name in places})
    options = {name: value for name, value in args.items() if name not in places}
    return {**entry, "OPTIONS": {**options, **extra.pop("OPTIONS", {})}, **extra}
