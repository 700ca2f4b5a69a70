"""The fixtures that break things, used as a user would: each does what it says, by the server's word."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.testing import AnyServer, ServerError, eventually
from persistconn.testing.expiry import expire as expire_on
from persistconn.testing.fleet import Fleet

pytestmark = pytest.mark.server

db = persistconn.manage(pymysql)


@pytest.fixture(scope="session")
def server(mysql: AnyServer) -> AnyServer:
    """Whichever the command line names: what is true here is true of both servers, and of one in a container."""
    return mysql


@pytest.fixture(autouse=True)
def _clean(server: AnyServer) -> Iterator[None]:
    """Nobody else's sessions: these tests end all there are."""
    persistconn.shutdown()
    for session in server.clients():
        server.kill_session(session.id)
    eventually(lambda: server.clients() == [])
    yield
    persistconn.shutdown()


@pytest.fixture
def args(mysql_database: dict[str, Any]) -> dict[str, Any]:
    return {**mysql_database, "autocommit": True}


def session_of(args: dict[str, Any]) -> int:
    with db.connect(**args).cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return int(cursor.fetchone()[0])


class TestExpire:
    """`expire`: the server's own timeout, about a second from now."""

    def test_every_session_expires_and_only_bare_code_sees_it(
        self, args: dict[str, Any], expire: Any, sessions: Any
    ) -> None:
        """A connection of the driver's own dies of it; a held one does not, and has another session."""
        bare, before = pymysql.connect(**args), session_of(args)
        assert 2 == expire()
        assert [] == [one for one in sessions(args["database"]) if one.id in (before, bare.thread_id())]
        with pytest.raises(pymysql.err.OperationalError):
            bare.cursor().execute("SELECT 1")
        assert before != session_of(args)

    def test_it_is_the_servers_own_timeout(self, expire: Any, args: dict[str, Any], server: AnyServer) -> None:
        """Its log says so: no KILL, and no goodbye."""
        session = session_of(args)
        expire()
        noted = rf"Aborted connection {session} .*(Got timeout reading communication packets|because of inactivity)"
        eventually(lambda: re.search(noted, "\n".join(server.aborted_in_log())))

    def test_on_mysql_its_error_is_4031(self, mysql_servers: Fleet, mysql_kind: str) -> None:
        """The number with which MySQL says goodbye to an idle session, and with no other."""
        mysqldb = pytest.importorskip("MySQLdb", reason="mysqlclient reads it, PyMySQL does not")
        of_mysql = mysql_servers.shared(mysql_kind)
        with closing(mysqldb.connect(**of_mysql.connect_args(ssl_mode="DISABLED"))) as bare:
            assert 1 == expire_on(of_mysql)
            with pytest.raises(mysqldb.OperationalError) as told:
                bare.query("SELECT 1")
        assert 4031 == told.value.args[0]

    def test_one_threads_alone(self, args: dict[str, Any], expire: Any) -> None:
        """By the thread or by its name; the others' sessions stay."""
        with ThreadPoolExecutor(1, thread_name_prefix="other") as pool:
            other, mine = pool.submit(session_of, args).result(), session_of(args)
            assert 1 == expire("other_0")
            assert mine == session_of(args)
            assert other != pool.submit(session_of, args).result()
            assert 1 == expire(threading.current_thread())
            assert mine != session_of(args)

    def test_a_thread_that_holds_nothing_is_an_error(self, expire: Any) -> None:
        """A test that expires nobody proves nothing."""
        with pytest.raises(ServerError, match="holds no connection"):
            expire("nobody")

    def test_a_session_inside_a_transaction_expires_too(self, mysql_database: dict[str, Any], expire: Any) -> None:
        """And its owner is told, as after eight hours."""
        connection = db.connect(**mysql_database)
        connection.query("CREATE TABLE t (id INT) ENGINE=InnoDB")
        connection.query("INSERT INTO t VALUES (1)")
        expire()
        with pytest.raises(persistconn.TransactionLost):
            connection.commit()

    def test_through_a_proxy_too(self, args: dict[str, Any], fault_proxy: Any, expire: Any) -> None:
        """The proxy's own address is none of the server's."""
        through = fault_proxy.connect_args(args)
        before = session_of(through)
        assert 1 == expire()
        assert before != session_of(through)

    def test_the_hands_of_the_test_are_spared(self, server: AnyServer, args: dict[str, Any], expire: Any) -> None:
        """What `admin()` has made is no session of the code under test."""
        session_of(args)
        with closing(server.admin()) as admin:
            assert 1 == expire()
            admin.ping(reconnect=False)

    def test_one_with_rows_to_read_is_told(self, args: dict[str, Any], server: AnyServer) -> None:
        """Nobody else can speak on it meanwhile."""
        with closing(pymysql.connect(**args, cursorclass=pymysql.cursors.SSCursor)) as bare, bare.cursor() as cursor:
            cursor.execute("SELECT REPEAT('x', 1000) FROM information_schema.COLUMNS")
            with pytest.raises(ServerError, match=r"rows to read|not idle"):
                expire_on(server, within=0.3)
            cursor.fetchall()

    def test_the_next_session_has_the_servers_patience(self, args: dict[str, Any], expire: Any) -> None:
        """Nothing is set for the server."""
        session_of(args)
        expire()
        with db.connect(**args).cursor() as cursor:
            cursor.execute("SELECT @@SESSION.wait_timeout, @@GLOBAL.wait_timeout")
            assert (28800, 28800) == cursor.fetchone()

    def test_what_the_last_statement_returned_stays(self, args: dict[str, Any], expire: Any) -> None:
        """The order to expire is given behind the owner's back: his cursor and his insert_id() do not show it."""
        connection = db.connect(**args)
        connection.query("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)")
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (77)")
            expire()
            assert (1, 77) == (cursor.rowcount, connection.insert_id())


def test_kill_connections_ends_all_or_one_threads(args: dict[str, Any], kill_connections: Any) -> None:
    """As an administrator does; held connections do not notice."""
    bare, held = pymysql.connect(**args), session_of(args)
    assert 1 == kill_connections(threading.current_thread())
    assert held != session_of(args)
    bare.ping(reconnect=False)
    assert 2 == kill_connections()
    with pytest.raises(pymysql.err.OperationalError):
        bare.ping(reconnect=False)


@pytest.mark.persistconn(own_server=True)
@pytest.mark.parametrize("kill", [False, True])
def test_restart_server_keeps_port_and_rows(
    mysql: Any, mysql_database: dict[str, Any], restart_server: Any, kill: bool
) -> None:
    """In order, or by kill -9: who connects again finds what was committed."""
    arguments, pid = {**mysql_database, "autocommit": True}, getattr(mysql, "pid", None)
    db.connect(**arguments).query("CREATE TABLE t AS SELECT 1 AS x")
    restart_server(kill=kill)
    assert pid is None or pid != mysql.pid  # A container has none.
    assert bool(re.search("(?i)starting (xa )?crash recovery", mysql.read_log())) is kill
    with db.connect(**arguments).cursor() as cursor:
        cursor.execute("SELECT x FROM t")
        assert ((1,),) == cursor.fetchall()


def test_sessions_are_what_the_server_sees(args: dict[str, Any], sessions: Any, server: AnyServer) -> None:
    """Without the test's own questions; and how many have come since its beginning."""
    session_of(args)
    session_of(args)
    server.ask("SELECT 1")
    assert [args["database"]] == [one.db for one in sessions()]
    assert 1 == sessions.opened


class TestFaultProxy:
    """`fault_proxy`: at a statement, by its text or its number."""

    @pytest.mark.parametrize("after", [False, True])
    def test_cut_at_a_text(self, args: dict[str, Any], fault_proxy: Any, server: AnyServer, after: bool) -> None:
        """Before it the server has not got the statement; after it, the answer alone is lost."""
        db.connect(**args).query("CREATE TABLE t (id INT)")
        fault_proxy.cut("insert into t", after=after)
        with pytest.raises(persistconn.OutcomeUnknown):
            db.connect(**fault_proxy.connect_args(args)).query("INSERT INTO t VALUES (1)")
        assert [(int(after),)] == server.ask(f"SELECT COUNT(*) FROM {args['database']}.t")

    def test_cut_at_a_number(self, args: dict[str, Any], fault_proxy: Any) -> None:
        """Counted in each connection from its first statement on."""
        with closing(pymysql.connect(**fault_proxy.connect_args(args))) as bare, bare.cursor() as cursor:
            cursor.execute("SELECT 'the next but one is struck'")
            count = max(packet.number for packet in fault_proxy.trace if packet.words.startswith("SELECT"))
            assert count
            statements = len([p for p in fault_proxy.trace if p.kind.value == "query"])
            fault_proxy.cut(statements + 2)
            cursor.execute("SELECT 1")
            with pytest.raises(pymysql.err.OperationalError):
                cursor.execute("SELECT 2")

    def test_the_nth_with_a_text_of_all_connections(self, args: dict[str, Any], fault_proxy: Any) -> None:
        """Its answer may be several packets: it is statements that are counted."""
        armed = fault_proxy.cut("SELECT", after=True, nth=3)
        through = fault_proxy.connect_args(args)
        for _ in range(2):
            bare = pymysql.connect(**through)
            with closing(bare), bare.cursor() as cursor:
                cursor.execute("SELECT 1 UNION SELECT 2")
        with closing(pymysql.connect(**through)) as bare, pytest.raises(pymysql.err.OperationalError):
            bare.cursor().execute("SELECT 3")
        armed.wait()

    def test_a_text_is_whole_words(self, args: dict[str, Any], fault_proxy: Any) -> None:
        """`SET AUTOCOMMIT` is no COMMIT."""
        with closing(pymysql.connect(**fault_proxy.connect_args(args))) as bare:
            fault_proxy.cut("COMMIT")
            bare.query("SET autocommit=0")
            bare.query("SELECT 'COMMITTED'")
            with pytest.raises(pymysql.err.OperationalError):
                bare.commit()

    def test_an_answer_of_many_packets_is_struck_once(self, args: dict[str, Any], fault_proxy: Any) -> None:
        """However often the rule may fire."""
        delayed = fault_proxy.delay("SELECT 1", 0.0, after=True, times=None)
        with closing(pymysql.connect(**fault_proxy.connect_args(args))) as bare, bare.cursor() as cursor:
            for _ in range(2):
                cursor.execute("SELECT 1 UNION SELECT 2")
        assert 2 == delayed.fired

    def test_stall_and_heal(self, args: dict[str, Any], fault_proxy: Any) -> None:
        """Nothing is lost: the answer comes when the proxy heals."""
        with closing(pymysql.connect(**fault_proxy.connect_args(args))) as bare, ThreadPoolExecutor(1) as pool:
            stalled = fault_proxy.stall("SELECT 42", after=True)
            answer = pool.submit(bare.cursor().execute, "SELECT 42")
            stalled.wait()
            assert not answer.done()
            fault_proxy.heal()
            assert 1 == answer.result(60)

    def test_hold_a_statement(self, mysql_database: dict[str, Any], fault_proxy: Any, server: AnyServer) -> None:
        """While COMMIT is held, the test does what is to happen at that moment."""
        with (
            closing(pymysql.connect(**fault_proxy.connect_args(mysql_database))) as bare,
            ThreadPoolExecutor(1) as pool,
        ):
            bare.query("SELECT 1")
            with fault_proxy.hold("COMMIT") as held:
                committed = pool.submit(bare.commit)
                held.wait()
                server.kill_session(bare.thread_id())
                held.release()
                with pytest.raises(pymysql.err.OperationalError):
                    committed.result(60)

    def test_what_it_leaves_is_closed_with_it(self, run_here: Any) -> None:
        """A held connection through a proxy that is gone would have the sweep knock at its door."""
        code = """
            import persistconn, pymysql
            def test_one(fault_proxy):
                persistconn.manage(pymysql).connect(**fault_proxy.connect_args()).query("SELECT 1")
                assert persistconn.connections()
            def test_two(): assert not persistconn.connections()
        """
        run_here(code).assert_outcomes(passed=2)


def test_a_database_that_is_dropped_is_held_by_nobody(run_here: Any) -> None:
    """Another thread's open transaction would hold up the DROP by a metadata lock."""
    code = """
        import threading, persistconn, pymysql
        def test_it(mysql_database):
            connection = persistconn.manage(pymysql).connect(**mysql_database)
            connection.query("CREATE TABLE t (id INT) ENGINE=InnoDB")
            threads = []
            def hold():
                mine = persistconn.manage(pymysql).connect(**mysql_database)
                mine.query("INSERT INTO t VALUES (1)")
                ready.set()
                end.wait(120)
            global end
            ready, end = threading.Event(), threading.Event()
            threading.Thread(target=hold, daemon=True).start()
            assert ready.wait(60)
        def test_after(mysql):
            end.set()
            assert not persistconn.connections()
            assert not [row for row in mysql.ask("SHOW DATABASES") if row[0].startswith("t_")]
    """
    assert run_here(code).ret == 0
