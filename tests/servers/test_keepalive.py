"""The real keepalive against a real `wait_timeout`: nobody sees a session expire."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn import ConnectionView
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.policy import PINGS_PER_WAIT_TIMEOUT, Reason
from persistconn.testing import MariaDB, eventually

pytestmark = pytest.mark.server


class TimedSweep:
    """Sweeps, and takes the time between the ends of two sweeps."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._gaps: list[float] = []
        self._ended_at = time.monotonic()

    def __call__(self) -> None:
        self._sweep()
        now = time.monotonic()
        self._gaps.append(now - self._ended_at)
        self._ended_at = now

    def longest_gap(self) -> float:
        """Return the longest time without a sweep."""
        return max(self._gaps, default=math.inf)


def rest_and_go_on(arguments: dict[str, Any], wait_timeout: int) -> ConnectionView:
    """Rest for longer than `wait_timeout`, twice, and go on as if nothing had happened."""
    patience = f"SET SESSION wait_timeout = {wait_timeout}"
    connection = persistconn.manage(pymysql).connect(**arguments, autocommit=True, init_command=patience)
    for number in range(2):
        threading.Event().wait(1.5 * wait_timeout)
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", (number,))
            assert ((number,),) == cursor.fetchall()
    (view,) = persistconn.connections()
    return view


def aborted(server: MariaDB, database: str) -> list[str]:
    """Return what the server's log says of sessions that it has ended."""
    return [line for line in server.aborted_in_log() if f"'{database}'" in line]


def close_all(server: MariaDB, database: str) -> None:
    """Close everything, and wait until the server has nothing more to say of it."""
    persistconn.shutdown()
    eventually(lambda: database not in [session.db for session in server.processlist()])


def test_expiry_is_never_seen(
    server: MariaDB, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch, until_conclusive: Any
) -> None:
    """The session is renewed in time: no error, and the server has none to end."""
    KEEPALIVE.stop()
    persistconn.shutdown()
    sweep, name = KEEPER.sweep, database["database"]

    def experiment(longer: float) -> str | None:
        wait_timeout, before = round(longer**2), len(aborted(server, name))
        timed = TimedSweep(sweep)
        monkeypatch.setattr(KEEPER, "sweep", timed)
        view = rest_and_go_on(database, wait_timeout)
        gap = timed.longest_gap()
        close_all(server, name)
        found = (
            aborted(server, name)[before:],
            Reason.IDLE.value in view.recycles,
            Reason.HUNG_UP.value in view.recycles,
        )
        # A ping is due after a third of it, and sent two gaps later at the latest.
        if found != ([], True, False) and gap >= wait_timeout / PINGS_PER_WAIT_TIMEOUT:
            return f"for {gap:.1f} s there was no sweep under wait_timeout={wait_timeout}"
        assert ([], True, False) == found
        return None

    until_conclusive(experiment)
