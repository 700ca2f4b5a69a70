"""Transactions that begin with their first statement: ``BEGIN`` in place of ``SET autocommit=0`` and ``SET autocommit=1``.

While Django has autocommit off, the server keeps it on, and a statement that finds no transaction open is preceded by BEGIN
on the same raw connection. An empty block costs nothing. Where BEGIN is not enough, or might commit what is open, the rest of
the block runs under ``autocommit=0`` after all: that begins by itself, commits nothing and releases no lock.

Where block follows block, autocommit is switched off at the server and left off between them, so that a block costs its
statements and a COMMIT. Then ``SET autocommit=1`` precedes the first statement that is to commit itself.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pymysql.constants import CLIENT

from persistconn.drivers.status import IN_TRANSACTION
from persistconn.session import TABLE_LOCK
from persistconn.statement import SQL, STAYS_INSIDE, Effect, effect, first_word

if TYPE_CHECKING:
    from persistconn.connection import PersistentConnection
    from persistconn.drivers.base import Raw

BEGIN = "BEGIN"
AUTOCOMMIT_OFF, AUTOCOMMIT_ON = "SET autocommit=0", "SET autocommit=1"
IN_A_ROW = 3
"""Transactions with no other statement between them, after which autocommit is switched off for those that follow.

A run of them that ends right then has cost one round trip too many, in thirteen; from the third one that follows it is gained.
"""


class Need(Enum):
    """What a statement needs to be in a transaction wherever it is in one under ``autocommit=0``."""

    NOTHING = "it touches no rows, or is about transactions itself"
    TRANSACTION = "it stays inside the transaction that it finds"
    AUTOCOMMIT_OFF = "it may commit and go on, or is not known: what it does behind that is in a transaction too"


# What describes a table reads it, and RELEASE stands below.
_STAYS_INSIDE = (STAYS_INSIDE | {"DESCRIBE", "DESC", "EXPLAIN"}) - {"RELEASE"}
# ROLLBACK TO and RELEASE name a savepoint: without its transaction it is not there, and the server says so.
_NEEDS_NOTHING = frozenset({"COMMIT", "ROLLBACK", "RELEASE", "USE"})


def need(sql: SQL) -> Need:
    """Say what a statement needs. Pure."""
    word = first_word(sql)
    if word in _STAYS_INSIDE:
        return Need.TRANSACTION
    if word in _NEEDS_NOTHING or (word in ("SET", "BEGIN", "START") and _is_plain(word, sql)):
        return Need.NOTHING
    return Need.AUTOCOMMIT_OFF


def _is_plain(word: str, sql: SQL) -> bool:
    # A SET with a function or a subquery reads tables; one that switches autocommit on commits, if it was off.
    return effect(sql) is (Effect.SETTING if word == "SET" else Effect.BEGIN)


class Transactions:
    """Begins the transactions of one Django connection, each with its first statement. Owner thread only.

    It is the connection's prelude as long as what Django wants of autocommit and what the server has differ, or may.
    """

    def __init__(self, connection: PersistentConnection) -> None:
        self.connection = connection
        self.autocommits = True
        """Whether each statement is to commit itself, as Django wants it; ``atomic`` switches it off and on."""
        self._stayed_inside = True
        self._has_committed = False
        self._in_a_row = 0
        """Transactions that were begun with nothing else between them."""
        self._exchanges = 0
        """Of the connection, when autocommit was switched on last."""

    # --- for Django ------------------------------------------------------------------------------------------------

    def switch_off(self) -> None:
        """Do what ``SET autocommit=0`` is for, without a round trip."""
        connection = self.connection
        if connection.client_flag & CLIENT.MULTI_STATEMENTS:
            # Several statements in one text can commit and go on.
            connection.autocommit(False)
        elif self.autocommits:
            held = connection._held
            if held.exchanges != self._exchanges:
                self._in_a_row = 0
            # A transaction that was begun by hand, before: what has become of it since then was not watched.
            self._stayed_inside, self._has_committed = not held.driver.in_transaction(held.raw), False
            self.autocommits, connection.prelude = False, self

    def switch_on(self) -> None:
        """Commit what is open and have each statement commit itself; no round trip if nothing is open."""
        connection, held = self.connection, self.connection._held
        if held.driver.autocommits(held.raw):
            if connection.prelude is not None:
                connection.commit()
            connection.prelude = None
        elif not self._is_left_off():
            connection.autocommit(True)
            connection.prelude = None
        if not self.autocommits:
            self.autocommits, self._exchanges = True, held.exchanges

    def _is_left_off(self) -> bool:
        """Say whether autocommit may stay off at the server, where Django wants it on: block follows block."""
        connection, held = self.connection, self.connection._held
        is_at_rest = held.has_raw and not held.driver.in_transaction(held.raw)
        return connection.prelude is self and self._is_run and is_at_rest

    @property
    def _is_run(self) -> bool:
        # What is lent goes back as it was lent, with autocommit on.
        return self._in_a_row >= IN_A_ROW and self.connection._held.policy.pool is None

    # --- for the guard ---------------------------------------------------------------------------------------------

    def ahead_of(self, raw: Raw, sql: SQL) -> SQL | None:
        """Return what must be sent on this raw connection right before a statement; None if nothing must."""
        return self._ahead_outside(raw) if self.autocommits else self._ahead_inside(raw, sql)

    def _ahead_outside(self, raw: Raw) -> SQL | None:
        if self.connection._held.driver.autocommits(raw):
            self.connection.prelude = None
            return None
        if raw.status & IN_TRANSACTION:
            return None  # Begun by hand, or a job's: it would be committed.
        self._in_a_row = 0
        return AUTOCOMMIT_ON

    def _ahead_inside(self, raw: Raw, sql: SQL) -> SQL | None:
        held, needed = self.connection._held, need(sql)
        is_in_doubt = self._is_in_doubt(raw)
        self._stayed_inside, self._has_committed = needed is Need.TRANSACTION, False
        if needed is Need.NOTHING or not held.driver.autocommits(raw):
            return None
        if needed is Need.AUTOCOMMIT_OFF or is_in_doubt:
            return AUTOCOMMIT_OFF
        if held.driver.in_transaction(raw):
            return None
        # BEGIN would release locked tables.
        if TABLE_LOCK in held.session.held or self._is_run:
            return AUTOCOMMIT_OFF
        self._in_a_row += 1
        return BEGIN

    def _is_in_doubt(self, raw: Raw) -> bool:
        """Say whether the server may have ended the transaction, or begun one, without telling."""
        if self._has_committed:
            # The COMMIT was answered with an error; or it was a chain, but then nothing is lost by caution.
            return bool(self.connection._held.driver.in_transaction(raw))
        # PyMySQL reads the status with OK packets only. Rows change nothing if the statement was one that stays inside;
        # an error may have ended the transaction (a deadlock), and so may one in the middle of rows.
        return not (raw.status_is_current or (self._stayed_inside and _has_all_rows(raw)))

    def is_commit_due(self) -> bool:
        """Say whether a COMMIT has anything to commit, or to tell: a loss, say."""
        held = self.connection._held
        self._has_committed = True
        if self.connection._guard.is_refusing or held.interrupted:
            return True
        return held.has_raw and held.driver.in_transaction(held.raw)


def _has_all_rows(raw: Raw) -> bool:
    # A result lets go of its connection at the end of its rows, and not at an error; after an error there may be none.
    return raw._result is not None and raw._result.connection is None
