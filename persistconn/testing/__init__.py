"""What a test of code on real connections needs: a private database server."""

from __future__ import annotations

from persistconn.testing.installation import ServerError, ServerNotFound, find_mariadbd
from persistconn.testing.servers import MariaDB, Session

__all__ = ["MariaDB", "ServerError", "ServerNotFound", "Session", "find_mariadbd"]
