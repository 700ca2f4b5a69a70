"""What losing the answer to a statement means, told from its text."""

from __future__ import annotations

import pytest

from persistconn.statement import Effect, beginning, effect, first_word


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("select 1", "SELECT"),
        ("  \n(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("/* a; b */ -- c\n # d\n update t set a=1", "UPDATE"),
        (b"INSERT INTO t VALUES (1)", "INSERT"),
        (bytearray(b"\xff"), ""),
        ("", ""),
    ],
)
def test_first_word_is_found_behind_comments_and_parentheses(sql: str | bytes, word: str) -> None:
    """Comments of an ORM or a tracer stand in front of many statements."""
    assert word == first_word(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE a = 1",
        "SELECT a FROM t;",
        "SHOW TABLES",
        "DESCRIBE t",
        "EXPLAIN SELECT 1",
        "SELECT @@session.sql_mode",
        "WITH x AS (SELECT 1) SELECT * FROM x",
    ],
)
def test_plain_read_can_be_read_again(sql: str) -> None:
    """It has no effect."""
    assert effect(sql) is Effect.READ


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO t VALUES ('geheim')", "INSERT INTO"),
        ("SELECT 'geheim'", "SELECT"),
        ("SET PASSWORD='geheim'", "SET"),
        ("CALL login('geheim')", "CALL"),
        ("UPDATE `shop`.`t` SET a = 1", "UPDATE `shop`.`t`"),
        (b"DELETE FROM t", "DELETE FROM"),
        ("", ""),
    ],
)
def test_beginning_of_a_statement_shows_no_value(sql: str | bytes, words: str) -> None:
    """It stands in errors and in the log."""
    assert words == beginning(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t FOR UPDATE",
        "select * from t for share",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT a INTO OUTFILE '/tmp/x' FROM t",
        "SELECT a INTO @a FROM t",
        "SELECT @n := @n + 1",
        "SELECT GET_LOCK('a', 1)",
        "SELECT release_lock('a')",
        "SELECT NEXTVAL(s)",
        "SELECT LAST_INSERT_ID()",
        "SELECT FOUND_ROWS()",
        "SELECT 1; DELETE FROM t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "EXPLAIN ANALYZE SELECT 1",
    ],
)
def test_read_with_a_side_effect_is_not_a_read(sql: str) -> None:
    """It locks, writes, counts or reads what the lost session knew."""
    assert effect(sql) is not Effect.READ


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO t VALUES (1)", Effect.INSIDE),
        ("DELETE FROM t", Effect.INSIDE),
        ("SAVEPOINT a", Effect.INSIDE),
        ("ROLLBACK TO SAVEPOINT a", Effect.INSIDE),
        ("COMMIT", Effect.COMMIT),
        ("commit and chain", Effect.COMMIT),
        ("ROLLBACK", Effect.ROLLBACK),
        ("BEGIN", Effect.BEGIN),
        ("START TRANSACTION READ ONLY", Effect.BEGIN),
        ("START SLAVE", Effect.COMMITS),
        ("CREATE TABLE t (a int)", Effect.COMMITS),
        ("CALL p()", Effect.COMMITS),
        ("SET GLOBAL max_connections = 5", Effect.COMMITS),
        ("BEGIN WORK;", Effect.BEGIN),
        ("BEGIN NOT ATOMIC INSERT INTO t VALUES (1); END", Effect.COMMITS),
        ("BEGIN; INSERT INTO t VALUES (1); COMMIT", Effect.COMMITS),
        ("START TRANSACTION; INSERT INTO t VALUES (1); COMMIT", Effect.COMMITS),
        ("SET @a = 1; INSERT INTO t VALUES (1)", Effect.COMMITS),
        ("ROLLBACK; INSERT INTO t VALUES (1)", Effect.COMMITS),
        ("SET autocommit=1", Effect.BEGIN),
        ("SET autocommit = 0", Effect.SETTING),
        ("SET SESSION sql_mode = ''", Effect.SETTING),
        ("USE other", Effect.SETTING),
        ("KILL 5", Effect.COMMITS),
        ("gibberish", Effect.COMMITS),
        ("", Effect.COMMITS),
    ],
)
def test_effect_of_what_is_not_a_read(sql: str, expected: Effect) -> None:
    """What is not known to stay inside its transaction may have committed it."""
    assert expected is effect(sql)
