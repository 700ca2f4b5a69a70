"""Which statements are refused inside a job, and which of them on another connection while one runs."""

from __future__ import annotations

import itertools

import pytest

from persistconn.once.screen import foreign_objection, objection, plain_write, written_table
from persistconn.testing import within

REFUSED = {
    "leave the commit out": ["COMMIT", "commit work", "/* a */ COMMIT", b"COMMIT"],
    "raise one": ["ROLLBACK", "ROLLBACK WORK", "ROLLBACK AND CHAIN"],
    "the job is one transaction": ["BEGIN", "START TRANSACTION", "START TRANSACTION WITH CONSISTENT SNAPSHOT"],
    "leave XA out": ["XA START 'x'", "XA COMMIT 'x'"],
    "retire it after the job": ["RETIRE"],
    "leave the connection open": ["CLOSE"],
    "in a migration or before the job is called": [
        "CREATE TABLE t (x INT)",
        "CREATE TABLE t SELECT 1",
        "CREATE INDEX i ON t (x)",
        "CREATE OR REPLACE TABLE t (x INT)",
        "ALTER TABLE t ADD y INT",
        "DROP TABLE temp",
        "TRUNCATE t",
        "RENAME TABLE t TO u",
        "LOCK TABLES t WRITE",
        "UNLOCK TABLES",
        "FLUSH TABLES",
        "ANALYZE TABLE t",
        "OPTIMIZE TABLE t",
        "GRANT SELECT ON t TO u",
        "START REPLICA",
        "(  \n-- why\n# not\n DROP TABLE t",
    ],
    "autocommit belongs to the job": ["SET autocommit = 1", "SET @@session.autocommit=0", "set session AUTOCOMMIT=ON"],
    "completion_type belongs to the job": ["SET completion_type = 'CHAIN'"],
    "password belongs to the job": ["SET PASSWORD FOR u = 'x'"],
    "RELEASE_LOCK(name) each of yours": [
        "SELECT RELEASE_ALL_LOCKS()",
        "DO release_all_locks ()",
        "SET @n = RELEASE_ALL_LOCKS()",
        b"WITH a AS (SELECT RELEASE_ALL_LOCKS() AS n) SELECT 'a', n FROM a",
    ],
}
PASSES = [
    "SELECT 1",
    "INSERT INTO t VALUES ('COMMIT')",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "REPLACE INTO t VALUES (1)",
    "SAVEPOINT s",
    "RELEASE SAVEPOINT s",
    "ROLLBACK TO s",
    "rollback work to savepoint s",
    "CREATE TEMPORARY TABLE t (x INT)",
    "CREATE OR REPLACE TEMPORARY TABLE t (x INT)",
    "DROP TEMPORARY TABLE t",
    "SET time_zone = '+00:00'",
    "SET @v = 1",
    "CALL p()",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "DO SLEEP(0)",
    "DO RELEASE_LOCK('mine')",
    "SELECT 'RELEASE_ALL_LOCKS()'",
    "INSERT INTO t VALUES ('RELEASE_ALL_LOCKS()')",
    "USE other",
    "",
]


@pytest.mark.parametrize(("advice", "sql"), [(advice, sql) for advice, all_ in REFUSED.items() for sql in all_])
def test_statement_that_ends_the_transaction_is_refused_with_advice(advice: str, sql: str | bytes) -> None:
    """By its first word, comments and letter case aside."""
    told = objection(sql)
    assert told is not None
    assert advice in told


@pytest.mark.parametrize("sql", PASSES)
def test_statement_that_stays_inside_passes(sql: str) -> None:
    """What its values say does not matter."""
    assert objection(sql) is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t;",
        "SELECT 'a;b', \"c;d\", `e;f` FROM t",
        "SELECT 'it\\'s; x'",
        "SHOW TABLES",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SET @a = 1",
        "USE other",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "SELECT GET_LOCK('a', 1)",
        "CLOSE",
        "RETIRE",
    ],
)
def test_other_connection_may_be_read(sql: str) -> None:
    """And may begin, end and close what is its own."""
    assert foreign_objection(sql) is None


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "CALL p()",
        "CREATE TABLE t (x INT)",
        "TRUNCATE t",
        "SELECT 1; DELETE FROM t",
        "COMMIT; INSERT INTO t VALUES (1)",
        "KILL 5",
        "",
    ],
)
def test_other_connection_may_not_be_written(sql: str) -> None:
    """What is not known to be a read counts as a write."""
    told = foreign_objection(sql)
    assert told is not None
    assert "before or after the job" in told


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("INSERT INTO t VALUES (1)", (None, "t")),
        ("insert ignore t set a=1", (None, "t")),
        ("INSERT LOW_PRIORITY IGNORE INTO shop.t (a) SELECT 1", ("shop", "t")),
        ("REPLACE INTO `t` VALUES (1)", (None, "t")),
        ("UPDATE `my shop` . `my-table` SET a = 1", ("my shop", "my-table")),
        ("UPDATE `a``b` SET a = 1", (None, "a`b")),
        ("UPDATE LOW_PRIORITY t, u SET t.a = 1", (None, "t")),
        ("DELETE QUICK FROM t WHERE a = 1", (None, "t")),
        ("LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE t", (None, "t")),
        ("/* shop: a */ -- b\n # c\n INSERT INTO t VALUES (1)", (None, "t")),
        (b"INSERT INTO t\xc3\xa4 VALUES ('\xff')", (None, "tä")),
        ("SELECT * FROM t", None),
        ("/*!50000 INSERT */ INTO t VALUES (1)", None),
    ],
)
def test_table_that_is_written_is_found(sql: str | bytes, table: tuple[str | None, str] | None) -> None:
    """The first one, for its engine to be looked at."""
    assert written_table(sql) == table


def test_thousands_of_comments_take_no_time() -> None:
    """Each part has one way to match, whatever follows."""
    with within():
        for end in ("", "INSERT", "/* unfinished"):
            written_table("/* a */ " * 5000 + end)
            foreign_objection("SELECT " + "'a' " * 5000 + ";" + end)


HEADS = (
    "INSERT INTO",
    "insert  into",
    "REPLACE INTO",
    "DELETE FROM",
    "UPDATE",
    "INSERT IGNORE INTO",
    "(INSERT INTO",
    "SELECT",
)
TABLES = (
    "t",
    "`t`",
    "`a``b`",
    "`a b`",
    "a.b",
    "a .b",
    "a . b",
    "`a`. `b`",
    "t(a",
    "`t`(a",
    "t;",
    "a/**/.b",
    "LOW_PRIORITY",
)
TAILS = (
    "",
    "(n) VALUES (1)",
    " (n) VALUES (1)",
    " SET a = 1",
    " . x SET a = 1",
    " VALUES (1); COMMIT",
    f" SET a = {'x' * 300}",
)


def test_what_is_taken_for_a_plain_write_is_one() -> None:
    """The short way to its table gives what the long one does, and passes nothing that is refused."""
    found = 0
    for parts in itertools.product(HEADS, TABLES, TAILS):
        text = "{} {}{}".format(*parts)
        for sql in (text, text.encode()):
            if (table := plain_write(sql)) is not None:
                found += 1
                assert (table, None) == (written_table(sql), objection(sql)), sql
    assert found > len(HEADS) * len(TAILS)


@pytest.mark.parametrize(
    "sql", ["INSERT INTO `t` (`n`) VALUES (7)", "UPDATE t SET a = 1", b"DELETE FROM t WHERE a = 1"]
)
def test_the_most_common_writes_are_plain(sql: str | bytes) -> None:
    """Or the short way would be for nobody."""
    assert plain_write(sql) == (None, "t")
