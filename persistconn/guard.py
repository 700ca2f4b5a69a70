"""The one funnel of all statements: what is checked before one is sent, and what is done when its answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import getpid
from threading import current_thread, get_ident
from typing import Any, NoReturn, Protocol, TypeVar

from persistconn import forking
from persistconn.drivers import Fault
from persistconn.drivers.base import Raw, Wire
from persistconn.drivers.faults import SERVER_LOST
from persistconn.drivers.status import AUTOCOMMIT, may_be_open
from persistconn.errors import ConnectionLost
from persistconn.forking import PROCESS
from persistconn.held import Held, State
from persistconn.loss import Loss, judge, tell
from persistconn.policy import Reason
from persistconn.statement import SQL, beginning, effect

T = TypeVar("T")
_IDLE = State.IDLE  # Up to Python 3.11 a member of an Enum is looked up by Python code.
Flags = tuple[int, bool]
"""The server's status flags, and whether the last answer brought them."""


def _flags(wire: Wire, prelude: Prelude | None = None) -> Flags:
    # Where each statement is to commit itself, autocommit that was left off at the server is on when one is sent.
    status = wire.status | AUTOCOMMIT if prelude is not None and prelude.autocommits else wire.status
    return status, wire.status_is_current


class Watch(Protocol):
    """Somebody who answers for the transaction that is open: a job, say. Called on the owner's thread."""

    def check(self, sql: SQL, *, is_open: bool) -> None:
        """Raise to refuse a statement; ``is_open`` says whether a transaction is, or may be, open."""

    def lost(self, loss: ConnectionLost) -> None:
        """Hear of a loss, before its caller does."""

    def answered_with_rollback(self, error: BaseException) -> None:
        """Hear that the server has rolled the transaction back, or that it is the wrong server."""


class Prelude(Protocol):
    """Somebody who begins transactions with their first statement, or none before it. Called on the owner's thread."""

    def ahead_of(self, raw: Raw, sql: SQL) -> SQL | None:
        """Return what must be sent on the same raw connection right before a statement; None if nothing must."""

    def is_commit_due(self) -> bool:
        """Say whether a COMMIT has anything to commit, or to tell."""

    @property
    def autocommits(self) -> bool:
        """Whether each statement is to commit itself; then what is sent ahead sees to that."""


class Guard:
    """Stands between a held connection's owner and its raw connection. Owner thread only.

    A statement is sent on a connection that is alive as far as can be told without a round trip. If it is lost all the
    same, it is sent again only where that can neither lose nor double anything; otherwise the owner is told.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._refusal: ConnectionLost | None = None
        """Set when a transaction was lost: its further statements are refused until it is rolled back."""
        self._is_misled = False
        """The server has refused to write, inside a transaction: with its end the connection is given up."""
        self.watch: Watch | None = None

    @property
    def is_refusing(self) -> bool:
        """Whether a transaction was lost that has not been rolled back yet."""
        return self._refusal is not None

    def screen(self, sql: SQL) -> None:
        """Ask whoever watches the transaction whether this may be done; raises what he objects."""
        if self.watch is not None:
            held = self._held
            self.watch.check(sql, is_open=not held.has_raw or held.driver.in_transaction(held.raw))

    def forgive(self) -> None:
        """End the refusal: the block is over."""
        self._refusal = None
        self._held.interrupted = False

    def leave_wrong_server(self) -> None:
        """Give the connection up if the server has refused to write: after a failover the name stands for another one."""
        if self._is_misled:
            self._is_misled = False
            self._held.discard(Reason.WRONG_SERVER, orderly=True)

    def exchange(
        self, sql: SQL, call: Callable[[Raw], T], prelude: Prelude | None = None, *, is_last: bool = False
    ) -> T:
        """Run ``call`` on a raw connection that is alive; once more where that can neither lose nor double anything.

        What ``prelude`` wants sent ahead goes before it on each try, so the statement is never without it. ``is_last`` says
        that it has been tried once already.
        """
        if self.watch is not None:
            self.screen(sql)
        held = self._held
        while True:
            raw = self._ready(prelude)
            flags, under_way = _flags(held.wire, prelude), sql
            try:
                if prelude is not None and (ahead := prelude.ahead_of(raw, sql)) is not None:
                    under_way = ahead
                    raw.query(ahead)
                    under_way = sql
                    if not prelude.autocommits:
                        # The transaction holds nothing yet: what is lost with it is this statement, as under autocommit=0.
                        flags = flags[0] & ~AUTOCOMMIT, True
                answer = call(raw)
            except BaseException as error:
                if self._is_settled(raw, error, under_way, flags, is_last):
                    return None  # type: ignore[return-value]  # what commit() and rollback() return
                is_last = True
            else:
                held.release()
                return answer

    def query(self, sql: SQL, prelude: Prelude | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the driver's ``query()`` on a raw connection that is alive: :meth:`exchange`, and the short way to it.

        The short way, which nearly all statements take, asks what is asked at the least. Wherever it finds anything out of
        the ordinary, nothing has been sent yet, and the long way asks it all again.
        """
        held, is_last = self._held, False
        if (
            self.watch is None
            and prelude is None
            and self._refusal is None
            and get_ident() == held.owner.ident
            and getpid() == PROCESS.pid
            and (raw := held.take()) is not None
        ):
            wire = held.wire
            flags = wire.status, wire.status_is_current
            try:
                answer = raw.query(sql, *args, **kwargs) if args or kwargs else raw.query(sql)
                self._note(raw, sql)
            except BaseException as error:
                if self._is_settled(raw, error, sql, flags, is_last=False):
                    return None
                is_last = True
            else:
                held.release()
                return answer

        def send(raw: Raw) -> Any:
            answer = raw.query(sql, *args, **kwargs)
            self._note(raw, sql)
            return answer

        return self.exchange(sql, send, prelude, is_last=is_last)

    def _note(self, raw: Raw, sql: SQL) -> None:
        """Note what a statement has left on the wire and in the session."""
        # While the wire is still ours: a replacement right behind the statement must find it noted.
        held = self._held
        if held.wire.may_have_more and held.driver.has_unread(raw):
            self._watch_stream(sql)
        if held.session.note(sql):
            held.wait_timeout = held.driver.wait_timeout(raw)

    def _watch_stream(self, sql: SQL) -> None:
        """Have the rows that are left on the wire fetched under the guard too: a loss there is told like any other."""
        held, raw = self._held, self._held.raw

        def watched(fetch: Callable[..., T]) -> Callable[..., T]:
            def fetch_or_tell(*args: Any, **kwargs: Any) -> T:
                flags = _flags(held.driver.wire(raw))
                try:
                    return fetch(*args, **kwargs)
                except BaseException as error:
                    if held.raw is not raw or not held.has_raw:
                        raise  # Read on behind the boundary, where the rows were given up.
                    loss = self._judge(raw, error, sql, flags, is_last=True)
                    # Some rows have been handed out: the statement cannot be sent again unseen.
                    self._tell(Loss.UNREAD if loss is Loss.AGAIN else loss, error, sql)

            return fetch_or_tell

        held.driver.watch_stream(raw, watched)

    def _ready(self, prelude: Prelude | None = None) -> Raw:
        """Return the raw connection, seized, alive as far as can be told without a round trip."""
        forking.check()
        held = self._held
        if get_ident() != held.owner.ident:
            self.check_owner()
        if self._refusal is not None:
            raise self._refused()
        if (raw := held.take()) is not None:
            return raw  # As nearly always.
        before = held.seize()
        if before is _IDLE and (reason := self._cause_of_death(held.raw)):
            self._give_up(reason, prelude)
            before = held.seize()
        elif before is State.BUSY:
            # An exception struck between send and reply of the last statement: its answer may still come.
            self._give_up(Reason.ESCAPED, prelude)
            before = held.seize()
        if before is State.CLOSED:
            closed = f"the connection to {held.address} was closed by shutdown() or retire()"
            raise held.driver.module.InterfaceError(0, closed)
        # Idle after it was given up: the sweep was quicker, and what it made is new.
        return held.raw if before is _IDLE else self._opened()

    def _opened(self) -> Raw:
        """Make the raw connection of a vacant one, unless its owner must be told first what was lost with the last."""
        held = self._held
        if held.interrupted:
            held.interrupted = False
            held.vacate()
            self._refuse_transaction()
        if held.session.is_pinned:
            # The sweep's ping found it dead.
            held.vacate()
            self._tell_state_lost()
        held.open()
        return held.raw

    def _cause_of_death(self, raw: Raw) -> Reason | None:
        held = self._held
        if held.driver.has_unread(raw):
            return None
        if held.driver.hung_up(raw):
            return Reason.HUNG_UP
        if held.clock() - held.proved_at <= held.policy.trust or held.driver.in_transaction(raw):
            return None
        held.pings += 1
        ((_, is_alive),) = held.driver.ping([raw], held.policy.ping_timeout)
        return None if is_alive else Reason.PING_FAILED

    def _give_up(self, reason: Reason, prelude: Prelude | None) -> None:
        """Discard the seized raw connection before anything was sent; raises if something was lost with it."""
        held = self._held
        # A ping is not sent inside a transaction, and one that failed leaves mysqlclient's flags in doubt.
        flags = _flags(held.wire, prelude)
        in_transaction = reason is not Reason.PING_FAILED and may_be_open(*flags)
        if reason is Reason.ESCAPED:
            in_transaction = in_transaction or not flags[0] & AUTOCOMMIT
        held.discard(reason)
        if in_transaction:
            self._refuse_transaction()
        if held.session.is_pinned:
            self._tell_state_lost()

    # --- when a statement fails ------------------------------------------------------------------------------------

    def _is_settled(self, raw: Raw, error: BaseException, sql: SQL, flags: Flags, is_last: bool) -> bool:
        """Say whether a loss is what was asked for anyway; raises what it means otherwise, and False says: once more."""
        loss = self._judge(raw, error, sql, flags, is_last)
        if loss is Loss.AGAIN and not is_last:
            return False
        if loss is not Loss.NOTHING:
            self._tell(loss, error, sql)
        return True

    def _judge(self, raw: Raw, error: BaseException, sql: SQL, flags: Flags, is_last: bool) -> Loss:
        """Say what an exception out of the driver means; raises it unchanged where it is not a lost connection.

        ``flags`` are those of before the statement.
        """
        held = self._held
        in_transaction, autocommit = may_be_open(*flags), bool(flags[0] & AUTOCOMMIT)
        fault = held.driver.diagnose(raw, error)
        if fault is Fault.WRONG_SERVER and not (in_transaction or is_last or held.session.is_pinned):
            # Refused, so not executed: a new connection asks for the name again, which may stand for another server now.
            held.discard(Reason.WRONG_SERVER)
            return Loss.AGAIN
        if fault.is_answer:
            self._is_misled = fault is Fault.WRONG_SERVER
            if self.watch is not None and fault is not Fault.NONE:
                self.watch.answered_with_rollback(error)
            held.release()
            raise error
        if not isinstance(error, held.driver.module.Error):
            # A KeyboardInterrupt, a timeout of gevent, a bug in a converter: the caller's, but the wire is unusable.
            held.discard(Reason.ESCAPED)
            if in_transaction or not autocommit:
                self._refusal = self._error(Loss.TRANSACTION, sql, error)
            held.session.forget_state()
            raise error
        held.discard(Reason.LOST)
        return judge(
            effect(sql),
            sent=fault is not Fault.DEFINITE,
            in_transaction=in_transaction,
            autocommit=autocommit,
            pinned=held.session.is_pinned,
            replay_reads=held.policy.replay_reads,
        )

    def _tell(self, loss: Loss, error: BaseException, sql: SQL) -> NoReturn:
        told = self._error(loss, sql, error)
        ends_block = effect(sql).ends_transaction
        if loss is Loss.TRANSACTION and not ends_block:
            self._refusal = told
        self._held.session.forget_state()
        raise told from error

    def _error(self, loss: Loss, sql: SQL | None, cause: BaseException | None) -> ConnectionLost:
        held = self._held
        code = cause.args[0] if cause is not None and cause.args else None
        silent = held.clock() - held.proved_at
        text = tell(loss, held.describe(), "" if sql is None else beginning(sql), silent, held.session.held)
        told: ConnectionLost = held.opening.errors.of(loss.error)(
            code if isinstance(code, int) and code else SERVER_LOST, text
        )
        if self.watch is not None:
            self.watch.lost(told)
        return told

    def _refuse_transaction(self) -> NoReturn:
        self._refusal = self._error(Loss.TRANSACTION, None, None)
        raise self._refusal

    def _refused(self) -> ConnectionLost:
        assert self._refusal is not None
        code, text = self._refusal.args
        again = type(self._refusal)(code, f"refused, because the transaction is gone: {text}")
        again.__cause__ = self._refusal
        return again

    def _tell_state_lost(self) -> NoReturn:
        told = self._error(Loss.STATE, None, None)
        self._held.session.forget_state()
        raise told

    def check_owner(self) -> None:
        """Raise the driver's ``ProgrammingError`` on any thread but the owner's."""
        forking.check()
        held = self._held
        if get_ident() == held.owner.ident:
            return
        raise held.driver.module.ProgrammingError(
            f"the connection to {held.describe()} was used by the thread {current_thread().name}: "
            "each thread gets its own from connect()"
        )
