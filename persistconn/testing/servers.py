"""A private MariaDB server for tests: a directory and a port of its own, gone without a trace afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from persistconn.testing.installation import ServerError, as_options, create_data_directory, find_mariadbd, user_option
from persistconn.testing.process import PortTaken, ServerProcess, pick_port

if TYPE_CHECKING:
    import pymysql
    from typing_extensions import Self

#: Fast, small, and truthful about kill -9: a commit is written to the operating system before it is acknowledged, so
#: it survives the death of the process (value 2). Only the fsync is left out, which guards against a power cut.
_DEFAULTS: dict[str, str | float] = {
    "innodb_flush_log_at_trx_commit": 2,
    "innodb_buffer_pool_size": "32M",
    "innodb_log_file_size": "8M",
    "log_bin": False,
    "performance_schema": False,
    "skip_name_resolve": True,
    "bind_address": "127.0.0.1",
    # 2 makes the server note each "Aborted connection", which is how a test sees who left without a word.
    "log_warnings": 2,
}
#: What counts already when the files are made: the server refuses to start on those of another size.
_LAYOUT = ("innodb_log_file_size", "innodb_buffer_pool_size", "innodb_page_size", "innodb_data_file_path")

_OURS = frozenset({"basedir", "datadir", "log_error", "pid_file", "port", "socket", "tmpdir", "user"})

_SOCKET_LIMIT = 107  # bytes of a unix socket's path on Linux; macOS allows 103
_NO_SUCH_THREAD = 1094
_SESSION_GONE = (1927, 2006, 2013)  # killed; gone before the question; gone before the answer
_LONG = 365 * 86400  # seconds; the longest wait_timeout there is

#: Not weak: a server that somebody forgot must still be closed at exit.
_open: set[MariaDB] = set()


@dataclass(frozen=True)
class Session:
    """One line of the server's process list; `time` is the seconds it has been in this command."""

    id: int
    user: str
    db: str | None
    command: str
    time: int
    info: str | None


class MariaDB:
    """A private server: `with MariaDB(wait_timeout=2) as server: pymysql.connect(**server.connect_args())`.

    Keyword arguments are server variables: True and False switch one on and off. The directory is a temporary one
    that `close()` removes; one that you name is yours and stays, with its data. Safe to use from several threads,
    except that starting and stopping it is for one thread at a time.
    """

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
        _refuse_ours(variables)
        self.binary = find_mariadbd(binary or "mariadbd")
        self.variables = {**_DEFAULTS, **variables}
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
        self._control = threading.Lock()  # guards _session, our own session, which looks at the others
        self._session: pymysql.Connection[Any] | None = None
        _open.add(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.pid else "stopped"
        return f"<MariaDB {self.host}:{self.port}, {state}>"

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
        """Start the server and wait until it has accepted a login: about 0.4 s the first time, 0.1 s again.

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
        # Without `ssl_disabled` PyMySQL spends 20 ms on a TLS context that this server has no use for.
        return pymysql.connect(**self.connect_args(autocommit=True, init_command=patience, ssl_disabled=True))

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

    def _create_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "tmp").mkdir(exist_ok=True)
        data = self.directory / "data"
        if data.exists():
            return
        layout = {name: value for name, value in self.variables.items() if name.replace("-", "_") in _LAYOUT}
        try:
            create_data_directory(self.binary, data, as_options(layout), self.user, self.password)
        except BaseException:
            shutil.rmtree(data, ignore_errors=True)  # a half-made one would be taken for a whole one next time
            raise

    def _launch(self) -> None:
        # A socket that a killed server left would let clients knock at a door without a house.
        Path(self.socket).unlink(missing_ok=True)
        process = ServerProcess(self._command(), self.log, leaves=self.directory if self._is_temporary else None)
        try:
            process.wait_until_ready()
        except BaseException:
            process.kill()
            raise
        self._process = process

    def _say_goodbye(self) -> ServerProcess | None:
        """Close our own session in order, and return the process that is to end now."""
        with self._control:
            session, self._session = self._session, None
        if session is not None and session.open:
            session.close()
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

    def _ask(self, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Ask on our own session, kept open so that asking does not move the counters of connections."""
        import pymysql

        with self._control:
            if self._session is None:
                self._session = self.admin()
            try:
                return _fetch(self._session, statement, args)
            except pymysql.err.OperationalError as error:
                if error.args[0] not in _SESSION_GONE:
                    raise
                # A test has killed our session with all the others, and nothing that we ask is harmful twice.
                self._session = self.admin()
                return _fetch(self._session, statement, args)


def _fetch(session: pymysql.Connection[Any], statement: str, args: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(statement, args)
        return list(cursor.fetchall())


def _refuse_ours(variables: dict[str, str | float]) -> None:
    for name in variables:
        if name.replace("-", "_") in _OURS:
            raise ValueError(f"{name} is set by MariaDB itself; name `directory`, `port` or `binary` instead")


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
