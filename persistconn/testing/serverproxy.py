"""A fault proxy in front of a test's server, in the words of statements instead of packets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from persistconn.testing.anyserver import AnyServer, django_settings, plain
from persistconn.testing.faults import Armed, Cut, Delay, FaultProxy, Rule, Sighting, Stall, Where, to_client, to_server

Statement = str | re.Pattern[str] | int
"""Words of its text, letter case ignored; a pattern; or its number in its connection, from 1, those of the login's end
(``SET NAMES`` and the like) counted too."""


class ServerProxy(FaultProxy):
    """Stands in front of a server and breaks what goes through it, at the statement that you name.

    With ``after=True`` the server executes the statement, and it is the answer that is struck. See FaultProxy for the rest:
    rules on packets, faults on all connections at once, the trace.
    """

    def __init__(self, server: AnyServer, *, port: int = 0) -> None:
        super().__init__(server.host, server.port, port=port)
        self._server = server

    def connect_args(self, args: Mapping[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
        """Return arguments of `connect()` that lead through the proxy, without TLS unless `extra` asks for it."""
        straight = dict(self._server._direct_args() if args is None else args)
        return super().connect_args(plain(straight, extra), **extra)

    def django_settings(self, **extra: Any) -> dict[str, Any]:
        """Return an entry of Django's DATABASES that leads through the proxy."""
        return django_settings(self.connect_args(), extra)

    def cut(self, at: Statement, *, after: bool = False, nth: int = 1, times: int | None = 1) -> Armed:
        """Cut the connection at a statement: before the server gets it, or before its answer arrives."""
        return self.arm(Rule(Cut(), where(at, after=after, nth=nth), times))

    def stall(self, at: Statement, *, after: bool = False, nth: int = 1, times: int | None = 1) -> Armed:
        """Pass on nothing more from a statement on, or from its answer on, until `heal()`."""
        return self.arm(Rule(Stall(), where(at, after=after, nth=nth), times))

    def delay(
        self, at: Statement, seconds: float, *, after: bool = False, nth: int = 1, times: int | None = 1
    ) -> Armed:
        """Pass a statement, or its answer, on so many seconds late."""
        return self.arm(Rule(Delay(seconds), where(at, after=after, nth=nth), times))

    def hold(self, at: Statement, *, after: bool = False, nth: int = 1) -> AbstractContextManager[Armed]:
        """Keep a statement, or its answer, from the `wait()` of what this yields to its `release()`, or the block's end."""
        return self.holding(where(at, after=after, nth=nth))


def where(at: Statement, *, after: bool = False, nth: int = 1) -> Where:
    """Return the packet of a statement, or the first that answers it; `nth` counts the statements that a text fits."""
    place = to_client if after else to_server
    if isinstance(at, int):
        return place(statement=at)
    return dataclasses.replace(place(_whole_words(at) if isinstance(at, str) else at), when=_Nth(nth))


def _whole_words(text: str) -> re.Pattern[str]:
    """Return what finds a text, but not inside of a word: a driver's SET AUTOCOMMIT is no COMMIT."""
    before, after = (r"(?<!\w)" if text[:1].isalnum() else ""), (r"(?!\w)" if text[-1:].isalnum() else "")
    return re.compile(before + re.escape(text) + after, re.IGNORECASE)


class _Nth:
    """Says yes to the nth statement that it is asked about, of all connections, and to those behind it; once to each."""

    def __init__(self, nth: int) -> None:
        if nth < 1:
            raise ValueError(f"nth counts from 1, so it cannot be {nth!r}")
        self._nth = nth
        self._seen: set[tuple[int, int]] = set()

    def __call__(self, sighting: Sighting) -> bool:
        packet = sighting.packet
        key = packet.conversation, sighting.statement or -packet.number
        if key in self._seen:
            return False
        self._seen.add(key)
        return len(self._seen) >= self._nth
