"""``persistconn.install()`` in programs of their own, for it changes the process that it is called in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))  # where the project django_site stands

from django_site.fixtures import create_databases, environment, sessions_on  # noqa: E402

from persistconn.testing import MariaDB, eventually  # noqa: E402

pytestmark = pytest.mark.server
LIMIT = 300.0
"""Seconds until a program hangs; one or two are usual."""

# What every program starts with: the stock engine on PyMySQL, as the shared settings say.
MYSQLDB = "import pymysql; pymysql.install_as_MySQLdb()"
SETUP = "import django; django.setup()"
WORK = """
from django.core.management import call_command
from django.db import close_old_connections, connection, connections
from django_site.shop.models import Entry
call_command("migrate", database="default", verbosity=0)
Entry.objects.create(number=1)
def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return cursor.fetchone()[0]
before = ask()
close_old_connections()
connection.close()
assert ask() == before, "the session was given up"
assert type(connections["other"]).__module__ == "persistconn.backends.mysql.base"
assert [view.alias for view in persistconn.connections()] == ["default"], persistconn.connections()
"""


@pytest.fixture
def stock_site(server: MariaDB) -> Iterator[MariaDB]:
    """The server with the project's databases, empty, and afterwards as they are."""
    create_databases(server, "stock")
    yield server
    create_databases(server, "stock")


def run(server: MariaDB, *parts: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the test project on the stock engine; its warnings are errors."""
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    variables = {
        **os.environ,
        **environment(server),
        "DJANGO_SITE_NAME": "stock",
        "DJANGO_SITE_ENGINE": "django.db.backends.mysql",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    program = "\n".join(["import persistconn", *map(textwrap.dedent, parts)])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=variables,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def ends_well(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("mysqldb", "first"),
    [
        pytest.param("", "before setup", id="before setup, without MySQLdb"),
        pytest.param(MYSQLDB, "before setup", id="before setup, install_as_MySQLdb"),
        # Without MySQLdb django.setup() fails on the stock engine, as soon as there is a model.
        pytest.param(MYSQLDB, "after setup", id="after setup, install_as_MySQLdb"),
    ],
)
def test_it_holds_connections_with_settings_that_know_nothing_of_it(
    stock_site: MariaDB, mysqldb: str, first: str
) -> None:
    """Before and after ``django.setup()``, with the user's ``install_as_MySQLdb()`` and without."""
    install = "persistconn.install(keepalive=3600)"
    order = [install, SETUP] if first == "before setup" else [SETUP, install]
    ends_well(run(stock_site, mysqldb, *order, WORK))


def test_what_was_open_on_the_stock_engine_is_closed(stock_site: MariaDB) -> None:
    """A wrapper that this thread had already is replaced, and its session ended."""
    program = """
    from django.db import connection
    connection.ensure_connection()
    stock = connection.connection
    persistconn.install()
    assert not stock.open
    """
    ends_well(run(stock_site, MYSQLDB, SETUP, program, WORK))


def test_both_ways_to_read_the_settings_agree(stock_site: MariaDB) -> None:
    """``settings.DATABASES`` and ``connections.settings`` name the same engine afterwards."""
    program = """
    from django.conf import settings
    from django.db import connections
    persistconn.install(keepalive=3600)
    for databases in (settings.DATABASES, connections.settings, connections.databases):
        for alias in ("default", "twin", "other"):
            assert databases[alias]["ENGINE"] == "persistconn.backends.mysql"
            assert databases[alias]["OPTIONS"] == {"ssl_disabled": True, "persistconn": {"keepalive": 3600}}
    """
    ends_well(run(stock_site, program))


def test_the_same_settings_again_do_nothing_and_others_are_refused(stock_site: MariaDB) -> None:
    """Two libraries may both install, if they mean the same; the text says what differs."""
    program = """
    from django.db import connection
    persistconn.install(keepalive=3600)
    django.setup()
    connection.ensure_connection()
    persistconn.install(keepalive=3600.0)
    assert connection.connection is not None
    try:
        persistconn.install(keepalive=7200)
    except persistconn.ConfigError as error:
        assert "keepalive was 3600.0 and is 7200.0" in str(error), error
    else:
        raise AssertionError("not refused")
    """
    ends_well(run(stock_site, "import django", program))


def test_inside_an_atomic_block_it_is_refused(stock_site: MariaDB) -> None:
    """Swapping the engine under a transaction would lose it without a word; nothing is changed."""
    program = """
    from django.db import connection, transaction
    with transaction.atomic():
        try:
            persistconn.install()
        except persistconn.ConfigError as error:
            assert "atomic block on 'default'" in str(error), error
        else:
            raise AssertionError("not refused")
    assert connection.settings_dict["ENGINE"] == "django.db.backends.mysql"
    """
    ends_well(run(stock_site, MYSQLDB, SETUP, program))


def test_a_scheduler_of_the_users_runs_the_sweep(stock_site: MariaDB) -> None:
    """``scheduler=`` is handed to the keepalive: its job stands among the scheduler's own."""
    program = """
    from apscheduler.schedulers.background import BackgroundScheduler
    scheduler = BackgroundScheduler(daemon=True, timezone="UTC")
    persistconn.install(scheduler=scheduler)
    assert [job.id for job in scheduler.get_jobs()] == ["persistconn-sweep"]
    """
    ends_well(run(stock_site, program))


def test_the_end_of_the_program_is_orderly(stock_site: MariaDB) -> None:
    """No session is left behind, and the server's log tells of no aborted one."""

    def aborted() -> list[str]:
        return [line for line in stock_site.aborted_in_log() if "'stock_main'" in line]

    before = aborted()
    ends_well(run(stock_site, "persistconn.install()", SETUP, WORK))
    eventually(lambda: sessions_on(stock_site, "stock_main") == [])
    assert aborted() == before
