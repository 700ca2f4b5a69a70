"""Test databases: where they are made, and that nobody holds them when they are dropped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import LIMIT, numbers, sessions_on, site  # noqa: F401

from persistconn.testing import MariaDB, eventually

pytestmark = pytest.mark.server


def tables(server: MariaDB, database: str) -> set[str]:
    with server.admin() as admin, admin.cursor() as cursor:
        cursor.execute("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [database])
        return {name for (name,) in cursor.fetchall()}


@pytest.fixture
def creation(site: MariaDB) -> Iterator[Any]:  # noqa: F811
    """What makes test databases for the alias ``default``; the alias is put back on its own database afterwards."""
    from django.conf import settings
    from django.db import connection

    yield connection.creation
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = "site_main"


def test_a_test_database_is_never_the_real_one(site: MariaDB, creation: Any) -> None:  # noqa: F811
    """A cache that looks at the thread alone would go on writing to production while Django believes in ``test_``."""
    from django_site.shop.models import Entry

    Entry.objects.create(number=1)
    creation.create_test_db(verbosity=0, autoclobber=True)
    Entry.objects.create(number=2)
    assert numbers() == [2]
    assert "shop_entry" in tables(site, "test_site_main")
    creation.destroy_test_db("site_main", verbosity=0)
    assert numbers() == [1]


def test_the_session_on_the_real_database_is_closed_meanwhile(site: MariaDB, creation: Any) -> None:  # noqa: F811
    """What the alias held before is superseded: it is closed, not kept beside the new one."""
    numbers()
    creation.create_test_db(verbosity=0, autoclobber=True)
    eventually(lambda: sessions_on(site, "site_main") == [])
    creation.destroy_test_db("site_main", verbosity=0)


def test_no_thread_holds_up_the_drop(site: MariaDB, creation: Any) -> None:  # noqa: F811
    """A session that idles in a transaction would block DROP DATABASE by a metadata lock, until its own timeout."""
    from django.db import connections, transaction

    creation.create_test_db(verbosity=0, autoclobber=True)
    reading, done = threading.Event(), threading.Event()

    def read_and_stay() -> None:
        transaction.set_autocommit(False)
        numbers()
        reading.set()
        done.wait(2 * LIMIT)
        connections.close_all()

    thread = threading.Thread(target=read_and_stay)
    thread.start()
    assert reading.wait(LIMIT)
    with site.admin() as admin, admin.cursor() as cursor:
        cursor.execute("SET GLOBAL lock_wait_timeout = 30")
    try:
        creation.destroy_test_db("site_main", verbosity=0)
    finally:
        done.set()
        thread.join(LIMIT)
        with site.admin() as admin, admin.cursor() as cursor:
            cursor.execute("SET GLOBAL lock_wait_timeout = DEFAULT")
    assert tables(site, "test_site_main") == set()
