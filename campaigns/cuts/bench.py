"""What a case needs around it: a proxy and a database of one thread's own, a limit of time, and the server's word."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pymysql

from campaigns.cuts.servers import Access
from persistconn.testing.faults import Armed, FaultProxy, Packet, Reset

if TYPE_CHECKING:
    from typing_extensions import Self

LIMIT = 60.0
"""Seconds that a case may take; one that takes longer hangs, and is ended by a reset of its connections."""
_STRIKE_LIMIT = 5.0
"""Seconds in which a fault strikes, if its packet comes at all."""
_LEAVE_LIMIT = 60.0
"""Seconds until a session is left over: no time limit of the server's ends it."""
HICCUP = 0.02
_SHOWN = 60

_numbers = itertools.count(1)


class Bench:
    """The place of one case at a time, for the thread that made it."""

    def __init__(self, access: Access, tables: Iterable[str]) -> None:
        self._access = access
        self._admin = access.admin()
        self._database = f"cuts_{os.getpid()}_{next(_numbers)}"
        self._ask(f"CREATE DATABASE {self._database} CHARACTER SET utf8mb4")
        self._ask(f"USE {self._database}")
        for table in tables:
            self._ask(table)
        self._rows = itertools.count(1)
        self._proxy = self._make_proxy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the database and close the proxy; any thread."""
        self._proxy.close()
        self._ask(f"DROP DATABASE {self._database}")
        self._admin.close()

    @property
    def address(self) -> dict[str, Any]:
        """The connect arguments of a client."""
        return self._proxy.connect_args(self._access.arguments, database=self._database)

    def _make_proxy(self) -> FaultProxy:
        return FaultProxy(self._access.arguments["host"], self._access.arguments["port"])

    @contextlib.contextmanager
    def _limited(self, limit: float) -> Iterator[threading.Event]:
        """Reset all connections if this takes too long."""
        hung = threading.Event()

        def end() -> None:
            hung.set()
            self._proxy.strike(Reset())

        timer = threading.Timer(limit, end)
        timer.daemon = True
        timer.start()
        try:
            yield hung
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _healing_soon(self, armed: Armed) -> Iterator[None]:
        def heal() -> None:
            with contextlib.suppress(TimeoutError):
                armed.wait(LIMIT)
                time.sleep(HICCUP)
            self._proxy.heal()

        healer = threading.Thread(target=heal, daemon=True)
        healer.start()
        yield
        healer.join()

    # --- the server's word -----------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[str, int]:
        row = next(self._rows)
        self._ask("INSERT INTO counter VALUES (%s, 0)", row)
        return f"{self._database}-{row}", row

    def _effects(self, marker: str, row: int, next_marker: str) -> dict[str, int]:
        counting = "SELECT token, COUNT(*) FROM effect WHERE token IN (%s, %s) GROUP BY token"
        tokens = {str(token): int(count) for token, count in self._ask(counting, marker, next_marker)}
        ((hits,),) = self._ask("SELECT hits FROM counter WHERE id = %s", row)
        return {"insert": tokens.get(marker, 0), "update": hits, "next": tokens.get(next_marker, 0)}

    def _find_left_over(self, *, is_hole: bool) -> tuple[str, ...]:
        """Wait until no session is left, and return those that are there all the same; ends them."""
        if is_hole:
            # Behind a hole that never heals a server cannot know; now the network tells it.
            self._proxy.heal()
        left = self._wait_for_quiet()
        told = tuple(
            f"session {session} {what}, {self._proxy.connections} in the proxy" for session, what in left.items()
        )
        self._proxy.heal()
        self._proxy.strike(Reset())
        for session in filter(None, left):
            with contextlib.suppress(pymysql.MySQLError):
                self._ask(f"KILL {session}")
        return told

    def _wait_for_quiet(self) -> dict[int, str]:
        """Wait until nothing goes through the proxy and no session is left; return those that stay."""
        deadline = time.monotonic() + _LEAVE_LIMIT
        while (left := self._sessions()) or self._proxy.connections:
            if time.monotonic() > deadline:
                return left or {0: "a connection that no session belongs to"}
            time.sleep(0.002)
        return {}

    def _sessions(self) -> dict[int, str]:
        rows = self._ask(
            "SELECT ID, COMMAND, TIME, INFO FROM information_schema.PROCESSLIST"
            " WHERE DB = %s AND ID <> CONNECTION_ID()",
            self._database,
        )
        return {
            int(session): f"{command} for {seconds} s: {str(info)[:_SHOWN]}" for session, command, seconds, info in rows
        }

    def _ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._admin.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())


def shape_of(packets: Iterable[Packet]) -> list[tuple[object, ...]]:
    """Return what every conversation of a kind has in common: the packets of each direction, not how they interlace."""
    # The second word may be a name that differs each time: that of a savepoint.
    found = [(one.direction.value, one.number, one.kind, one.words.partition(" ")[0]) for one in packets]
    return sorted(found, key=lambda one: one[:2])


def has_struck(armed: Armed) -> bool:
    """Wait until a fault has struck, and disarm it; False if it has not."""
    try:
        armed.wait(_STRIKE_LIMIT)
    except TimeoutError:
        return False
    finally:
        armed.disarm()
    return True
