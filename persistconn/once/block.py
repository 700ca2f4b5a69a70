"""A job's transaction, as the guard of its connection sees it: what is refused inside, and what was noticed there."""

from __future__ import annotations

from collections.abc import Callable

from persistconn.errors import ConnectionLost, JobError, NotReplayable, TornJob
from persistconn.once.screen import Table, foreign_objection, objection, plain_write, written_table
from persistconn.statement import SQL, beginning

EngineOf = Callable[[str | None, str], str | None]
"""Given a schema (None: the current one) and a table, returns its engine if that has no transactions."""
_KEPT = 200
"""Characters of a statement that :func:`beginning` looks at: the rest may be megabytes."""


class Block:
    """What stands between a job's function and its connection. Used on the job's thread only.

    A loss, a rollback by the server and a refusal are kept here, because the job may catch the exceptions that told of
    them: what it returns after that is worth nothing.
    """

    def __init__(self, job: str, engine_of: EngineOf) -> None:
        self.job = job
        self._engine_of = engine_of
        self._is_ours = False
        self.loss: ConnectionLost | None = None
        """The first loss of the connection since the transaction began."""
        self.undone: BaseException | None = None
        """The server's answer that it has rolled the transaction back: a deadlock, say."""
        self.refusal: JobError | None = None
        self.ordinal = 0
        """How many statements the job has sent."""
        self.has_ended = False
        """Whether the function has returned."""
        self._last: SQL = ""

    @property
    def last(self) -> str:
        """The beginning of the last statement, for people."""
        return beginning(self._last)

    @property
    def place(self) -> tuple[int, str]:
        """Where the job has come to: which statement it has sent last, or its end."""
        return (self.ordinal + 1, "its end") if self.has_ended else (self.ordinal, self.last)

    def ours(self) -> Block:
        """Let the protocol's own statements pass, in a ``with``."""
        return self  # A job enters it twice: a generator, or an object of its own, would cost several times as much.

    def __enter__(self) -> None:
        self._is_ours = True

    def __exit__(self, *exc_info: object) -> None:
        self._is_ours = False

    def check(self, sql: SQL, *, is_open: bool) -> None:
        """Pass a statement of the job, or refuse it; ``is_open`` says whether the transaction still is."""
        if self._is_ours:
            return
        if self.refusal is not None:
            raise self.refusal
        if self.loss is not None:
            # Not even a rollback: behind it the guard would let the rest of the job be written, in the open.
            raise self.loss
        if self.undone is None and not is_open:
            raise self._refuse(
                TornJob(f"the transaction of the job {self.job} was ended inside it: {torn_by(self.last)}")
            )
        self.ordinal += 1
        self._last = sql[:_KEPT]
        # A plain write is nothing that :func:`objection` knows of.
        if (table := plain_write(sql)) is None:
            self._check_text(sql)
            table = written_table(sql)
        if table is not None:
            self._check_engine(sql, table)
        if self.undone is not None:
            # What it wrote before is gone: the rest alone must not be written, in the open, by autocommit.
            raise self.undone

    def _check_text(self, sql: SQL) -> None:
        if why := objection(sql):
            raise self._refuse(NotReplayable(f"{beginning(sql) or 'a statement'} inside the job {self.job}: {why}"))

    def _check_engine(self, sql: SQL, table: Table) -> None:
        engine = self._engine_of(*table)
        if engine is not None:
            raise self._refuse(
                NotReplayable(
                    f"{beginning(sql)} inside the job {self.job} writes the table {table[1]}, whose engine {engine} has no"
                    " transactions: no rollback would undo it; convert the table (ALTER TABLE ... ENGINE=InnoDB)"
                )
            )

    def _refuse(self, error: JobError) -> JobError:
        self.refusal = error
        return error

    def lost(self, loss: ConnectionLost) -> None:
        """Note that the connection was lost, and with it the transaction."""
        self.loss = self.loss or loss

    def answered_with_rollback(self, error: BaseException) -> None:
        """Note that the server has rolled the whole transaction back."""
        self.undone = self.undone or error


class Foreign:
    """Stands on the thread's other connections while a job runs: they may be read, not written."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def check(self, sql: SQL, *, is_open: bool) -> None:  # noqa: ARG002
        """Pass a read, refuse a write."""
        if why := foreign_objection(sql):
            raise self._block._refuse(
                NotReplayable(f"{beginning(sql)} on another connection inside the job {self._block.job}: {why}")
            )

    def lost(self, loss: ConnectionLost) -> None:
        """Pass over it: a read that was lost on another connection is no loss of the job's."""

    def answered_with_rollback(self, error: BaseException) -> None:
        """Pass over it too."""


def torn_by(last: str) -> str:
    """Say what must have ended a job's transaction, and what that means."""
    after = f" (the last statement was {last})" if last else ""
    return (
        f"by a statement that commits implicitly, a CALL that commits, or a second statement in one string{after}."
        " What came before it may stand without the rest: look at the job's effects, and take that statement out"
    )
