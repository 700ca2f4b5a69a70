"""The clients that are compared, each used as its own documents say. Nothing is imported before it is used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from campaigns.cuts.conversation import AT_CONNECT, Subject, answer_of, told_of
from campaigns.cuts.oracle import Answer, Mode, Told
from campaigns.cuts.subject import CONNECT_TIMEOUT, READ_TIMEOUT

Address = Mapping[str, Any]


def arguments(address: Address) -> dict[str, Any]:
    """Return PyMySQL's arguments, with the same time limits for all."""
    limits = {"connect_timeout": CONNECT_TIMEOUT["plain"], "read_timeout": READ_TIMEOUT["pymysql"]}
    return {**address, **limits, "ssl_disabled": True, "init_command": AT_CONNECT}


class Plain:
    """One connection of PyMySQL, kept for as long as the thread lives."""

    def __init__(self, mode: Mode, address: Address) -> None:
        self._arguments = {**arguments(address), "autocommit": mode is Mode.AUTOCOMMIT}
        self._mode = mode
        self._connection: Any = None

    def open(self) -> None:
        import pymysql

        if self._connection is None:
            self._connection = pymysql.connect(**self._arguments)

    def execute(self, sql: str) -> Answer:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return answer_of(cursor)

    def begin(self) -> None:
        self._connection.begin()

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        pass

    def dispose(self) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()

    def told(self, error: Exception) -> Told:
        return told_of(error)


class Pinged(Plain):
    """The same, with ``ping(reconnect=True)`` before each unit of work."""

    def open(self) -> None:
        super().open()
        self._connection.ping(reconnect=True)


class DBUtils(Plain):
    """``PersistentDB`` of DBUtils, which reopens and repeats by itself."""

    has_begin = True

    def __init__(self, mode: Mode, address: Address) -> None:
        super().__init__(mode, address)
        import pymysql
        from dbutils.persistent_db import PersistentDB  # type: ignore[import-untyped,unused-ignore]

        self._kept = PersistentDB(pymysql, **self._arguments)

    def open(self) -> None:
        self._connection = self._kept.connection()
        if self._mode.is_atomic and self.has_begin:
            # Its guide: "you should start transactions by calling the begin() method ... this suspends the reopening".
            self._connection.begin()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def dispose(self) -> None:
        if self._connection is not None:
            self._connection._close()


class DBUtilsWithoutBegin(DBUtils):
    """The same, as code does that was written for the driver."""

    has_begin = False


class SQLAlchemy:
    """A ``QueuePool`` with ``pool_pre_ping``."""

    def __init__(self, mode: Mode, address: Address) -> None:
        from sqlalchemy import create_engine

        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # It logs what it then raises.
        level: dict[str, Any] = {} if mode.is_atomic else {"isolation_level": "AUTOCOMMIT"}
        connect_args = arguments(address)
        self._engine = create_engine(
            "mysql+pymysql://", connect_args=connect_args, pool_pre_ping=True, pool_size=1, max_overflow=0, **level
        )
        self._connection: Any = None

    def open(self) -> None:
        self._connection = self._engine.connect()

    def execute(self, sql: str) -> Answer:
        result = self._connection.exec_driver_sql(sql)
        return tuple(tuple(row) for row in result) if result.returns_rows else int(result.rowcount)

    def begin(self) -> None:
        pass

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def dispose(self) -> None:
        self._engine.dispose()

    def told(self, error: Exception) -> Told:
        return told_of(error)


class Django:
    """Django's engine, ``CONN_MAX_AGE=None`` and ``CONN_HEALTH_CHECKS``; ``close_old_connections()`` around each unit."""

    apps: tuple[str, ...] = ()
    has_health_checks = True

    def __init__(self, mode: Mode, address: Address) -> None:
        set_django_up(self.apps)
        from django.db import connections

        # A connection of this thread's own, to this thread's proxy.
        self._wrapper = self._make_wrapper(arguments(address))
        connections["default"] = self._wrapper
        self._mode = mode
        self._atomic: Any = None

    def _make_wrapper(self, options: dict[str, Any]) -> Any:
        from django.db import connections

        wrapper = connections.create_connection("default")
        names = {name: str(options.pop(name)) for name in ("host", "port", "user", "password")}
        wrapper.settings_dict = {
            **wrapper.settings_dict,
            **{name.upper(): value for name, value in names.items()},
            "NAME": options.pop("database"),
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": self.has_health_checks,
            "OPTIONS": options,
        }
        return wrapper

    def open(self) -> None:
        from django.db import close_old_connections, transaction

        close_old_connections()
        self._wrapper.ensure_connection()
        if self._mode.is_atomic:
            atomic = transaction.atomic()
            atomic.__enter__()
            self._atomic = atomic

    def execute(self, sql: str) -> Answer:
        with self._wrapper.cursor() as cursor:
            cursor.execute(sql)
            return answer_of(cursor)

    def begin(self) -> None:
        pass

    def commit(self) -> None:
        self._leave(None)

    def rollback(self) -> None:
        self._leave(RuntimeError("the unit of work has failed"))

    def _leave(self, error: Exception | None) -> None:
        atomic, self._atomic = self._atomic, None
        if atomic is not None:
            atomic.__exit__(type(error) if error else None, error, None)

    def close(self) -> None:
        from django.db import close_old_connections

        close_old_connections()

    def dispose(self) -> None:
        self._wrapper.close()

    def told(self, error: Exception) -> Told:
        return told_of(error)


class DjangoRetry(Django):
    """The same with django-dbconn-retry, which connects once more, instead of health checks."""

    apps = ("django_dbconn_retry",)
    has_health_checks = False


def set_django_up(apps: tuple[str, ...]) -> None:
    """Configure Django, once in a process."""
    import django
    import pymysql
    from django.conf import settings

    if not settings.configured:
        pymysql.install_as_MySQLdb()
        settings.configure(
            INSTALLED_APPS=list(apps),
            DATABASES={"default": {"ENGINE": "django.db.backends.mysql", "NAME": "test"}},
            USE_TZ=True,
        )
        django.setup()


def _persistconn(mode: Mode, address: Address) -> Subject:
    from campaigns.cuts.cases import Combination
    from campaigns.cuts.subject import Held

    return Held(Combination("mariadb", "pymysql", "plain", mode), address)


SUBJECTS: dict[str, Callable[[Mode, Address], Subject]] = {
    "PyMySQL": Plain,
    "PyMySQL, `ping(reconnect=True)`": Pinged,
    "DBUtils `PersistentDB`": DBUtils,
    "the same without its `begin()`": DBUtilsWithoutBegin,
    "SQLAlchemy `pool_pre_ping`": SQLAlchemy,
    "Django, health checks": Django,
    "django-dbconn-retry": DjangoRetry,
    "persistconn": _persistconn,
}
