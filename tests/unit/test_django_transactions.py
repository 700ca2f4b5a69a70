"""What a statement needs to be in a transaction wherever it is in one under ``autocommit=0``. No server."""

from __future__ import annotations

import pytest

from persistconn.backends.mysql.transactions import Need, need


@pytest.mark.parametrize(
    ("sql", "needed"),
    [
        ("SELECT 1", Need.TRANSACTION),
        ("(SELECT 1) UNION (SELECT 2)", Need.TRANSACTION),
        ("/* hint */ SELECT 1 FOR UPDATE", Need.TRANSACTION),
        ("insert into t values ('BEGIN')", Need.TRANSACTION),
        (b"UPDATE t SET x = 1", Need.TRANSACTION),
        ("WITH c AS (SELECT 1) DELETE FROM t", Need.TRANSACTION),
        ("SAVEPOINT s1", Need.TRANSACTION),
        ("DO f()", Need.TRANSACTION),
        ("ROLLBACK TO SAVEPOINT s1", Need.NOTHING),
        ("RELEASE SAVEPOINT s1", Need.NOTHING),
        ("COMMIT", Need.NOTHING),
        ("ROLLBACK", Need.NOTHING),
        ("BEGIN", Need.NOTHING),
        ("begin work ;", Need.NOTHING),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT", Need.NOTHING),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Need.NOTHING),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", Need.NOTHING),
        ("SET foreign_key_checks=0", Need.NOTHING),
        ("SET autocommit=0", Need.NOTHING),
        ("USE other", Need.NOTHING),
        ("SET autocommit=1", Need.AUTOCOMMIT_OFF),
        ("SET @x = (SELECT MAX(x) FROM t)", Need.AUTOCOMMIT_OFF),
        ("SET STATEMENT max_statement_time=1 FOR DELETE FROM t", Need.AUTOCOMMIT_OFF),
        ("BEGIN NOT ATOMIC INSERT INTO t VALUES (1); END", Need.AUTOCOMMIT_OFF),
        ("START SLAVE", Need.AUTOCOMMIT_OFF),
        ("CALL p()", Need.AUTOCOMMIT_OFF),
        ("EXECUTE s", Need.AUTOCOMMIT_OFF),
        ("CREATE TABLE t (x INT)", Need.AUTOCOMMIT_OFF),
        ("ANALYZE TABLE t", Need.AUTOCOMMIT_OFF),
        ("LOCK TABLES t WRITE", Need.AUTOCOMMIT_OFF),
        ("XA START 'x'", Need.AUTOCOMMIT_OFF),
        ("LOAD DATA INFILE 'x' INTO TABLE t", Need.AUTOCOMMIT_OFF),
        ("/*!50000 COMMIT */", Need.AUTOCOMMIT_OFF),
        ("", Need.AUTOCOMMIT_OFF),
    ],
)
def test_need(sql: str | bytes, needed: Need) -> None:
    """What is not known to stay inside the transaction may commit, and go on."""
    assert needed is need(sql)
