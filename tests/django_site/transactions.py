"""A bench for transactions: an alias of the project, what its server is sent, and the same on Django's own engine.

Import the fixtures where they are used, ``server`` among them: with ``DJANGO_SITE_ON=mysql`` it is this run's MySQL.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
from django.db import connection, connections, transaction

import persistconn
from django_site.fixtures import numbers
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.testing import eventually
from persistconn.testing.faults import FaultProxy

ON = "DJANGO_SITE_ON"
IS_MYSQL = os.environ.get(ON) == "mysql"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Any:
    """Stand in for the server of all other tests, if MySQL is wanted."""
    if not IS_MYSQL:
        return request.getfixturevalue("server")
    servers, kind = (request.getfixturevalue(name) for name in ("mysql_servers", "mysql_kind"))
    return servers.shared(kind, wait_timeout=28800)


@pytest.fixture
def quiet(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing happens behind the thread's back, and the server writes down what it is sent."""
    monkeypatch.setattr(KEEPER, "on_connection", lambda pace: None)
    KEEPALIVE.stop()
    site.ask("SET GLOBAL log_output = 'TABLE'")
    site.ask("SET GLOBAL general_log = 1")
    yield
    site.ask("SET GLOBAL general_log = 0")


@pytest.fixture
def sent(site: Any) -> Callable[[], list[str]]:
    """Return the first words of all that the server was sent since the last call, by everybody but the test itself.

    Without the goodbyes, which it writes down some time later.
    """
    numbers()  # Connects, if nobody has.

    def take() -> list[str]:
        rows = site.ask(
            "SELECT command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log"
            " WHERE thread_id <> CONNECTION_ID() AND command_type <> 'Quit' ORDER BY event_time"
        )
        site.ask("TRUNCATE TABLE mysql.general_log")
        return [text.split("(")[0].split()[0].upper() if kind == "Query" else kind for kind, text in rows]

    take()
    return take


@pytest.fixture
def stock(site: Any) -> Iterator[str]:
    """An alias of the same database on Django's own engine."""
    from django.db.backends.mysql.base import DatabaseWrapper

    settings = {**connections["default"].settings_dict, "ENGINE": "django.db.backends.mysql"}
    connections["stock"] = DatabaseWrapper(settings, "stock")
    yield "stock"
    connections["stock"].close()
    del connections["stock"]


@pytest.fixture
def proxy(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands between the alias ``default`` and the server; the session goes through it."""
    wrapper = connections["default"]
    with FaultProxy(site.host, site.port) as proxy:
        monkeypatch.setitem(wrapper.settings_dict, "PORT", proxy.port)
        persistconn.shutdown()
        wrapper.close()
        numbers()
        yield proxy
        persistconn.shutdown()
        wrapper.close()


class ThrownAway(Exception):
    """Ends a block whose work must not be kept."""


def run(sql: str, *values: Any, using: str = "default") -> Any:
    """Run a statement through Django's bare cursor; return its rows, if it has any."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else None


def add(number: int, using: str = "default") -> None:
    """Write one row, without the ORM, which would refuse to go on after an error."""
    run("INSERT INTO shop_entry (number) VALUES (%s)", number, using=using)


def kept(server: Any) -> list[int]:
    """Return what another session sees of the table."""
    return [number for (number,) in server.ask("SELECT number FROM site_main.shop_entry ORDER BY number")]


def open_transactions(server: Any) -> list[str]:
    """Return the isolation levels of the transactions that are open on the server."""
    # What it answers is renewed only if nobody has asked within the last tenth of a second.
    time.sleep(0.15)
    return [level for (level,) in server.ask("SELECT trx_isolation_level FROM information_schema.innodb_trx")]


@contextlib.contextmanager
def thrown_away(using: str = "default") -> Iterator[None]:
    """Run an atomic block that ends with an exception."""
    with contextlib.suppress(ThrownAway), transaction.atomic(using):
        yield
        raise ThrownAway


def make_user(server: Any, name: str) -> None:
    """Make a user who may do everything on the project's databases, and nothing beyond."""
    server.ask(f"CREATE USER IF NOT EXISTS {name} IDENTIFIED BY '{server.password}'")
    for database in ("site_main", "site_other"):
        server.ask(f"GRANT ALL ON {database}.* TO {name}")
    # MySQL accepts a password for the first time only by TLS or RSA, both of which PyMySQL tries; afterwards in any way.
    pymysql.connect(**server.connect_args(user=name, database="site_main")).close()


def kill(server: Any) -> None:
    """End the session of the alias ``default``, and wait until that can be seen."""
    connection.ensure_connection()
    held = connection.connection._held
    raw = held.raw
    server.kill_session(held.driver.session_id(raw))
    eventually(lambda: held.driver.hung_up(raw))
