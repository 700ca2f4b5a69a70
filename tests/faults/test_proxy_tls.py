"""Under TLS the proxy cannot read, but it counts the records: cuts still strike at a chosen place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import (
    Cut,
    Direction,
    Fault,
    FaultProxy,
    Kind,
    Place,
    Reset,
    Rule,
    Where,
    to_client,
    to_server,
)

pytestmark = pytest.mark.server

INSERT = "INSERT INTO t VALUES (1)"


@pytest.fixture(scope="module")
def tls_server(server: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A server with a certificate of its own; `server` is there for its skip alone."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    with MariaDB(ssl_cert=str(certificate), ssl_key=str(key)) as tls_server:
        yield tls_server


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate; a missing `openssl` fails in CI, for a skipped test proves nothing."""
    if shutil.which("openssl") is None:
        missing = "no openssl on this machine: install it with `apt-get install openssl`"
        if os.environ.get("CI") or os.environ.get("PERSISTCONN_REQUIRE_SERVER"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    certificate, key = directory / "cert.pem", directory / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    places = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", "-x509", *kind, *places], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def proxy(tls_server: MariaDB) -> Iterator[FaultProxy]:
    """A proxy before the server with TLS."""
    with FaultProxy(tls_server.host, tls_server.port) as proxy:
        yield proxy


@pytest.fixture
def admin(tls_server: MariaDB) -> Iterator[pymysql.Connection[Any]]:
    """A connection that does not go through the proxy, to an empty table `t`."""
    with closing(tls_server.admin()) as admin:
        ask(admin, "CREATE OR REPLACE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        yield admin


def connect(proxy: FaultProxy, server: MariaDB) -> pymysql.Connection[Any]:
    args = server.connect_args(autocommit=True, read_timeout=30, ssl={"check_hostname": False, "verify_mode": "none"})
    return pymysql.connect(**proxy.connect_args(args))


def ask(connection: pymysql.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_conversation_goes_over_to_records(proxy: FaultProxy, tls_server: MariaDB) -> None:
    """Greeting and the request for TLS are packets, all else is records; no text is seen, nor the login."""
    with closing(connect(proxy, tls_server)) as client:
        ((cipher,),) = [row[1:] for row in ask(client, "SHOW STATUS LIKE 'Ssl_cipher'")]
        assert cipher
    eventually(lambda: proxy.connections == 0)
    kinds = {direction: [p.kind for p in proxy.trace if p.direction is direction] for direction in Direction}
    assert kinds[Direction.TO_CLIENT][0] is Kind.GREETING
    assert kinds[Direction.TO_SERVER][:2] == [Kind.SSL_REQUEST, Kind.TLS_HANDSHAKE]
    later = set(kinds[Direction.TO_SERVER][2:] + kinds[Direction.TO_CLIENT][1:])
    assert Kind.TLS_DATA in later
    assert later <= {Kind.TLS_HANDSHAKE, Kind.TLS_DATA, Kind.TLS_OTHER, Kind.TLS_ALERT}
    assert {packet.words for packet in proxy.trace} == {""}


@pytest.mark.parametrize(
    ("where", "is_there", "is_answered"),
    [
        (to_server(kind=Kind.TLS_DATA), False, False),
        (to_server(kind=Kind.TLS_DATA, place=Place.MIDDLE), False, False),
        (to_server(kind=Kind.TLS_DATA, place=Place.AFTER), True, False),
        (to_client(kind=Kind.TLS_DATA), True, False),
        (to_client(kind=Kind.TLS_DATA, place=Place.MIDDLE), True, False),
        (to_client(kind=Kind.TLS_DATA, place=Place.AFTER), True, True),
    ],
)
@pytest.mark.parametrize("fault", [Cut(), Reset()])
def test_cut_decides_by_its_place(
    fault: Fault,
    where: Where,
    is_there: bool,
    is_answered: bool,
    proxy: FaultProxy,
    tls_server: MariaDB,
    admin: pymysql.Connection[Any],
) -> None:
    """Armed right before a statement, the first record of data is the statement, and the first one back its answer."""
    client = connect(proxy, tls_server)
    armed = proxy.arm(Rule(fault, where))
    if is_answered:
        ask(client, INSERT)
    else:
        with pytest.raises(pymysql.err.OperationalError):
            ask(client, INSERT)
    armed.wait()
    client._force_close()
    eventually(lambda: all(session.id != client.thread_id() for session in tls_server.processlist()))
    assert len(ask(admin, "SELECT a FROM t")) == is_there


def test_each_record_of_a_handshake_can_be_cut(proxy: FaultProxy, tls_server: MariaDB) -> None:
    """Record once, then cut before each packet and record in turn: each cut strikes, and the next connect works."""
    with closing(connect(proxy, tls_server)):
        pass
    trace = [packet for packet in proxy.trace if packet.kind is not Kind.TLS_ALERT]
    for packet in trace:
        armed = proxy.arm(Rule(Cut(), Where.at(packet)))
        with suppress(pymysql.err.MySQLError):
            connect(proxy, tls_server).close()
        assert armed.wait().kind is packet.kind
    with closing(connect(proxy, tls_server)) as client:
        assert ask(client, "SELECT 7") == [(7,)]
