"""One attempt at a job: one transaction that carries the job's effects and the row which proves them.

BEGIN
INSERT the token                  the fence: waits for an older transaction that holds it; 1062 if that committed
SAVEPOINT pc_...                  the sentinel
the job
RELEASE SAVEPOINT pc_...          1305: this is not the transaction that was begun
UPDATE the row to done            exactly one row: this attempt's
COMMIT                            once. Whatever comes back but OK, only the fence of another attempt can tell
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persistconn import log
from persistconn.drivers.faults import SERVER_LOST, code_of
from persistconn.errors import (
    ConnectionLost,
    JobError,
    NotReplayable,
    SessionStateLost,
    TokenExpired,
    TornJob,
    TransactionLost,
)
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.once import payload, probe, purge
from persistconn.once.block import Block, EngineOf, Foreign, torn_by
from persistconn.once.codes import DUPLICATE, INTERRUPTED, LOCK_WAIT, NOT_THERE
from persistconn.once.engines import engines_at
from persistconn.once.history import History, Mishap
from persistconn.once.identity import elect, end_lost_sessions, identify, note_lost, resign
from persistconn.once.line import Line
from persistconn.once.lockwaits import longest_wait
from persistconn.once.protocol import NotDueYet, NotOneRow, OneByOne, Together, Torn
from persistconn.once.records import Records
from persistconn.once.rows import Row, RowState, row_of, statements_on
from persistconn.once.settled import Settled, verdict
from persistconn.once.sites import CURRENT, Site, nested
from persistconn.once.takeover import Takeover
from persistconn.once.token import Token

OWN_PAST = 2.0
"""Seconds that a replay waits for an election that our own last session may still hold, which was ended a moment ago."""


class Order(NamedTuple):
    """What is to be done exactly once. ``arguments`` are copied for each attempt."""

    token: Token
    function: Callable[..., Any]
    arguments: payload.Arguments
    fingerprint: bytes
    isolation: str | None = None
    records_failure: bool = False
    waits: bool = True
    """Whether to wait for another process that is at it, rather than leave it to that."""


_DONE, _FAILED = RowState.DONE, RowState.FAILED  # Up to Python 3.11 a member of an Enum is looked up by Python code.


class Mishappened(Exception):
    """Internal: the attempt is over, and another one must find out what it came to."""

    def __init__(self, mishap: Mishap) -> None:
        super().__init__(mishap)
        self.mishap = mishap


class JobUnderWay(JobError):
    """Another process is running this very job at the moment, and the caller did not want to wait for it."""


class DoneElsewhere(JobError):
    """Another process has run this very job before, and the caller wants to know rather than have its result."""


class NotDue(JobError):
    """By the database's clock it is not time yet: this machine's clock is ahead."""


class Attempt:
    """One attempt. Used once, on the job's thread."""

    def __init__(self, order: Order, site: Site, history: History) -> None:
        self._order = order
        self._site = site
        self._history = history
        self._election: str | None = None
        self._has_run = False

    @property
    def id(self) -> bytes:
        """What tells this attempt's row from another one's."""
        return self._protocol.attempt

    def run(self) -> Settled:
        """Make the attempt; returns how the job stands. Raises :class:`Mishappened` if only another attempt can tell."""
        if CURRENT.connection is not None:
            raise nested(self._order.token.job, CURRENT.job)
        connection = self._site.connection(self._order.token.job)
        self.line = Line(connection)
        self._statements = statements_on(self.line.schema)
        self._start_over()
        self._block = self.make_block()
        self._protocol = self._choose_protocol()
        KEEPER.watch(connection, self._block, Foreign(self._block))
        try:
            return self._run()
        finally:
            self._resign()
            KEEPER.watch(connection, None, None)

    def _start_over(self) -> None:
        """Have the session as the first attempt found it."""
        line, history = self.line, self._history
        if history.session is None:
            if line.has_unread:
                raise NotReplayable(
                    f"the job {self._order.token.job} was called on a connection with rows that are not read yet:"
                    " read them all, or close their cursor, before"
                )
            history.session = line.session()
        elif not line.go_back_to(history.session) and history.will is None:
            # To go on without the lock that the caller holds around his jobs would be a lie.
            state = ", ".join(sorted(history.session.held))
            history.will = line.opening.errors.SessionStateLost(
                SERVER_LOST,
                f"{self._order.token.describe()} took no effect: its connection was lost, and with it {state}, from before the"
                " job: take it again before you call the job again",
            )

    def _choose_protocol(self) -> OneByOne:
        opening, schema = self.line.opening, self.line.schema
        if probe.prove(opening, schema):
            KEEPALIVE.add_chore("persistconn-purge", purge.EVERY, purge.purge_all)
        kind = Together if probe.has_procedures(opening, schema) else OneByOne
        return kind(self.line, self._statements, self._order.token)

    def make_block(self) -> Block:
        """Make what watches the job's statements; testing puts another in its place."""
        return Block(self._order.token.job, self.engine_of)

    @property
    def engine_of(self) -> EngineOf:
        """What returns the engine of a table if that has no transactions."""
        # No method of ours: the block would hold the attempt that holds it, and each job leave work to the collector.
        return functools.partial(_engine_of, self.line)

    def _run(self) -> Settled:
        try:
            with self._block.ours():
                settled = self._fence()
            if settled is not None:
                if isinstance(self._history.will, SessionStateLost) and self._history.session is not None:
                    self.line.tell_state_lost(self._history.session.held)
                return settled
            result, failure = self._work()
            with self._block.ours():
                return self._conclude(result, failure)
        except BaseException:
            self._clear()
            raise

    def _clear(self) -> None:
        """Leave no transaction behind."""
        if self.line.has_unread:
            self.line.drop()  # Reading the rest could take for ever.
        with self._block.ours():
            self._roll_back()

    # --- before ----------------------------------------------------------------------------------------------------

    def _fence(self) -> Settled | None:
        """Begin and take the token; returns how the job stands if somebody took it before."""
        line, order = self.line, self._order
        try:
            # Before the fence, or that would wait until the server notices that we have gone: for hours, perhaps.
            end_lost_sessions(line)
            if not order.waits:
                self._elect()
            self._protocol.begin(order.fingerprint, len(self._history.mishaps) + 1, order.isolation)
        except NotDueYet:
            due = f"{order.token.describe()} is not due yet by the database's clock: set this machine's clock"
            raise NotDue(due) from None
        except line.Error as error:
            return self._meet(error)
        if self._history.will is not None:
            # Somebody stopped it at its COMMIT, and now it is proved that he came in time.
            raise self._history.will
        return None

    def _elect(self) -> None:
        # Before the fence, where a loser would hold its session, and a thread, until the winner is through.
        self._protocol.identity = identify(self.line)
        patience = OWN_PAST if self._history.mishaps else 0.0
        self._election = elect(self.line, self._order.token.digest, patience)
        if self._election is None:
            raise JobUnderWay(f"{self._order.token.describe()} is being run by another process")

    def _resign(self) -> None:
        # A session that was lost has given it back with its end.
        if self._election is not None and self.line.identity == self._protocol.identity:
            with self._block.ours(), contextlib.suppress(self.line.Error):
                resign(self.line, self._election)

    def _roll_back(self) -> None:
        """Roll back what has come to nothing; a ROLLBACK that is lost may leave a session that holds the token for hours."""
        self.line.roll_back()
        identity = self._protocol.identity
        if identity is not None and self.line.identity != identity:
            note_lost(self.line, identity)

    def _meet(self, error: Exception) -> Settled | None:
        """Say what an error of the fence means."""
        if self._block.loss is not None or self._block.undone is not None:
            raise self.mishap(error, is_own=False)
        code = code_of(error)
        self._roll_back()
        if code == DUPLICATE:
            return self._find_out()
        if code == LOCK_WAIT:
            Takeover(self.line, Records(self.line.schema)).of_token(self._order.token)
            under_way = JobUnderWay(
                f"{self._order.token.describe()} is being run by another process, for longer than we wait"
            )
            raise (Mishappened(Mishap(under_way, has_run=False)) if self._order.waits else under_way) from error
        if code == NOT_THERE:
            # Somebody has dropped them: the statements go one by one from now on.
            probe.forget()
            raise Mishappened(Mishap(error, has_run=False)) from error
        if ledger := probe.missing(self.line.schema, error):
            probe.forget()
            raise ledger from error
        raise error

    def _find_out(self) -> Settled | None:
        try:
            end_lost_sessions(self.line)
            return self._read()
        except self.line.Error as error:
            # A read is read again, once; an attempt is made again until it comes through.
            if self._block.loss is not None:
                raise self.mishap(error, is_own=False) from error
            raise

    def _read(self) -> Settled | None:
        """Return how a job stands whose token somebody else, or an attempt before this one, has taken."""
        rows = self.line.ask(self._statements.read(self._order.token))
        self.line.roll_back()  # Where autocommit is off, the read has opened a snapshot.
        if not rows:
            raise Mishappened(Mishap(NotReplayable("the row that held the token has gone"), has_run=False))
        row: Row = row_of(rows[0])
        if row.state is RowState.FAILED and (failure := self._history.failures.get(row.attempt)) is not None:
            raise failure
        settled = verdict(row, self._order.token, self._order.fingerprint)
        if not self._order.waits and settled.by not in self._history.attempts:
            raise DoneElsewhere(f"{self._order.token.describe()} has been run by another process")
        return settled

    # --- the job ---------------------------------------------------------------------------------------------------

    def _work(self) -> tuple[Any, BaseException | None]:
        """Run the function; returns its result or what it raised. Raises if the transaction is not worth a commit."""
        result, failure, objection = None, None, None
        args, kwargs = self._order.arguments.copy()
        self._has_run = True
        self._site.enter()
        CURRENT.connection, CURRENT.job = self.line.connection, self._order.token.job
        try:
            result = _run_function(self._order.function, args, kwargs)
            objection = self._site.objection()
        except BaseException as error:
            failure = error
        finally:
            self._after_commit = self._site.leave()
            CURRENT.connection, CURRENT.job = None, ""
        self._check(failure, objection)
        return result, failure

    def _check(self, failure: BaseException | None, objection: str | None) -> None:
        """Raise unless the transaction stands as the job has left it, whatever the job made of the errors it met."""
        block = self._block
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        if block.refusal is not None:
            raise block.refusal from (failure if failure is not block.refusal else None)
        if block.loss is not None or block.undone is not None or isinstance(failure, ConnectionLost):
            raise self.mishap(block.loss or block.undone or failure, is_own=True)
        if failure is not None and self._has_waited_short(failure):
            block.undone = failure
            raise self.mishap(failure, is_own=True)
        if failure is None and objection is not None:
            raise NotReplayable(f"the job {self._order.token.job} {objection}")

    def _has_waited_short(self, failure: BaseException) -> bool:
        """Say whether the job gave a lock up only because a longer wait would have looked like a loss: it waits on, then."""
        cause = failure if isinstance(failure, self.line.Error) else failure.__cause__
        is_short = longest_wait(self.line.opening.kwargs.get("read_timeout")) is not None
        return is_short and isinstance(cause, self.line.Error) and code_of(cause) == LOCK_WAIT

    # --- after -----------------------------------------------------------------------------------------------------

    def _conclude(self, result: Any, failure: BaseException | None) -> Settled:
        order, line = self._order, self.line
        self._block.has_ended = True
        if failure is not None and not order.records_failure:
            raise failure
        if line.has_unread:
            raise NotReplayable(
                f"the job {order.token.job} left rows that are not read yet: read them all, or close their cursor, in the job"
            ) from failure
        encoded = payload.encode(order.token.job, result)
        if failure is not None:
            self._history.failures[self.id] = failure
        self._seal(encoded, failure)
        self.commit()
        if failure is not None:
            raise failure
        return Settled(payload.decode(encoded), self.id)

    def _seal(self, encoded: str | None, failure: BaseException | None) -> None:
        """Prove that this is the transaction that was begun, and write the outcome into it."""
        told = None if failure is None else f"{type(failure).__name__}: {failure}"[:1000]
        try:
            if failure is not None:
                self._protocol.undo()
            self._protocol.seal(_DONE if failure is None else _FAILED, encoded, told)
        except (Torn, NotOneRow) as error:
            raise self._explained(error) from error
        except self.line.Error as error:
            if self._block.loss is not None or self._block.undone is not None:
                # The job's own, who may have made a pause at its end.
                raise self.mishap(error, is_own=True) from error
            raise

    def _explained(self, error: Torn | NotOneRow) -> JobError:
        """Say what it means that the transaction, or the row, is not this attempt's."""
        described, line = self._order.token.describe(), self.line
        if isinstance(error, Torn):
            return TornJob(f"{described} was torn {torn_by(self._block.last)}")
        line.roll_back()  # The mark may have been raised behind the job's snapshot.
        if line.ask(self._statements.is_forgotten(self._order.token)) == [(1,)]:
            return TokenExpired(
                f"{described} was issued before what the ledger remembers (its retention), so nobody can tell whether it took"
                " effect then. It did not now: look, and run it with a new token if it is still wanted"
            )
        return TornJob(f"{described} has lost its row {torn_by(self._block.last)}")

    def commit(self) -> None:
        """Send COMMIT, once; raises :class:`Mishappened` for anything but its OK."""
        self._history.attempts[self.id] = self._after_commit
        try:
            self._protocol.commit()
        except (Torn, NotOneRow) as error:
            del self._history.attempts[self.id]
            raise self._explained(error) from error
        except self.line.Error as error:
            if code_of(error) == INTERRUPTED:
                self._history.will = error
            # Lost before anything was sent, the transaction was lost by a pause at the job's end, and not by its COMMIT.
            was_sent = not isinstance(error, TransactionLost)
            if not was_sent:
                del self._history.attempts[self.id]
            # Not a second COMMIT: that would say OK, with nothing in it.
            raise self.mishap(error, is_own=not was_sent) from error

    def mishap(self, cause: BaseException | None, *, is_own: bool) -> Mishappened:
        """Drop what nobody knows the state of, and return what the next attempt must know."""
        assert cause is not None
        block = self._block
        if block.loss is not None or block.undone is None:
            # Unless the server has answered that it rolled back, it may still be at it.
            if self._protocol.identity is not None:
                note_lost(self.line, self._protocol.identity)
            self.line.drop()
        log.info("%s: %s", self._order.token.describe(), cause, extra={"action": "mishap"})
        ordinal, statement = block.place if is_own else (0, "")
        return Mishappened(Mishap(cause, ordinal, statement, block.loss is not None, has_run=self._has_run))


def _engine_of(line: Line, schema: str | None, table: str) -> str | None:
    where = schema or line.current_schema
    return engines_at(line.opening.address).without_transactions(line.opening, where, table)


def _run_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return function(*args, **kwargs)
