"""Blocks on our engine, and on Django's own, which switches autocommit off for each: they must keep the same rows."""

# The fixtures are imported, and then named by the tests.
# ruff: noqa: F401, F811
from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from pymysql.cursors import SSCursor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site import transactions as bench
from django_site.fixtures import LIMIT, site
from django_site.transactions import IS_MYSQL, ThrownAway, kept, quiet, server, stock

from persistconn.testing import eventually

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("quiet")]

create_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint
"""Django 6.1 has renamed it."""


@dataclass(frozen=True)
class Database:
    """The same database by way of one alias or the other. It goes on after an error, as the ORM would not."""

    using: str
    server: Any

    def run(self, sql: str) -> None:
        """Run a statement."""
        bench.run(sql, using=self.using)

    def add(self, number: int) -> None:
        """Write one row."""
        bench.add(number, self.using)

    def failing(self, sql: str) -> None:
        """Run a statement that the server refuses."""
        with pytest.raises(DatabaseError):
            self.run(sql)

    def thrown_away(self) -> contextlib.AbstractContextManager[None]:
        """Run an atomic block that ends with an exception."""
        return bench.thrown_away(self.using)

    def lose_deadlock(self) -> None:
        """Be the victim of a deadlock over the rows 91 and 92, an error that rolls the transaction back."""
        self.run("SELECT * FROM shop_entry WHERE number = 91 FOR UPDATE")
        with contextlib.closing(self.server.admin()) as other, other.cursor() as cursor:
            cursor.execute("BEGIN")
            # The one that has written less is rolled back.
            cursor.executemany(
                "INSERT INTO site_main.shop_entry (number) VALUES (%s)", [(n,) for n in range(1000, 1050)]
            )
            cursor.execute("SELECT * FROM site_main.shop_entry WHERE number = 92 FOR UPDATE")
            want = "SELECT * FROM site_main.shop_entry WHERE number = 91 FOR UPDATE"
            waits = threading.Thread(target=cursor.execute, args=(want,))
            waits.start()
            eventually(lambda: any(session.info == want for session in self.server.processlist()))
            with pytest.raises(DatabaseError, match="1213"):
                self.run("SELECT * FROM shop_entry WHERE number = 92 FOR UPDATE")
            waits.join(LIMIT)
            other.rollback()


Scenario = Callable[[Database], None]


def ddl(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("CREATE TABLE side (x INT)")
        db.add(2)
        db.run("DROP TABLE side")
        db.add(3)


def ddl_that_fails(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.failing("CREATE TABLE shop_entry (x INT)")
        db.add(2)


def ddl_at_the_end(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("ALTER TABLE shop_entry COMMENT = ''")


def commit_by_hand(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("COMMIT")
        db.add(2)


def commit_by_the_driver(db: Database) -> None:

    with db.thrown_away():
        db.add(1)
        connections[db.using].connection.commit()
        db.add(2)


def rollback_by_hand(db: Database) -> None:

    with transaction.atomic(db.using):
        db.add(1)
        db.run("/* enough */ ROLLBACK")
        db.add(2)


def begin_by_hand(db: Database) -> None:
    with db.thrown_away():
        db.run("BEGIN")
        db.add(1)
        db.run("START TRANSACTION READ WRITE")
        db.add(2)


def begin_before_the_block(db: Database) -> None:
    db.run("BEGIN")
    db.add(1)
    db.run("SELECT * FROM shop_entry")
    with db.thrown_away():
        db.add(2)


def begin_and_error_before_the_block(db: Database) -> None:
    db.run("BEGIN")
    db.add(1)
    db.failing("CREATE TABLE shop_entry (x INT)")
    with db.thrown_away():
        db.add(2)


def begin_and_analyze_before_the_block(db: Database) -> None:
    # It commits, and answers with rows, behind which PyMySQL reads no status.
    db.run("BEGIN")
    db.add(1)
    db.run("ANALYZE TABLE shop_entry")
    with db.thrown_away():
        db.add(2)


def procedure_that_begins_and_fails_before_the_block(db: Database) -> None:
    # Where a BEGIN of ours would commit what the procedure has written.
    db.failing("CALL begins_and_fails()")
    with db.thrown_away():
        db.add(2)


def chain(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("COMMIT AND CHAIN")
        db.add(2)


def deadlock_and_on(db: Database) -> None:
    db.add(91)
    db.add(92)
    with db.thrown_away():
        db.add(1)
        db.lose_deadlock()
        db.add(2)


def deadlock_and_commit(db: Database) -> None:

    db.add(91)
    db.add(92)
    with transaction.atomic(db.using):
        db.add(1)
        db.lose_deadlock()
        db.add(2)
        db.add(3)


def duplicate_and_on(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.failing("INSERT INTO shop_entry (number) VALUES (1)")
        db.add(2)


def duplicate_and_commit(db: Database) -> None:

    with transaction.atomic(db.using):
        db.add(1)
        db.failing("INSERT INTO shop_entry (number) VALUES (1)")
        db.add(2)


def procedure(db: Database) -> None:
    with db.thrown_away():
        db.run("CALL commits_between()")


def procedure_behind_a_write(db: Database) -> None:
    with db.thrown_away():
        db.add(5)
        db.run("CALL commits_between()")
        db.add(6)


def procedure_of_the_cursor(db: Database) -> None:

    with db.thrown_away(), connections[db.using].cursor() as cursor:
        cursor.callproc("takes", [3])


def compound(db: Database) -> None:
    with db.thrown_away():
        db.run(
            "BEGIN NOT ATOMIC INSERT INTO shop_entry (number) VALUES (1); COMMIT;"
            " INSERT INTO shop_entry (number) VALUES (2); END"
        )


def prepared(db: Database) -> None:
    with db.thrown_away():
        db.run("PREPARE p FROM 'INSERT INTO shop_entry (number) VALUES (1)'")
        db.run("EXECUTE p")


def analyze(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("ANALYZE TABLE shop_entry")
        db.add(2)


def function_that_writes(db: Database) -> None:
    with db.thrown_away():
        db.run("SELECT writes(1)")
    with db.thrown_away():
        db.run("DO writes(2)")
    with db.thrown_away():
        db.run("SET @x = writes(3)")


def temporary_table(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("CREATE TEMPORARY TABLE scratch (x INT)")
        db.add(2)
        db.run("DROP TEMPORARY TABLE scratch")


def many_at_once(db: Database) -> None:

    with db.thrown_away(), connections[db.using].cursor() as cursor:
        cursor.executemany("INSERT INTO shop_entry (number) VALUES (%s)", [(1,), (2,)])
        cursor.executemany("UPDATE shop_entry SET number = %s WHERE number = %s", [(3, 1), (4, 2)])


def locks_before(db: Database) -> None:
    db.run("LOCK TABLES shop_entry WRITE")
    with db.thrown_away():
        db.add(1)
        db.failing("SELECT * FROM django_migrations")  # 1100: it was not locked, so the others still are.
        db.add(2)
    db.failing("SELECT * FROM django_migrations")
    db.run("UNLOCK TABLES")


def locks_inside(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("LOCK TABLES shop_entry WRITE")
        db.add(2)
        db.failing("SELECT * FROM django_migrations")
    db.run("UNLOCK TABLES")


def xa(db: Database) -> None:
    with db.thrown_away():
        db.run("XA START 'one'")
        db.add(1)
        db.run("XA END 'one'")
        db.run("XA COMMIT 'one' ONE PHASE")
        db.add(2)


def savepoints(db: Database) -> None:

    with transaction.atomic(db.using):
        with transaction.atomic(db.using, savepoint=False):
            db.add(1)
        with contextlib.suppress(ThrownAway), transaction.atomic(db.using):
            db.add(2)
            raise ThrownAway
        with db.thrown_away():
            pass
        sid = create_savepoint(db.using)
        db.add(3)
        transaction.savepoint_rollback(sid, db.using)
        db.add(4)


def savepoint_after_a_commit(db: Database) -> None:
    with db.thrown_away():
        db.add(1)
        db.run("SAVEPOINT one")
        db.run("COMMIT")
        db.failing("ROLLBACK TO SAVEPOINT one")
        db.add(2)


def inner_block_without_savepoint(db: Database) -> None:

    with transaction.atomic(db.using):
        db.add(1)
        with contextlib.suppress(ThrownAway), transaction.atomic(db.using, savepoint=False):
            db.add(2)
            raise ThrownAway


def marked_for_rollback(db: Database) -> None:

    with transaction.atomic(db.using):
        db.add(1)
        transaction.set_rollback(True, db.using)


def manual(db: Database) -> None:

    transaction.set_autocommit(False, db.using)
    db.add(1)
    transaction.commit(db.using)
    db.add(2)
    transaction.rollback(db.using)
    with transaction.atomic(db.using):
        db.add(3)
    transaction.set_autocommit(True, db.using)


def manual_with_an_inner_block_and_a_rollback(db: Database) -> None:

    transaction.set_autocommit(False, db.using)
    with transaction.atomic(db.using):
        db.add(1)
    transaction.rollback(db.using)
    transaction.set_autocommit(True, db.using)


def streamed_error(db: Database) -> None:

    db.add(91)
    db.add(92)
    with db.thrown_away():
        db.add(1)
        db.run("SELECT * FROM shop_entry WHERE number = 92 FOR UPDATE")
        with connections[db.using].connection.cursor(SSCursor) as cursor:
            cursor.execute("SELECT number FROM shop_entry")
        db.add(2)


MARIADB_ONLY = {compound}
SCENARIOS: list[tuple[Scenario, list[int]]] = [
    (ddl, [1, 2]),
    (ddl_that_fails, [1]),
    (ddl_at_the_end, [1]),
    (commit_by_hand, [1]),
    (commit_by_the_driver, [1]),
    (rollback_by_hand, [2]),
    (begin_by_hand, [1]),
    (begin_before_the_block, []),
    (begin_and_error_before_the_block, [1]),
    (begin_and_analyze_before_the_block, [1]),
    (procedure_that_begins_and_fails_before_the_block, []),
    (chain, [1]),
    (deadlock_and_on, [91, 92]),
    (deadlock_and_commit, [2, 3, 91, 92]),
    (duplicate_and_on, []),
    (duplicate_and_commit, [1, 2]),
    (procedure, [1]),
    (procedure_behind_a_write, [1, 5]),
    (procedure_of_the_cursor, []),
    (compound, [1]),
    (prepared, []),
    (analyze, [1]),
    (function_that_writes, []),
    (temporary_table, []),
    (many_at_once, []),
    (locks_before, []),
    (locks_inside, [1]),
    (xa, [1]),
    (savepoints, [1, 4]),
    (savepoint_after_a_commit, [1]),
    (inner_block_without_savepoint, []),
    (marked_for_rollback, []),
    (manual, [1, 3]),
    (manual_with_an_inner_block_and_a_rollback, []),
    (streamed_error, [91, 92]),
]


@pytest.fixture
def routines(site: Any) -> Iterator[None]:
    """Stored routines that commit, begin, fail and write."""
    insert = "INSERT INTO shop_entry (number) VALUES"
    made = {
        "PROCEDURE commits_between": f"() BEGIN {insert} (1); COMMIT; {insert} (2); END",
        "PROCEDURE begins_and_fails": f"() BEGIN START TRANSACTION; {insert} (1); SELECT * FROM not_there; END",
        "PROCEDURE takes": f"(IN x INT) {insert} (x)",
        "FUNCTION writes": f"(x INT) RETURNS INT DETERMINISTIC BEGIN {insert} (x); RETURN x; END",
    }
    with contextlib.closing(site.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("USE site_main")
        for name, text in made.items():
            cursor.execute(f"CREATE {name}{text}")
    yield
    for name in made:
        kind, _, of = name.partition(" ")
        site.ask(f"DROP {kind} site_main.{of}")


@pytest.mark.usefixtures("routines")
@pytest.mark.parametrize("before", [0, 6], ids=["at first", "behind a run of blocks"])
@pytest.mark.parametrize(("scenario", "expected"), SCENARIOS, ids=[scenario.__name__ for scenario, _ in SCENARIOS])
def test_same_rows_are_kept_as_with_autocommit_off(
    site: Any,
    stock: str,
    scenario: Scenario,
    expected: list[int],
    before: int,
) -> None:
    """On both engines; and behind it nothing is open any more, and each statement commits itself."""
    if scenario in MARIADB_ONLY and IS_MYSQL:
        pytest.skip("MySQL has no such statement")
    rows = []
    for alias in (stock, "default"):
        for _ in range(before):
            with transaction.atomic(alias):
                bench.run("DELETE FROM shop_entry", using=alias)
        site.ask("TRUNCATE TABLE site_main.shop_entry")
        db = Database(alias, site)
        scenario(db)
        rows.append(kept(site))
        db.add(77)
        assert 77 in kept(site)
    assert rows == [expected, expected]
