"""The drivers that persistconn knows, each behind the small protocol of :mod:`persistconn.drivers.base`."""

from __future__ import annotations

from types import ModuleType

from persistconn.drivers.base import Driver, Fault
from persistconn.errors import ConfigError

__all__ = ["Driver", "Fault", "driver_for"]

_PEP_249 = ("apilevel", "threadsafety", "paramstyle", "connect", "Error", "OperationalError")


def driver_for(module: ModuleType, *, fast_reads: bool = True) -> Driver:
    """Return the driver for a PEP 249 module; :class:`ConfigError` for anything else.

    ``fast_reads`` off, PyMySQL reads each answer itself; mysqlclient, whose reader is in C, always does.
    """
    missing = [name for name in _PEP_249 if not hasattr(module, name)]
    if missing or not isinstance(module, ModuleType):
        lacks = f": it has no {', '.join(missing)}" if missing else ""
        raise ConfigError(f"manage() takes a PEP 249 module such as pymysql, not {module!r}{lacks}")
    if module.__name__ == "pymysql":
        from persistconn.drivers.pymysql import PyMySQL

        return PyMySQL(module, fast_reads=fast_reads)
    if module.__name__ == "MySQLdb":
        return _mysqlclient(module)
    raise ConfigError(f"manage() has no driver for the module {module.__name__!r}; it has one for: pymysql, MySQLdb")


def _mysqlclient(module: ModuleType) -> Driver:
    from persistconn.drivers.mysqlclient import MySQLClient
    from persistconn.drivers.mysqlclient_names import OLDEST

    version = getattr(module, "version_info", (0, 0))
    if version < OLDEST:
        raise ConfigError(f"mysqlclient ({'.'.join(map(str, version[:3]))}) must be 2.2 or newer")
    return MySQLClient(module)
