"""What exactly once costs: round trips, counted at the server, and time, beside Django's own ``atomic()``.

Each unit of work writes the same rows. The loopback shows what the server and Python do, the slow way (a proxy that delays
each packet) what round trips cost where the server is another machine.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pymysql

import persistconn
from campaigns import places
from campaigns.figures import Figures
from campaigns.ledgers import WAYS, make_ledger
from campaigns.places import Place, Private
from persistconn.testing.faults import Delay, FaultProxy, Rule

TABLE = "cost"
SLOW = 0.0005
"""Seconds that each packet is delayed, one way; the operating system's timers make more of it."""
_INSERT = f"INSERT INTO {TABLE} (n) VALUES (%s)"  # noqa: S608 - our own name
_WARM = 20
_ASKED_BY_US = 1
_ALIAS = {"stock": "django.db.backends.mysql", "ours": "persistconn.backends.mysql"}

Unit = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Of one unit of work, the medians: statements that the server counted, and seconds."""

    trips: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.trips:5.2f} round trips {self.seconds * 1e6:8,.0f} us"


def run(*, units: int = 500, writes: int = 1, way: str = WAYS[0], place: Place | None = None) -> Figures:
    """Measure all kinds of units. Blocks for some seconds; sets Django up, once in a process."""
    with contextlib.ExitStack() as stack:
        where = place or stack.enter_context(Private())
        places.ask(
            where,
            f"DROP TABLE IF EXISTS {TABLE}",
            f"CREATE TABLE {TABLE} (id INT PRIMARY KEY AUTO_INCREMENT, n INT) ENGINE=InnoDB",
        )
        arguments = where.connect_args(ssl_disabled=True)
        make_ledger(arguments, way)
        proxy = stack.enter_context(FaultProxy(arguments["host"], arguments["port"], trace_limit=0))
        proxy.arm(Rule(Delay(SLOW), times=None))
        roads = {"loopback": arguments, "slow": proxy.connect_args(arguments)}
        _set_django_up(roads)
        table: dict[str, object] = {}
        for road, given in roads.items():
            for name, unit in _units(road, given, writes).items():
                table[f"{road}: {name}"] = _measure(where, unit, units if road == "loopback" else units // 5)
    return Figures(
        f"cost of a unit of work with {writes} INSERT, a job in {way}",
        table,
        "the round trips are Questions, counted by the server",
    )


def _set_django_up(roads: Mapping[str, Mapping[str, Any]]) -> None:
    import django
    from django.conf import settings

    pymysql.install_as_MySQLdb()
    databases = {
        f"{engine}_{road}": {
            "ENGINE": path,
            "NAME": given["database"],
            "USER": given["user"],
            "PASSWORD": given["password"],
            "HOST": given["host"],
            "PORT": given["port"],
            "OPTIONS": {"ssl_disabled": True},
            "CONN_MAX_AGE": None,
        }
        for road, given in roads.items()
        for engine, path in _ALIAS.items()
    }
    settings.configure(DATABASES={**databases, "default": {}}, USE_TZ=True)
    django.setup()


def _units(road: str, arguments: Mapping[str, Any], writes: int) -> dict[str, Unit]:
    from django.db import connections, transaction

    bare = pymysql.connect(**arguments, autocommit=True)
    module = persistconn.manage(pymysql)
    stock, ours = f"stock_{road}", f"ours_{road}"

    def write(connection: Any) -> None:
        with connection.cursor() as cursor:
            for number in range(writes):
                cursor.execute(_INSERT, (number,))

    def begin_and_commit() -> None:
        bare.begin()
        write(bare)
        bare.commit()

    def in_atomic(alias: str) -> None:
        with transaction.atomic(using=alias):
            write(connections[alias])

    plain = persistconn.job(using=lambda: module.connect(**arguments, autocommit=True), name=f"cost-{road}")
    in_django = persistconn.job(using=ours, name=f"cost-django-{road}")
    return {
        "bare PyMySQL, BEGIN and COMMIT": begin_and_commit,
        "Django's own engine, atomic()": lambda: in_atomic(stock),
        "our engine, atomic()": lambda: in_atomic(ours),
        "@job, plain PyMySQL": plain(lambda: write(persistconn.current())),
        "@job, Django": in_django(lambda: write(connections[ours])),
    }


def _measure(place: Place, unit: Unit, units: int) -> Cost:
    for _ in range(_WARM):
        unit()
    trips, times = [], []
    # One session that stays: the goodbye of each would be counted too, whenever the server comes to it.
    with contextlib.closing(place.admin()) as admin, admin.cursor() as cursor:
        for _ in range(units):
            before = _questions(cursor)
            began = time.perf_counter()
            unit()
            times.append(time.perf_counter() - began)
            trips.append(_questions(cursor) - before - _ASKED_BY_US)
    # The medians: what anybody else says meanwhile, or a thread that does not get its turn, is no cost of the unit.
    return Cost(statistics.median(trips), statistics.median(times))


def _questions(cursor: Any) -> int:
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
    ((_, value),) = cursor.fetchall()
    return int(value)
