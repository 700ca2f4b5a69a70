"""Where a job's cases are run, and how one goes."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pymysql

from campaigns.cuts.bench import Bench, has_struck, shape_of
from campaigns.cuts.conversation import TABLES
from campaigns.cuts.servers import Access
from campaigns.jobcuts.cases import Case, Combination, Recording, is_healed
from campaigns.jobcuts.healing import Healer
from campaigns.jobcuts.oracle import Finding, LedgerRow, Record, is_doubtful, judge
from campaigns.jobcuts.subject import Worker
from campaigns.ledgers import make_ledger
from persistconn.testing.faults import Packet, Place, Reset, Rule, Where

LIMIT = 120.0
"""Seconds that a case may take: two black holes, each found twice, on a busy machine."""
_RECORDINGS = 10
CLOSING_LIMIT = 60.0
"""Seconds until a transaction is left open: no time limit of the server's ends it."""
_LOCKED = frozenset({1205, 3572})
"""What NOWAIT answers on MariaDB and on MySQL."""
_WARM = Combination("", "pymysql", "plain", "random")

Conversations = tuple[tuple[Packet, ...], ...]


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
        return is_doubtful(self.findings)


class JobStation(Bench):
    """Runs cases, one at a time, on the thread that made it."""

    def __init__(self, access: Access, way: str) -> None:
        super().__init__(access, TABLES)
        make_ledger({**access.arguments, "database": self._database}, way, is_new=True)
        self._run_calmly(_WARM)

    # --- recording -------------------------------------------------------------------------------------------------

    def record(self, combination: Combination) -> Recording:
        """Record jobs in which nothing is broken, and replays; raises AssertionError if no two of the first are alike."""
        with self._started(combination):
            calm = self._record_calm(combination)
        if combination.start == "cold":
            return Recording(calm)
        (job,) = calm
        latest = {packet.direction: packet for packet in job}
        undone, done = (self._record_replay(combination, packet) for packet in latest.values())
        return Recording(calm, undone, done)

    def _record_calm(self, combination: Combination) -> Conversations:
        earlier: list[list[tuple[object, ...]]] = []
        for _ in range(_RECORDINGS):
            conversations = self._run_calmly(combination)
            shapes = [shape_of(packets) for packets in conversations]
            if shapes == earlier or combination.start == "cold":
                return conversations
            earlier = shapes
        raise AssertionError(f"no two jobs were alike; the last one was {earlier}")

    def _run_calmly(self, combination: Combination, *rules: Rule) -> Conversations:
        """Run a job and return its packets; they end with the call."""
        worker = Worker(combination, self.address)
        marker, row = self._prepare()
        self._proxy.forget_trace()
        for rule in rules:
            self._proxy.arm(rule)
        said = worker.call(marker, marker, row)
        assert said.error is None, said.error
        trace = self._proxy.trace
        worker.dispose()
        self._wait_for_quiet()
        numbers = sorted({packet.conversation for packet in trace})
        return tuple(tuple(packet for packet in trace if packet.conversation == number) for number in numbers)

    def _record_replay(self, combination: Combination, packet: Packet) -> tuple[Packet, ...]:
        where = Where(packet.direction, packet.number, conversation=self._proxy.taken + 1, place=Place.BEFORE)
        return self._run_calmly(combination, Rule(Reset(), where))[1]

    @contextlib.contextmanager
    def _started(self, combination: Combination) -> Iterator[None]:
        """Use a proxy of its own for a cold start: nothing is known of the server behind a new address."""
        if combination.start == "warm":
            yield
            return
        warm, self._proxy = self._proxy, self._make_proxy()
        try:
            yield
        finally:
            self._proxy.close()
            self._proxy = warm

    # --- one case --------------------------------------------------------------------------------------------------

    def run(self, case: Case, longer: int = 1) -> Result:
        """Run a case, with time limits so much longer than usual, and judge it."""
        began = time.monotonic()
        with self._started(case.combination):
            record = self._run(case, longer)
        return Result(case, record, tuple(judge(record)), time.monotonic() - began)

    def _run(self, case: Case, longer: int) -> Record:
        worker = Worker(case.combination, self.address, longer)
        is_keyed = case.combination.is_keyed
        marker, row = self._prepare()
        _, next_row = (marker, row) if is_keyed else self._prepare()
        next_marker = marker if is_keyed else f"{marker}-next"
        self._proxy.forget_trace()
        with self._limited(LIMIT) as hung:
            before = self._proxy.taken
            armed = [(strike, self._proxy.arm(strike.rule(before))) for strike in case.strikes]
            with Healer(self._proxy, armed, random.Random(str(case))), _counting() as mishaps:
                said = worker.call(marker, marker, row)
                struck = has_struck(armed[0][1])
            open_transactions = self._find_open(marker, row)
            if is_healed(case):
                self._proxy.heal()
            again = worker.call(next_marker, next_marker, next_row)
            struck_twice = sum(bool(rule.fired) for _, rule in armed) > 1
            for _, rule in armed:
                rule.disarm()
            if is_healed(case):
                self._proxy.heal()
            worker.dispose()
        left_over = self._find_left_over(is_hole="hole" in case.faults)
        return Record(
            marker,
            said,
            again,
            is_keyed,
            effects=self._effects(marker, row, f"{marker}-next"),
            ledger=self._ledger(marker),
            next_ledger=() if is_keyed else self._ledger(next_marker),
            open_transactions=open_transactions,
            left_over=left_over,
            hung=hung.is_set(),
            struck=struck,
            struck_twice=struck_twice,
            must_be_silent=case.faults == {"hiccup"} and len(case.strikes) == 1,
            mishaps=len(mishaps),
        )

    # --- the server's word -----------------------------------------------------------------------------------------

    def _ledger(self, name: str) -> tuple[LedgerRow, ...]:
        rows = self._ask("SELECT state, attempts, result FROM persistconn_ledger WHERE job = %s", name)
        return tuple(LedgerRow(str(state), int(attempts), json.loads(result)) for state, attempts, result in rows)

    def _find_open(self, marker: str, row: int) -> tuple[str, ...]:
        """Wait until nobody holds the rows of a job, and return those that are held all the same.

        INNODB_TRX would not do: its answer is not renewed while somebody asks for it more than ten times a second.
        """
        deadline = time.monotonic() + CLOSING_LIMIT
        asked: dict[str, object] = {
            "SELECT id FROM counter WHERE id = %s FOR UPDATE NOWAIT": row,
            "SELECT id FROM effect WHERE token = %s FOR UPDATE NOWAIT": marker,
            "SELECT state FROM persistconn_ledger WHERE job = %s FOR UPDATE NOWAIT": marker,
        }
        while (
            held := [sql for sql, value in asked.items() if self._is_held(sql, value)]
        ) and time.monotonic() < deadline:
            time.sleep(0.01)
        return tuple(held)

    def _is_held(self, sql: str, value: object) -> bool:
        try:
            self._ask(sql, value)
        except pymysql.OperationalError as error:
            if error.args[0] not in _LOCKED:
                raise
            return True
        return False


def make_station(access: Access, way: str) -> JobStation:
    """Make a station whose ledger has procedures, or none."""
    return JobStation(access, way)


def run(station: JobStation, case: Case, longer: int) -> Result:
    """Run a case at a station."""
    return station.run(case, longer)


class _Listener(logging.Handler):
    """Notes each thread's mishaps, which the library tells its log and nobody else."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Note a mishap of the thread that it happened to."""
        noted: list[Any] | None = getattr(self.local, "noted", None)
        if noted is not None and getattr(record, "action", None) == "mishap":
            noted.append(record.getMessage())


_listener = _Listener()


@contextlib.contextmanager
def _counting() -> Iterator[list[str]]:
    logger = logging.getLogger("persistconn")
    logger.setLevel(logging.INFO)
    logger.addHandler(_listener)  # Adding it twice does nothing.
    noted: list[str] = []
    _listener.local.noted = noted
    try:
        yield noted
    finally:
        _listener.local.noted = None
