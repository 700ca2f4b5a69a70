"""A task is one read by primary key, on a driver without an ORM. Nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pymysql

READ = "SELECT id, name FROM item WHERE id = %s"
WRITE = "INSERT INTO entry (n) VALUES (%s)"
KEY = (7,)
THREADS = 8
"""That share a pool; the most that it may hold."""

Task = Callable[[], object]
OnThread = Callable[[], Task]
Arguments = dict[str, Any]


def read(connection: Any) -> object:
    """Read one row."""
    with connection.cursor() as cursor:
        cursor.execute(READ, KEY)
        return cursor.fetchone()


def _for_mysqlclient(arguments: Arguments) -> Arguments:
    return {name: value for name, value in arguments.items() if name != "ssl_disabled"}


def _kept(connect: Callable[[], Any]) -> OnThread:
    def on_thread() -> Task:
        connection = connect()
        return lambda: read(connection)

    return on_thread


def bare(arguments: Arguments) -> OnThread:
    """Keep one connection for each thread, and hope."""
    return _kept(lambda: pymysql.connect(**arguments))


def bare_mysqlclient(arguments: Arguments) -> OnThread:
    """Do the same on mysqlclient."""
    import MySQLdb

    return _kept(lambda: MySQLdb.connect(**_for_mysqlclient(arguments)))


def managed(arguments: Arguments) -> OnThread:
    """Keep a held connection for each thread."""
    import persistconn

    module = persistconn.manage(pymysql)
    return _kept(lambda: module.connect(**arguments))


def managed_mysqlclient(arguments: Arguments) -> OnThread:
    """Do the same on mysqlclient."""
    import MySQLdb

    import persistconn

    module = persistconn.manage(MySQLdb)
    return _kept(lambda: module.connect(**_for_mysqlclient(arguments)))


def managed_unit(arguments: Arguments) -> OnThread:
    """Make each task a unit of work, as the README shows it: ``connect()`` at its beginning, ``close()`` at its end."""
    import persistconn

    module = persistconn.manage(pymysql)

    def task() -> object:
        with module.connect(**arguments) as connection:
            return read(connection)

    return lambda: task


def ping(arguments: Arguments) -> OnThread:
    """Ping before each task."""

    def on_thread() -> Task:
        connection = pymysql.connect(**arguments)

        def task() -> object:
            connection.ping(reconnect=True)
            return read(connection)

        return task

    return on_thread


def per_task(arguments: Arguments) -> OnThread:
    """Connect for each task."""

    def task() -> object:
        with pymysql.connect(**arguments) as connection:
            return read(connection)

    return lambda: task


def transaction(arguments: Arguments) -> OnThread:
    """Write one row between BEGIN and COMMIT: what a transaction costs at the least."""

    def on_thread() -> Task:
        connection = pymysql.connect(**arguments)

        def task() -> None:
            connection.begin()
            with connection.cursor() as cursor:
                cursor.execute(WRITE, KEY)
            connection.commit()

        return task

    return on_thread


def _borrowing(borrow: Callable[[], Any]) -> OnThread:
    def task() -> object:
        connection = borrow()
        try:
            return read(connection)
        finally:
            connection.close()

    return lambda: task


def persistent_db(arguments: Arguments) -> OnThread:
    """Take DBUtils' ``PersistentDB``, whose default is a ping whenever a connection is asked for."""
    from dbutils.persistent_db import PersistentDB

    return _borrowing(PersistentDB(pymysql, **arguments).connection)


def persistent_db_without_ping(arguments: Arguments) -> OnThread:
    """Do the same without the ping: it repeats what has failed, which doubles writes."""
    from dbutils.persistent_db import PersistentDB

    return _borrowing(PersistentDB(pymysql, ping=0, **arguments).connection)


def pooled_db(arguments: Arguments) -> OnThread:
    """Take DBUtils' ``PooledDB``."""
    from dbutils.pooled_db import PooledDB

    return _borrowing(PooledDB(pymysql, maxconnections=THREADS, mincached=1, blocking=True, **arguments).connection)


def sqlalchemy(arguments: Arguments) -> OnThread:
    """Take SQLAlchemy's pool with ``pool_pre_ping``, below its engine."""
    from sqlalchemy import create_engine

    engine = create_engine(
        "mysql+pymysql://",
        creator=lambda: pymysql.connect(**arguments),
        pool_size=THREADS,
        max_overflow=0,
        pool_pre_ping=True,
        pool_recycle=3600,
    )
    return _borrowing(engine.raw_connection)


def per_task_mysqlclient(arguments: Arguments) -> OnThread:
    """Do the same on mysqlclient."""
    import MySQLdb

    given = _for_mysqlclient(arguments)
    return _borrowing(lambda: MySQLdb.connect(**given))


def managed_per_task(arguments: Arguments) -> OnThread:
    """Connect and really close for each task: what a connect of ours costs."""
    return _retiring(pymysql, arguments)


def managed_per_task_mysqlclient(arguments: Arguments) -> OnThread:
    """Do the same on mysqlclient."""
    import MySQLdb

    return _retiring(MySQLdb, _for_mysqlclient(arguments))


def _retiring(driver: ModuleType, arguments: Arguments) -> OnThread:
    import persistconn

    module = persistconn.manage(driver)

    def task() -> object:
        connection = module.connect(**arguments)
        try:
            return read(connection)
        finally:
            connection.retire()

    return lambda: task


MAKERS: Mapping[str, Callable[[Arguments], OnThread]] = {
    "bare": bare,
    "bare mysqlclient": bare_mysqlclient,
    "managed": managed,
    "managed unit": managed_unit,
    "managed mysqlclient": managed_mysqlclient,
    "ping": ping,
    "PersistentDB": persistent_db,
    "PersistentDB without ping": persistent_db_without_ping,
    "PooledDB": pooled_db,
    "SQLAlchemy": sqlalchemy,
    "transaction": transaction,
    "connect": per_task,
    "connect mysqlclient": per_task_mysqlclient,
    "managed connect": managed_per_task,
    "managed connect mysqlclient": managed_per_task_mysqlclient,
}
