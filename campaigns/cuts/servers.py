"""The servers of a sweep: a private MariaDB, and MySQL: at an address, private, or in a container."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from campaigns.places import GivenServer
from persistconn.testing import AnyServer, MariaDB, MySQL, ServerNotFound, find_mysqld
from persistconn.testing.containers import IMAGE_VARIABLE, MySQLContainer

_ATTEMPTS = 1_000_000  # cut handshakes, which a server would answer by locking the host out
_LEFTOVERS = r"""SELECT ID, USER, DB, COMMAND FROM information_schema.PROCESSLIST
    WHERE DB LIKE 'cuts\_%' OR USER = 'unauthenticated user'"""


@dataclass(frozen=True)
class Access:
    """How to reach a server as its administrator; can be sent to another process."""

    name: str
    arguments: dict[str, Any]

    def admin(self, **extra: Any) -> Any:
        """Return a bare connection in autocommit."""
        return pymysql.connect(**{**self.arguments, "ssl_disabled": True, "autocommit": True, **extra})

    def leftovers(self, patience: float = 60.0) -> list[str]:
        """Return the sessions that the sweep has left, those included that never got through their login."""
        deadline = time.monotonic() + patience
        with self.admin() as admin, admin.cursor() as cursor:
            while cursor.execute(_LEFTOVERS) and time.monotonic() < deadline:
                time.sleep(0.1)
            return [" ".join(map(str, row)) for row in cursor.fetchall()]


@contextlib.contextmanager
def serving(names: Iterable[str], mysql: str | None = None) -> Iterator[dict[str, Access]]:
    """Yield the servers of these names; ``mysql`` is a DSN, or None for the MySQL that ``is_mysql_here()`` speaks of."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(_mariadb() if name == "mariadb" else _mysql(mysql)) for name in names}


def is_mysql_here() -> bool:
    """Tell whether there is a MySQL here: an image of a container that is named, or a program to be started privately."""
    return bool(os.environ.get(IMAGE_VARIABLE)) or _has_mysqld()


def _has_mysqld() -> bool:
    try:
        find_mysqld()
    except ServerNotFound:
        return False
    return True


@contextlib.contextmanager
def _mariadb() -> Iterator[Access]:
    with tempfile.TemporaryDirectory(prefix="persistconn-cuts-") as directory:
        key, certificate = _make_certificate(Path(directory))
        with MariaDB(
            ssl_key=str(key), ssl_cert=str(certificate), max_connect_errors=_ATTEMPTS, max_connections=1000
        ) as server:
            yield Access("mariadb", server.connect_args())


def _make_certificate(directory: Path) -> tuple[Path, Path]:
    key, certificate = directory / "key.pem", directory / "cert.pem"
    asked = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    subprocess.run([*asked, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return key, certificate


@contextlib.contextmanager
def _mysql(dsn: str | None) -> Iterator[Access]:
    if dsn is not None:
        yield _prepared(Access("mysql", GivenServer(dsn).connect_args()))
    else:
        with _make_mysql(max_connections=1000, innodb_buffer_pool_size="64M") as server:
            yield _prepared(Access("mysql", server.connect_args()))


def _make_mysql(**variables: Any) -> AnyServer:
    return MySQLContainer(**variables) if os.environ.get(IMAGE_VARIABLE) else MySQL(**variables)


def _prepared(access: Access) -> Access:
    """Make a server ready for thousands of cut handshakes, and for as many commits as fast as they come."""
    with access.admin() as admin, admin.cursor() as cursor:
        cursor.execute(f"SET GLOBAL max_connect_errors = {_ATTEMPTS}")
        cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    return access
