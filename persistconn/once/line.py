"""A job's own line to the server: statements that leave no note in the session, and sessions apart from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from persistconn.connection import PersistentConnection
from persistconn.errors import ConfigError, ConnectionLost, JobError, LedgerError
from persistconn.once.rows import ROLLBACK
from persistconn.policy import Reason

if TYPE_CHECKING:
    from persistconn.drivers import Driver, Fault
    from persistconn.drivers.base import Raw
    from persistconn.opening import Opening
    from persistconn.session import Session

Rows = list[tuple[Any, ...]]
T = TypeVar("T")


class Line:
    """The protocol's statements on a job's connection: guarded as all others, in the driver's plain cursor. One thread."""

    def __init__(self, connection: PersistentConnection) -> None:
        self.connection = connection
        self._held = connection._held
        self._guard = connection._guard
        self.opening: Opening = self._held.opening
        self.Error: type[Exception] = self.opening.driver.module.Error

    @classmethod
    def to(cls, connection: object, what: str) -> Line:
        """Return the line of a held connection; raises ConfigError for anything else, with ``what`` as its beginning."""
        if not isinstance(connection, PersistentConnection):
            raise ConfigError(
                f"{what} {type(connection).__name__}, no connection of persistconn:"
                " let it come from connect() of a module that persistconn.manage() has wrapped"
            )
        return cls(connection)

    @property
    def schema(self) -> str:
        """The database of the connect arguments, which is where the ledger lies. Raises LedgerError if there is none."""
        arguments = self.opening.kwargs
        if not (name := arguments.get("database") or arguments.get("db")):
            raise LedgerError(
                f"the connection to {self.opening.address} names no database, and the ledger lies in the one it connects to"
            )
        return str(name)

    @property
    def current_schema(self) -> str:
        """The database that a name without one is looked up in."""
        return self._held.session.database or self.schema

    @property
    def session_id(self) -> int:
        """The server's id of the session."""
        return self._held.driver.session_id(self._held.raw)

    @property
    def addresses(self) -> list[Any]:
        """Where the server is reached: its port, and the path of its socket."""
        arguments = self.opening.kwargs
        return [arguments.get("port", 3306), *([arguments["unix_socket"]] if arguments.get("unix_socket") else [])]

    def has_hung_up(self) -> bool:
        """Whether the server has closed the session, as far as the socket tells."""
        return self._held.driver.hung_up(self._held.raw)

    @property
    def identity(self) -> str | None:
        """The name of the lock by which this very session is known; None if it has none yet."""
        known, held = self._held.identity, self._held
        # The raw connection that was lost stays in its place until there is another.
        is_here = known is not None and held.has_raw and known[0] is held.raw and not held.session.has_freed_all
        return known[1] if known is not None and is_here else None

    @identity.setter
    def identity(self, name: str) -> None:
        self._held.identity = self._held.raw, name
        self._held.session.has_freed_all = False

    @property
    def is_open(self) -> bool:
        """Whether a transaction is, or may be, open; or was lost, and has not been rolled back by its owner yet."""
        held = self._held
        if self._guard.is_refusing or held.interrupted:
            return True
        return held.has_raw and held.driver.in_transaction(held.raw)

    @property
    def has_unread(self) -> bool:
        """Whether rows of an earlier statement are still to be read."""
        return self._held.has_raw and self._held.driver.has_unread(self._held.raw)

    def session(self) -> Session:
        """Return a copy of what the session is like: its settings, its database, what cannot be rebuilt."""
        return self._held.session.copy()

    def go_back_to(self, session: Session) -> bool:
        """Make the session as it was: a rollback undoes neither SET nor USE. False if it was more than can be rebuilt."""
        held = self._held
        if self.has_unread or vars(held.session) != vars(session):
            held.discard(Reason.SESSION_STATE, orderly=True)
            held.session = session.copy()
            held.session.forget_state()
        return held.session.held == session.held

    def tell_state_lost(self, state: set[str]) -> None:
        """Have the next statement tell that this state was lost."""
        self._held.discard(Reason.SESSION_STATE, orderly=True)
        self._held.session.held |= state

    def begin(self, isolation: str | None) -> None:
        """Begin a transaction, at a level of its own if one is given."""
        if isolation is None:
            self.connection.begin()
            return
        while True:
            self.run(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            told = self._held.raw
            self.connection.begin()
            if self._held.raw is told:
                return
            # BEGIN was sent again, on a new connection, which has not heard of the level.
            self.roll_back()

    def roll_back(self) -> None:
        """Roll back; no round trip if nothing is open. A lost connection raises nothing here, and ends the refusal."""
        held = self._held
        if held.has_raw and not self._guard.is_refusing and held.driver.in_transaction(held.raw):
            with contextlib.suppress(ConnectionLost):
                self.run(ROLLBACK)
        self.connection.rollback()

    def run(self, sql: str) -> int:
        """Send a statement; returns the number of rows that it changed."""
        return self._guard.exchange(sql, lambda raw: _change(raw, sql))

    def run_on_this_session(self, sql: str) -> bool:
        """Send a statement, but to no session that took this one's place; returns whether it was sent."""
        this = self._held.raw

        def send(raw: Raw) -> bool:
            if raw is not this:
                return False
            _change(raw, sql)
            return True

        return self._guard.exchange(sql, send)

    def ask(self, sql: str) -> Rows:
        """Send a query; returns its rows."""
        return self._guard.exchange(sql, lambda raw: execute(self._held.driver, raw, sql)[1])

    def drop(self) -> None:
        """Give the session up unsaid, for nobody knows what it is still doing."""
        self._held.discard(Reason.LOST)
        self._held.session.forget_state()
        self._guard.forgive()


Ask = Callable[..., Rows]
"""Sends a statement, with the driver's arguments if there are any, and returns its rows."""


@contextlib.contextmanager
def apart(opening: Opening) -> Iterator[Ask]:
    """Open a session of its own beside the held one, in autocommit, and yield a function that sends it statements."""
    driver = opening.driver
    raw: Raw = driver.connect(opening.args, opening.arguments(), opening.policy.connect_timeout, _autocommitting)
    try:
        yield lambda sql, *args: execute(driver, raw, sql, *args)[1]
    except BaseException:
        driver.abandon(raw)
        raise
    driver.quit(raw)


def insist(opening: Opening, work: Callable[[], T]) -> T:
    """Do again what is done apart until no connection is lost in it; blocks and raises as a connect does.

    Only for what may be done twice.
    """

    def meaning(error: BaseException) -> Fault:
        is_told = isinstance(error, JobError) and error.__cause__ is not None
        return opening.driver.classify(None, (error.__cause__ or error) if is_told else error)

    return opening.gate.connect(work, meaning, opening.policy, opening.errors.DatabaseUnavailable)


def _autocommitting(raw: Raw) -> Raw:
    raw.autocommit(True)
    return raw


def _change(raw: Raw, sql: str) -> int:
    """Send a statement that finds no rows; returns the number of those that it changed.

    Without a cursor, which costs as much as the statement itself and is for rows.
    """
    raw.query(sql.encode(raw.encoding))
    return int(raw.affected_rows())


def execute(driver: Driver, raw: Raw, sql: str, *args: object) -> tuple[int, Rows]:
    """Send a statement on a raw connection; returns the number of rows that it changed, and those that it found."""
    # Not raw.cursor(), which makes what the user has chosen: dictionaries, say.
    with contextlib.closing(driver.module.cursors.Cursor(raw)) as cursor:
        count = cursor.execute(sql, args or None)
        return int(count or 0), list(cursor.fetchall()) if cursor.description else []
