"""What the contract suite runs over: each driver, each server, each transport."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from persistconn.drivers import Driver, driver_for
from persistconn.testing import AnyServer, eventually
from persistconn.testing.fleet import Fleet, Wish
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


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a key and a certificate that signs itself."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject], check=True, capture_output=True
    )
    return key, certificate


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def contract_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mysql_servers: Fleet
) -> Iterator[AnyServer]:
    """A server of this suite's own, because its tests stop and pause it. It speaks TLS."""
    variables: dict[str, Any] = {"max_connect_errors": 1000000}  # Cut handshakes must not block us.
    if request.param == "mariadb":  # MySQL makes its certificates itself.
        key, certificate = make_certificate(tmp_path_factory.mktemp("certificates"))
        variables.update(ssl_key=str(key), ssl_cert=str(certificate))
    wish = Wish(tuple(variables.items()), own="the contract suite")
    with mysql_servers.lend(request.getfixturevalue(f"{request.param}_kind"), wish) as server:
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
    return contract_server.connect_args(database=database, autocommit=True, **PLAIN[module.__name__])


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
        if not isinstance(contract_server, Server):
            pytest.skip("no Unix socket leads into a container")
        arguments.update(host="localhost", unix_socket=contract_server.socket)
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
            to = contract_server.connect_args()
            return stack.enter_context(Relay(to["host"], to["port"], answers=answers))

        yield relay
