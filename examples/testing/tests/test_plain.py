"""Plain PyMySQL on a pool: one session a thread, and no error that reaches a task."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest
from shop.plain import count

import persistconn


@pytest.fixture
def rows(mysql_database: dict[str, Any]) -> dict[str, Any]:
    with pymysql.connect(**mysql_database, autocommit=True) as bare, bare.cursor() as cursor:
        cursor.execute("CREATE TABLE line (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO line VALUES (1), (2), (3)")
    return mysql_database


def test_one_session_a_thread(rows: dict[str, Any], sessions: Any) -> None:
    """A hundred tasks, at most four sessions."""
    with persistconn.Executor(max_workers=4) as pool:
        assert [3] * 100 == list(pool.map(count, [rows] * 100, ["line"] * 100))
        assert len(sessions(rows["database"])) <= 4


@pytest.mark.persistconn(wait_timeout=1)
def test_a_server_with_a_short_patience(rows: dict[str, Any], expire: Any, no_surfaced_errors: Any) -> None:
    """Each session ends after a second of rest, whoever has made it."""
    with persistconn.Executor(max_workers=1) as pool:
        pool.submit(count, rows, "line").result()
        expire()
        assert 3 == pool.submit(count, rows, "line").result()


def test_read_again(rows: dict[str, Any], fault_proxy: Any) -> None:
    """The answer to a plain read is lost: it is read once more."""
    cut = fault_proxy.cut("SELECT COUNT", after=True)
    assert 3 == count(fault_proxy.connect_args(rows), "line")
    cut.wait()
