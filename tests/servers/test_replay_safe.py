"""``assert_replay_safe``: a report for users of @job, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.once import probe
from persistconn.testing import MariaDB
from persistconn.testing.replay import assert_replay_safe


@pytest.fixture
def connect(server: MariaDB) -> Iterator[Any]:
    """Connects this thread to a database with a ledger, whose name says that it is a test's."""
    managed = persistconn.manage(pymysql)

    def connect() -> Any:
        return managed.connect(**server.connect_args(), autocommit=True)

    persistconn.ledger.create(connect())
    run(connect, "CREATE TABLE accounts (id INT PRIMARY KEY, cents INT NOT NULL)")
    run(connect, "INSERT INTO accounts VALUES (1, 100), (2, 0)")
    run(connect, "CREATE TABLE moves (id INT PRIMARY KEY AUTO_INCREMENT, cents INT, at DATETIME(6))")
    yield connect
    run(connect, "DROP TABLE accounts, moves")
    persistconn.ledger.drop(connect())
    connect().retire()
    probe.forget()


def run(connect: Any, sql: str) -> list[tuple[Any, ...]]:
    with connect().cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def move(cents: int) -> int:
    """The plain function of the jobs below."""
    with persistconn.current().cursor() as cursor:
        cursor.execute("UPDATE accounts SET cents = cents - %s WHERE id = 1", (cents,))
        cursor.execute("UPDATE accounts SET cents = cents + %s WHERE id = 2", (cents,))
        cursor.execute("INSERT INTO moves (cents, at) VALUES (%s, '2026-01-01')", (cents,))
        cursor.execute("SELECT cents FROM accounts WHERE id = 2")
        return int(cursor.fetchone()[0])


def test_a_job_of_rows_alone_is_safe_at_each_place(connect: Any) -> None:
    """A loss before each of four statements, before COMMIT and of its answer makes no difference; the rows are put back."""
    before = run(connect, "SELECT * FROM accounts")
    report = assert_replay_safe(persistconn.job(using=connect, name="move")(move), 30)
    assert len(report.faults) == 6
    assert str(report) == "the job move, with its connection lost at 6 places: no difference"
    assert run(connect, "SELECT * FROM accounts") == before


def test_a_file_that_is_written_twice_is_told(connect: Any, tmp_path: Path) -> None:
    """What no rollback undoes is done again by a replay."""

    @persistconn.job(using=connect, name="writes")
    def writes() -> None:
        (tmp_path / "sent").write_text("mail")
        run(persistconn.current, "UPDATE accounts SET cents = 5")

    with pytest.raises(
        AssertionError, match=r"loss before statement 1: opened .*sent for writing: 2 times instead of 1"
    ):
        assert_replay_safe(writes)


def test_state_that_outlives_an_attempt_is_told(connect: Any) -> None:
    """A value that Python keeps is counted on by the replay."""
    calls: list[int] = []

    @persistconn.job(using=connect, name="counts")
    def counts() -> int:
        calls.append(1)
        run(persistconn.current, f"UPDATE accounts SET cents = {len(calls)} WHERE id = 1")
        return 0

    with pytest.raises(AssertionError, match=r"table accounts: one row too many \(1, \d\)"):
        assert_replay_safe(counts)


def test_columns_that_differ_by_nature_can_be_left_out(connect: Any) -> None:
    """A time of writing is another one in a replay."""

    @persistconn.job(using=connect, name="stamps")
    def stamps() -> None:
        run(persistconn.current, "INSERT INTO moves (cents, at) VALUES (1, NOW(6))")

    with pytest.raises(AssertionError, match="table moves"):
        assert_replay_safe(stamps)
    assert_replay_safe(stamps, ignore=["moves.at"])


def test_a_column_that_there_is_not_is_refused(connect: Any) -> None:
    """A slip in ignore= would be found only when it is too late."""
    with pytest.raises(ValueError, match=r"there is no column moves\.when"):
        assert_replay_safe(persistconn.job(using=connect, name="move")(move), 1, ignore=["moves.when"])


def test_a_database_that_may_be_somebodys_is_refused(connect: Any, database: dict[str, Any]) -> None:
    """It refills tables."""
    other = persistconn.job(using=lambda: persistconn.manage(pymysql).connect(**database), name="move")(move)
    with pytest.raises(ValueError, match="does not look like a test's database: say database="):
        assert_replay_safe(other, 1)


def test_what_the_job_raises_without_a_loss_comes_out(connect: Any) -> None:
    """A job that fails anyway has nothing to compare."""

    @persistconn.job(using=connect, name="fails")
    def fails() -> None:
        raise KeyError("nothing to do with it")

    with pytest.raises(KeyError):
        assert_replay_safe(fails)


def test_a_plain_function_is_refused() -> None:
    """There is nothing to replay in it."""
    with pytest.raises(TypeError, match=r"under @persistconn\.job, not <function move"):
        assert_replay_safe(move, 30)
