"""A task is one read by the ORM, or one write in a transaction, on Django in one of its settings: one for each process."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import pymysql

from benchmarks.contestants.raw import KEY, THREADS, WRITE, Arguments, OnThread, Task

STOCK = "django.db.backends.mysql"
OURS = "persistconn.backends.mysql"
POOL = "dj_db_conn_pool.backends.mysql"


def set_up(arguments: Arguments, engine: str, apps: tuple[str, ...] = (), **database: Any) -> None:
    """Configure Django; once in a process."""
    import django
    from django.conf import settings

    if engine != OURS:
        pymysql.install_as_MySQLdb()
    address = {name.upper(): arguments[name] for name in ("host", "port", "user", "password")}
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": engine,
                "NAME": arguments["database"],
                **address,
                "OPTIONS": {"ssl_disabled": True},
                "CONN_MAX_AGE": None,
                **database,
            }
        },
        INSTALLED_APPS=list(apps),
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
    )
    django.setup()


def item() -> Any:
    """Make the model; after ``set_up()``."""
    from django.db import models

    class Item(models.Model):
        name: Any = models.CharField(max_length=50)

        class Meta:
            app_label = "benchmarks"
            db_table = "item"
            managed = False

    return Item


# --- tasks -------------------------------------------------------------------------------------------------------------


def _reading() -> Task:
    objects = item().objects
    return lambda: objects.get(pk=KEY[0])


def _reading_between_closings() -> Task:
    from django.db import close_old_connections

    objects = item().objects

    def task() -> object:
        close_old_connections()
        try:
            return objects.get(pk=KEY[0])
        finally:
            close_old_connections()

    return task


def write() -> None:
    """Write one row, as one statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(WRITE, KEY)


def _writing() -> Task:
    from django.db import transaction

    def task() -> None:
        with transaction.atomic():
            write()

    return task


def _entering() -> Task:
    from django.db import connection, transaction

    # An empty block on a thread that has never asked anything would not even connect.
    connection.ensure_connection()

    def task() -> None:
        with transaction.atomic():
            pass

    return task


# --- contestants -------------------------------------------------------------------------------------------------------


def _django(task: Callable[[], Task], engine: str = STOCK, **settings: Any) -> Callable[[Arguments], OnThread]:
    def make(arguments: Arguments) -> OnThread:
        importlib.import_module(engine)  # Django itself would miss it at the first query only.
        set_up(arguments, engine, **settings)
        made = task()
        return lambda: made

    return make


def _entering_django(engine: str) -> Callable[[Arguments], OnThread]:
    def make(arguments: Arguments) -> OnThread:
        set_up(arguments, engine)
        return _entering

    return make


def job_in_django(arguments: Arguments) -> OnThread:
    """Write in a ``@job`` on our engine."""
    set_up(arguments, OURS)
    import persistconn

    job = persistconn.job(using="default", name="benchmarks-django")(write)
    return lambda: job


def job_on_pymysql(arguments: Arguments) -> OnThread:
    """Write in a ``@job`` without Django."""
    import persistconn

    module = persistconn.manage(pymysql)

    def write_plainly() -> None:
        with persistconn.current().cursor() as cursor:
            cursor.execute(WRITE, KEY)

    job = persistconn.job(using=functools.partial(module.connect, **arguments), name="benchmarks-raw")(write_plainly)
    return lambda: job


_POOL: dict[str, int] = {"POOL_SIZE": THREADS, "MAX_OVERFLOW": 0}
_HEALTHY: dict[str, Any] = {"CONN_HEALTH_CHECKS": True}

MAKERS: Mapping[str, Callable[[Arguments], OnThread]] = {
    "django": _django(_reading),
    "django health": _django(_reading_between_closings, **_HEALTHY),
    "django connect": _django(_reading_between_closings, CONN_MAX_AGE=0),
    "django pool": _django(_reading_between_closings, POOL, CONN_MAX_AGE=0, POOL_OPTIONS=_POOL),
    "django retry": _django(_reading, apps=("django_dbconn_retry",)),
    "django ours": _django(_reading, OURS),
    "django ours closing": _django(_reading_between_closings, OURS),
    "atomic": _django(_writing),
    "atomic ours": _django(_writing, OURS),
    "empty": _entering_django(STOCK),
    "empty ours": _entering_django(OURS),
    "job django": job_in_django,
    "job": job_on_pymysql,
}
