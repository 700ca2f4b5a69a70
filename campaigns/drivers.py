"""The drivers that a campaign runs over, by the names under which people install them."""

from __future__ import annotations

import importlib

from persistconn.drivers import Driver, driver_for

MODULES = {"pymysql": "pymysql", "mysqlclient": "MySQLdb"}


def load(name: str) -> Driver:
    """Return the driver of an installed package; ImportError if it is not installed."""
    return driver_for(importlib.import_module(MODULES[name]))
