"""Attempts at a job whose connection is lost where we want it: before a statement, before COMMIT, or after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from persistconn.errors import ConnectionLost
from persistconn.once.attempt import Attempt, Order
from persistconn.once.block import Block
from persistconn.once.history import History
from persistconn.once.line import Line, apart
from persistconn.once.sites import Site
from persistconn.statement import SQL
from persistconn.testing.waiting import eventually


class Where(Enum):
    """At which part of the job the connection is lost."""

    NOWHERE = "no loss"
    STATEMENT = "loss before statement"
    COMMIT = "loss before COMMIT"
    ANSWER = "answer to COMMIT lost"


@dataclass(frozen=True)
class Fault:
    """One loss. ``ordinal`` counts the job's statements from 1."""

    where: Where
    ordinal: int = 0

    def __str__(self) -> str:
        return f"{self.where.value} {self.ordinal}" if self.where is Where.STATEMENT else self.where.value


class Faulty:
    """Makes the attempts of one call: the first meets the fault, the others nothing. Counts the job's statements."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._made = 0
        self.statements = 0

    def __call__(self, order: Order, site: Site, history: History) -> Attempt:
        self._made += 1
        fault = self._fault if self._made == 1 else Fault(Where.NOWHERE)
        return _FaultyAttempt(order, site, history, fault, self)


class _FaultyAttempt(Attempt):
    def __init__(self, order: Order, site: Site, history: History, fault: Fault, tally: Faulty) -> None:
        super().__init__(order, site, history)
        self._fault = fault
        self._tally = tally

    def make_block(self) -> Block:
        plain = super().make_block()
        return _FaultyBlock(plain.job, self)

    def lose(self) -> None:
        """Have the server end our session, and wait until that can be seen."""
        _kill(self.line)

    def tell(self, ordinal: int) -> None:
        """Hear that the job is about to send a statement."""
        self._tally.statements = max(self._tally.statements, ordinal)
        if self._fault == Fault(Where.STATEMENT, ordinal):
            self.lose()

    def commit(self) -> None:
        if self._fault.where is Where.COMMIT:
            self.lose()
        super().commit()
        if self._fault.where is Where.ANSWER:
            raise self.mishap(ConnectionLost("the answer to COMMIT was lost, by order of the test"), is_own=False)


class _FaultyBlock(Block):
    def __init__(self, job: str, attempt: _FaultyAttempt) -> None:
        super().__init__(job, attempt.engine_of)
        self._attempt = attempt

    def check(self, sql: SQL, *, is_open: bool) -> None:
        before = self.ordinal
        super().check(sql, is_open=is_open)
        if self.ordinal > before:
            self._attempt.tell(self.ordinal)


def _kill(line: Line) -> None:
    session = line.session_id
    with apart(line.opening) as ask:
        ask(f"KILL {session}")
    eventually(line.has_hung_up)
