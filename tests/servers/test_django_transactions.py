"""Transactions of the Django engine on a real server: what is sent for them, and what they keep.

On MariaDB; the last test runs this file, and its neighbours, once more on MySQL.
"""

# The fixtures are imported, and then named by the tests.
# ruff: noqa: F401, F811
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.handlers.base import BaseHandler
from django.db import DatabaseError, IntegrityError, close_old_connections, connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from pymysql.constants import CLIENT
from pymysql.cursors import SSCursor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import LIMIT, counter, environment, numbers, on_another_thread, site
from django_site.transactions import (
    IS_MYSQL,
    ON,
    ThrownAway,
    add,
    kept,
    make_user,
    open_transactions,
    quiet,
    run,
    sent,
    server,
    stock,
    thrown_away,
)

import persistconn
from persistconn.keeper import KEEPER

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("quiet")]

Sent = Callable[[], list[str]]
HERE = Path(__file__).resolve()
NEIGHBOURS = ("autocommit_off", "runs_of_blocks", "transaction_losses")


class TestCost:
    """Round trips, as the server has counted them."""

    def test_block_with_one_write_is_begin_write_commit(self, site: Any, sent: Sent, stock: str) -> None:
        """Three, where the stock engine needs four."""
        from django_site.shop.models import Entry

        def count(using: str) -> int:
            before = counter("Questions", using)
            with transaction.atomic(using):
                Entry.objects.using(using).create(number=len(using))
            asked_by_us = 1
            return counter("Questions", using) - before - asked_by_us

        assert (count("default"), count(stock)) == (3, 4)
        assert kept(site) == [5, 7]

    @pytest.mark.parametrize("ending", ["commit", "exception", "set_rollback"])
    def test_empty_block_sends_nothing(self, sent: Sent, ending: str) -> None:
        """However it ends, ten of them one after the other."""
        for _ in range(10):
            with contextlib.suppress(ThrownAway), transaction.atomic():
                if ending == "exception":
                    raise ThrownAway
                transaction.set_rollback(ending == "set_rollback")
        assert sent() == []

    def test_reading_block_is_begun_and_committed(self, sent: Sent) -> None:
        """One snapshot, or one set of locks, for all its reads: so they are in a transaction."""
        with transaction.atomic():
            numbers()
            numbers()
        assert sent() == ["BEGIN", "SELECT", "SELECT", "COMMIT"]

    def test_exception_after_a_write_rolls_back(self, site: Any, sent: Sent) -> None:
        """BEGIN, the write, ROLLBACK."""
        with thrown_away():
            add(1)
        assert (sent(), kept(site)) == (["BEGIN", "INSERT", "ROLLBACK"], [])

    def test_savepoint_may_come_first(self, site: Any, sent: Sent) -> None:
        """An inner block at the beginning of the outer one."""
        with transaction.atomic():
            with transaction.atomic():
                add(1)
            with contextlib.suppress(ThrownAway), transaction.atomic():
                add(2)
                raise ThrownAway
        inner = ["SAVEPOINT", "INSERT"]
        assert sent() == ["BEGIN", *inner, "RELEASE", *inner, "ROLLBACK", "RELEASE", "COMMIT"]
        assert kept(site) == [1]

    def test_error_in_an_inner_block_costs_nothing_more(self, site: Any, sent: Sent) -> None:
        """ROLLBACK TO tells by itself whether the transaction is still there: get_or_create() lives by that."""
        with transaction.atomic():
            add(1)
            with contextlib.suppress(IntegrityError), transaction.atomic():
                add(1)
            add(2)
        assert sent() == ["BEGIN", "INSERT", "SAVEPOINT", "INSERT", "ROLLBACK", "RELEASE", "INSERT", "COMMIT"]
        assert kept(site) == [1, 2]

    def test_manual_transactions_begin_one_by_one(self, site: Any, sent: Sent) -> None:
        """After commit() and rollback() the next statement begins anew; what has begun nothing ends nothing."""
        transaction.set_autocommit(False)
        transaction.commit()
        add(1)
        transaction.commit()
        transaction.rollback()
        add(2)
        transaction.rollback()
        add(3)
        transaction.set_autocommit(True)
        assert sent() == ["BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "ROLLBACK", "BEGIN", "INSERT", "COMMIT"]
        assert kept(site) == [1, 3]

    def test_streamed_block_costs_no_more(self, site: Any, sent: Sent) -> None:
        """The end of the rows was seen, so it is known that the transaction is open."""
        add(1)
        sent()
        with transaction.atomic():
            with connection.connection.cursor(SSCursor) as cursor:
                cursor.execute("SELECT number FROM shop_entry")
                assert list(cursor) == [(1,)]
            add(2)
        assert sent() == ["BEGIN", "SELECT", "INSERT", "COMMIT"]

    def test_block_that_may_commit_and_go_on_costs_what_it_costs_on_the_stock_engine(self, sent: Sent) -> None:
        """Autocommit is switched off once, where it is needed first; on again at the end."""
        with transaction.atomic():
            add(1)
            run("CREATE TABLE side (x INT)")
            add(2)
            run("DROP TABLE side")
            add(3)
        assert sent() == [*["BEGIN", "INSERT", "SET", "CREATE", "INSERT", "DROP", "INSERT", "COMMIT", "SET"]]

    def test_session_that_is_connected_gets_no_more_statements_than_before(self, sent: Sent) -> None:
        """Autocommit and the level of isolation are set once; with a block as the first thing that comes."""
        persistconn.shutdown()
        with transaction.atomic():
            add(1)
        of_the_driver = ["SET", "SET", "SELECT"]  # NAMES, autocommit; our question for wait_timeout
        of_django = ["SET", "SET"]  # Autocommit, the level.
        assert sent() == ["Connect", *of_the_driver, *of_django, "BEGIN", "INSERT", "COMMIT"]

    def test_job_gets_no_second_begin(self, sent: Sent, site: Any) -> None:
        """Three round trips with one write, inner blocks in savepoints; blocks behind it begin again."""
        job = persistconn.job(name="a job")(add)
        job(1)
        sent()
        job(2)
        assert sent() == ["CALL", "INSERT", "CALL"]
        with transaction.atomic():
            add(3)
        assert sent() == ["BEGIN", "INSERT", "COMMIT"]
        site.ask("TRUNCATE TABLE site_main.persistconn_ledger")


class TestStatements:
    """Which statements begin a transaction, and which do not."""

    def test_isolation_of_the_next_transaction_is_that_of_the_block(self, site: Any, sent: Sent) -> None:
        """SET TRANSACTION goes before BEGIN, and is not used up by it."""
        with transaction.atomic():
            run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            add(1)
            levels = open_transactions(site)
        assert levels == ["SERIALIZABLE"]
        assert sent()[:3] == ["SET", "BEGIN", "INSERT"]

    def test_that_the_user_begins_himself_gets_no_second_begin(self, sent: Sent) -> None:
        """BEGIN as the first statement of a block is sent once."""
        with transaction.atomic():
            run("BEGIN")
            add(1)
        assert sent() == ["BEGIN", "INSERT", "COMMIT"]

    def test_autocommit_switched_on_by_hand_commits(self, site: Any) -> None:
        """As it does under autocommit=0; and what comes behind it in the block is in a transaction again."""
        with thrown_away():
            add(1)
            run("SET autocommit = 1")
            assert kept(site) == [1]
            add(2)
        assert kept(site) == [1]

    def test_several_statements_in_one_text_leave_autocommit_off(self, site: Any, monkeypatch: Any) -> None:
        """What follows a COMMIT in the same text could not be preceded by anything."""
        flags = {"client_flag": CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS}
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], *flags.popitem())
        connection.close()
        try:
            with thrown_away():
                run("INSERT INTO shop_entry (number) VALUES (1); COMMIT; INSERT INTO shop_entry (number) VALUES (2)")
            assert kept(site) == [1]
        finally:
            connection.close()

    def test_error_in_the_middle_of_streamed_rows_is_a_doubt(self, site: Any, sent: Sent) -> None:
        """It may have been a deadlock: so the next statement is not sent as if the transaction were still open."""
        add(1)
        add(2)
        sent()
        with transaction.atomic():
            with contextlib.suppress(DatabaseError, Exception), connection.connection.cursor(SSCursor) as cursor:
                # The first row is fine, the second one has a subquery with two rows.
                cursor.execute(
                    "SELECT number, (SELECT e.number FROM shop_entry e WHERE e.number < s.number + 1 LIMIT 2) FROM shop_entry s"
                )
                cursor.fetchall()
            add(3)
        assert sent() == ["BEGIN", "SELECT", "SET", "INSERT", "COMMIT", "SET"]
        assert kept(site) == [1, 2, 3]

    def test_commit_that_was_refused_is_a_doubt(self, site: Any, monkeypatch: pytest.MonkeyPatch, sent: Sent) -> None:
        """The server has rolled back then; what follows must not commit itself."""
        make_user(site, "plain")  # Whoever may do everything may commit on a server that is read-only.
        monkeypatch.setitem(connection.settings_dict, "USER", "plain")
        connection.close()
        transaction.set_autocommit(False)
        add(1)
        site.ask("SET GLOBAL read_only = 1")
        try:
            with pytest.raises(DatabaseError, match="1290"):
                transaction.commit()
        finally:
            site.ask("SET GLOBAL read_only = 0")
        transaction.set_autocommit(False)  # Said once more, it forgets nothing.
        sent()
        add(2)
        transaction.rollback()
        transaction.set_autocommit(True)
        assert sent()[:3] == ["SET", "INSERT", "ROLLBACK"]
        assert kept(site) == []
        monkeypatch.undo()
        connection.close()


class TestDjango:
    """What Django builds on transactions."""

    def test_hooks_run_behind_an_empty_block_too(self, sent: Sent) -> None:
        """And not after one that was thrown away."""
        ran: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: ran.append(1))
        with thrown_away():
            transaction.on_commit(lambda: ran.append(2))
        assert (ran, sent()) == ([1], [])

    def test_hook_sees_what_was_committed_and_writes_outside(self, site: Any) -> None:
        """Autocommit is on again when it runs."""
        with transaction.atomic():
            add(1)
            transaction.on_commit(lambda: add(len(kept(site)) + 1))
        assert kept(site) == [1, 2]

    def test_durable_block_cannot_be_nested(self, site: Any) -> None:
        """Django's own check; alone it is a block like any other."""
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), transaction.atomic(durable=True):
            pass
        with transaction.atomic(durable=True):
            add(1)
        assert kept(site) == [1]

    def test_select_for_update_locks_until_the_end_of_the_block(self, site: Any) -> None:
        """As the first statement of the block, where nothing but it could have begun the transaction."""
        from django_site.shop.models import Entry

        add(1)

        def taken() -> int:
            with transaction.atomic():
                return len(Entry.objects.select_for_update(skip_locked=True))

        with transaction.atomic():
            assert Entry.objects.select_for_update().get().number == 1
            assert on_another_thread(taken) == 0
        assert on_another_thread(taken) == 1

    def test_queries_are_logged_as_on_the_stock_engine(self, stock: str) -> None:
        """Whoever counts the queries of a block counts the same."""
        from django.test.utils import CaptureQueriesContext

        def words(using: str) -> list[str]:
            add(0, using)
            with CaptureQueriesContext(connections[using]) as captured:
                with transaction.atomic(using):
                    add(len(using), using)
                with transaction.atomic(using):
                    pass
            run("DELETE FROM shop_entry", using=using)
            return [query["sql"].split()[0] for query in captured]

        assert words("default") == words(stock)

    def test_testcase_is_rolled_back(self, site: Any) -> None:
        """A class's block, a test's block, and blocks of the code under test; class fixtures included."""

        class EntryTests(TestCase):
            databases: ClassVar = {"default"}

            @classmethod
            def setUpTestData(cls) -> None:
                add(1)

            def test_first(self) -> None:
                with transaction.atomic():
                    add(2)
                assert numbers() == [1, 2]
                assert kept(site) == []

            def test_second(self) -> None:
                with self.captureOnCommitCallbacks(execute=True) as callbacks:
                    transaction.on_commit(lambda: None)
                assert len(callbacks) == 1
                assert numbers() == [1]

        assert outcome(EntryTests) == (2, [], [])
        assert kept(site) == []

    def test_transaction_testcase_commits_and_flushes(self, site: Any) -> None:
        """What the code under test commits is committed, and gone before the next test."""
        from django.test import TransactionTestCase

        class EntryTests(TransactionTestCase):
            databases: ClassVar = {"default"}
            available_apps: ClassVar = ["django_site.shop"]

            def test_first(self) -> None:
                with transaction.atomic():
                    add(1)
                assert kept(site) == [1]

            test_second = test_first

        assert outcome(EntryTests) == (2, [], [])

    def test_atomic_requests(self, site: Any, monkeypatch: pytest.MonkeyPatch, sent: Sent) -> None:
        """A view that reads nothing costs nothing; one that fails keeps nothing."""
        from django.core.handlers.base import BaseHandler

        for alias in connections:
            monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", alias == "default")

        def view(request: int) -> None:
            assert connection.in_atomic_block
            if request:
                add(request)
            if request == 2:
                raise ThrownAway

        atomic_view = BaseHandler().make_view_atomic(view)
        atomic_view(0)
        assert sent() == []
        atomic_view(1)
        with pytest.raises(ThrownAway):
            atomic_view(2)
        assert sent() == ["BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "ROLLBACK"]
        assert kept(site) == [1]

    def test_alias_with_autocommit_off_works_as_ever(self, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """AUTOCOMMIT: False: what is not committed is rolled back at the end of the unit, and the level is set up once."""
        monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
        connection.close()
        try:
            add(1)
            transaction.commit()
            add(2)
            close_old_connections()
            with transaction.atomic():
                add(3)
            transaction.commit()
            add(4)
            connection.close()
            assert kept(site) == [1, 3]
        finally:
            monkeypatch.undo()
            connection.close()
        add(5)
        assert kept(site) == [1, 3, 5]


def outcome(case: type[Any]) -> tuple[int, list[Any], list[Any]]:
    """Run a test case of Django's; return how many tests ran, and what went wrong."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result.testsRun, result.failures, result.errors


def write_and_fail() -> None:
    """Write in a block that fails."""
    with transaction.atomic():
        add(9)
        raise ThrownAway


class TestBoundary:
    """The end of a unit of work in the middle of a block."""

    @pytest.mark.parametrize("is_begun", [False, True])
    def test_unit_that_ends_inside_a_block_leaves_nothing(self, site: Any, sent: Sent, is_begun: bool) -> None:
        """What is open is rolled back, and a BEGIN that was not sent yet is forgotten: the next write commits itself."""
        transaction.atomic().__enter__()
        if is_begun:
            add(1)
        KEEPER.end_unit()
        add(2)
        assert kept(site) == [2]
        assert sent() == [*(["BEGIN", "INSERT", "ROLLBACK"] if is_begun else []), "INSERT"]

    @pytest.mark.parametrize("is_begun", [False, True])
    def test_manual_mode_that_was_forgotten_is_ended(self, site: Any, is_begun: bool) -> None:
        """set_autocommit(False) without an end, and close_old_connections()."""
        transaction.set_autocommit(False)
        if is_begun:
            add(1)
        close_old_connections()
        add(2)
        assert kept(site) == [2]

    def test_close_inside_a_block_refuses_the_rest(self, site: Any, sent: Sent) -> None:
        """Nothing is begun by what is refused, and the block behind it begins as usual."""
        from django.db.transaction import TransactionManagementError

        with transaction.atomic():
            connection.close()
            with pytest.raises(TransactionManagementError):
                numbers()
        with transaction.atomic():
            add(1)
        assert (sent(), kept(site)) == (["BEGIN", "INSERT", "COMMIT"], [1])

    def test_executor_s_tasks_begin_their_own(self, site: Any) -> None:
        """A task that leaves a block open, and the next one on the same thread."""

        def leave_open() -> None:
            transaction.atomic().__enter__()
            add(1)

        with persistconn.Executor(max_workers=1) as pool:
            pool.submit(leave_open).result(LIMIT)
            pool.submit(add, 2).result(LIMIT)
            with pytest.raises(ThrownAway):
                pool.submit(write_and_fail).result(LIMIT)
        assert kept(site) == [2]

    def test_forked_child_of_an_open_block_is_told(self, site: Any) -> None:
        """The transaction stays the parent's: in the child neither a statement nor COMMIT passes for it."""
        with transaction.atomic():
            add(1)
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    connection.connection.commit()
                except persistconn.TransactionLost:
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
            add(2)
        assert kept(site) == [1, 2]


PROGRAM = """
import persistconn, sys
import pymysql; pymysql.install_as_MySQLdb()
import django; django.setup()
persistconn.install()
from django.db import connection, transaction
from django_site.shop.models import Entry
Entry.objects.count()
for number in (1, 2):
    with transaction.atomic():
        Entry.objects.create(number=number)
persistconn.shutdown()
"""


def test_installed_engine_begins_the_same_way(site: Any, sent: Sent) -> None:
    """``persistconn.install()`` on settings that name Django's own engine."""
    paths = [str(HERE.parents[1]), str(Path(persistconn.__file__).parents[1])]
    variables = {"DJANGO_SITE_ENGINE": "django.db.backends.mysql", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, **environment(site), **variables},
        capture_output=True,
        text=True,
        timeout=5 * LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sent()[-7:] == ["SELECT", *["BEGIN", "INSERT", "COMMIT"] * 2]


@pytest.mark.skipif(IS_MYSQL, reason="this is where it leads to")
def test_all_of_this_holds_on_mysql_too(tmp_path: Path, mysql_kind: str) -> None:
    """In a process of its own, for Django's settings name one server. `mysql_kind` is there for its skip alone."""
    root = HERE.parents[2]
    files = [HERE, *(HERE.with_name(f"test_django_{name}.py") for name in NEIGHBOURS)]
    command = [sys.executable, "-m", "pytest", "-q", "-c", root / "pyproject.toml", "--rootdir", root, *files]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    # What is under test here; and not run in the root, which would put the tree before what is installed.
    path = str(Path(persistconn.__file__).parents[1])
    done = subprocess.run(
        [str(word) for word in command],
        cwd=tmp_path,
        env={**inherited, ON: "mysql", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=20 * LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
