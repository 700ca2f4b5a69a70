"""The work of the soak: each task checks what it is answered, and notes what it was told of its writes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from campaigns.outcomes import Said
from campaigns.soak_book import Book
from persistconn.drivers import Driver
from persistconn.drivers.faults import is_client_code
from persistconn.errors import ConnectionLost, DatabaseUnavailable, OutcomeUnknown, PersistconnError, TransactionLost

TABLE, NUMBERS = "soak", "soak_numbers"
ROWS = 200
MOST_TOGETHER = 4
_SHORT, _LONG = 0.01, 6.0
"""Seconds. The long pause is beyond the soak's ``wait_timeout``."""
_RARE = 0.003
_SLOW = 0.2
"""One write in five takes long enough to be killed as it runs."""
_HALF = 0.5
_STEP = 4096
"""What ``sort_buffer_size`` is a multiple of."""
_GONE = frozenset({0, 1053, 1077, 1079, 1152, 1158, 1159, 1927, 4031})
"""The server's own ways to say that a session is gone; 0 is PyMySQL's."""


class Wrong(AssertionError):
    """A promise was broken before our eyes."""


class Abort(Exception):
    """A task that fails by itself, with a transaction open."""


def is_raw_loss(error: BaseException, driver: Driver) -> bool:
    """Say whether a lost connection reached the task as the driver's own error."""
    if isinstance(error, PersistconnError) or not isinstance(error, driver.module.Error):
        return False
    code = error.args[0] if error.args else None
    return not isinstance(code, int) or is_client_code(code) or code in _GONE


def said_of(error: BaseException, driver: Driver, *, at_commit: bool = False) -> Said:
    """Say what an error claims of the writes that it struck."""
    if isinstance(error, OutcomeUnknown) or is_raw_loss(error, driver):
        return Said.UNKNOWN
    if isinstance(error, (ConnectionLost, DatabaseUnavailable)):
        return Said.UNDONE
    return Said.UNKNOWN if at_commit else Said.UNDONE


class Task:
    """One unit of work on one held connection of the thread that runs it."""

    def __init__(self, book: Book, driver: Driver, connect: Callable[[], Any], rng: random.Random) -> None:
        self._book = book
        self._driver = driver
        self._connect = connect
        self._rng = rng
        self._connection: Any = None

    def run(self) -> None:
        """Do one thing, chosen at random; the end of the task leaves the rest to the boundary."""
        work = self._rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        try:
            self._connection = self._connect()
            work(self)
        except PersistconnError as error:
            self._book.count(f"told {type(error).__name__}")
        except Wrong as error:
            self._book.note_wrong(f"{work.__name__.strip('_')}: {error}")
        except Abort:
            self._book.count("passed Abort (the task's own)")
            raise
        except self._driver.module.Error as error:
            self._note_error(error, work.__name__.strip("_"))

    def _note_error(self, error: Exception, work: str) -> None:
        name = f"{type(error).__name__} {error.args[:1]} ({work}, {self._driver.name})"
        if is_raw_loss(error, self._driver):
            self._book.count(f"raw {name}")
        else:
            self._book.count(f"passed {name}")

    # --- statements --------------------------------------------------------------------------------------------------

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        self._book.count("did statements")
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall() or ())

    def _expect(self, expected: object, sql: str) -> None:
        got = self._execute(sql)
        if got != expected:
            raise Wrong(f"{sql!r} was answered by {got!r:.200}, not {expected!r:.200}, on {self._connection!r}")

    def _pause(self) -> None:
        time.sleep(_LONG if self._rng.random() < _RARE else self._rng.random() * _SHORT)

    def _insert(self, number: int) -> None:
        into = f"INSERT INTO {TABLE} (id)"
        if self._rng.random() < _SLOW:
            self._execute(f"{into} SELECT {number} FROM (SELECT SLEEP(0.02)) AS slept")  # noqa: S608 - a number
        else:
            self._execute(f"{into} VALUES ({number})")

    # --- kinds of work -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        number = self._book.reserve(1)
        self._expect([(number,)], f"SELECT {number}")

    def _read_slowly(self) -> None:
        number = self._book.reserve(1)
        rows = self._execute(f"SELECT {number}, SLEEP(0.02)")
        if [row[0] for row in rows] != [number]:
            raise Wrong(f"asked for {number} and got {rows!r:.200}")

    def _read_many(self) -> None:
        number = self._book.reserve(1)
        expected = [(number, row) for row in range(ROWS)]
        self._expect(expected, f"SELECT {number}, id FROM {NUMBERS} ORDER BY id")  # noqa: S608 - a number

    def _stream(self) -> None:
        number, wanted = self._book.reserve(1), self._rng.randint(1, ROWS)
        self._book.count("did statements")
        cursor = self._connection.cursor(self._driver.module.cursors.SSCursor)
        cursor.execute(f"SELECT {number}, id FROM {NUMBERS} ORDER BY id")  # noqa: S608 - a number
        for row in range(wanted):
            got = cursor.fetchone()
            if got != (number, row):
                raise Wrong(f"asked for row {row} of {number} and got {got!r:.200} on {self._connection!r}")
        # The rest is left unread, for the boundary.

    def _write(self) -> None:
        number = self._book.reserve(1)
        said = Said.DONE
        try:
            self._insert(number)
            self._connection.commit()
        except self._driver.module.Error as error:
            said = said_of(error, self._driver, at_commit=True)
            if isinstance(error, PersistconnError) or is_raw_loss(error, self._driver):
                raise
            self._note_error(error, "write")
            said = self._undo()
        finally:
            self._book.note_unit(number, 1, said)

    def _undo(self) -> Said:
        # Behind an answer of the server that says no: nothing of the statement is there, and nothing is open.
        self._connection.rollback()
        return Said.UNDONE

    def _transaction(self) -> None:
        count = self._rng.randint(1, MOST_TOGETHER)
        first = self._book.reserve(count)
        said = Said.UNDONE
        end = self._rng.choices((_commit, _roll_back, _leave_open, _abort), (7, 1, 1, 1))[0]
        try:
            self._begin()
            self._write_block(first, count)
            said = Said.UNKNOWN
            said = end(self)
        except self._driver.module.Error as error:
            said = said_of(error, self._driver, at_commit=said is Said.UNKNOWN and end is _commit)
            self._check_refusal(error, first)
            raise
        except Abort:
            said = Said.UNDONE
            raise
        finally:
            self._book.note_unit(first, count, said)

    def _begin(self) -> None:
        if self._rng.random() < _HALF:
            self._connection.begin()
        else:
            self._execute("START TRANSACTION")

    def _write_block(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self._insert(number)
            self._pause()
        own = f"SELECT COUNT(*) FROM {TABLE} WHERE id BETWEEN {first} AND {first + count - 1}"  # noqa: S608 - numbers
        self._expect([(count,)], own)

    def _check_refusal(self, error: Exception, number: int) -> None:
        """See that a lost transaction takes no further statement."""
        if not isinstance(error, TransactionLost) or self._rng.random() < _HALF:
            return
        try:
            self._insert(number)
        except TransactionLost:
            self._book.count("did refusals")
        else:
            raise Wrong("a statement went through behind a lost transaction")

    def _state(self) -> None:
        number = self._book.reserve(1)
        self._expect([(None,)], "SELECT @soak")
        self._execute(f"SET @soak = {number}")
        self._pause()
        self._expect([(number,)], "SELECT @soak")

    def _lock(self) -> None:
        name = f"soak-{self._book.reserve(1)}"
        self._expect([(1,)], f"SELECT GET_LOCK('{name}', 0)")
        self._pause()
        self._expect([(1,)], f"SELECT IS_USED_LOCK('{name}') = CONNECTION_ID()")

    def _temporary(self) -> None:
        number = self._book.reserve(1)
        self._execute("CREATE TEMPORARY TABLE soak_own (id BIGINT)")
        self._execute(f"INSERT INTO soak_own VALUES ({number})")  # noqa: S608 - a number
        self._pause()
        self._expect([(number,)], "SELECT id FROM soak_own")

    def _setting(self) -> None:
        known = _settings.__dict__
        place = f"{id(self._connection)}"
        if place in known:
            self._expect([(known[place],)], "SELECT @@session.sort_buffer_size")
        known.pop(place, None)
        size = _STEP * self._rng.randint(8, 256)
        self._execute(f"SET SESSION sort_buffer_size = {size}")
        known[place] = size
        self._pause()
        self._expect([(size,)], "SELECT @@session.sort_buffer_size")

    def _compute(self) -> None:
        # Keeps the others waiting for the interpreter, at whatever point they are.
        deadline = time.thread_time() + self._rng.random() * 2 * _SHORT
        while time.thread_time() < deadline:
            pass


def _commit(task: Task) -> Said:
    task._connection.commit()
    return Said.DONE


def _roll_back(task: Task) -> Said:
    task._connection.rollback()
    return Said.UNDONE


def _leave_open(task: Task) -> Said:
    del task
    return Said.UNDONE


def _abort(task: Task) -> Said:
    del task
    raise Abort


_settings = threading.local()
_WEIGHTS: dict[Callable[[Task], None], int] = {
    Task._read: 6,
    Task._read_slowly: 3,
    Task._read_many: 4,
    Task._stream: 2,
    Task._write: 8,
    Task._transaction: 6,
    Task._state: 2,
    Task._lock: 2,
    Task._temporary: 1,
    Task._setting: 3,
    Task._compute: 2,
}
