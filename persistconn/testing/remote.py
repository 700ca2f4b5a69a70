"""A server that is there anyhow, named by a DSN."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.installation import ServerError

_EXAMPLE = "mysql://user:password@host:3306/database"
_SCHEMES = ("mysql", "mariadb", "mysql+pymysql", "mysql+mysqldb")
_PORT = 3306


class Remote(AnyServer):
    """A server named by a DSN. Its user needs the right to create databases; PROCESS and CONNECTION_ADMIN (or SUPER) to kill.

    Neither started nor stopped, and its variables stay as they are.
    """

    def __init__(self, dsn: str) -> None:
        """Raise ValueError for what is no such address; connects to nothing."""
        parts = _parse(dsn)
        super().__init__()
        self.host = parts.hostname or ""
        self.port = parts.port or _PORT
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.database = unquote(parts.path.strip("/"))

    def __repr__(self) -> str:
        return f"<Remote {self.host}:{self.port}>"

    def start(self) -> None:
        """See whether it answers. Raises ServerError if not."""
        import pymysql

        try:
            self.ask("SELECT 1")
        except pymysql.err.MySQLError as error:
            raise ServerError(
                f"no login at {self.host}:{self.port} as {self.user!r}: {error.args[-1]}; look at the DSN"
            ) from error

    def restart(self, *, kill: bool = False) -> NoReturn:  # noqa: ARG002 - it can do neither
        """Raise ServerError: it is not ours."""
        raise ServerError(
            f"{self.host}:{self.port} is not ours to restart: take --persistconn-server=local or container for this test"
        )

    def paused(self) -> NoReturn:
        """Raise ServerError: it is not ours."""
        raise ServerError(
            f"{self.host}:{self.port} is not ours to pause: take --persistconn-server=local or container for this test"
        )

    def read_log(self) -> NoReturn:
        """Raise ServerError: its log is a file of another machine."""
        raise ServerError(
            f"the log of {self.host}:{self.port} is out of reach: take --persistconn-server=local or container"
        )

    def close(self) -> None:
        self._own_session.close()


def _parse(dsn: str) -> SplitResult:
    parts = _split(dsn)
    if parts is None or not (parts.hostname and parts.username and parts.path.strip("/")):
        # Not the value: there is a password in it.
        raise ValueError(f"a server's DSN is written {_EXAMPLE}, and this one is not")
    return parts


def _split(dsn: str) -> SplitResult | None:
    try:
        parts = urlsplit(dsn)
        is_whole = parts.scheme in _SCHEMES and parts.port != 0  # No number at all raises here.
    except ValueError:
        return None
    return parts if is_whole else None
