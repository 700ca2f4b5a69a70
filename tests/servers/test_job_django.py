"""``@job`` on a Django alias: the job's transaction is what Django takes for its outermost block."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import LIMIT, numbers, on_another_thread, site  # noqa: F401

import persistconn
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.once import probe
from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import Cut, FaultProxy, Rule, to_client, to_server

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("ledger")]


@pytest.fixture
def ledger(site: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An empty ledger, as the migration made it; and nothing happens behind the thread's back."""
    monkeypatch.setattr(KEEPER, "on_connection", lambda pace: None)
    KEEPALIVE.stop()
    site._ask("TRUNCATE TABLE site_main.persistconn_ledger")


@pytest.fixture
def lite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An alias on SQLite, with a table ``log``. In a file, for Django does not close a database that is in memory."""
    from django.db import connections
    from django.utils.connection import ConnectionDoesNotExist

    databases = {**connections.settings, "lite": {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "lite"}}
    monkeypatch.setitem(connections.settings, "lite", connections.configure_settings(databases)["lite"])
    with connections["lite"].cursor() as cursor:
        cursor.execute("CREATE TABLE log (x INTEGER)")
    yield "lite"
    with contextlib.suppress(ConnectionDoesNotExist):
        connections["lite"].close()
        del connections["lite"]


@pytest.fixture
def proxy(site: MariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:  # noqa: F811
    """Stands between the alias ``default`` and the server."""
    from django.db import connections

    wrapper = connections["default"]
    with FaultProxy(site.host, site.port) as proxy:
        monkeypatch.setitem(wrapper.settings_dict, "PORT", proxy.port)
        persistconn.shutdown()
        wrapper.close()
        job(lambda: None)()
        site._ask("TRUNCATE TABLE site_main.persistconn_ledger")
        yield proxy
        persistconn.shutdown()
        wrapper.close()
    probe.forget()


def job(function: Callable[..., Any], **settings: Any) -> Any:
    """Make a job of the alias ``default``."""
    return persistconn.job(**{"name": "a job", **settings})(function)


def add(*of: int, using: str = "default") -> None:
    """Create entries."""
    from django_site.shop.models import Entry

    for number in of:
        Entry.objects.using(using).create(number=number)


def execute(sql: str, alias: str = "default") -> Any:
    """Run a statement through Django's cursor; return its rows, if it has any."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def kill() -> None:
    """End the session of the alias ``default``, and wait until that can be seen."""
    from django.db import connections

    held = connections["default"].connection._held
    raw = held.raw
    with contextlib.closing(_admin()) as admin, admin.cursor() as cursor:
        cursor.execute(f"KILL {held.driver.session_id(raw)}")
    eventually(lambda: held.driver.hung_up(raw))


def _admin() -> Any:
    import pymysql
    from django.conf import settings

    given = settings.SERVER
    return pymysql.connect(host=given["host"], port=given["port"], user=given["user"], password=given["password"])


def states(server: MariaDB) -> list[str]:
    """Return the states in the ledger, read in a session apart."""
    return [state for (state,) in server._ask("SELECT state FROM site_main.persistconn_ledger ORDER BY started_at")]


def assert_at_rest() -> None:
    """Django stands as it does outside of any block, and works."""
    from django.db import connection, transaction

    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    assert not connection.needs_rollback
    assert not connection.closed_in_transaction
    assert connection.run_on_commit == []
    assert connection.savepoint_ids == connection.atomic_blocks == []
    before = numbers()
    with transaction.atomic():
        add(1000)
        transaction.set_rollback(True)
    assert numbers() == before
    assert connection.is_usable()


class TestEffect:
    """Once, whatever becomes of the connection."""

    def test_migration_has_made_the_ledger(self, site: MariaDB) -> None:  # noqa: F811
        """With "persistconn" in INSTALLED_APPS; and a job says what it returned."""
        assert job(lambda: (add(1), 7)[1])() == 7
        assert (numbers(), states(site)) == ([1], ["done"])
        assert_at_rest()

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_loss_is_replayed_with_a_model_as_its_argument(self, site: MariaDB, at: int) -> None:  # noqa: F811
        """Each attempt has an instance of its own: the key that the first one was given is gone with it."""
        from django_site.shop.models import Entry

        runs: list[int] = []

        def function(entry: Entry) -> int:
            runs.append(1)
            for step in range(2):
                if step == at and len(runs) == 1:
                    kill()
                if step == 0:
                    assert entry.pk is None
                    entry.save()
                else:
                    add(entry.number + 1)
            if at == 2 and len(runs) == 1:
                kill()
            return entry.number

        entry = Entry(number=5)
        assert job(function)(entry) == 5
        assert (len(runs), entry.pk) == (2, None)
        assert (numbers(), states(site)) == ([5, 6], ["done"])
        assert_at_rest()

    @pytest.mark.parametrize("where", [to_server("COMMIT"), to_client("COMMIT")])
    def test_commit_whose_answer_was_lost_is_settled(self, site: MariaDB, proxy: FaultProxy, where: Any) -> None:  # noqa: F811
        """Not with InterfaceError(0, ''), which is what atomic() makes of it."""
        rule = proxy.arm(Rule(Cut(), where))
        job(lambda: add(1))()
        assert rule.fired == 1
        assert (numbers(), states(site)) == ([1], ["done"])
        assert_at_rest()

    @pytest.mark.parametrize("then", ["passes", "writes on", "closes and writes on"])
    @pytest.mark.parametrize("is_inner", [False, True])
    def test_loss_that_the_job_swallowed_is_replayed(self, then: str, is_inner: bool) -> None:
        """In an inner atomic() too, which swallows it by itself."""
        from django.db import connection, transaction

        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            add(1)
            with contextlib.suppress(Exception), transaction.atomic() if is_inner else contextlib.nullcontext():
                if len(runs) == 1:
                    kill()
                add(2)
            if then.startswith("closes"):
                with contextlib.suppress(Exception):
                    if len(runs) == 1:
                        connection.close()
            if then.endswith("writes on"):
                with contextlib.suppress(Exception):
                    add(99 if len(runs) == 1 else 3)

        job(function)()
        assert len(runs) == 2
        assert numbers() == ([1, 2] if then == "passes" else [1, 2, 3])
        assert_at_rest()

    def test_exception_takes_everything_back(self, site: MariaDB) -> None:  # noqa: F811
        """And Django stands as before."""
        with pytest.raises(ZeroDivisionError):
            job(lambda: (add(1), 1 // 0))()
        assert (numbers(), states(site)) == ([], [])
        assert_at_rest()

    def test_deadlock_is_replayed(self) -> None:
        """Although the ORM has marked the block for rollback."""
        from django.db import transaction
        from django_site.shop.models import Entry

        add(1, 2)
        runs: list[str] = []
        met = threading.Barrier(2)

        def function(first: int, second: int) -> None:
            runs.append(threading.current_thread().name)
            Entry.objects.select_for_update().get(number=first)
            if runs.count(threading.current_thread().name) == 1:
                met.wait(LIMIT)
            with transaction.atomic():
                Entry.objects.select_for_update().get(number=second)
            add(10 * first)

        one = threading.Thread(target=job(function), args=(1, 2))
        one.start()
        job(function)(2, 1)
        one.join(LIMIT)
        assert len(runs) >= 3
        assert numbers() == [1, 2, 10, 20]
        assert_at_rest()


class TestBlock:
    """What Django's own tools do inside a job."""

    def test_inner_atomic_rolls_back_to_its_savepoint(self) -> None:
        """The rest of the job stands."""
        from django.db import transaction

        def function() -> None:
            add(1)
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                add(2)
                raise ZeroDivisionError
            with transaction.atomic():
                add(3)

        job(function)()
        assert numbers() == [1, 3]
        assert_at_rest()

    def test_select_for_update_works(self) -> None:
        """It is in a transaction, and Django knows."""
        from django_site.shop.models import Entry

        add(1)
        assert job(lambda: Entry.objects.select_for_update().get(number=1).number)() == 1

    @pytest.mark.parametrize("is_swallowed", [False, True])
    @pytest.mark.parametrize("what", ["commit", "rollback", "set_autocommit", "durable"])
    def test_what_django_forbids_in_atomic_it_forbids_here(self, what: str, is_swallowed: bool) -> None:
        """Before anything is sent."""
        from django.db import transaction

        def forbidden() -> None:
            if what == "durable":
                with transaction.atomic(durable=True):
                    add(2)
            elif what == "set_autocommit":
                transaction.set_autocommit(True)
            else:
                getattr(transaction, what)()

        def function() -> None:
            add(1)
            with contextlib.suppress(Exception) if is_swallowed else contextlib.nullcontext():
                forbidden()

        if is_swallowed:
            job(function)()
        else:
            with pytest.raises((transaction.TransactionManagementError, RuntimeError)):
                job(function)()
        assert numbers() == ([1] if is_swallowed else [])
        assert_at_rest()

    @pytest.mark.parametrize("is_swallowed", [False, True])
    def test_close_is_refused(self, is_swallowed: bool) -> None:
        """It would roll back what the job has written; and the connection is none the worse."""
        from django.db import connection

        def function() -> None:
            add(1)
            with contextlib.suppress(persistconn.NotReplayable) if is_swallowed else contextlib.nullcontext():
                connection.close()

        with pytest.raises(persistconn.NotReplayable, match="leave the connection open"):
            job(function)()
        assert numbers() == []
        assert_at_rest()

    def test_close_old_connections_is_harmless(self) -> None:
        """As in any atomic block."""
        from django.db import close_old_connections

        job(lambda: [add(1), close_old_connections(), add(2)])()
        assert numbers() == [1, 2]
        assert_at_rest()

    @pytest.mark.parametrize("how", ["set_rollback", "an error without a savepoint", "a save that failed"])
    def test_mark_for_rollback_is_refused(self, site: MariaDB, how: str) -> None:  # noqa: F811
        """atomic() would roll back without a word."""
        from django.db import IntegrityError, transaction

        def function() -> None:
            add(1)
            if how == "set_rollback":
                transaction.set_rollback(True)
            elif how == "a save that failed":
                with contextlib.suppress(IntegrityError):
                    add(1)
            else:
                with contextlib.suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
                    raise ZeroDivisionError

        with pytest.raises(persistconn.NotReplayable, match="marked its transaction for rollback"):
            job(function)()
        assert (numbers(), states(site)) == ([], [])
        assert_at_rest()

    def test_ddl_is_refused(self) -> None:
        """It commits."""
        with pytest.raises(persistconn.NotReplayable, match="commits the job's transaction implicitly"):
            job(lambda: (add(1), execute("CREATE TABLE other (x INT)")))()
        assert numbers() == []
        assert_at_rest()


class TestCall:
    """Where a job may not be called."""

    @pytest.mark.parametrize("outer", ["atomic", "TestCase", "set_autocommit", "BEGIN"])
    def test_inside_a_transaction_is_refused(self, outer: str) -> None:
        """Its COMMIT would be none of its own, or commit the caller's."""
        from django.db import transaction

        def call() -> None:
            add(1)
            with pytest.raises(persistconn.NotReplayable, match=r"job\.function.*TransactionTestCase"):
                job(lambda: add(2))()

        if outer == "BEGIN":
            execute("BEGIN")
            call()
            execute("ROLLBACK")
        elif outer == "set_autocommit":
            transaction.set_autocommit(False)
            call()
            transaction.rollback()
            transaction.set_autocommit(True)
        else:
            block = transaction.atomic()
            block._from_testcase = outer == "TestCase"  # type: ignore[attr-defined]
            with block:
                call()
                transaction.set_rollback(True)
        assert numbers() == []
        assert_at_rest()

    def test_of_the_plain_function_inside_atomic_is_a_part_of_it(self) -> None:
        """What the refusal says to do."""
        from django.db import transaction

        with transaction.atomic():
            job(lambda: add(1)).function()
        assert numbers() == [1]

    @pytest.mark.parametrize(
        ("alias", "complaint"), [("nowhere", "DATABASES has default"), ("lite", r"persistconn\.backends\.mysql")]
    )
    def test_on_an_alias_that_cannot_is_refused(self, lite: str, alias: str, complaint: str) -> None:
        """With what to write into the settings."""
        with pytest.raises(persistconn.ConfigError, match=complaint):
            job(lambda: None, using=alias)()

    def test_in_a_job_of_another_alias_is_refused(self) -> None:
        """A replay of the outer one would call it again."""
        inner = job(lambda: None, using="other", name="inner")
        with pytest.raises(persistconn.NotReplayable, match="the job inner was called inside the job a job"):
            job(inner)()
        assert_at_rest()


class TestOtherAlias:
    """While a job runs."""

    @pytest.mark.parametrize("is_swallowed", [False, True])
    @pytest.mark.parametrize("alias", ["twin", "other", "lite"])
    def test_is_not_written(self, lite: str, alias: str, is_swallowed: bool) -> None:
        """Nothing there commits or rolls back with the job; one that catches the refusal is refused all the same."""
        from django_site.shop.models import Note

        write = {
            "twin": lambda: add(9, using="twin"),
            "other": lambda: Note.objects.create(text="x"),
            "lite": lambda: execute("INSERT INTO log VALUES (1)", "lite"),
        }[alias]

        def function() -> None:
            add(1)
            with contextlib.suppress(persistconn.NotReplayable) if is_swallowed else contextlib.nullcontext():
                write()

        with pytest.raises(persistconn.NotReplayable, match="before or after the job"):
            job(function)()
        assert numbers() == []
        assert Note.objects.count() == 0
        assert execute("SELECT x FROM log", "lite") == []
        write()
        assert_at_rest()

    @pytest.mark.parametrize("alias", ["twin", "other", "lite"])
    def test_may_be_read(self, lite: str, alias: str) -> None:
        """In a block of its own too."""
        from django.db import transaction

        def function() -> list[Any]:
            add(1)
            with transaction.atomic(using=alias):
                execute("SELECT 1", alias)
            return [execute("WITH a AS (SELECT 2 AS b) SELECT b FROM a", alias)[0][0]]

        assert job(function)() == [2]
        assert numbers() == [1]

    def test_whose_engine_cannot_be_loaded_is_no_hindrance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody can write it either."""
        from django.db import connections

        databases = {**connections.settings, "broken": {"ENGINE": "no.such.engine"}}
        monkeypatch.setitem(connections.settings, "broken", connections.configure_settings(databases)["broken"])
        job(lambda: add(1))()
        assert numbers() == [1]
        assert_at_rest()

    def test_may_be_closed_and_forgotten_by_the_job(self, lite: str) -> None:
        """What watched it is gone with it."""
        from django.db import connections

        def function() -> None:
            add(1)
            connections["lite"].close()
            del connections["lite"]

        job(function)()
        assert numbers() == [1]
        assert_at_rest()


class TestOnCommit:
    """Callbacks run once, after the commit has been proved."""

    @pytest.mark.parametrize("where", [None, to_server("COMMIT"), to_client("COMMIT")])
    def test_run_once_also_when_the_answer_was_lost(self, proxy: FaultProxy, where: Any) -> None:
        """Those of the attempt that took effect, and in autocommit."""
        from django.db import connection, transaction

        called: list[Any] = []
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            add(1)
            attempt = len(runs)
            transaction.on_commit(lambda: called.append((attempt, connection.get_autocommit(), numbers())))

        if where is not None:
            proxy.arm(Rule(Cut(), where))
        job(function)()
        assert called == [(len(runs), True, [1])]
        assert_at_rest()

    @pytest.mark.parametrize("why", ["an exception", "a recorded exception", "an inner rollback"])
    def test_do_not_run_for_what_was_rolled_back(self, why: str) -> None:
        """Not for a failure that was recorded either: its effects are gone."""
        from django.db import transaction

        called: list[int] = []

        def function() -> None:
            with contextlib.suppress(KeyError), transaction.atomic():
                transaction.on_commit(lambda: called.append(1))
                if why == "an inner rollback":
                    raise KeyError
            if why != "an inner rollback":
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) if why != "an inner rollback" else contextlib.nullcontext():
            job(function, on_failure="record" if why == "a recorded exception" else "forget")()
        assert called == []
        assert_at_rest()

    def test_do_not_run_for_what_somebody_else_did(self) -> None:
        """Nothing of this call's was committed."""
        from django.db import transaction

        called: list[str] = []
        keyed = job(lambda: transaction.on_commit(lambda: called.append(threading.current_thread().name))).keyed("k")
        keyed()
        on_another_thread(keyed)
        assert called == [threading.current_thread().name]

    def test_may_write_wherever_they_like_and_call_jobs(self) -> None:
        """The job is over."""
        from django.db import transaction
        from django_site.shop.models import Note

        def hook() -> None:
            add(2)
            Note.objects.create(text="done")
            job(lambda: add(3), name="next")()

        job(lambda: [add(1), transaction.on_commit(hook)])()
        assert numbers() == [1, 2, 3]
        assert Note.objects.count() == 1
        assert_at_rest()

    def test_that_fail_leave_the_job_done(self, site: MariaDB) -> None:  # noqa: F811
        """Their exception comes out, as from atomic(), and nothing is taken back."""
        from django.db import transaction

        with pytest.raises(ZeroDivisionError):
            job(lambda: [add(1), transaction.on_commit(lambda: 1 // 0)])()
        assert (numbers(), states(site)) == ([1], ["done"])
        assert_at_rest()
