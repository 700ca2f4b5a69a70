"""The private server that all contestants meet on, its tables, and its counters."""

from __future__ import annotations

import time
from typing import Any

from campaigns import places
from campaigns.ledgers import make_ledger
from campaigns.places import Private
from persistconn.testing import eventually
from persistconn.testing.servers import Server

_ROWS = 1000
_SETTLED = 0.05
"""Seconds within which the server has counted a goodbye that nobody waits for."""
_COUNTERS = ("Questions", "Com_admin_commands", "Connections")


def private(server: Server | None = None) -> Private:
    """Prepare a server with room for all contestants at once."""
    return Private(server) if server else Private(max_connections=4000, max_connect_errors=1_000_000)


def furnish(place: Private) -> dict[str, Any]:
    """Make the tables and the ledger; returns PyMySQL's arguments of ``connect()``."""
    numbers = ", ".join(f"({number}, 'item {number}')" for number in range(_ROWS))
    places.ask(
        place,
        "CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL) ENGINE=InnoDB",
        f"INSERT INTO item VALUES {numbers}",  # noqa: S608 - our own numbers
        "CREATE TABLE entry (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL) ENGINE=InnoDB",
    )
    arguments = place.connect_args(ssl_disabled=True, autocommit=True)
    make_ledger(arguments)
    return arguments


class Counters:
    """Statements, pings and connects, counted at the server, without our own questions. One thread."""

    def __init__(self, place: Private) -> None:
        self._server = place.server
        self._asked = 0
        self._look()  # The first one connects.

    def wait_until_alone(self) -> None:
        """Return when everybody else has left, whose goodbyes would be counted later; blocks."""
        eventually(lambda: self._status("Threads_connected") == 1)

    def look(self) -> tuple[int, int]:
        """Return how often anybody was answered, and connected, once that has come to rest; nobody may be at work.

        A goodbye counts as a question at the server, but nobody waits for its answer; each connect has one.
        """
        seen = self._look()
        while True:
            time.sleep(_SETTLED)
            again = self._look()
            if again == seen:
                return again
            seen = again

    def _look(self) -> tuple[int, int]:
        own = self._asked
        questions, pings, connects = (self._status(name) for name in _COUNTERS)
        return questions - own + pings - connects, connects

    def _status(self, name: str) -> int:
        # Each of our own questions is counted once, whatever it asks for.
        self._asked += 1
        return self._server.status(name)
