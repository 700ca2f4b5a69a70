"""What a test of code on real connections needs: servers, faults, a clock that stands still, patience; and a pytest plugin.

docs/testing.md shows it at work.
"""

from __future__ import annotations

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.asking import Session
from persistconn.testing.clock import FakeClock
from persistconn.testing.installation import ServerError, ServerNotFound, find_mariadbd, find_mysqld
from persistconn.testing.mariadb import MariaDB
from persistconn.testing.mysql import MySQL
from persistconn.testing.waiting import eventually, within

__all__ = [
    "AnyServer",
    "FakeClock",
    "MariaDB",
    "MySQL",
    "ServerError",
    "ServerNotFound",
    "Session",
    "eventually",
    "find_mariadbd",
    "find_mysqld",
    "within",
]
