"""Imports Django's MySQL engine with PyMySQL in MySQLdb's place, and leaves no trace of that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured

try:
    import pymysql
except ImportError as error:
    raise ImproperlyConfigured(
        "the engine persistconn.backends.mysql works with PyMySQL, which is not installed: pip install PyMySQL"
    ) from error

_STOCK_ENGINE = "django.db.backends.mysql.base"


def import_stock_engine() -> None:
    """Import ``django.db.backends.mysql.base`` on PyMySQL; without effect if it is there already.

    Raises ImproperlyConfigured if it was imported on mysqlclient before: one process has one copy of it.
    """
    if _STOCK_ENGINE not in sys.modules:
        with _pymysql_as_mysqldb():
            __import__(_STOCK_ENGINE)
    if sys.modules[_STOCK_ENGINE].Database is not pymysql:
        raise ImproperlyConfigured(
            "Django's own MySQL engine is loaded on mysqlclient in this process, and persistconn works with PyMySQL only. "
            "Give every MySQL alias the engine persistconn.backends.mysql, or uninstall mysqlclient."
        )


@contextmanager
def _pymysql_as_mysqldb() -> Iterator[None]:
    """Let ``import MySQLdb`` find PyMySQL, every submodule included, within the block.

    With the top name alone, as ``install_as_MySQLdb()`` leaves it, ``MySQLdb.converters`` would be imported as a second
    copy of ``pymysql.converters``, and ``MySQLdb.err`` as a second set of exception classes that no ``except`` expects.
    """
    before = _mysqldb_modules()
    wanted_by_user = before.get("MySQLdb") is pymysql
    sys.modules.update(_aliases())
    try:
        yield
    finally:
        if not wanted_by_user:
            for name in _mysqldb_modules():
                del sys.modules[name]
            sys.modules.update(before)


def _aliases() -> dict[str, ModuleType]:
    loaded = [name for name in sys.modules if name == "pymysql" or name.startswith("pymysql.")]
    return {name.replace("pymysql", "MySQLdb", 1): sys.modules[name] for name in loaded}


def _mysqldb_modules() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name == "MySQLdb" or name.startswith("MySQLdb.")}
