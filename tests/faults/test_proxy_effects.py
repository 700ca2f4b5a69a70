"""Each fault at each place, shown by what a bare PyMySQL connection makes of it, and by what the server has."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
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
    Place,
    Reset,
    Rule,
    Side,
    Stall,
    Where,
    to_client,
    to_server,
)
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

LOST = 2013
INSERT = "INSERT INTO t VALUES (1)"

Connect = Callable[..., "pymysql.Connection[Any]"]


@pytest.fixture
def proxy(server: MariaDB) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    with FaultProxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def admin(server: MariaDB, database: dict[str, Any]) -> Iterator[pymysql.Connection[Any]]:
    """A connection that does not go through the proxy, to a table `t`."""
    with closing(pymysql.connect(**database, autocommit=True, ssl_disabled=True)) as admin:
        ask(admin, "CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB")
        yield admin


@pytest.fixture
def connect(proxy: FaultProxy, database: dict[str, Any], admin: pymysql.Connection[Any]) -> Iterator[Connect]:
    """Opens connections through the proxy, and drops them afterwards."""
    opened: list[pymysql.Connection[Any]] = []

    def connect(**extra: Any) -> pymysql.Connection[Any]:
        args = {"autocommit": True, "ssl_disabled": True, "read_timeout": 30, **extra}
        opened.append(pymysql.connect(**proxy.connect_args(database, **args)))
        return opened[-1]

    yield connect
    for connection in opened:
        connection._force_close()


def ask(connection: pymysql.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def try_insert(connection: pymysql.Connection[Any]) -> int | None:
    """Return the error's number, None if there was no error."""
    try:
        ask(connection, INSERT)
    except pymysql.err.OperationalError as error:
        return int(error.args[0])
    return None


def has_session(server: MariaDB, session_id: int) -> bool:
    return any(session.id == session_id for session in server.processlist())


def count_rows(server: MariaDB, admin: pymysql.Connection[Any], session_id: int) -> int:
    """Count the rows when the session has ended, so that nothing can come later."""
    eventually(lambda: not has_session(server, session_id))
    return len(ask(admin, "SELECT a FROM t"))


PLACES = [
    # where, whether the row is there, whether the client has its answer
    (to_server(INSERT, place=Place.BEFORE), False, False),
    (to_server(INSERT, place=Place.MIDDLE), False, False),
    (to_server(INSERT, place=Place.AFTER), True, False),
    (to_client(INSERT, place=Place.BEFORE), True, False),
    (to_client(INSERT, place=Place.MIDDLE), True, False),
    (to_client(INSERT, place=Place.AFTER), True, True),
]


@pytest.mark.parametrize(("where", "is_there", "is_answered"), PLACES)
@pytest.mark.parametrize("fault", [Cut(), Reset()])
def test_cut_decides_by_its_place(
    fault: Fault,
    where: Where,
    is_there: bool,
    is_answered: bool,
    server: MariaDB,
    proxy: FaultProxy,
    admin: pymysql.Connection[Any],
    connect: Connect,
) -> None:
    """The row is there once the whole INSERT was forwarded, the client knows it once the whole answer was.

    The session is gone after either kind of cut, and the next connection works.
    """
    connection = connect()
    armed = proxy.arm(Rule(fault, where))
    assert try_insert(connection) == (None if is_answered else LOST)
    assert armed.wait().words == "INSERT INTO"
    assert count_rows(server, admin, connection.thread_id()) == is_there
    eventually(lambda: proxy.connections == 0)
    assert ask(connect(), "SELECT 7") == [(7,)]
    assert (armed.fired, proxy.fired) == (1, 1)


@pytest.mark.parametrize(("where", "is_there", "is_answered"), PLACES)
@pytest.mark.parametrize("fault", [Stall(), Drop()])
def test_hole_decides_by_its_place(
    fault: Fault,
    where: Where,
    is_there: bool,
    is_answered: bool,
    server: MariaDB,
    proxy: FaultProxy,
    inside: Any,
    admin: pymysql.Connection[Any],
    connect: Connect,
) -> None:
    """A line that forwards nothing more looks alike to the client in all places, until its patience ends.

    The session is still there when the client has left: nobody has told the server.
    """
    connection = connect()
    armed = proxy.arm(Rule(fault, where))
    if not is_answered:
        connection._read_timeout = 0.2
    assert try_insert(connection) == (None if is_answered else LOST)
    armed.wait()
    connection._force_close()
    eventually(inside.has_read_the_client_s_end)
    assert not inside.has_ended_towards_the_server
    session_id = connection.thread_id()
    if is_there:
        eventually(lambda: ask(admin, "SELECT a FROM t") == [(1,)])
    assert has_session(server, session_id)
    proxy.close()
    assert count_rows(server, admin, session_id) == is_there


@pytest.mark.parametrize(
    ("fault", "where", "is_there", "error"),
    [
        (HalfClose(Direction.TO_SERVER), to_server(INSERT), False, LOST),
        (HalfClose(Direction.TO_SERVER), to_server(INSERT, place=Place.MIDDLE), False, LOST),
        (HalfClose(Direction.TO_SERVER), to_server(INSERT, place=Place.AFTER), True, None),
        (HalfClose(Direction.TO_CLIENT), to_server(INSERT, place=Place.AFTER), True, LOST),
        (HalfClose(Direction.TO_CLIENT), to_client(INSERT), True, LOST),
        (HalfClose(Direction.TO_CLIENT), to_client(INSERT, place=Place.MIDDLE), True, LOST),
        (HalfClose(Direction.TO_CLIENT), to_client(INSERT, place=Place.AFTER), True, None),
    ],
)
def test_half_close_ends_one_direction(
    fault: Fault,
    where: Where,
    is_there: bool,
    error: int | None,
    server: MariaDB,
    proxy: FaultProxy,
    admin: pymysql.Connection[Any],
    connect: Connect,
) -> None:
    """The receiver reads the end of the stream; the other direction still carries the answer, or the statement."""
    connection = connect()
    proxy.arm(Rule(fault, where))
    assert try_insert(connection) in {error, 1158}  # the server's last words on a packet that breaks off
    connection._force_close()
    assert count_rows(server, admin, connection.thread_id()) == is_there


def test_half_close_to_the_client_leaves_the_session(server: MariaDB, proxy: FaultProxy, connect: Connect) -> None:
    """The client has read the end, yet until it closes, the server knows of nothing."""
    connection = connect()
    proxy.strike(HalfClose(Direction.TO_CLIENT))
    assert read_raw(connection) == b""
    assert has_session(server, connection.thread_id())
    connection._force_close()
    eventually(lambda: not has_session(server, connection.thread_id()))


def read_raw(connection: pymysql.Connection[Any]) -> bytes:
    """Read from the driver's socket, below the driver."""
    raw: socket.socket = connection._sock
    raw.settimeout(PATIENCE)
    return raw.recv(1000)


def test_cut_is_orderly_and_reset_is_not(proxy: FaultProxy, connect: Connect) -> None:
    """The client reads FIN as an end of the stream, and RST as an error."""
    connection = connect()
    assert proxy.strike(Cut()) == 1
    assert read_raw(connection) == b""
    connection = connect()
    assert proxy.strike(Reset()) == 1
    with pytest.raises(ConnectionResetError):
        read_raw(connection)


def test_cut_is_orderly_although_bytes_are_unread(proxy: FaultProxy, inside: Any, connect: Connect) -> None:
    """Bytes that the proxy has not read make the kernel send RST, which would destroy what was forwarded before."""
    connection = connect()
    raw: socket.socket = connection._sock
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.settimeout(PATIENCE)
    raw.sendall(pack("SELECT REPEAT('x', 12000000)"))  # an answer that fills all buffers on its way
    eventually(inside.is_full)
    armed = proxy.arm(Rule(Stall(Direction.TO_SERVER), to_server("SELECT 2")))
    raw.sendall(pack(f"SELECT 2, '{'x' * 700_000}'"))  # as does this one in the other direction
    armed.wait()
    eventually(lambda: min(inside.unread()) > 0)
    proxy.strike(Cut())
    length = 0
    while data := raw.recv(1 << 20):  # to the end, without an error
        length += len(data)
    assert length > 100_000


def pack(statement: str) -> bytes:
    """Return the packet of a COM_QUERY."""
    return (len(statement) + 1).to_bytes(3, "little") + b"\0\x03" + statement.encode()


def test_reset_destroys_nothing_that_went_before(
    proxy: FaultProxy, admin: pymysql.Connection[Any], connect: Connect, server: MariaDB
) -> None:
    """What was forwarded before RST arrives, every time: 50 resets behind an INSERT leave 50 rows."""
    sessions = []
    for number in range(50):
        connection = connect()
        sessions.append(connection.thread_id())
        proxy.arm(Rule(Reset(), to_server("INSERT", place=Place.AFTER)))
        with pytest.raises(pymysql.err.OperationalError):
            ask(connection, f"INSERT INTO t VALUES ({number})")
    eventually(lambda: not any(has_session(server, session_id) for session_id in sessions))
    assert len(ask(admin, "SELECT a FROM t")) == 50


@pytest.mark.parametrize("fault", [Cut(Side.CLIENT), Reset(Side.CLIENT)])
def test_cut_towards_the_client_alone_leaves_the_session(
    fault: Fault, server: MariaDB, proxy: FaultProxy, admin: pymysql.Connection[Any], connect: Connect
) -> None:
    """The server keeps the session and its transaction until the proxy heals, as behind a load balancer that forgot."""
    connection = connect(autocommit=False)
    ask(connection, INSERT)
    proxy.arm(Rule(fault, to_server("SELECT")))
    with pytest.raises(pymysql.err.OperationalError):
        ask(connection, "SELECT a FROM t")
    assert has_session(server, connection.thread_id())
    ask(admin, "SET innodb_lock_wait_timeout = 1")
    with pytest.raises(pymysql.err.OperationalError) as caught:
        ask(admin, INSERT)
    assert caught.value.args[0] == 1205
    proxy.heal()
    assert count_rows(server, admin, connection.thread_id()) == 0


@pytest.mark.parametrize("fault", [Cut(Side.SERVER), Reset(Side.SERVER)])
def test_cut_towards_the_server_alone_leaves_the_client_waiting(
    fault: Fault, server: MariaDB, proxy: FaultProxy, admin: pymysql.Connection[Any], connect: Connect
) -> None:
    """The session ends, and nobody tells the client before the proxy heals."""
    connection = connect()
    connection._read_timeout = 0.2
    proxy.arm(Rule(fault, to_server(INSERT)))
    assert try_insert(connection) == LOST
    assert count_rows(server, admin, connection.thread_id()) == 0
    other = connect()
    proxy.arm(Rule(fault, to_server("SELECT")))
    other._sock.sendall(b"\x09\0\0\0\x03SELECT 1")
    eventually(lambda: not has_session(server, other.thread_id()))
    proxy.heal()
    assert read_raw(other) == b""


def test_lost_answer_to_a_commit(proxy: FaultProxy, admin: pymysql.Connection[Any], connect: Connect) -> None:
    """The case that this proxy is for: the server has committed, and the client does not know."""
    connection = connect(autocommit=False)
    ask(connection, INSERT)
    proxy.arm(Rule(Cut(), to_client("COMMIT")))
    with pytest.raises(pymysql.err.OperationalError) as caught:
        connection.commit()
    assert caught.value.args[0] == LOST
    assert ask(admin, "SELECT a FROM t") == [(1,)]


def test_lost_commit(proxy: FaultProxy, admin: pymysql.Connection[Any], connect: Connect, server: MariaDB) -> None:
    """Its twin, which looks the same to the client: the server never had the COMMIT."""
    connection = connect(autocommit=False)
    ask(connection, INSERT)
    proxy.arm(Rule(Cut(), to_server("COMMIT")))
    with pytest.raises(pymysql.err.OperationalError) as caught:
        connection.commit()
    assert caught.value.args[0] == LOST
    assert count_rows(server, admin, connection.thread_id()) == 0


@pytest.mark.parametrize("fault", [Cut(), Reset(), HalfClose(Direction.TO_CLIENT)])
@pytest.mark.parametrize("place", list(Place))
@pytest.mark.parametrize("kind", [Kind.GREETING, Kind.LOGIN, Kind.OK])
def test_connect_can_be_struck_at_each_packet(
    fault: Fault, place: Place, kind: Kind, proxy: FaultProxy, connect: Connect
) -> None:
    """Greeting, login and its answer: the client's connect fails with an error of the driver, and the next one works."""
    armed = proxy.arm(Rule(fault, Where(kind=kind, place=place)))
    with pytest.raises(pymysql.err.MySQLError):
        connect()
    assert armed.wait().kind is kind
    assert ask(connect(), "SELECT 7") == [(7,)]


def test_server_that_accepts_and_stays_silent(proxy: FaultProxy, connect: Connect) -> None:
    """A greeting that never comes: PyMySQL's `read_timeout` bounds it."""
    proxy.arm(Rule(Stall(), Where(kind=Kind.GREETING), times=None))
    with pytest.raises(pymysql.err.OperationalError):
        connect(read_timeout=0.2)
    eventually(lambda: proxy.connections == 1)  # Until then the kernel had accepted it, and not the proxy.


def test_result_can_be_cut_between_its_rows(proxy: FaultProxy, connect: Connect) -> None:
    """The nth row of an answer is a place like any other."""
    connection = connect(cursorclass=pymysql.cursors.SSCursor)
    proxy.arm(Rule(Cut(), to_client("seq_1_to_9", kind=Kind.ROW, nth=4)))
    cursor = connection.cursor()
    cursor.execute("SELECT seq FROM seq_1_to_9")
    assert [cursor.fetchone() for _ in range(3)] == [(1,), (2,), (3,)]
    with pytest.raises(pymysql.err.OperationalError):
        cursor.fetchone()
    cursor._result.unbuffered_active = False  # or the driver tries to read the rest when it is collected


def test_campaign_cuts_at_each_packet_of_a_recorded_conversation(
    server: MariaDB, proxy: FaultProxy, database: dict[str, Any], admin: pymysql.Connection[Any], connect: Connect
) -> None:
    """Record once, then cut at each packet in turn: each rule fires, and the row is there exactly if it was committed.

    This is the sweep of cuts in small; what is asserted of the bare driver is only that the proxy does as it is told.
    """

    def transfer() -> int:
        connection = connect(autocommit=False)
        try:
            ask(connection, INSERT)
            connection.commit()
        finally:
            connection._force_close()
        return connection.thread_id()

    transfer()
    own, admin_id = database["database"], admin.thread_id()
    trace = proxy.trace
    commit = next(at for at, packet in enumerate(trace) if packet.words == "COMMIT")
    fired = 0
    for at, packet in enumerate(trace):
        for place in Place:
            ask(admin, "DELETE FROM t")
            armed = proxy.arm(Rule(Cut(), Where.at(packet, place)))
            with suppress(pymysql.err.MySQLError):
                transfer()
            assert armed.wait().kind is packet.kind
            eventually(lambda: proxy.connections == 0)
            # Whoever has logged in has this test's database; all that is left is ours, beside the proxy.
            eventually(lambda: [session.id for session in server.processlist() if session.db == own] == [admin_id])
            is_committed = at > commit or (at == commit and place is Place.AFTER)
            assert len(ask(admin, "SELECT a FROM t")) == is_committed, (packet, place)
            fired += armed.fired
    assert fired == len(trace) * 3
