"""The connection that a thread holds, against a real server: what dies is replaced, and nothing is lost unsaid."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pymysql.cursors
import pytest

import persistconn
from persistconn.policy import Reason
from persistconn.testing import MariaDB, eventually

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("no_sweep")]


@pytest.fixture
def db() -> persistconn.ManagedModule:
    """PyMySQL, managed with the default policy."""
    return persistconn.manage(pymysql)


@pytest.fixture
def table(server: MariaDB, database: dict[str, Any]) -> dict[str, Any]:
    """Connect arguments for a database with a table `t (id)`."""
    execute(server, database, "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB")
    return database


def execute(server: MariaDB, arguments: dict[str, Any], sql: str) -> tuple[tuple[Any, ...], ...]:
    """Run a statement on a bare connection, outside everything that is tested."""
    with pymysql.connect(**{**arguments, "autocommit": True}) as bare, bare.cursor() as cursor:
        cursor.execute(sql)
        return tuple(cursor.fetchall())


def rows(server: MariaDB, arguments: dict[str, Any]) -> list[int]:
    """Read from the server what is in `t`."""
    return [row[0] for row in execute(server, arguments, "SELECT id FROM t ORDER BY id")]


def sessions(server: MariaDB, arguments: dict[str, Any]) -> list[int]:
    """Return the ids of the sessions on this test's database, as the server sees them."""
    return [session.id for session in server.processlist() if session.db == arguments["database"]]


def kill(server: MariaDB, connection: Any) -> None:
    """End the session of a held connection, and wait until that has arrived here: KILL is answered before that."""
    held = connection._held
    raw = held.raw
    server.kill_session(held.driver.session_id(raw))
    eventually(lambda: held.driver.hung_up(raw))


def kill_once_it_runs(server: MariaDB, session: int, words: str) -> None:
    """End a session as soon as the server is at its statement with these words, and wait until it is gone."""

    def sessions_at_it() -> list[int]:
        return [one.id for one in server.processlist() if one.id == session and words in (one.info or "")]

    eventually(sessions_at_it)
    server.kill_session(session)
    eventually(lambda: not sessions_at_it())


def fetch(connection: Any, sql: str) -> Any:
    """Run a statement on a held connection and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_second_connect_gives_the_same_session(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """One thread, one set of arguments, one session; also for arguments that cannot be hashed."""
    first = db.connect(**database, conv=dict(pymysql.converters.conversions), autocommit=True)
    again = db.connect(**database, conv=dict(pymysql.converters.conversions), autocommit=True)
    assert first is again
    assert [first.thread_id()] == sessions(server, database)


def test_other_arguments_give_another_session(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """All of them are the key: `create_test_db` must not end up in production."""
    conv = dict(pymysql.converters.conversions)
    arguments = {**database, "conv": conv}
    first = db.connect(**arguments)
    conv.pop(int)
    others = [db.connect(**arguments), db.connect(**database), db.connect(**database, autocommit=True)]
    assert len({first, *others}) == 4
    assert len(sessions(server, database)) == 4


def test_each_thread_has_its_own(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """And a connection that strays into another thread is refused, naming both."""
    mine = db.connect(**database)
    seen: list[Any] = []

    def stranger() -> None:
        seen.append(db.connect(**database))
        with pytest.raises(pymysql.ProgrammingError, match=r"of MainThread was used by the thread the-stranger"):
            mine.query("SELECT 1")

    thread = threading.Thread(target=stranger, name="the-stranger")
    thread.start()
    thread.join()
    assert seen[0] is not mine
    assert len(sessions(server, database)) == 2


def test_close_gives_nothing_back(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """The session stays, for the connect() that follows and for the connection itself."""
    connection = db.connect(**database)
    session = connection.thread_id()
    connection.close()
    connection.close()
    with db.connect(**database) as same:
        assert same is connection
    assert [session] == sessions(server, database)
    assert connection.open
    assert ((1,),) == fetch(connection, "SELECT 1")


def test_close_rolls_back_what_is_open(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """A following SET autocommit=1 must not commit what was thrown away."""
    connection = db.connect(**table)
    fetch(connection, "INSERT INTO t VALUES (1)")
    connection.close()
    connection.autocommit(True)
    fetch(connection, "INSERT INTO t VALUES (2)")
    assert [2] == rows(server, table)


def test_close_rolls_back_a_lock_that_the_status_flags_do_not_show(
    db: Any, server: MariaDB, table: dict[str, Any]
) -> None:
    """SELECT ... FOR UPDATE opens a transaction that PyMySQL's flags do not tell of."""
    execute(server, table, "INSERT INTO t VALUES (1)")
    connection = db.connect(**table)
    fetch(connection, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
    connection.close()
    assert ((1,),) == execute(server, table, "SELECT id FROM t FOR UPDATE NOWAIT")


def test_session_killed_while_idle_is_replaced_unseen(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """The look at the socket finds it before anything is sent, so a write is as safe as a read."""
    connection = db.connect(**table, autocommit=True)
    for number in range(5):
        kill(server, connection)
        fetch(connection, f"INSERT INTO t VALUES ({number})")
    assert [0, 1, 2, 3, 4] == rows(server, table)
    eventually(lambda: [connection.thread_id()] == sessions(server, table))


def test_server_restart_is_waited_for(db: Any, table: dict[str, Any], server: MariaDB) -> None:
    """While it is away the statement waits, and then it runs once."""
    connection = db.connect(**table, autocommit=True)
    server.kill()
    starter = threading.Thread(target=server.start)
    starter.start()
    fetch(connection, "INSERT INTO t VALUES (1)")
    starter.join()
    assert [1] == rows(server, table)


def test_lost_transaction_is_told_and_its_block_refused(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """No later statement and no COMMIT of that block runs; after rollback() all is well."""
    connection = db.connect(**table)
    fetch(connection, "INSERT INTO t VALUES (1)")
    kill(server, connection)
    for attempt in range(2):
        with pytest.raises(persistconn.TransactionLost, match="refused" if attempt else "inside a transaction"):
            fetch(connection, "INSERT INTO t VALUES (2)")
    with pytest.raises(pymysql.OperationalError):
        connection.commit()
    with pytest.raises(persistconn.TransactionLost):
        connection.autocommit(True)
    connection.rollback()
    fetch(connection, "INSERT INTO t VALUES (3)")
    connection.commit()
    assert [3] == rows(server, table)


def test_lost_transaction_is_refused_on_the_connection_that_the_sweep_has_made(
    db: Any, server: MariaDB, table: dict[str, Any]
) -> None:
    """The new one is idle and alive, and the rest of the block would be written there, in the open."""
    connection = db.connect(**table)
    fetch(connection, "INSERT INTO t VALUES (1)")
    kill(server, connection)
    with pytest.raises(persistconn.TransactionLost):
        fetch(connection, "INSERT INTO t VALUES (2)")
    assert connection._held.renew(None)
    connection._held.raw.autocommit(True)
    with pytest.raises(persistconn.TransactionLost, match="refused"):
        fetch(connection, "INSERT INTO t VALUES (2)")
    connection.rollback()
    fetch(connection, "INSERT INTO t VALUES (3)")
    assert [3] == rows(server, table)


def test_driver_s_error_is_the_cause(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """The loss of a statement that was under way carries what the driver said."""
    connection = db.connect(**table, autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_once_it_runs, server, connection.thread_id(), "SLEEP")
        with pytest.raises(persistconn.OutcomeUnknown) as told:
            fetch(connection, "INSERT INTO t SELECT 1 + SLEEP(60)")
        killing.result()
    assert isinstance(told.value, pymysql.OperationalError)
    assert isinstance(told.value.__cause__, pymysql.OperationalError)
    assert told.value.args[0] == told.value.__cause__.args[0] == 2013
    assert "at INSERT INTO" in str(told.value)
    assert [] == rows(server, table)


def test_read_that_was_lost_is_read_again(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """Outside a transaction, on a fresh connection, once."""
    execute(server, table, "INSERT INTO t VALUES (7)")
    connection = db.connect(**table, autocommit=True)
    first = connection.thread_id()
    with pymysql.connect(**table) as other, ThreadPoolExecutor(1) as pool:
        # The read waits for it, so it is under way until its session is killed.
        other.query("LOCK TABLES t WRITE")

        def kill_and_unlock() -> None:
            kill_once_it_runs(server, first, "SELECT id")
            other.query("UNLOCK TABLES")

        killing = pool.submit(kill_and_unlock)
        assert ((7,),) == fetch(connection, "SELECT id FROM t")
        killing.result()
    assert connection.thread_id() != first


@pytest.mark.parametrize(
    ("sql", "number"),
    [("INSERT INTO t VALUES (1)", 1062), ("SELECT * FROM nothing", 1146), ("SELEC 1", 1064), ("KILL QUERY {id}", 1317)],
)
def test_server_s_error_is_passed_on_and_the_connection_stays(
    db: Any, server: MariaDB, table: dict[str, Any], sql: str, number: int
) -> None:
    """It is an answer; the session is good."""
    execute(server, table, "INSERT INTO t VALUES (1)")
    connection = db.connect(**table, autocommit=True)
    session = connection.thread_id()
    with pytest.raises(pymysql.MySQLError) as error:
        fetch(connection, sql.format(id=session))
    assert error.value.args[0] == number
    assert not isinstance(error.value, persistconn.ConnectionLost)
    assert session == connection.thread_id()
    assert ((1,),) == fetch(connection, "SELECT 1")


def test_settings_of_the_session_survive_its_replacement(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """Autocommit, isolation, variables, database, character set and encoders are made again."""
    connection = db.connect(**table)
    connection.autocommit(True)
    connection.encoders.pop(bytes, None)
    fetch(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    fetch(connection, "SET time_zone = '+03:00', SESSION max_sort_length = 64")
    connection.select_db("information_schema")
    connection.set_character_set("latin1")
    question = "SELECT @@autocommit, @@tx_isolation, @@time_zone, @@max_sort_length, DATABASE(), @@character_set_client"
    before, session = fetch(connection, question), connection.thread_id()
    kill(server, connection)
    assert before == fetch(connection, question)
    assert before[0][1:] == ("READ-COMMITTED", "+03:00", 64, "information_schema", "latin1")
    assert session != connection.thread_id()
    assert bytes not in connection.encoders


def test_lost_lock_is_told(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """With a named lock the connection is not replaced unseen; after the error it is."""
    connection = db.connect(**table, autocommit=True)
    fetch(connection, "SELECT GET_LOCK('persistconn-test', 1)")
    kill(server, connection)
    with pytest.raises(persistconn.SessionStateLost, match="named lock"):
        fetch(connection, "INSERT INTO t VALUES (1)")
    fetch(connection, "INSERT INTO t VALUES (2)")
    assert [2] == rows(server, table)


def test_session_with_state_is_replaced_at_the_boundary(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """The next unit of work must not find the last one's lock, table or variable."""
    connection = db.connect(**table, autocommit=True)
    fetch(connection, "SET @mine = 1")
    session = connection.thread_id()
    connection.close()
    assert ((None,),) == fetch(connection, "SELECT @mine")
    assert session != connection.thread_id()


def test_cursors_are_the_driver_s_own(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """DictCursor and SSCursor included, and both context managers behave."""
    execute(server, table, "INSERT INTO t VALUES (1), (2), (3)")
    with db.connect(**table) as connection:
        with connection.cursor(pymysql.cursors.DictCursor) as cursor:
            assert type(cursor) is pymysql.cursors.DictCursor
            cursor.execute("SELECT id FROM t WHERE id < %s", (2,))
            assert [{"id": 1}] == list(cursor.fetchall())
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT id FROM t ORDER BY id")
            assert (1,) == cursor.fetchone()
            assert [(2,), (3,)] == list(cursor)
        with connection.cursor() as cursor:
            assert 3 == cursor.executemany("INSERT INTO t VALUES (%s)", [(4,), (5,), (6,)])
            connection.commit()
    assert [1, 2, 3, 4, 5, 6] == rows(server, table)


def test_unread_rows_end_with_the_unit(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """The next unit of work never sees rows of the last one's query."""
    execute(server, table, "INSERT INTO t VALUES (1), (2), (3)")
    connection = db.connect(**table, cursorclass=pymysql.cursors.SSCursor, autocommit=True)
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM t")
    cursor.fetchone()
    connection.close()
    assert [(42,)] == fetch(connection, "SELECT 42")


@pytest.mark.parametrize("is_open", [True, False])
def test_rows_that_are_lost_half_way_are_told(db: Any, server: MariaDB, table: dict[str, Any], is_open: bool) -> None:
    """An unbuffered cursor reads from the wire long after its statement; a loss there is no raw error either."""
    connection = db.connect(**table, cursorclass=pymysql.cursors.SSCursor, autocommit=not is_open)
    cursor = connection.cursor()
    cursor.execute("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_1000000")
    cursor.fetchone()
    session = connection.thread_id()
    server.kill_session(session)
    eventually(lambda: session not in sessions(server, table))
    expected = persistconn.TransactionLost if is_open else persistconn.ConnectionLost
    with pytest.raises(expected) as told:
        list(cursor)
    assert isinstance(told.value.__cause__, pymysql.OperationalError)
    connection.rollback()
    assert [(42,)] == fetch(connection, "SELECT 42")


@pytest.mark.parametrize("blow", [KeyboardInterrupt, RuntimeError])
def test_exception_between_send_and_reply_discards_the_connection(
    db: Any, server: MariaDB, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch, blow: type[BaseException]
) -> None:
    """Otherwise the next query would get this one's rows."""
    connection = db.connect(**table, autocommit=True)
    session = connection.thread_id()
    raw = connection._held.raw

    def struck(*_: object, **__: object) -> None:
        raise blow("in the middle")

    monkeypatch.setattr(raw, "_read_query_result", struck)
    with pytest.raises(blow, match="in the middle"):
        fetch(connection, "SELECT 'first'")
    assert (("second",),) == fetch(connection, "SELECT 'second'")
    assert session != connection.thread_id()


def test_exception_that_left_the_wire_busy_is_noticed_later(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """An asynchronous exception may strike where no handler runs: the next statement finds the wire marked."""
    connection = db.connect(**table, autocommit=True)
    raw = connection._guard._ready()
    raw._execute_command(3, b"SELECT 'first'")
    assert (("second",),) == fetch(connection, "SELECT 'second'")


def test_statement_that_cannot_be_encoded_costs_nothing(db: Any, server: MariaDB, table: dict[str, Any]) -> None:
    """It was never sent: the transaction and the connection live on."""
    connection = db.connect(**table, charset="latin1")
    fetch(connection, "INSERT INTO t VALUES (1)")
    with pytest.raises(UnicodeEncodeError):
        connection.query("SELECT '\N{SNOWMAN}'")
    connection.commit()
    assert [1] == rows(server, table)


def test_wait_timeout_that_is_set_later_counts(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """The cap of the keepalive follows the session's own value, which was read at connect."""
    connection = db.connect(**database)
    assert 28800.0 == connection._held.wait_timeout
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION wait_timeout = 77")
        assert 0 == cursor.rowcount
    assert 77.0 == connection._held.wait_timeout


def test_answer_survives_a_replacement_that_comes_before_it_is_taken(
    db: Any, server: MariaDB, table: dict[str, Any]
) -> None:
    """The sweep may swap the raw connection between the reply and the cursor's look at it."""
    execute(server, table, "CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY)")
    connection = db.connect(**table, autocommit=True)
    session = connection.thread_id()
    connection.query("INSERT INTO counted VALUES (7)")
    assert connection._held.renew(Reason.LIFETIME)
    assert session != connection.thread_id()
    assert (7, 1) == (connection.insert_id(), connection.affected_rows())
    connection.query("SELECT 'taken late'")
    assert connection._held.renew(Reason.LIFETIME)
    assert (("taken late",),) == connection._result.rows


def test_no_secret_is_shown(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """Neither by repr nor in the list of connections nor in an error."""
    secret = "hush-hush"
    execute(server, database, f"CREATE OR REPLACE USER shy@'%' IDENTIFIED BY '{secret}'")
    execute(server, database, "GRANT ALL ON *.* TO shy@'%'")
    connection = db.connect(**{**database, "user": "shy", "password": secret})
    kill(server, connection)
    shown = [repr(connection), repr(connection._held), repr(persistconn.connections()), repr(db)]
    with pytest.raises(pymysql.OperationalError) as refused:
        db.connect(**{**database, "user": "shy", "password": secret + "x"})
    assert 1045 == refused.value.args[0]
    execute(server, database, "DROP USER shy@'%'")
    assert not [text for text in [*shown, str(refused.value)] if secret in text]


def test_server_that_refuses_to_write_is_left(
    db: Any, server: MariaDB, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover the name stands for another server: a new connection asks for it again."""
    execute(server, table, "CREATE OR REPLACE USER plain@'%' IDENTIFIED BY 'plain'")
    execute(server, table, "GRANT SELECT, INSERT, CREATE ON *.* TO plain@'%'")
    connection = db.connect(**{**table, "user": "plain", "password": "plain"})
    execute(server, table, "SET GLOBAL read_only = 1")
    try:
        for autocommit in (True, False):
            session = connection.thread_id()
            connection.autocommit(autocommit)
            with pytest.raises(pymysql.OperationalError) as refused:
                fetch(connection, "INSERT INTO t VALUES (1)")
            assert 1290 == refused.value.args[0]
            connection.rollback()
            fetch(connection, "SELECT 1")
            assert session != connection.thread_id()
            connection.rollback()
    finally:
        execute(server, table, "SET GLOBAL read_only = 0")
        execute(server, table, "DROP USER plain@'%'")
    fetch(connection, "INSERT INTO t VALUES (2)")
    connection.commit()
    assert [2] == rows(server, table)


def test_wrong_password_is_told_at_once(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """One attempt, and nothing is left in the registry."""
    before = server.status("Connections")
    with pytest.raises(pymysql.OperationalError):
        db.connect(**{**database, "password": "wrong"})
    assert server.status("Connections") == before + 1
    assert [] == persistconn.connections()


def test_password_may_be_a_callable_asked_at_each_connect(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """For passwords that are rotated and tokens that expire."""
    asked: list[str] = []

    def password() -> str:
        asked.append("asked")
        return str(database["password"])

    arguments = {**database, "password": password, "autocommit": True}
    connection = db.connect(**arguments)
    assert connection is db.connect(**arguments)
    kill(server, connection)
    fetch(connection, "SELECT 1")
    assert ["asked", "asked"] == asked


def test_retired_connection_is_gone(db: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """Its session ends in order; connect() gives a new one, and the old object says why it does not work."""
    connection = db.connect(**database)
    connection.retire()
    assert not connection.open
    with pytest.raises(pymysql.InterfaceError, match="closed by"):
        connection.query("SELECT 1")
    assert db.connect(**database) is not connection


def test_trust_in_the_past_is_checked_by_a_ping(server: MariaDB, database: dict[str, Any]) -> None:
    """Where the last proof of life is older than `trust`, the connection is pinged before use."""
    db = persistconn.manage(pymysql, trust=0.001)
    connection = db.connect(**database, autocommit=True)
    for _ in range(3):
        threading.Event().wait(0.005)
        fetch(connection, "SELECT 1")
    (view,) = [view for view in persistconn.connections() if view.session_id == connection.thread_id()]
    assert view.pings >= 3


def test_what_is_not_here_is_the_driver_s(db: Any, database: dict[str, Any]) -> None:
    """Django and others ask the connection and the module for much more."""
    connection = db.connect(**database)
    assert "MariaDB" in connection.get_server_info()
    assert "'it''s'" == connection.escape("it's").replace("\\'", "''")
    assert connection.fileno() > 0
    assert db.paramstyle == pymysql.paramstyle
    assert db.OperationalError is pymysql.OperationalError
    with pytest.raises(AttributeError):
        connection.nonsense  # noqa: B018
