"""The Django engine on a real server: what stays open, what is rolled back, and what the ORM sees of losses."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import ClassVar

import pymysql
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import LIMIT, counter, held_by_all, numbers, on_another_thread, session_id, site  # noqa: F401

import persistconn
from persistconn.keeper import KEEPER
from persistconn.testing import MariaDB, eventually

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("site")]


def add(*of: int, using: str = "default") -> None:
    from django_site.shop.models import Entry

    for number in of:
        Entry.objects.using(using).create(number=number)


class TestNeutralising:
    """``close_old_connections`` and all that closes: nothing is given back, whoever calls it."""

    def test_the_orm_needs_no_mysqldb(self) -> None:
        """With our engine in use, no module of PyMySQL's goes by the name MySQLdb; mysqlclient's own may be there."""
        add(1)
        called = {name: module.__name__ for name, module in sys.modules.items() if name.startswith("MySQLdb")}
        assert not [name for name, real in called.items() if real.startswith("pymysql")]

    @pytest.mark.parametrize(
        "way", ["imported by name", "close_all", "wrapper.close", "request signals", "driver's close"]
    )
    def test_the_session_stays_however_it_is_closed(self, way: str) -> None:
        """Every road to close() ends at the driver's, which gives nothing back."""
        from django.core import signals
        from django.db import close_old_connections, connection, connections

        before = session_id()
        {
            "imported by name": close_old_connections,
            "close_all": connections.close_all,
            "wrapper.close": connection.close,
            "request signals": lambda: [s.send(None) for s in (signals.request_started, signals.request_finished)],
            "driver's close": connection.connection.close,
        }[way]()
        assert session_id() == before

    def test_one_session_per_thread_and_alias_over_100_cycles(self) -> None:
        """Ten threads of 100 cycles each on two aliases have twenty sessions, not two thousand."""
        from django.db import close_old_connections, connections

        together = threading.Barrier(10, timeout=LIMIT)

        def work(_: int) -> set[int]:
            together.wait()  # Each on a thread of its own.
            used = set()
            for _ in range(100):
                close_old_connections()
                connections["default"].ensure_connection()
                used |= {connections["default"].connection.thread_id(), session_id("other")}
                connections.close_all()
            return used

        with ThreadPoolExecutor(10) as pool:
            used = list(pool.map(work, range(10)))
        assert [2] * 10 == [len(sessions) for sessions in used]
        assert len(set().union(*used)) == 20

    def test_a_close_costs_no_round_trip(self) -> None:
        """After close() the next query is the one statement that is sent: no SET of any kind."""
        from django.db import connection

        before = counter("Questions")
        connection.close()
        numbers()
        asked_by_us = 1
        assert counter("Questions") - before - asked_by_us == 1

    def test_a_setting_of_the_session_is_set_up_again_after_close(self) -> None:
        """What a task changed is put right by the next connect(), as far as Django's own set-up goes."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@session.tx_isolation")
            assert cursor.fetchone() == ("READ-COMMITTED",)

    def test_health_checks_cost_no_ping(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """CONN_HEALTH_CHECKS and CONN_MAX_AGE=0 from settings that are shared with others do no harm."""
        from django.db import close_old_connections, connection

        monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
        monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
        before = session_id()
        commands = counter("Com_admin_commands")
        close_old_connections()
        assert session_id() == before
        assert counter("Com_admin_commands") == commands
        assert connection.close_at is None

    def test_close_looks_like_a_close_to_django(self) -> None:
        """connection.connection is None afterwards, and hooks that wait for a commit are gone."""
        from django.db import connection

        connection.ensure_connection()
        connection.run_on_commit = [(set(), print, False)]
        connection.close()
        assert connection.connection is None
        assert connection.run_on_commit == []


class TestRollingBack:
    """What a unit of work leaves open is rolled back, and never committed by a later ``SET autocommit=1``."""

    def test_close_in_a_failing_block_commits_nothing(self) -> None:
        """The row of the block that failed is gone, although the session is the same."""
        from django.db import connection, transaction

        @transaction.atomic
        def close_and_fail() -> None:
            add(1)
            connection.close()
            raise RuntimeError

        before = session_id()
        with pytest.raises(RuntimeError):
            close_and_fail()
        add(2)
        assert (numbers(), session_id()) == ([2], before)

    def test_after_close_the_block_is_refused(self) -> None:
        """Django's own rule: no query until the end of the block."""
        from django.db import connection, transaction
        from django.db.transaction import TransactionManagementError

        with transaction.atomic():
            add(1)
            connection.close()
            with pytest.raises(TransactionManagementError):
                add(2)
        assert numbers() == []

    def test_a_forgotten_set_autocommit_is_rolled_back(self) -> None:
        """set_autocommit(False) without an end: its rows are gone, and autocommit is on again."""
        from django.db import close_old_connections, connection, transaction

        before = session_id()
        transaction.set_autocommit(False)
        add(1)
        close_old_connections()
        add(2)
        assert connection.get_autocommit()
        assert on_another_thread(numbers) == [2]
        assert session_id() == before

    def test_a_begin_by_hand_is_rolled_back(self) -> None:
        """A transaction that Django knows nothing of ends at the boundary as well."""
        from django.db import close_old_connections, connection

        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
        add(1)
        close_old_connections()
        add(2)
        assert on_another_thread(numbers) == [2]

    def test_inside_an_atomic_block_close_old_connections_does_nothing(self) -> None:
        """A library that calls it in the middle of a block does not abort the block."""
        from django.db import close_old_connections, transaction

        with transaction.atomic():
            add(1)
            close_old_connections()
            add(2)
        assert numbers() == [1, 2]

    def test_the_end_of_a_unit_forgets_a_block_that_is_still_open(self) -> None:
        """An atomic block that nobody left (a generator that was never finished) does not swallow the next unit's rows."""
        from django.db import transaction

        transaction.atomic().__enter__()
        add(1)
        assert len(KEEPER.end_unit()) == 1
        add(2)
        assert on_another_thread(numbers) == [2]

    def test_the_end_of_a_unit_empties_the_query_log(self) -> None:
        """A thread that never serves a request would collect 9000 queries with DEBUG on."""
        from django.db import connection

        connection.force_debug_cursor = True
        try:
            numbers()
            assert connection.queries_log
            KEEPER.end_unit()
            assert not connection.queries_log
        finally:
            connection.force_debug_cursor = False

    def test_savepoints_roll_back_the_inner_block_only(self) -> None:
        """Nested atomic blocks mean what they mean on the stock engine."""
        from django.db import transaction

        @transaction.atomic
        def fail() -> None:
            add(2)
            raise RuntimeError

        with transaction.atomic():
            add(1)
            with pytest.raises(RuntimeError):
                fail()
            add(3)
        assert numbers() == [1, 3]


class TestSessions:
    """Who shares a session with whom: nobody with anybody."""

    def test_two_aliases_of_one_database_have_two_transactions(self) -> None:
        """What is written on the twin stays, though the transaction on the default alias is rolled back."""
        from django.db import connections, transaction

        @transaction.atomic
        def write_beside_and_fail() -> None:
            add(1)
            add(2, using="twin")
            connections["twin"].close()
            raise RuntimeError

        with pytest.raises(RuntimeError):
            write_beside_and_fail()
        assert numbers() == [2]
        assert session_id() != session_id("twin")

    def test_the_router_is_obeyed(self, site: MariaDB) -> None:  # noqa: F811
        """A note lands in the other database, on the other alias's session."""
        from django_site.shop.models import Note

        Note.objects.create(text="beside")
        with site.admin() as admin, admin.cursor() as cursor:
            cursor.execute("SELECT text FROM site_other.shop_note")
            assert cursor.fetchall() == (("beside",),)

    def test_a_copy_has_a_session_of_its_own_and_ends_it(self) -> None:
        """connection.copy() is how Django asks for a second session; nobody else would end it."""
        from django.db import connection

        mine = session_id()
        copy = connection.copy()
        with copy.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            assert cursor.fetchone()[0] != mine
        copy.close()
        assert len(held_by_all()) == 1

    def test_the_session_of_a_forgotten_wrapper_is_ended(self) -> None:
        """A wrapper that was thrown away unclosed loses its session by the next boundary, as on the stock engine."""
        import gc

        from django.db import connection

        session_id()
        copy = connection.copy()
        copy.ensure_connection()
        del copy
        gc.collect()
        KEEPER.end_unit()
        assert len(held_by_all()) == 1

    def test_the_connection_without_a_database_is_really_closed(self, site: MariaDB) -> None:  # noqa: F811
        """Creating a test database leaves no session behind that nobody will use again."""
        from django.db import connection

        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            (session,) = cursor.fetchone()
        eventually(lambda: session not in [one.id for one in site.processlist()])

    def test_a_shared_wrapper_outlives_the_thread_that_connected_it(self) -> None:
        """With inc_thread_sharing() the connection belongs to the wrapper: the sweep does not reap it with the thread."""
        from django.db import connection, connections

        wrapper = connections["default"]

        def use() -> int:
            connections["default"] = wrapper
            return session_id()

        connection.inc_thread_sharing()
        try:
            opened = on_another_thread(use)
            KEEPER.sweep()
            assert session_id() == opened
        finally:
            connection.dec_thread_sharing()

    def test_after_shutdown_the_next_use_connects_again(self) -> None:
        """persistconn.shutdown() leaves no wrapper behind that is broken for ever."""
        add(1)
        persistconn.shutdown()
        assert numbers() == [1]


class TestErrors:
    """Losses come out of Django as both: persistconn's class and django.db.OperationalError."""

    def test_a_killed_idle_session_is_invisible(self, site: MariaDB) -> None:  # noqa: F811
        """The next query runs on a new session that is set up like the old one."""
        from django.db import connection

        site.kill_session(session_id())
        assert numbers() == []
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@session.tx_isolation, @@session.autocommit")
            assert cursor.fetchone() == ("READ-COMMITTED", 1)

    def test_a_kill_inside_atomic_is_a_lost_transaction_of_both_kinds(self, site: MariaDB) -> None:  # noqa: F811
        """It can be caught by either name, the driver's error is its cause, and nothing of the block is kept."""
        from django.db import OperationalError, transaction

        @transaction.atomic
        def lose() -> None:
            add(1)
            site.kill_session(session_id())
            add(2)

        with pytest.raises(persistconn.TransactionLost) as lost:
            lose()
        assert isinstance(lost.value, OperationalError)
        assert isinstance(lost.value.__cause__, pymysql.OperationalError)
        assert numbers() == []

    def test_a_block_that_swallows_the_loss_is_rolled_back(self, site: MariaDB) -> None:  # noqa: F811
        """The ORM marks the block at the first error, as with any error, and the rest of it is refused."""
        from django.db import DatabaseError, transaction

        with transaction.atomic():
            add(1)
            site.kill_session(session_id())
            for number in (2, 3):
                with pytest.raises(DatabaseError):
                    add(number)
        add(4)
        assert numbers() == [4]

    def test_a_block_of_bare_cursors_cannot_commit_its_second_half(self, site: MariaDB) -> None:  # noqa: F811
        """A cursor's errors do not mark the block: there the COMMIT itself is refused, as a lost transaction."""
        from django.db import connection, transaction

        def insert(number: int) -> None:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO shop_entry (number) VALUES (%s)", [number])

        @transaction.atomic
        def lose_and_go_on() -> None:
            insert(1)
            site.kill_session(session_id())
            for number in (2, 3):
                with pytest.raises(persistconn.TransactionLost):
                    insert(number)

        with pytest.raises(persistconn.TransactionLost):
            lose_and_go_on()
        insert(4)
        assert numbers() == [4]

    def test_the_drivers_errors_become_djangos(self) -> None:
        """Wrapping goes on as it does on the stock engine."""
        from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction

        add(1)
        with pytest.raises(IntegrityError), transaction.atomic():
            add(1)
        with pytest.raises(DataError):
            add(2**40)
        with pytest.raises(ProgrammingError), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_none")

    def test_a_wrong_password_is_named_at_once_and_not_repeated(self) -> None:
        """The server's refusal comes out as Django's OperationalError 1045; the password stands nowhere in it."""
        from django.db import OperationalError, connection

        wrapper = connection.copy()
        wrapper.settings_dict["PASSWORD"] = "not-the-password"
        with pytest.raises(OperationalError) as refused:
            wrapper.ensure_connection()
        assert refused.value.args[0] == 1045
        assert "not-the-password" not in str(refused.value)


class TestTools:
    """Django's own tools on our engine."""

    def test_a_testcase_rolls_its_rows_back(self) -> None:
        """TestCase's two levels of atomic work, class fixtures included."""
        import unittest

        from django.test import TestCase

        class EntryTests(TestCase):
            databases: ClassVar = {"default"}

            @classmethod
            def setUpTestData(cls) -> None:
                add(1)

            def test_first(self) -> None:
                add(2)
                assert numbers() == [1, 2]

            def test_second(self) -> None:
                assert numbers() == [1]

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(EntryTests).run(result)
        assert (result.testsRun, result.failures, result.errors) == (2, [], [])
        assert numbers() == []

    def test_migrations_go_back_and_forth(self) -> None:
        """Schema changes work, and so does what follows them on the same session."""
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", "shop", "zero", database="default", verbosity=0)
        assert "shop_entry" not in connection.introspection.table_names()
        call_command("migrate", "shop", database="default", verbosity=0)
        assert numbers() == []

    def test_inspectdb_reads_the_tables(self) -> None:
        """The introspection of the stock engine works on our connection."""
        from django.core.management import call_command

        out = StringIO()
        call_command("inspectdb", "shop_entry", stdout=out)
        assert "number = models.IntegerField(unique=True)" in out.getvalue()
