"""The fixed statements of an attempt on the wire: one by one, or together in two stored procedures."""

from __future__ import annotations

import functools
import os
import socket
import threading

from persistconn.drivers.faults import code_of
from persistconn.errors import ConnectionLost
from persistconn.once import procedures
from persistconn.once.codes import NOT_THERE
from persistconn.once.identity import identify
from persistconn.once.line import Line
from persistconn.once.rows import COMMIT, ROLLBACK, RowState, Statements
from persistconn.once.token import Token

_PLACE_LIMIT = 200


class Torn(Exception):
    """The transaction is not the one that was begun."""


class NotOneRow(Exception):
    """The token's row is not this attempt's, not open, or of a token that is forgotten."""


class NotDueYet(Exception):
    """The database's clock says that it is too early."""


class OneByOne:
    """Each statement in a round trip of its own, for ledgers without procedures. All raise the driver's errors."""

    def __init__(self, line: Line, statements: Statements, token: Token) -> None:
        self.attempt = os.urandom(8)
        self.identity: str | None = None
        """By what the session is known that holds the token; None before it can."""
        self._line = line
        self._statements = statements
        self._token = token
        self._sentinel = self._name_sentinel()
        self._end = ""

    def _name_sentinel(self) -> str:
        return f"pc_{self.attempt.hex()}"

    def begin(self, fingerprint: bytes, number: int, isolation: str | None) -> None:
        """Begin, take the token and set the sentinel. Raises NotDueYet."""
        line = self._line
        line.begin(isolation)
        self.identity = identify(line)
        taken = line.run(
            self._statements.insert(self._token, self.attempt, number, fingerprint, self.identity, _place())
        )
        if not taken:
            raise NotDueYet
        line.run(f"SAVEPOINT {self._sentinel}")

    def undo(self) -> None:
        """Undo what the function did, and nothing before it. Raises Torn."""
        self._at_sentinel(f"ROLLBACK TO SAVEPOINT {self._sentinel}")

    def seal(self, state: RowState, result: str | None, error: str | None) -> None:
        """Prove the sentinel and write the outcome. Raises Torn and NotOneRow."""
        self._at_sentinel(f"RELEASE SAVEPOINT {self._sentinel}")
        finish = self._statements.finish(self._token, self.attempt, state, result=result, error=error)
        if self._line.run(finish) != 1:
            raise NotOneRow

    def commit(self) -> None:
        """Commit, once; also raises what :meth:`seal` has put off."""
        self._line.run(COMMIT)

    def _at_sentinel(self, sql: str) -> None:
        try:
            self._line.run(sql)
        except self._line.Error as error:
            if code_of(error) == NOT_THERE:
                raise Torn from error
            raise


class Together(OneByOne):
    """The same in two procedures: one round trip before the function, one behind it."""

    def _name_sentinel(self) -> str:
        return procedures.SENTINEL

    def begin(self, fingerprint: bytes, number: int, isolation: str | None) -> None:
        """Do it in one round trip; one more on a new session, and one for an isolation level. Raises NotDueYet."""
        line = self._line
        while True:
            self.identity = identify(line)
            if isolation is not None:
                line.run(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            begin = self._statements.call_begin(self._token, self.attempt, number, fingerprint, self.identity, _place())
            # A session that was found dead meanwhile has been replaced by one without the name, and without the level.
            if line.identity == self.identity and self._call(begin):
                return

    def _call(self, call: str) -> bool:
        line = self._line
        try:
            return line.run_on_this_session(call)
        except line.Error as error:
            if not isinstance(error, ConnectionLost):
                # An error says nothing of the transaction that the procedure has begun.
                line.run(ROLLBACK)
            if code_of(error) == procedures.NOT_DUE:
                raise NotDueYet from error
            raise

    def seal(self, state: RowState, result: str | None, error: str | None) -> None:
        """Leave it to :meth:`commit`, which does it in the same round trip."""
        self._end = self._statements.call_end(self._token, self.attempt, state, result=result, error=error)

    def commit(self) -> None:
        """Prove the sentinel, write the outcome and commit, once. Raises Torn and NotOneRow."""
        try:
            self._line.run(self._end)
        except self._line.Error as error:
            if code_of(error) == procedures.TORN:
                raise Torn from error
            if code_of(error) == procedures.NOT_ONE_ROW:
                raise NotOneRow from error
            raise


def _place() -> str:
    # By the pid too: a forked child finds its parent's answer, and must not take it for its own.
    return _place_of(os.getpid(), threading.current_thread().name)


@functools.lru_cache(maxsize=1024)
def _place_of(pid: int, thread: str) -> str:
    return f"{socket.gethostname()} pid {pid} {thread}"[:_PLACE_LIMIT]
