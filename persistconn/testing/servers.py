"""What private servers have in common: a directory and a port of their own, gone without a trace afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from persistconn.testing.asking import OwnSession, Row, Session
from persistconn.testing.installation import ServerError, as_options, user_option
from persistconn.testing.process import PortTaken, ServerProcess, pick_port

if TYPE_CHECKING:
    import pymysql
    from typing_extensions import Self

_OURS = frozenset({"basedir", "datadir", "log_error", "pid_file", "port", "socket", "tmpdir", "user"})

_SOCKET_LIMIT = 107  # bytes of a unix socket's path on Linux; macOS allows 103
_NO_SUCH_THREAD = 1094
_LONG = 365 * 86400  # seconds; the longest wait_timeout there is

#: Not weak: a server that somebody forgot must still be closed at exit.
_open: set[Server] = set()


class Server(ABC):
    """A private server. What sets MariaDB and MySQL apart stands in their own classes.

    Keyword arguments are server variables: True and False switch one on and off. The directory is a temporary one
    that `close()` removes; one that you name is yours and stays, with its data. Safe to use from several threads,
    except that starting and stopping it is for one thread at a time.
    """

    #: Variables that the keyword arguments come on top of.
    _defaults: ClassVar[Mapping[str, str | float]]
    #: What counts already when the files are made: the server refuses to start on those of another size or kind.
    _layout: ClassVar[tuple[str, ...]]

    host = "127.0.0.1"
    user = "test"
    password = "test"  # noqa: S105 - of a server that listens on this machine alone

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        binary: str | None = None,
        **variables: str | float,
    ) -> None:
        """Prepare a server; nothing is started. Raises ValueError for a variable that is ours to set."""
        self._refuse_ours(variables)
        self.binary = self._find(binary)
        self.variables = {**self._defaults, **variables}
        self._is_temporary = directory is None
        self.directory = Path(directory) if directory is not None else _make_short_directory()
        self.socket = str(self.directory / "sock")
        if len(os.fsencode(self.socket)) > _SOCKET_LIMIT:
            raise ValueError(f"directory is too long for a unix socket ({self.socket}: over {_SOCKET_LIMIT} bytes)")
        self.log = self.directory / "error.log"
        self.port = port or pick_port(self.host)
        self._may_change_port = port is None
        self._process: ServerProcess | None = None
        self._home = os.getpid()
        self._own_session = OwnSession(self.admin)
        _open.add(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.pid else "stopped"
        return f"<{type(self).__name__} {self.host}:{self.port}, {state}>"

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

    @property
    def pid(self) -> int | None:
        """The server's process, or None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.is_running() else None

    @property
    def dsn(self) -> str:
        """The address of the database `test`, for those who want one string."""
        return f"mysql://{self.user}:{self.password}@{self.host}:{self.port}/test"

    def connect_args(self, **extra: Any) -> dict[str, Any]:
        """Return the arguments of `connect()` for the database `test`; `extra` adds to them or replaces them."""
        args = {"host": self.host, "port": self.port, "user": self.user, "password": self.password, "database": "test"}
        return {**args, **extra}

    def start(self) -> None:
        """Start the server and wait until it has accepted a login.

        Blocks for 0.4 s the first time and 0.1 s again (MariaDB), for 0.7 s (MySQL; 4 s where its first data directory
        has yet to be made).
        Raises ServerError with the last lines of the log. A port that was taken meanwhile is exchanged for another
        one, unless it was given or clients know it already.
        """
        if self.pid is not None:
            return
        _open.add(self)
        self._create_directory()
        while True:
            try:
                self._launch()
                break
            except PortTaken:
                if not self._may_change_port:
                    raise
                self.port = pick_port(self.host)
        self._may_change_port = False
        self._ask("SELECT 1")

    def stop(self) -> None:
        """Stop the server in order (SIGTERM) and wait for its end; data and port stay for the next start.

        Raises ServerError if it does not end within a minute; it is killed then.
        """
        process = self._say_goodbye()
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would, and wait until the process is gone."""
        process = self._say_goodbye()
        if process is not None:
            process.kill()

    def restart(self) -> None:
        """Stop in order and start again: same data, same port, other session ids."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its directory if it is a temporary one; a second call does nothing."""
        if os.getpid() != self._home:
            return  # a forked child: the server belongs to the parent
        try:
            self.stop()
        finally:
            _open.discard(self)
            if self._is_temporary:
                shutil.rmtree(self.directory, ignore_errors=True)

    def admin(self) -> pymysql.Connection[Any]:
        """Return a new bare connection with all privileges, in autocommit, that `wait_timeout` does not end."""
        import pymysql

        patience = f"SET SESSION wait_timeout = {_LONG}, SESSION interactive_timeout = {_LONG}"
        # Without `ssl_disabled` PyMySQL spends 20 ms on a TLS context that nobody has a use for on one machine.
        plain = {"autocommit": True, "init_command": patience, "ssl_disabled": True}
        return pymysql.connect(**self.connect_args(**plain, **self._admin_args()))

    def processlist(self) -> list[Session]:
        """Return the sessions of clients, oldest first, without the one that asks and the server's own threads."""
        rows = self._ask(
            "SELECT ID, USER, DB, COMMAND, TIME, INFO FROM information_schema.PROCESSLIST"
            " WHERE ID <> CONNECTION_ID() AND USER <> 'system user' AND COMMAND <> 'Daemon' ORDER BY ID"
        )
        return [Session(*row) for row in rows]

    def kill_session(self, session_id: int) -> None:
        """Close a session as an administrator would (KILL). One that has gone already is no error."""
        import pymysql

        try:
            self._ask("KILL %s", session_id)
        except pymysql.err.OperationalError as error:
            if error.args[0] != _NO_SUCH_THREAD:
                raise

    def status(self, name: str) -> int:
        """Return a counter of SHOW GLOBAL STATUS; each call adds one to Questions. Raises ServerError if unknown."""
        rows = self._ask("SHOW GLOBAL STATUS WHERE Variable_name = %s", name)
        if not rows:
            raise ServerError(f"the server has no status counter {name!r}; SHOW GLOBAL STATUS lists them")
        return int(rows[0][1])

    def aborted_in_log(self) -> list[str]:
        """Return the log's lines on connections whose client left without COM_QUIT, or that were cut by the server."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return [line for line in text.splitlines() if "Aborted connection" in line]

    @abstractmethod
    def _find(self, binary: str | None) -> str:
        """Return the path of the server's program. Raises ServerNotFound."""

    @abstractmethod
    def _create_data(self, data: Path, options: list[str]) -> None:
        """Make the data directory, with the database `test` and one user who may do all. Raises ServerError."""

    def _admin_args(self) -> dict[str, Any]:
        """Return what our own connections need beside the address."""
        return {}

    def _create_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "tmp").mkdir(exist_ok=True)
        data = self.directory / "data"
        if data.exists():
            return
        layout = {name: value for name, value in self.variables.items() if name.replace("-", "_") in self._layout}
        try:
            self._create_data(data, as_options(layout))
        except BaseException:
            shutil.rmtree(data, ignore_errors=True)  # a half-made one would be taken for a whole one next time
            raise

    def _launch(self) -> None:
        # A socket that a killed server left would let clients knock at a door without a house, and MySQL does not
        # start on a lock whose pid belongs to somebody else by now.
        for left in (self.socket, f"{self.socket}.lock"):
            Path(left).unlink(missing_ok=True)
        process = ServerProcess(self._command(), self.log, leaves=self.directory if self._is_temporary else None)
        try:
            process.wait_until_ready()
        except BaseException:
            process.kill()
            raise
        self._process = process

    def _say_goodbye(self) -> ServerProcess | None:
        """Close our own session in order, and return the process that is to end now."""
        self._own_session.close()
        process, self._process = self._process, None
        return process

    def _command(self) -> list[str]:
        places: dict[str, str | float] = {
            "datadir": str(self.directory / "data"),
            "tmpdir": str(self.directory / "tmp"),
            "pid_file": str(self.directory / "pid"),
            "socket": self.socket,
            "port": self.port,
        }
        return [self.binary, "--no-defaults", *user_option(), *as_options(places), *as_options(self.variables)]

    @classmethod
    def _refuse_ours(cls, variables: Mapping[str, str | float]) -> None:
        for name in variables:
            if name.replace("-", "_") in _OURS:
                raise ValueError(
                    f"{name} is set by {cls.__name__} itself; name `directory`, `port` or `binary` instead"
                )

    def _ask(self, statement: str, *args: object) -> list[Row]:
        return self._own_session.ask(statement, *args)


def _make_short_directory() -> Path:
    """Make a temporary directory whose path leaves room for a unix socket."""
    directory = tempfile.mkdtemp(prefix="persistconn-")
    if len(os.fsencode(directory)) > _SOCKET_LIMIT - len("/sock"):
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="persistconn-", dir="/tmp")
    return Path(directory)


@atexit.register
def _close_all() -> None:
    for server in list(_open):
        server.close()
