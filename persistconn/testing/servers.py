"""What private servers have in common: a directory and a port of their own, gone without a trace afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.installation import ServerError, as_options, user_option
from persistconn.testing.process import PortTaken, ServerProcess, pick_port
from persistconn.testing.watcher import Watcher

_OURS = frozenset({"basedir", "datadir", "log_error", "pid_file", "port", "socket", "tmpdir", "user"})

_SOCKET_LIMIT = 107  # bytes of a unix socket's path on Linux; macOS allows 103

#: Not weak: a server that somebody forgot must still be closed at exit.
_open: set[Server] = set()


class Server(AnyServer):
    """A private server. What sets MariaDB and MySQL apart stands in their own classes.

    Keyword arguments are server variables: True and False switch one on and off. The directory is a temporary one
    that `close()` removes; one that you name is yours and stays, with its data. Safe to use from several threads,
    except that starting and stopping it is for one thread at a time.
    """

    #: Variables that the keyword arguments come on top of.
    _defaults: ClassVar[Mapping[str, str | float]]
    #: What counts already when the files are made: the server refuses to start on those of another size or kind.
    _layout: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        binary: str | None = None,
        **variables: str | float,
    ) -> None:
        """Prepare a server; nothing is started. Raises ValueError for a variable that is ours to set."""
        super().__init__()
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
        _open.add(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.pid else "stopped"
        return f"<{type(self).__name__} {self.host}:{self.port}, {state}>"

    @property
    def pid(self) -> int | None:
        """The server's process, or None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.is_running() else None

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
        self.ask("SELECT 1")

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

    def restart(self, *, kill: bool = False) -> None:
        """Stop in order, or with SIGKILL, and start again: same data, same port, other session ids."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        process = self._process
        if process is None or not process.is_running():
            raise ServerError(f"{self!r} is not running, so it cannot be paused")
        process.pause()
        try:
            yield
        finally:
            process.resume()

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

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @abstractmethod
    def _find(self, binary: str | None) -> str:
        """Return the path of the server's program. Raises ServerNotFound."""

    @abstractmethod
    def _create_data(self, data: Path, options: list[str]) -> None:
        """Make the data directory, with the database `test` and one user who may do all. Raises ServerError."""

    def _admin_args(self) -> dict[str, Any]:
        # Without it PyMySQL spends 20 ms on a TLS context that nobody has a use for on one machine.
        return {"ssl_disabled": True}

    def _create_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "tmp").mkdir(exist_ok=True)
        except OSError as error:
            raise _explain_directory(self.directory, error) from error
        data = self.directory / "data"
        if data.exists():
            return
        watcher = Watcher.of(directory=self.directory) if self._is_temporary else None
        try:
            self._fill(data)
        finally:
            if watcher is not None:
                watcher.dismiss()

    def _fill(self, data: Path) -> None:
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


def _make_short_directory() -> Path:
    """Make a temporary directory whose path leaves room for a unix socket."""
    try:
        directory = tempfile.mkdtemp(prefix="persistconn-")
    except OSError as error:
        raise ServerError(
            f"there is no place for the server's files ({error}): set TMPDIR to a directory that you can write to, with"
            " 100 MB free: export TMPDIR=$HOME/tmp"
        ) from error
    if len(os.fsencode(directory)) > _SOCKET_LIMIT - len("/sock"):
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="persistconn-", dir="/tmp")
    return Path(directory)


def _explain_directory(directory: Path, error: OSError) -> ServerError:
    return ServerError(
        f"the server's directory {directory} cannot be made or written to ({error.strerror}): name another `directory`,"
        f" or none, or make it yours: sudo install -d -o $USER {directory}"
    )


@atexit.register
def _close_all() -> None:
    for server in list(_open):
        server.close()
