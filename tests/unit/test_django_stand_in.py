"""How PyMySQL stands in for MySQLdb: each rule in a process of its own, for imports happen once."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def succeeds(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_called_mysqldb_is_left_behind() -> None:
    """The aliases live during the import of Django's engine only."""
    succeeds("""
        import sys
        import persistconn.backends.mysql.base
        assert not [name for name in sys.modules if name.startswith("MySQLdb")]
    """)


def test_there_is_one_copy_of_pymysql() -> None:
    """A second copy of its modules would have exception classes of its own, which no ``except`` expects."""
    succeeds("""
        import pymysql
        from persistconn.backends.mysql import base
        from django.db.backends.mysql import introspection
        assert base.stock.Database is pymysql
        assert base.stock.FIELD_TYPE is introspection.FIELD_TYPE is pymysql.constants.FIELD_TYPE
        assert base.stock.conversions is pymysql.converters.conversions
    """)


def test_the_users_own_install_as_mysqldb_is_kept() -> None:
    """Who has called it wants MySQLdb to be there; and finds one copy of it, submodules included."""
    succeeds("""
        import sys
        import pymysql
        pymysql.install_as_MySQLdb()
        import persistconn.backends.mysql.base
        import MySQLdb.converters
        assert sys.modules["MySQLdb"] is pymysql
        assert sys.modules["MySQLdb.converters"] is sys.modules["pymysql.converters"]
    """)


def test_the_stock_engine_may_have_been_there_first() -> None:
    """On PyMySQL, by the user's install_as_MySQLdb(), it is the one that we build on."""
    succeeds("""
        import pymysql
        pymysql.install_as_MySQLdb()
        import django.db.backends.mysql.base as stock
        from persistconn.backends.mysql import base
        assert issubclass(base.DatabaseWrapper, stock.DatabaseWrapper)
    """)


def test_another_mysqldb_that_is_loaded_is_put_back() -> None:
    """A program that talks to mysqlclient on its own finds it where it was."""
    succeeds("""
        import sys, types
        mine = sys.modules["MySQLdb"] = types.ModuleType("MySQLdb")
        inner = sys.modules["MySQLdb.cursors"] = types.ModuleType("MySQLdb.cursors")
        import pymysql
        from persistconn.backends.mysql import base
        assert base.stock.Database is pymysql
        assert sys.modules["MySQLdb"] is mine
        assert sys.modules["MySQLdb.cursors"] is inner
        assert "MySQLdb.converters" not in sys.modules
    """)


def test_the_stock_engine_on_mysqlclient_is_refused() -> None:
    """One process has one copy of Django's engine; the text says what to do."""
    succeeds("""
        import sys, types
        from django.core.exceptions import ImproperlyConfigured
        stock = types.ModuleType("django.db.backends.mysql.base")
        stock.Database = types.ModuleType("MySQLdb")
        sys.modules["django.db.backends.mysql.base"] = stock
        try:
            import persistconn.backends.mysql.base
        except ImproperlyConfigured as error:
            assert "mysqlclient" in str(error) and "persistconn.backends.mysql" in str(error)
        else:
            raise AssertionError("not refused")
    """)


def test_without_pymysql_the_text_says_so() -> None:
    """A missing driver is called that, and not a missing database backend."""
    succeeds("""
        import sys
        from django.core.exceptions import ImproperlyConfigured
        sys.modules["pymysql"] = None
        try:
            import persistconn.backends.mysql.base
        except ImproperlyConfigured as error:
            assert "pip install PyMySQL" in str(error)
        else:
            raise AssertionError("not refused")
    """)


def test_the_core_imports_no_django() -> None:
    """Who uses plain PyMySQL pays for no framework."""
    succeeds("""
        import sys
        import persistconn
        assert not [name for name in sys.modules if name.partition(".")[0] in ("django", "apscheduler")]
    """)
