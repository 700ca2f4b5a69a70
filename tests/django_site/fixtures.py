"""The test project, set up in this process on the tests' server. Import the fixtures where they are used."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

import persistconn
from persistconn import ConnectionView
from persistconn.testing import MariaDB

T = TypeVar("T")

LIMIT = 60.0
"""Seconds until a thread, or a task, hangs."""

_set_up: list[MariaDB] = []


@pytest.fixture
def site(server: MariaDB) -> Iterator[MariaDB]:
    """Django on the test project, both tables empty; afterwards every connection of this thread is really closed."""
    persistconn.shutdown()  # Whatever another test has left would be among what this one counts.
    if not _set_up:
        create_databases(server)
        # Read once, here: a program that another test starts must not take this project for its own.
        with pytest.MonkeyPatch.context() as variables:
            for name, value in environment(server).items():
                variables.setenv(name, value)
            migrate()
        _clean_up()
        _set_up.append(server)
    yield server
    _clean_up()


def environment(server: MariaDB) -> dict[str, str]:
    """Return the variables that the project's settings read."""
    return {"DJANGO_SETTINGS_MODULE": "django_site.settings", "DJANGO_SITE_SERVER": json.dumps(server.connect_args())}


def create_databases(server: MariaDB, project: str = "site") -> None:
    """Create a project's empty databases anew."""
    with server.admin() as admin, admin.cursor() as cursor:
        for name in (f"{project}_main", f"{project}_other"):
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")


def migrate() -> None:
    """Set Django up and make the tables, on the engine under test."""
    import django
    from django.core.management import call_command

    django.setup()
    for alias in ("default", "other"):
        call_command("migrate", database=alias, verbosity=0, interactive=False)


def _clean_up() -> None:
    from django.db import connections

    for wrapper in connections.all(initialized_only=True):
        wrapper.in_atomic_block = wrapper.closed_in_transaction = False
        wrapper.close()
    # Not DELETE: the marks it leaves in the unique index make later inserts wait for each other.
    for alias, table in (("default", "shop_entry"), ("other", "shop_note")):
        with connections[alias].cursor() as cursor:
            cursor.execute(f"TRUNCATE TABLE {table}")
    persistconn.shutdown()
    for wrapper in connections.all(initialized_only=True):
        wrapper.close()
        wrapper.queries_log.clear()


def session_id(alias: str = "default") -> int:
    """Ask the server which session the calling thread has on an alias."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return int(cursor.fetchone()[0])


def counter(name: str, alias: str = "default") -> int:
    """Return a status counter of the session that the calling thread has on an alias; asking adds one to Questions.

    The server's own counters are moved by others too: by a session that was closed before, say, and says goodbye now.
    """
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS WHERE Variable_name = %s", [name])
        return int(cursor.fetchone()[1])


def numbers() -> list[int]:
    """Return the numbers of all entries, in order."""
    from django_site.shop.models import Entry

    return list(Entry.objects.order_by("number").values_list("number", flat=True))


def on_another_thread(task: Callable[[], T]) -> T:
    """Run a task on a thread of its own and return what it returns, or raise what it raises, once the thread has ended."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(task())
        except BaseException as error:  # raised where it is waited for
            result.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LIMIT)
    return result.result(0)


def sessions_on(server: MariaDB, database: str | None) -> list[Any]:
    """Return the server's sessions on one database, as a client sees them."""
    return [session for session in server.processlist() if session.db == database]


def held_by_all() -> list[ConnectionView]:
    """Return what the process holds on the server, without what has been closed and is only listed yet."""
    return [view for view in persistconn.connections() if view.state != "closed"]
