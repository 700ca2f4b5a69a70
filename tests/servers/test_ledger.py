"""The ledger's own life: how it is made, proved and purged. On a real server; no Django."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.once import probe
from persistconn.once.purge import purge_all
from persistconn.once.token import random_token
from persistconn.testing import MariaDB

DAY = 86400.0


@pytest.fixture
def connect(database: dict[str, Any]) -> Iterator[Any]:
    """Connects this thread to a database with a ledger."""
    managed = persistconn.manage(pymysql)

    def connect() -> Any:
        return managed.connect(**database, autocommit=True)

    probe.forget()  # Of ledgers that other tests have left, on servers that are no more: all that are known get purged.
    persistconn.ledger.create(connect())
    yield connect
    connect().retire()
    probe.forget()


@pytest.fixture
def note(connect: Any) -> Any:
    """A job that writes one row."""
    with connect().cursor() as cursor:
        cursor.execute("CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(20))")

    @persistconn.job(using=connect, name="note")
    def note(text: str) -> None:
        with persistconn.current().cursor() as cursor:
            cursor.execute("INSERT INTO notes (text) VALUES (%s)", (text,))

    return note


def ask(connect: Any, sql: str) -> list[tuple[Any, ...]]:
    with connect().cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_created_a_second_time_it_keeps_what_it_has(connect: Any, note: Any) -> None:
    """create() is for every start of a program: it touches neither rows nor the mark."""
    note("one")
    ask(connect, "UPDATE persistconn_horizon SET low_water = '2001-01-01'")
    persistconn.ledger.create(connect())
    assert ask(connect, "SELECT COUNT(*) FROM persistconn_ledger") == [(1,)]
    assert ask(connect, "SELECT YEAR(low_water) FROM persistconn_horizon") == [(2001,)]


def test_a_purge_forgets_what_is_older_than_the_retention_and_nothing_else(connect: Any, note: Any) -> None:
    """Old calls go; young ones, keys of any age and torn jobs stay."""
    note("old")
    note.keyed("a key")("old too")
    note("torn")
    ask(
        connect,
        "UPDATE persistconn_ledger SET started_at = '2020-01-01', issued_at = IF(issued_at IS NULL, NULL, '2020-01-01')",
    )
    ask(connect, "UPDATE persistconn_ledger SET state = 'open' WHERE job_key IS NULL ORDER BY token DESC LIMIT 1")
    note("young")
    assert persistconn.ledger.purge(connect(), DAY) == 1
    left = ask(
        connect, "SELECT state, job_key, issued_at < '2021-01-01' FROM persistconn_ledger ORDER BY state, job_key"
    )
    assert left == [("done", None, 0), ("done", "a key", None), ("open", None, 1)]


def test_a_purge_forgets_what_a_probe_left_when_it_was_cut(connect: Any, note: Any) -> None:
    """Its row is committed while it is open, and proves no torn job."""
    note("old")
    ask(connect, "UPDATE persistconn_ledger SET state = 'open', job = 'persistconn.probe', issued_at = '2020-01-01'")
    ask(connect, "UPDATE persistconn_ledger SET started_at = '2020-01-01'")
    assert persistconn.ledger.purge(connect()) == 1


def test_a_purge_in_steps_takes_all(connect: Any, note: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is full is followed by another."""
    monkeypatch.setattr("persistconn.once.purge.STEP", 2)
    for number in range(5):
        note(str(number))
    ask(connect, "UPDATE persistconn_ledger SET started_at = '2020-01-01', issued_at = '2020-01-01'")
    assert persistconn.ledger.purge(connect()) == 5


def test_one_machine_purges_at_a_time(connect: Any, note: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """A second one finds the named lock taken and leaves the work to the first."""
    note("old")
    ask(connect, "UPDATE persistconn_ledger SET started_at = '2020-01-01', issued_at = '2020-01-01'")
    other = pymysql.connect(**database)
    with other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('pc:purge', 0)")
        assert cursor.fetchone() == (1,)
    assert persistconn.ledger.purge(connect()) == 0
    other.close()


def test_a_token_that_was_forgotten_is_refused_and_takes_no_effect(connect: Any, note: Any) -> None:
    """A replay that comes after the purge must not run again what may have run before it."""
    ask(connect, "UPDATE persistconn_horizon SET low_water = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
    token = random_token("late", datetime.now(timezone.utc) - timedelta(days=2))
    with pytest.raises(persistconn.TokenExpired, match="issued before what the ledger remembers"):
        note._run(token, ("too late",), {})
    assert ask(connect, "SELECT COUNT(*) FROM notes") == [(0,)]
    assert note.keyed("a key")("in time") is None


def test_the_keepalive_purges_each_ledger_that_was_used(
    connect: Any, note: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What runs jobs purges their ledger; nobody has to think of it."""
    note("old")
    ask(connect, "UPDATE persistconn_ledger SET started_at = '2020-01-01', issued_at = '2020-01-01'")
    purge_all()
    assert ask(connect, "SELECT COUNT(*) FROM persistconn_ledger") == [(0,)]


def test_a_purge_that_fails_is_logged_and_ends_nothing(
    connect: Any, note: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The chore runs beside others for years."""
    note("one")
    ask(connect, "DROP TABLE persistconn_horizon")
    purge_all()
    assert "could not purge the ledger" in caplog.text


@pytest.mark.parametrize("of", [persistconn.ledger.create, persistconn.ledger.drop, persistconn.ledger.check])
def test_what_is_no_held_connection_has_no_ledger(of: Any, database: dict[str, Any]) -> None:
    """A bare one of the driver, or nothing, is refused with what to give instead."""
    bare = pymysql.connect(**database)
    for given in (bare, None):
        with pytest.raises(persistconn.ConfigError, match=r"no connection of persistconn.*persistconn\.manage\(\)"):
            of(given)
    bare.close()


def test_a_connection_without_a_database_has_no_ledger(server: MariaDB) -> None:
    """It lies in the one that the connection names."""
    connection = persistconn.manage(pymysql).connect(**{**server.connect_args(), "database": None})
    with pytest.raises(persistconn.LedgerError, match="names no database"):
        persistconn.ledger.check(connection)
    connection.retire()
