"""What a test of code on real connections needs: a private database server, a clock that stands still, patience."""

from __future__ import annotations

from persistconn.testing.asking import Session
from persistconn.testing.clock import FakeClock
from persistconn.testing.installation import ServerError, ServerNotFound, find_mariadbd, find_mysqld
from persistconn.testing.mariadb import MariaDB
from persistconn.testing.mysql import MySQL
from persistconn.testing.waiting import eventually

__all__ = [
    "FakeClock",
    "MariaDB",
    "MySQL",
    "ServerError",
    "ServerNotFound",
    "Session",
    "eventually",
    "find_mariadbd",
    "find_mysqld",
]
