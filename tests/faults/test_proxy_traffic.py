"""What the proxy does when nothing is to go wrong: it is not noticed, tells what it saw, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import (
    Cut,
    Direction,
    Drop,
    Fault,
    FaultProxy,
    HalfClose,
    Kind,
    Side,
    Stall,
)
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server


@pytest.fixture
def proxy(server: MariaDB) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    with FaultProxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy, database: dict[str, Any]) -> Iterator[pymysql.Connection[Any]]:
    """A bare connection through the proxy, in autocommit."""
    args = {"autocommit": True, "ssl_disabled": True, "local_infile": True}
    client = pymysql.connect(**proxy.connect_args(database, **args))
    yield client
    if client.open:
        client.close()


def ask(connection: pymysql.Connection[Any], statement: str, *args: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, args or None)
        return list(cursor.fetchall())


def kinds(proxy: FaultProxy, direction: Direction) -> list[Kind]:
    return [packet.kind for packet in proxy.trace if packet.direction is direction]


def test_trace_tells_a_conversation(proxy: FaultProxy, database: dict[str, Any]) -> None:
    """Each packet by direction, number, kind and length; of statements, the first two words."""
    with closing(pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))) as client:
        client.begin()
        assert ask(client, "SELECT 'secret' FROM DUAL") == [("secret",)]
        client.commit()
        client.ping()
    eventually(lambda: proxy.connections == 0)
    commands = [(packet.kind, packet.words) for packet in proxy.trace if packet.direction is Direction.TO_SERVER]
    assert commands[0] == (Kind.LOGIN, "")
    assert commands[-5:] == [
        (Kind.QUERY, "BEGIN"),
        (Kind.QUERY, "SELECT"),
        (Kind.QUERY, "COMMIT"),
        (Kind.PING, ""),
        (Kind.QUIT, ""),
    ]
    answers = kinds(proxy, Direction.TO_CLIENT)
    assert answers[0] is Kind.GREETING
    assert answers[-8:] == [
        Kind.OK,
        Kind.COLUMN_COUNT,
        Kind.COLUMN,
        Kind.EOF,
        Kind.ROW,
        Kind.EOF,
        Kind.OK,
        Kind.OK,
    ]
    assert Kind.UNKNOWN not in kinds(proxy, Direction.TO_SERVER) + answers
    assert "secret" not in repr(proxy.trace)
    assert str(database["database"]) not in repr(proxy.trace)


def test_the_same_conversation_has_the_same_trace(proxy: FaultProxy, database: dict[str, Any]) -> None:
    """What a campaign builds on: only the conversation's number differs."""
    traces = []
    for _ in range(2):
        with closing(pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))) as client:
            ask(client, "SELECT seq FROM seq_1_to_5")
        eventually(lambda: proxy.connections == 0)
        traces.append([(packet.direction, packet.kind, packet.number, packet.length) for packet in proxy.trace])
        proxy.forget_trace()
    assert sorted(map(str, traces[0])) == sorted(map(str, traces[1]))


def test_statement_and_rows_of_over_16_mb_pass_unchanged(
    server: MariaDB, proxy: FaultProxy, client: pymysql.Connection[Any]
) -> None:
    """In frames that are forwarded as they come: the rest of each is named a continuation."""
    admin = server.admin()
    ((limit,),) = ask(admin, "SELECT @@max_allowed_packet")
    ask(admin, f"SET GLOBAL max_allowed_packet = {1 << 26}")
    try:
        args = proxy.connect_args(server.connect_args(ssl_disabled=True, max_allowed_packet=1 << 26))
        with closing(pymysql.connect(**args)) as large:
            text = "abcdefgh" * (20_000_000 // 8)
            ((found, length),) = ask(large, f"SELECT '{text}' AS t, LENGTH('{text[:5]}')")
            assert (found == text, length) == (True, 5)
    finally:
        ask(admin, f"SET GLOBAL max_allowed_packet = {limit}")
        admin.close()
    assert kinds(proxy, Direction.TO_SERVER).count(Kind.CONTINUATION) == 1
    assert kinds(proxy, Direction.TO_CLIENT).count(Kind.CONTINUATION) == 1
    assert ask(client, "SELECT 7") == [(7,)]


def test_long_results_procedures_and_files_pass(
    proxy: FaultProxy, client: pymysql.Connection[Any], tmp_path: Path, server: MariaDB
) -> None:
    """Sequence numbers that wrap, several results in one answer, and LOAD DATA LOCAL are all read for what they are."""
    assert len(ask(client, "SELECT seq, REPEAT('x', 100) FROM seq_1_to_3000")) == 3000
    ask(client, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END")
    with client.cursor() as cursor:
        cursor.execute("CALL p()")
        results = [cursor.fetchall()]
        while cursor.nextset():
            results.append(cursor.fetchall())
    assert results[:2] == [((1,),), ((2,),)]
    lines = tmp_path / "lines"
    lines.write_text("1\n2\n3\n")
    ask(client, "CREATE TABLE f (a INT)")
    ask(client, "LOAD DATA LOCAL INFILE %s INTO TABLE f", str(lines))
    assert ask(client, "SELECT SUM(a) FROM f") == [(6,)]
    seen = kinds(proxy, Direction.TO_SERVER) + kinds(proxy, Direction.TO_CLIENT)
    assert seen.count(Kind.FILE_DATA) == 2
    assert Kind.UNKNOWN not in seen


def test_end_of_either_side_is_passed_on(
    server: MariaDB, proxy: FaultProxy, client: pymysql.Connection[Any], database: dict[str, Any]
) -> None:
    """KILL is seen by the client as at the server itself; a client that leaves is seen by the server."""
    server.kill_session(client.thread_id())
    raw: socket.socket = client._sock
    raw.settimeout(PATIENCE)
    assert raw.recv(10) == b""
    other = pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))
    other._force_close()
    eventually(lambda: all(session.id != other.thread_id() for session in server.processlist()))
    client._force_close()
    eventually(lambda: proxy.connections == 0)


def test_reset_of_the_client_is_passed_on(server: MariaDB, proxy: FaultProxy, database: dict[str, Any]) -> None:
    """A client that is gone with RST leaves no session behind."""
    client = pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))
    reset(client)
    eventually(lambda: all(session.id != client.thread_id() for session in server.processlist()))
    eventually(lambda: proxy.connections == 0)


def reset(client: pymysql.Connection[Any]) -> None:
    """Close with RST."""
    client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client._force_close()


def test_slow_reader_slows_the_server_down(proxy: FaultProxy, inside: Any, database: dict[str, Any]) -> None:
    """Back-pressure reaches the server: of a large result, the proxy takes what its buffer holds, and no more."""
    args = proxy.connect_args(database, ssl_disabled=True, cursorclass=pymysql.cursors.SSCursor)
    with closing(pymysql.connect(**args)) as client:
        client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        cursor = client.cursor()
        cursor.execute("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000")
        eventually(inside.is_full)
        assert len(proxy.trace) < 15_000
        assert sum(1 for _ in cursor) == 20_000
        cursor.close()


def test_connect_args_lead_to_the_proxy(server: MariaDB, proxy: FaultProxy) -> None:
    """Host and port are the proxy's, a unix socket is left out, the rest stays."""
    args = proxy.connect_args(server.connect_args(unix_socket=server.socket), charset="utf8mb4")
    assert (args["host"], args["port"]) == proxy.address
    assert "unix_socket" not in args
    assert (args["user"], args["charset"]) == (server.user, "utf8mb4")


def test_server_that_is_not_there() -> None:
    """The proxy takes connections all the same, and resets them: the client has an error of the driver at once."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    with FaultProxy("127.0.0.1", port) as proxy:
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(host=proxy.host, port=proxy.port, user="nobody", ssl_disabled=True)
        eventually(lambda: proxy.connections == 0)


def test_close_is_the_end(server: MariaDB, database: dict[str, Any]) -> None:
    """Nobody listens any more; a second call does nothing; what was recorded can still be read."""
    proxy = FaultProxy(server.host, server.port)
    clients = [pymysql.connect(**proxy.connect_args(database, ssl_disabled=True)) for _ in range(5)]
    proxy.close()
    proxy.close()
    for client in clients:
        client._force_close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(proxy.address, timeout=PATIENCE)
    assert len([packet for packet in proxy.trace if packet.kind is Kind.LOGIN]) == 5
    assert proxy.strike(Cut()) == 0
    proxy.heal()


COUNTS_ALL = """
import json, os, sys, threading
import pymysql
from persistconn.testing.faults import FaultProxy

args = json.loads(sys.argv[1])
pymysql.connect(**args).close()  # Whatever is opened once and stays open.
descriptors = set(os.listdir("/proc/self/fd"))
proxy = FaultProxy(args["host"], args["port"])
clients = [pymysql.connect(**proxy.connect_args(args)) for _ in range(5)]
threads = [thread.name for thread in threading.enumerate()]
assert threads == ["MainThread", f"persistconn-faults-{proxy.port}"], threads
proxy.close()
for client in clients:
    client._force_close()
assert set(os.listdir("/proc/self/fd")) == descriptors
assert threading.active_count() == 1
"""


def test_one_thread_serves_all_connections_and_nothing_is_left_behind(database: dict[str, Any]) -> None:
    """Counted in a process of its own, where nobody else has threads and descriptors."""
    command = [sys.executable, "-W", "error", "-c", COUNTS_ALL, json.dumps({**database, "ssl_disabled": True})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_repr_tells_where_it_leads(server: MariaDB, proxy: FaultProxy) -> None:
    """A failing test shows between whom the proxy stood."""
    assert repr(proxy) == f"<FaultProxy 127.0.0.1:{proxy.port} to 127.0.0.1:{server.port}, 0 connections>"


def test_hundreds_of_connections_at_once(proxy: FaultProxy, database: dict[str, Any], server: MariaDB) -> None:
    """All of them work, and one blow ends them all; a soak opens far more one after the other."""
    admin = server.admin()
    ((limit,),) = ask(admin, "SELECT @@max_connections")
    with ExitStack() as stack:
        stack.callback(admin.close)
        ask(admin, "SET GLOBAL max_connections = 500")
        stack.callback(ask, admin, f"SET GLOBAL max_connections = {limit}")
        clients = []
        for _ in range(120):
            client = pymysql.connect(**proxy.connect_args(database, ssl_disabled=True))
            stack.callback(client._force_close)
            clients.append(client)
        assert proxy.connections == 120
        for number, client in enumerate(clients):
            assert ask(client, f"SELECT {number}") == [(number,)]
        assert proxy.strike(Cut()) == 120
        assert proxy.connections == 0
        for client in clients:
            with pytest.raises(pymysql.err.OperationalError):
                ask(client, "SELECT 1")
    eventually(lambda: not any(session.db == database["database"] for session in server.processlist()))


@pytest.mark.parametrize(
    "fault",
    [
        Stall(),
        Drop(),
        HalfClose(Direction.TO_CLIENT),
        HalfClose(Direction.TO_SERVER),
        Cut(Side.CLIENT),
        Cut(Side.SERVER),
    ],
)
def test_waiting_burns_no_time(fault: Fault, proxy: FaultProxy, inside: Any, client: pymysql.Connection[Any]) -> None:
    """No busy loop beside what is broken, when bytes, the end of the stream, or a reset wait at both sides of it."""
    ask(client, "SELECT 7")
    proxy.strike(fault)
    with suppress(OSError):
        client._sock.sendall(b"\x09\0\0\0\x03SELECT 1")
        client._sock.shutdown(socket.SHUT_WR)
    inside.note_waits()
    # A socket that the proxy cannot, or may not, do anything about would end each of its waits.
    eventually(inside.is_quiet)
    reset(client)
    eventually(inside.is_quiet)


def test_neither_a_timer_nor_nagle_keeps_a_packet_waiting(
    inside: Any, proxy: FaultProxy, client: pymysql.Connection[Any]
) -> None:
    """Each packet is forwarded as soon as it has come: then a round trip costs a small multiple of one without."""
    inside.note_waits()
    for _ in range(20):
        client.ping()
    limits = [limit for limit, _ in inside.waits]
    assert set(limits) == {None}
    assert 2 * 20 <= len(limits) <= 3 * 20  # Woken by each packet, there and back.
    assert [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in inside.sockets] == [1, 1]
    assert len(proxy.trace) > 2 * 20


def test_refuses_a_negative_trace_limit(server: MariaDB) -> None:
    """At construction, before anything is opened."""
    with pytest.raises(ValueError, match="trace_limit must be 0 or more, not -1"):
        FaultProxy(server.host, server.port, trace_limit=-1)
