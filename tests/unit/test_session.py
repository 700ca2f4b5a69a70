"""What a session carries, told from its statements."""

from __future__ import annotations

import pytest

from persistconn import session as words
from persistconn.session import Session, leaves_nothing


def session_after(*statements: str) -> Session:
    """Return a session that has seen these statements."""
    session = Session()
    for sql in statements:
        session.note(sql)
    return session


def test_settings_are_made_again_in_their_order_the_last_of_each() -> None:
    """A later setting may depend on an earlier one; a repeated one counts once."""
    session = session_after(
        "SET SESSION sql_mode = 'ANSI'",
        "SET time_zone = '+01:00'",
        "SET @@session.sql_mode = ''",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    )
    assert [
        "SET time_zone = '+01:00'",
        "SET @@session.sql_mode = ''",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ] == list(session.statements())


@pytest.mark.parametrize(
    "sql",
    [
        "SET GLOBAL max_connections = 5",
        "SET @@global.max_connections = 5",
        "SET PERSIST max_connections = 5",
        "SET PASSWORD = 'secret'",
        "SET autocommit = 0",
        "SELECT 1",
        "INSERT INTO t VALUES ('SET x = 1')",
    ],
)
def test_what_does_not_set_the_session_is_not_recorded(sql: str) -> None:
    """Least of all a password."""
    session = session_after(sql)
    assert [] == list(session.statements())
    assert not session.is_pinned


def test_set_transaction_counts_for_the_next_transaction_only() -> None:
    """It is made again on a new connection until a statement has used it up."""
    once = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    assert [once] == list(session_after(once, "BEGIN").statements())
    assert [] == list(session_after(once, "BEGIN", "UPDATE t SET a = 1").statements())


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("SELECT GET_LOCK('a', 10)", words.NAMED_LOCK),
        ("LOCK TABLES t WRITE", words.TABLE_LOCK),
        ("FLUSH TABLES WITH READ LOCK", words.TABLE_LOCK),
        ("CREATE TEMPORARY TABLE t (a int)", words.TEMPORARY_TABLE),
        ("create or replace temporary table t (a int)", words.TEMPORARY_TABLE),
        ("SET @a = 1", words.USER_VARIABLE),
        ("SELECT a INTO @a FROM t", words.USER_VARIABLE),
        ("SELECT @n := 1", words.USER_VARIABLE),
        ("PREPARE p FROM 'SELECT 1'", words.PREPARED),
        ("HANDLER t OPEN", words.HANDLER),
        ("XA START 'a'", words.XA),
    ],
)
def test_state_that_cannot_be_rebuilt_pins_the_session(sql: str, state: str) -> None:
    """Such a session is never replaced unseen."""
    assert {state} == session_after(sql).held


def test_unlocking_unpins() -> None:
    """What is given up completely no longer counts."""
    assert not session_after("LOCK TABLES t READ", "UNLOCK TABLES").is_pinned
    assert not session_after("SELECT GET_LOCK('a', 1)", "SELECT RELEASE_ALL_LOCKS()").is_pinned
    assert session_after("SELECT GET_LOCK('a', 1)", "SELECT RELEASE_LOCK('b')").is_pinned


def test_a_changed_wait_timeout_is_told() -> None:
    """The keepalive is capped by it, so it has to be read again."""
    session = Session()
    assert session.note("SET SESSION wait_timeout = 5")
    assert session.note("SET @@session.wait_timeout = 5")
    assert not session.note("SET SESSION sql_mode = ''")
    assert not session.note("SET SESSION lock_wait_timeout = 5")
    assert not session.note("SELECT @@wait_timeout")


def test_use_is_remembered() -> None:
    """A new connection would start in the database of the connect arguments."""
    assert session_after("USE `other` ;").database == "other"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT GET_LOCK('a', 1)",
        "SELECT get_lock ('a', 1)",
        "SELECT RELEASE_ALL_LOCKS()",
        "SELECT @x := 1",
        "SELECT 1 INTO @x",
        "SELECT x INTO @x FROM t",
        b"SELECT GET_LOCK('a', 1)",
        b"SELECT @x := 1",
        "SET SESSION sql_mode = ''",
        "CREATE TEMPORARY TABLE t (id INT)",
        "LOCK TABLES t READ",
        "USE other",
        "DO GET_LOCK('a', 1)",
        "WITH q AS (SELECT GET_LOCK('a', 1)) SELECT * FROM q",
        "/* a comment */ SELECT GET_LOCK('a', 1)",
    ],
)
def test_what_may_leave_something_takes_a_closer_look(sql: str | bytes) -> None:
    """The quick look lets pass only what leaves nothing."""
    assert not leaves_nothing(sql)


@pytest.mark.parametrize(
    "sql", ["SELECT x FROM t WHERE id = 1", b"INSERT INTO t VALUES (1)", bytearray(b"DELETE FROM t")]
)
def test_what_leaves_nothing_uses_up_the_setting_of_the_next_transaction(sql: str | bytes) -> None:
    """As any other statement does."""
    session = Session()
    session.note("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    session.note(sql)
    assert leaves_nothing(sql)
    assert session.statements() == []
