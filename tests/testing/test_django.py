"""Beside pytest-django: databases are dropped although threads hold sessions, and a TestCase keeps its transaction."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from persistconn.testing import MariaDB

pytestmark = pytest.mark.server

EXAMPLE = Path(__file__).parents[2] / "examples" / "testing"


@pytest.fixture
def project(pytester: pytest.Pytester, run_here: Callable[..., pytest.RunResult]) -> Callable[..., pytest.RunResult]:
    """The example project with a test of ours in place of its own; its databases are on this run's server."""
    pytest.importorskip("pytest_django", reason="pytest-django is not installed")
    for name in ("shop", "pytest.ini", "tests/conftest.py"):
        source, target = EXAMPLE / name, pytester.path / Path(name).name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return run_here


def test_no_session_holds_up_the_drop(project: Callable[..., pytest.RunResult], server: MariaDB) -> None:
    """Threads that idle in a transaction, one of them on plain PyMySQL: the run ends at once, and its database is gone."""
    code = """
        import threading, pymysql, pytest, persistconn
        from django.db import connection, transaction
        from shop.models import Invoice
        ready = threading.Barrier(3)
        def by_orm():
            transaction.set_autocommit(False)
            Invoice.objects.count()
            ready.wait(120); threading.Event().wait()
        def plain():
            settings = connection.settings_dict
            mine = persistconn.manage(pymysql).connect(host="localhost", port=settings["PORT"], user=settings["USER"],
                password=settings["PASSWORD"], database=settings["NAME"])
            mine.query("SELECT COUNT(*) FROM shop_invoice")
            ready.wait(120); threading.Event().wait()
        @pytest.mark.django_db
        def test_it():
            for task in (by_orm, plain): threading.Thread(target=task, daemon=True).start()
            ready.wait(120)
    """
    project(code, "-p", "django", "-W", "ignore", "--create-db").assert_outcomes(passed=1)
    assert [] == [name for (name,) in server.ask("SHOW DATABASES LIKE 'test%'") if name != "test"]


def test_a_test_case_keeps_its_transaction(project: Callable[..., pytest.RunResult]) -> None:
    """Whatever closes connections in it; and a job, which commits, is refused there in so many words."""
    code = """
        import pytest, persistconn
        from django.db import close_old_connections, connection, connections
        from django.test import TestCase
        from shop.jobs import settle
        from shop.models import Invoice
        class Kept(TestCase):
            @classmethod
            def setUpTestData(cls): Invoice.objects.create(amount=1)
            def test_close_old_connections(self):
                Invoice.objects.create(amount=2)
                close_old_connections()
                self.assertEqual(Invoice.objects.count(), 2)
            def test_tasks_on_other_threads(self):
                Invoice.objects.create(amount=2)
                with persistconn.Executor(max_workers=2) as pool:
                    self.assertEqual(pool.submit(Invoice.objects.count).result(), 0)
                self.assertEqual(Invoice.objects.count(), 2)
            def test_a_unit_of_work_on_its_own_thread(self):
                with persistconn.unit_of_work():
                    Invoice.objects.create(amount=2)
                self.assertEqual(Invoice.objects.count(), 2)
            def test_a_job_is_refused(self):
                with pytest.raises(persistconn.NotReplayable): settle(1)
                self.assertEqual(Invoice.objects.count(), 1)
    """
    project(code, "-p", "django").assert_outcomes(passed=4)
