"""What the client says: the unit of work that is broken, and the one behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from campaigns.cuts.oracle import DIGITS, READ_DIGIT, SET_AT_CONNECT, SETTING, Answer, Mode, Reply, Told
from persistconn import OutcomeUnknown, PersistconnError, TransactionLost

AT_CONNECT = f"SET SESSION innodb_lock_wait_timeout = {SET_AT_CONNECT}"
"""The ``init_command`` of every client: a part of connecting, and there on whatever session follows."""

TABLES = (
    "CREATE TABLE effect (id INT PRIMARY KEY AUTO_INCREMENT, token VARCHAR(40) NOT NULL, KEY (token)) ENGINE=InnoDB",
    "CREATE TABLE counter (id INT PRIMARY KEY, hits INT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE digit (n INT PRIMARY KEY) ENGINE=InnoDB",
    f"INSERT INTO digit VALUES {', '.join(f'({digit})' for digit in range(DIGITS))}",  # noqa: S608 - our own digits
)

Step = tuple[str, Callable[[], Answer]]


@dataclass(frozen=True)
class Script:
    """How a client goes through its units of work."""

    is_polite: bool = False
    """Stops at the first error and rolls back; any other client goes on regardless, up to the COMMIT."""
    has_setting: bool = True
    """Sets a variable of the session first."""
    has_commit: bool = True
    """Says COMMIT under autocommit too."""


class Subject(Protocol):
    """A client under test: one way to keep connections, as its own documents say how to use it."""

    def open(self) -> None:
        """Get ready for a unit of work: connect, or take what is held."""

    def execute(self, sql: str) -> Answer:
        """Return the rows of a read, or the number of rows that a write has touched."""

    def begin(self) -> None:
        """Open a transaction where the mode wants a word for it."""

    def commit(self) -> None:
        """Commit."""

    def rollback(self) -> None:
        """Roll back."""

    def close(self) -> None:
        """End the unit of work, whatever became of it."""

    def dispose(self) -> None:
        """Really close everything."""

    def told(self, error: Exception) -> Told:
        """Say what an error is."""


def told_of(error: Exception) -> Told:
    """Sort an error: ours by what it says, and all others as raw."""
    if isinstance(error, TransactionLost):
        return Told.TRANSACTION_LOST
    if isinstance(error, OutcomeUnknown):
        return Told.OUTCOME_UNKNOWN
    return Told.NOTHING_CHANGED if isinstance(error, PersistconnError) else Told.RAW


def first_unit(subject: Subject, mode: Mode, marker: str, row: int, script: Script) -> list[Step]:
    """Return the steps of the unit of work that is broken."""
    statements = {
        "setting": f"SET SESSION lock_wait_timeout = {SETTING}",
        "begin": "",
        "read": f"SELECT '{marker}', n FROM digit WHERE n = {READ_DIGIT}",  # noqa: S608 - our own marker and row
        "insert": f"INSERT INTO effect (token) VALUES ('{marker}')",  # noqa: S608 - our own marker and row
        "update": f"UPDATE counter SET hits = hits + 1 WHERE id = {row}",  # noqa: S608 - our own marker and row
        "locked": f"SELECT '{marker}', hits FROM counter WHERE id = {row} FOR UPDATE",  # noqa: S608 - our own marker and row
        "many": f"SELECT '{marker}', n FROM digit ORDER BY n",  # noqa: S608 - our own marker and row
    }
    if not script.has_setting:
        del statements["setting"]
    return _steps(subject, mode, statements, script)


def second_unit(subject: Subject, mode: Mode, marker: str, script: Script) -> list[Step]:
    """Return the steps of the unit of work behind it, on the same connection."""
    statements = {
        "begin": "",
        "read": f"SELECT '{marker}', n FROM digit WHERE n = {READ_DIGIT}",  # noqa: S608 - our own marker and row
        "settings": f"SELECT '{marker}', @@session.lock_wait_timeout, @@session.innodb_lock_wait_timeout",
        "insert": f"INSERT INTO effect (token) VALUES ('{marker}')",  # noqa: S608 - our own marker and row
    }
    return _steps(subject, mode, statements, script)


def _steps(subject: Subject, mode: Mode, statements: dict[str, str], script: Script) -> list[Step]:
    steps: list[Step] = [("connect", subject.open)]
    for name, sql in statements.items():
        if name != "begin":
            steps.append((name, _execution(subject, name, sql)))
        elif mode is Mode.BLOCK:
            steps.append((name, subject.begin))
    if mode.is_atomic or script.has_commit:
        steps.append(("commit", subject.commit))
    return steps


def _execution(subject: Subject, name: str, sql: str) -> Callable[[], Answer]:
    def execute() -> Answer:
        answer = subject.execute(sql)
        return None if name == "setting" else answer

    return execute


def speak(subject: Subject, steps: Iterable[Step], *, is_polite: bool, ends: bool = True) -> tuple[Reply, ...]:
    """Go through a unit of work, and end it unless told otherwise; a polite client stops at the first error."""
    replies = []
    for step in steps:
        replies.append(_ask(subject, step))
        if is_polite and replies[-1].told is not Told.OK:
            break
    has_failed = any(reply.told is not Told.OK for reply in replies)
    return (*replies, *(_end(subject, has_failed=has_failed, is_polite=is_polite) if ends else ()))


def _end(subject: Subject, *, has_failed: bool, is_polite: bool) -> list[Reply]:
    """Roll back and close; nothing of that may fail, and a polite client would not look."""
    endings: list[Step] = [*([("rollback", subject.rollback)] if has_failed else []), ("close", subject.close)]
    failures = [reply for ending in endings if (reply := _ask(subject, ending)).told is not Told.OK]
    return [] if is_polite else failures


def _ask(subject: Subject, step: Step) -> Reply:
    name, run = step
    began = time.monotonic()
    try:
        answer = run()
    except Exception as error:
        text = f"{type(error).__module__}.{type(error).__name__}: {error}"
        return Reply(name, subject.told(error), text=text, waited=time.monotonic() - began)
    return Reply(name, Told.OK, answer, waited=time.monotonic() - began)


def answer_of(cursor: Any) -> Answer:
    """Return what a cursor of PEP 249 has to say of its last statement."""
    if cursor.description is None:
        return int(cursor.rowcount)
    return tuple(tuple(row) for row in cursor.fetchall())
