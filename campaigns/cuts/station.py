"""Where cases are run: a proxy and a database of one thread's own, and the server's word at the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pymysql

from campaigns.cuts.cases import HEALED, Case
from campaigns.cuts.conversation import TABLES, Script, Subject, first_unit, second_unit, speak
from campaigns.cuts.oracle import Finding, Mode, Record, Reply, Told, is_doubtful, judge
from campaigns.cuts.servers import Access
from persistconn.testing.faults import Armed, FaultProxy, Packet, Reset

LIMIT = 12.0
"""Seconds that a case may take; one that takes longer hangs, and is ended by a reset of its connections."""
_STRIKE_LIMIT, _LEAVE_LIMIT = 2.0, 5.0
_HICCUP = 0.02
_SLOW = 0.35
"""A wait that is as long as the shortest time limit: what fails after it may have failed for a busy machine."""
_RECORDINGS = 10

_numbers = itertools.count(1)

MakeSubject = Callable[[Mapping[str, Any]], Subject]
OBSTINATE = Script()


@dataclass(frozen=True)
class Recording:
    """The packets of a whole conversation: those of the connect, and those of the unit of work."""

    connect: list[Packet]
    unit: list[Packet]

    @property
    def packets(self) -> list[Packet]:
        """All of them."""
        return self.connect + self.unit

    @property
    def shape(self) -> list[tuple[object, ...]]:
        """What every conversation of the kind has in common: the packets of each direction, but not how they interlace."""
        found = [(one.direction.value, one.number, one.kind, one.words) for one in self.packets]
        return sorted(found, key=lambda one: one[:2])


@dataclass(frozen=True)
class Result:
    """A case, what is known of it and what is wrong with it; ``seconds`` is what it cost."""

    case: Case
    record: Record
    findings: tuple[Finding, ...]
    seconds: float
    again: int = 0
    """How often it had been run before, because the machine was too busy to tell."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the machine was too busy to answer in time, and nothing else may be wrong."""
        return is_doubtful(self.record, self.findings, slow=_SLOW)


class Station:
    """Runs cases, one at a time, on the thread that made it."""

    def __init__(self, access: Access) -> None:
        self._admin = access.admin()
        self._database = f"cuts_{os.getpid()}_{next(_numbers)}"
        self._ask(f"CREATE DATABASE {self._database} CHARACTER SET utf8mb4")
        self._ask(f"USE {self._database}")
        for table in TABLES:
            self._ask(table)
        self._rows = itertools.count(1)
        self._proxy = FaultProxy(access.arguments["host"], access.arguments["port"])
        self.address = self._proxy.connect_args(access.arguments, database=self._database)

    def __enter__(self) -> Station:
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

    # --- recording -------------------------------------------------------------------------------------------------

    def record(self, mode: Mode, make: MakeSubject, script: Script = OBSTINATE) -> Recording:
        """Record a conversation in which nothing is broken; raises AssertionError if no two of them are alike."""
        # The first fills caches (of MySQL's login, say) that later ones find filled, and a busy machine may spoil any.
        earlier: list[tuple[object, ...]] = []
        replies: tuple[Reply, ...] = ()
        for _ in range(_RECORDINGS):
            replies, recording = self._record(mode, make, script)
            shape = recording.shape
            if all(reply.told is Told.OK for reply in replies) and shape == earlier:
                return recording
            earlier = shape
        raise AssertionError(f"no two conversations were alike; the last one was {replies}")

    def _record(self, mode: Mode, make: MakeSubject, script: Script) -> tuple[tuple[Reply, ...], Recording]:
        subject = make(self.address)
        self._proxy.forget_trace()
        marker, row = self._prepare()
        connect, *steps = first_unit(subject, mode, marker, row, script)
        replies = speak(subject, [connect], is_polite=True, ends=False)
        before = len(self._proxy.trace)
        replies += speak(subject, steps, is_polite=script.is_polite)
        trace = self._proxy.trace
        subject.dispose()
        self._wait_for_quiet()
        return replies, Recording(trace[:before], trace[before:])

    # --- one case --------------------------------------------------------------------------------------------------

    def run(self, case: Case, make: MakeSubject, script: Script = OBSTINATE, *, limit: float = LIMIT) -> Result:
        """Run a case and judge it."""
        began = time.monotonic()
        mode = case.combination.mode
        subject = make(self.address)
        marker, row = self._prepare()
        with self._limited(limit) as hung:
            armed = self._proxy.arm(case.rule())
            with self._healing_soon(armed) if case.fault == "hiccup" else contextlib.nullcontext():
                steps = first_unit(subject, mode, marker, row, script)
                unit = speak(subject, steps, is_polite=script.is_polite)
                struck = _has_struck(armed)
            if case.fault in HEALED:
                self._proxy.heal()
            next_marker = f"{marker}-next"
            next_unit = speak(subject, second_unit(subject, mode, next_marker, script), is_polite=True)
            subject.dispose()
        left_over = self._find_left_over(is_hole=case.fault == "hole")
        record = Record(
            mode,
            marker,
            unit,
            next_unit,
            next_marker,
            effects=self._effects(marker, row, next_marker),
            left_over=left_over,
            hung=hung.is_set(),
            struck=struck,
            must_be_silent=case.fault == "hiccup",
            has_setting=script.has_setting,
        )
        return Result(case, record, tuple(judge(record)), time.monotonic() - began)

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
                time.sleep(_HICCUP)
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
        return {int(session): f"{command} for {seconds} s: {info}" for session, command, seconds, info in rows}

    def _ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._admin.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())


def _has_struck(armed: Armed) -> bool:
    try:
        armed.wait(_STRIKE_LIMIT)
    except TimeoutError:
        return False
    finally:
        armed.disarm()
    return True
