"""What the caller holds: the driver's connection, as it seems, with the raw one swapped underneath.

Every statement of both drivers goes through :meth:`PersistentConnection.query`, cursors and ``executemany`` included, so
the guard stands here and nowhere else. Cursors are the driver's own classes, built on this object.
"""

from __future__ import annotations

import operator
from typing import Any

from persistconn import forking
from persistconn.drivers.base import Raw
from persistconn.errors import ConnectionLost
from persistconn.guard import Guard, Prelude, Watch
from persistconn.held import Held, State
from persistconn.owner import Owner
from persistconn.policy import Reason
from persistconn.session import XA
from persistconn.statement import SQL


def _of_the_raw_one(name: str) -> property:
    get = operator.attrgetter(f"_held.raw.{name}")
    return property(get)


class PersistentConnection:
    """This thread's one connection for these arguments; ``close()`` rolls back and gives nothing back.

    Use it on the thread that connected, as the driver's own connection; whatever is not here is the driver's.
    """

    prelude: Prelude | None = None
    """Who sees to it that statements are in transactions, or are not, if anybody need do so."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._guard = Guard(held)

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._held.describe()}, {self._held.state.value}>"

    def query(self, sql: SQL, *args: Any, **kwargs: Any) -> Any:
        """Send one statement and read its answer; the driver's cursors call this."""
        return self._guard.query(sql, self.prelude, args, kwargs)

    # --- PEP 249 and what the drivers add to it ---------------------------------------------------------------------

    def cursor(self, cursor: Any = None) -> Any:
        """Make a cursor of the driver's own class on this connection."""
        return self._held.driver.cursor(self, cursor or self.cursorclass)

    def begin(self) -> None:
        """Begin a transaction."""
        self._guard.exchange("BEGIN", lambda raw: raw.begin())

    def commit(self) -> None:
        """Commit. Raises ``OutcomeUnknown`` if the answer was lost, ``TransactionLost`` if the transaction was."""
        if self.prelude is None or self.prelude.is_commit_due():
            self._guard.exchange("COMMIT", lambda raw: raw.commit())

    def rollback(self) -> None:
        """Roll back; no round trip if nothing is open. After a lost transaction, this ends the refusal."""
        held = self._held
        self._guard.screen("ROLLBACK")
        self._guard.forgive()
        if held.is_closing or held.state is State.VACANT:
            return  # The server rolls back what the goodbye finds open; and with nothing there, nothing is open.
        if held.state is not State.IDLE or held.driver.in_transaction(held.raw):
            try:
                self._guard.exchange("ROLLBACK", lambda raw: raw.rollback())
            except ConnectionLost:
                # What the loss did is what was asked for.
                self._guard.forgive()
        self._guard.leave_wrong_server()

    def autocommit(self, value: bool) -> None:
        """Switch autocommit; no round trip if it is so already."""
        self._guard.exchange(f"SET autocommit={int(value)}", lambda raw: raw.autocommit(value))

    def select_db(self, db: Any) -> None:
        """Change the default database, for this connection and those that replace it."""
        session = self._held.session

        def select(raw: Raw) -> None:
            raw.select_db(db)
            session.database = db

        self._guard.exchange("USE", select)

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Change the character set, for this connection and those that replace it."""
        session = self._held.session

        def choose(raw: Raw) -> None:
            raw.set_character_set(charset, collation)
            session.charset = charset, collation

        self._guard.exchange("SET NAMES", choose)

    set_charset = set_character_set

    def ping(self, reconnect: bool = False) -> None:  # noqa: ARG002
        """Make sure that the connection is alive; one that died with nothing at stake is replaced.

        ``reconnect`` is the driver's, and means nothing here: a transaction is never given up unsaid.
        """
        self._guard.exchange("SELECT", lambda raw: raw.ping())

    def kill(self, thread_id: int) -> Any:
        """End another session."""
        return self._guard.exchange("KILL", lambda raw: raw.kill(thread_id))

    def show_warnings(self) -> Any:
        """Return the warnings of the last statement."""
        return self._guard.exchange("SHOW WARNINGS", lambda raw: raw.show_warnings())

    def next_result(self, *args: Any, **kwargs: Any) -> Any:
        """Read the next result set of the same statement, if there is one: the connection may be a new one."""
        held = self._held
        if not (held.wire.may_have_more and held.driver.has_unread(held.raw)):
            return held.driver.no_more_results
        return self._guard.exchange("CALL", lambda raw: raw.next_result(*args, **kwargs))

    def close(self) -> None:
        """End the unit of work: roll back what is open. Gives nothing back, and can be called any number of times."""
        self.end_unit()

    def __enter__(self) -> PersistentConnection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def open(self) -> bool:
        """Whether statements can be sent; a lost connection is replaced, so only a retired one is not open."""
        return self._held.state is not State.CLOSED

    def fileno(self) -> int:
        """Return the descriptor of the socket; ``InterfaceError`` while there is none."""
        held = self._held
        if held.state in (State.VACANT, State.CLOSED):
            raise held.driver.module.InterfaceError(0, f"the connection to {held.address} has no socket at present")
        return held.driver.fileno(held.raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held.raw, name)

    # What the drivers' cursors ask for at each statement: found here, it costs a fifth of what __getattr__ does.
    affected_rows = _of_the_raw_one("affected_rows")
    cursorclass = _of_the_raw_one("cursorclass")
    encoding = _of_the_raw_one("encoding")
    escape = _of_the_raw_one("escape")
    insert_id = _of_the_raw_one("insert_id")
    literal = _of_the_raw_one("literal")
    store_result = _of_the_raw_one("store_result")
    warning_count = _of_the_raw_one("warning_count")
    _result = _of_the_raw_one("_result")

    # --- the boundary ----------------------------------------------------------------------------------------------

    @property
    def alias(self) -> str | None:
        """The Django alias that it belongs to, for ``connections()`` and the log."""
        return self._held.alias

    @alias.setter
    def alias(self, alias: str | None) -> None:
        self._held.alias = alias

    @property
    def owner(self) -> Owner:
        """Who may use it. Another can be put in its place, by whoever sees to it that one thread uses it at a time."""
        return self._held.owner

    @owner.setter
    def owner(self, owner: Owner) -> None:
        self._held.owner = owner

    @property
    def watch(self) -> Watch | None:
        """Who answers for the transaction that is open, if anybody does."""
        return self._guard.watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._guard.watch = watch

    @property
    def dress(self) -> object:
        """What its user has noted that he has made of the session; None of one that he has not set up yet.

        It outlives ``close()``, and a connection that is replaced is made like the old one: so nobody need set it up again.
        """
        return self._held.dress

    @dress.setter
    def dress(self, dress: object) -> None:
        self._held.dress = dress

    @property
    def settings(self) -> tuple[str, ...]:
        """The ``SET`` statements that would make a new session like this one."""
        return tuple(self._held.session.statements())

    def end_unit(self) -> list[str]:
        """End the unit of work and return what had been left open, in words. A lost connection raises nothing here."""
        held = self._held
        left: list[str] = []
        self._guard.check_owner()
        self._guard.screen("CLOSE")
        if held.is_closing:
            return left
        if held.state is State.IDLE and held.driver.has_unread(held.raw):
            # Reading the rest could take for ever.
            left.append(f"unread rows on {held.describe()}")
            held.discard(Reason.UNREAD)
        if self._guard.is_refusing or (held.state is State.IDLE and held.driver.in_transaction(held.raw)):
            left.append(f"an open transaction on {held.describe()}")
            if XA in held.session.held:
                # The server refuses to roll it back so, but does when its session ends, right below.
                self._guard.forgive()
            else:
                self.rollback()
        if held.session.is_pinned:
            held.discard(Reason.SESSION_STATE, orderly=True)
            held.session.forget_state()
        return left

    def retire(self) -> None:
        """Really close the connection, for good, and drop it from ``connections()``."""
        forking.check()  # In a forked child the goodbye would end its parent's session.
        self._guard.screen("RETIRE")
        self._held.close(Reason.RETIRED)
