"""What the contract suite runs over: each driver, each server, each transport."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from persistconn.drivers import Driver, driver_for
from persistconn.testing import MariaDB, MySQL, ServerNotFound, eventually, find_mariadbd, find_mysqld
from persistconn.testing.process import pick_port
from persistconn.testing.servers import Server

NO_MYSQLCLIENT = (
    "mysqlclient is not installed; on Debian and Ubuntu: "
    "sudo apt-get install gcc pkg-config libmariadb-dev python3-dev && python -m pip install 'mysqlclient>=2.2'"
)


def mysqlclient() -> ModuleType:
    """Import mysqlclient, or skip on a laptop without it; where it is required, its absence fails."""
    try:
        import MySQLdb
    except ImportError:
        if os.environ.get("PERSISTCONN_REQUIRE_MYSQLCLIENT"):
            pytest.fail(NO_MYSQLCLIENT, pytrace=False)
        pytest.skip(NO_MYSQLCLIENT)
    return MySQLdb


class PrivateServer:
    """A server on this machine, with TLS."""

    def __init__(self, private: Server) -> None:
        self.private = private
        self.name = type(private).__name__

    def __enter__(self) -> PrivateServer:
        self.private.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.private.close()

    def arguments(self, **extra: Any) -> dict[str, Any]:
        return self.private.connect_args(**extra)

    @property
    def unix_socket(self) -> str | None:
        return self.private.socket

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.private._ask(sql)

    def kill_session(self, session: int) -> None:
        self.private.kill_session(session)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process as it is: its sockets stay, and nobody answers."""
        assert self.private.pid is not None
        os.kill(self.private.pid, signal.SIGSTOP)
        time.sleep(0.1)  # Its threads stop one by one, each when it next runs.
        try:
            yield
        finally:
            os.kill(self.private.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.private.restart()

    def log(self) -> str:
        return self.private.log.read_text(errors="replace")


class ContainerServer:
    """MySQL in a container, from the image that ``PERSISTCONN_MYSQL_IMAGE`` names."""

    name = "MySQL"
    unix_socket = None

    def __init__(self, image: str) -> None:
        from testcontainers.core.container import DockerContainer

        self._port = pick_port("127.0.0.1")
        self._container = (
            DockerContainer(image)
            .with_env("MYSQL_ROOT_PASSWORD", "test")
            .with_env("MYSQL_DATABASE", "test")
            .with_bind_ports(3306, self._port)
            .with_command(["--log-error-verbosity=3", "--max-connect-errors=1000000"])
        )
        self._admin: Any = None

    def __enter__(self) -> ContainerServer:
        self._container.start()
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._container.stop()

    def arguments(self, **extra: Any) -> dict[str, Any]:
        where = {"host": "127.0.0.1", "port": self._port, "user": "root", "password": "test", "database": "test"}
        return {**where, **extra}

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        import pymysql

        if self._admin is None:
            self._admin = pymysql.connect(**self.arguments(autocommit=True))
        with self._admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def kill_session(self, session: int) -> None:
        self.ask(f"KILL {session}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        inside = self._container.get_wrapped_container()
        inside.kill("SIGSTOP")
        time.sleep(0.3)
        try:
            yield
        finally:
            inside.kill("SIGCONT")

    def restart(self) -> None:
        self._admin = None
        inside = self._container.get_wrapped_container()
        inside.stop(timeout=60)
        inside.start()
        self._wait()

    def log(self) -> str:
        return b"".join(self._container.get_logs()).decode(errors="replace")

    def _wait(self) -> None:
        def answers() -> bool:
            try:
                return bool(self.ask("SELECT 1"))
            except Exception:
                return False

        eventually(answers, timeout=120)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a key and a certificate that signs itself."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject], check=True, capture_output=True
    )
    return key, certificate


PATIENT = {"max_connect_errors": 1000000}
"""Servers that do not lock out a host whose handshakes are cut."""


def mariadb(certificates: Path) -> Any:
    """A private MariaDB; without a server skip on a laptop, and fail in CI."""
    try:
        find_mariadbd()
    except ServerNotFound as missing:
        skip_or_fail(str(missing), "CI", "PERSISTCONN_REQUIRE_SERVER")
    key, certificate = make_certificate(certificates)
    return PrivateServer(MariaDB(ssl_key=str(key), ssl_cert=str(certificate), **PATIENT))


def mysql() -> Any:
    """A private MySQL, or the image that is named; without either skip, or fail where MySQL is required."""
    try:
        find_mysqld()
    except ServerNotFound as missing:
        image = os.environ.get("PERSISTCONN_MYSQL_IMAGE")
        if image:
            return ContainerServer(image)
        skip_or_fail(f"{missing}; or PERSISTCONN_MYSQL_IMAGE to an image of MySQL", "PERSISTCONN_REQUIRE_MYSQL")
    # It has made its certificates itself.
    return PrivateServer(MySQL(**PATIENT))


def skip_or_fail(missing: str, *requirements: str) -> NoReturn:
    """Say what is missing; where one of these variables is set, a skipped test would prove nothing."""
    if any(map(os.environ.get, requirements)):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def contract_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of this suite's own, because its tests stop and pause it."""
    server = mysql() if request.param == "mysql" else mariadb(tmp_path_factory.mktemp("certificates"))
    with server:
        yield server


@pytest.fixture(params=["pymysql", "MySQLdb"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each module that there is a driver for."""
    if request.param == "MySQLdb":
        return mysqlclient()
    import pymysql

    return pymysql


@pytest.fixture
def fast_reads() -> bool:
    """The policy's setting; some tests run with it off as well."""
    return True


@pytest.fixture
def driver(module: ModuleType, fast_reads: bool) -> Driver:
    """The driver under test."""
    return driver_for(module, fast_reads=fast_reads)


PLAIN = {"pymysql": {"ssl_disabled": True}, "MySQLdb": {"ssl_mode": "DISABLED"}}
ENCRYPTED = {"pymysql": {"ssl": {"verify_mode": "none"}}, "MySQLdb": {"ssl_mode": "REQUIRED"}}


@pytest.fixture(params=["tcp", "tls", "unix"])
def transport(request: pytest.FixtureRequest) -> str:
    """How the client reaches the server. Only the tests that ask for it run over all of them."""
    return str(request.param)


@pytest.fixture
def database(contract_server: Any) -> Iterator[str]:
    """The name of a database that is this test's own."""
    name = f"t_{secrets.token_hex(6)}"
    contract_server.ask(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    contract_server.ask(f"CREATE TABLE {name}.t (id INT PRIMARY KEY AUTO_INCREMENT, x INT) ENGINE=InnoDB")
    yield name
    for session, db in contract_server.ask("SELECT ID, DB FROM information_schema.PROCESSLIST"):
        if db == name:
            with contextlib.suppress(Exception):
                contract_server.kill_session(session)
    contract_server.ask(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def arguments(contract_server: Any, module: ModuleType, database: str) -> dict[str, Any]:
    """Connect arguments over plain TCP, in autocommit."""
    return contract_server.arguments(database=database, autocommit=True, **PLAIN[module.__name__])


@pytest.fixture
def arguments_over(
    contract_server: Any, module: ModuleType, arguments: dict[str, Any], transport: str
) -> dict[str, Any]:
    """Connect arguments over each transport."""
    if transport == "tls":
        for name in PLAIN[module.__name__]:
            arguments.pop(name)
        arguments.update(ENCRYPTED[module.__name__])
    elif transport == "unix":
        if contract_server.unix_socket is None:
            pytest.skip(f"no Unix socket leads to {contract_server.name} in a container")
        arguments.update(host="localhost", unix_socket=contract_server.unix_socket)
    return arguments


@pytest.fixture
def once_under_way(
    contract_server: Any,
) -> Callable[[int, Callable[[], object]], contextlib.AbstractContextManager[None]]:
    """Beside a block: do something as soon as the server is at the statement that the block sends in a session."""
    ask = "SELECT 1 FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query' AND INFO IS NOT NULL AND ID = "

    @contextlib.contextmanager
    def beside(session: int, act: Callable[[], object]) -> Iterator[None]:
        def wait_and_act() -> None:
            eventually(lambda: contract_server.ask(f"{ask}{session}"))
            act()

        with ThreadPoolExecutor(1) as thread:
            acting = thread.submit(wait_and_act)
            yield
            acting.result()

    return beside


Connect = Callable[..., Any]


@pytest.fixture
def connect(driver: Driver) -> Iterator[Connect]:
    """Connect through the driver; whatever is left at the test's end is abandoned."""
    made: list[Any] = []

    def connect(arguments: dict[str, Any], timeout: float = 10.0, **extra: Any) -> Any:
        made.append(driver.connect((), {**arguments, **extra}, timeout))
        return made[-1]

    yield connect
    for raw in made:
        driver.abandon(raw)


class Relay:
    """A way to a server that can fall silent: it accepts and reads, and passes nothing on any more."""

    def __init__(self, host: str, port: int, *, answers: int | None = None) -> None:
        """Fall silent after so many chunks from the server; 0 never passes on a byte, None never falls silent."""
        self._to = (host, port)
        self._left = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def fall_silent(self) -> None:
        """Pass nothing on from here, in either direction."""
        self._left = 0

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(self._to)
                self._sockets += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._left is not None and self._left <= 0:
                    continue
                if counted and self._left is not None:
                    self._left -= 1
                sink.sendall(data)


@pytest.fixture
def relay(contract_server: Any) -> Iterator[Callable[..., Relay]]:
    """Make relays to the server."""
    with contextlib.ExitStack() as stack:

        def relay(answers: int | None = None) -> Relay:
            to = contract_server.arguments()
            return stack.enter_context(Relay(to["host"], to["port"], answers=answers))

        yield relay
