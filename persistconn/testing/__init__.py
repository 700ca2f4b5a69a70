"""What a test of code on real connections needs: a private database server, a clock that stands still, patience."""

from __future__ import annotations

from persistconn.testing.clock import FakeClock
from persistconn.testing.installation import ServerError, ServerNotFound, find_mariadbd
from persistconn.testing.servers import MariaDB, Session
from persistconn.testing.waiting import eventually

__all__ = ["FakeClock", "MariaDB", "ServerError", "ServerNotFound", "Session", "eventually", "find_mariadbd"]
