"""What the caller holds: the driver's connection, as it seems, with the raw one swapped underneath.

Every statement of both drivers goes through :meth:`PersistentConnection.query`, cursors and ``executemany`` included, so
the guard stands here and nowhere else. Cursors are the driver's own classes, built on this object.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn, TypeVar

from persistconn.drivers import Fault
from persistconn.drivers.base import Raw
from persistconn.errors import ConnectionLost
from persistconn.held import Held, State
from persistconn.loss import Loss, judge, tell
from persistconn.owner import Owner
from persistconn.policy import Reason
from persistconn.statement import SQL, beginning, effect

T = TypeVar("T")

_SERVER_LOST = 2013


class PersistentConnection:
    """This thread's one connection for these arguments; ``close()`` rolls back and gives nothing back.

    Use it on the thread that connected, as the driver's own connection; whatever is not here is the driver's.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._refusal: ConnectionLost | None = None
        """Set when a transaction was lost: its further statements are refused until it is rolled back."""

    def __repr__(self) -> str:
        return f"<PersistentConnection to {self._held.describe()}, {self._held.state.value}>"

    # --- the one funnel --------------------------------------------------------------------------------------------

    def query(self, sql: SQL, *args: Any, **kwargs: Any) -> Any:
        """Send one statement and read its answer; the driver's cursors call this."""
        answer = self._exchange(sql, lambda raw: raw.query(sql, *args, **kwargs))
        held = self._held
        if held.session.note(sql):
            held.wait_timeout = self._exchange("SELECT", held.driver.wait_timeout)
        return answer

    def _exchange(self, sql: SQL, call: Callable[[Raw], T]) -> T:
        """Run ``call`` on a raw connection that is alive; once more where that can neither lose nor double anything."""
        held = self._held
        for is_last in (False, True):
            raw = self._ready()
            in_transaction, autocommit = held.driver.in_transaction(raw), held.driver.autocommits(raw)
            try:
                answer = call(raw)
            except BaseException as error:
                loss = self._judge(raw, error, sql, in_transaction, autocommit)
                if loss is Loss.AGAIN and not is_last:
                    continue
                if loss is not Loss.NOTHING:
                    self._tell(loss, error, sql)
                return None  # type: ignore[return-value]  # what commit() and rollback() return
            held.release()
            return answer
        raise AssertionError("the second try either returns or raises")

    def _ready(self) -> Raw:
        """Return the raw connection, seized, alive as far as can be told without a round trip."""
        held = self._held
        if get_ident() != held.owner.ident:
            self._refuse_stranger()
        if self._refusal is not None:
            raise self._refused()
        before = held.seize()
        if before is State.IDLE:
            if not self._is_dead(held.raw):
                return held.raw
            self._give_up(Reason.HUNG_UP)
            held.seize()
        elif before is State.BUSY:
            # An exception struck between send and reply of the last statement: its answer may still come.
            self._give_up(Reason.ESCAPED)
            held.seize()
        elif before is State.CLOSED:
            raise held.driver.module.InterfaceError(
                0, f"the connection to {held.address} was closed by shutdown() or retire()"
            )
        if held.interrupted:
            held.interrupted = False
            held.vacate()
            self._refuse_transaction()
        if held.session.is_pinned:
            # The sweep's ping found it dead, and its owner must be told.
            held.vacate()
            self._tell_state_lost()
        held.open()
        return held.raw

    def _is_dead(self, raw: Raw) -> bool:
        held = self._held
        if held.driver.has_unread(raw):
            return False
        if held.driver.hung_up(raw):
            return True
        if held.clock() - held.proved_at <= held.policy.trust or held.driver.in_transaction(raw):
            return False
        held.pings += 1
        return not all(alive for _, alive in held.driver.ping([raw], held.policy.ping_timeout))

    def _give_up(self, reason: Reason) -> None:
        """Discard the seized raw connection before anything was sent; raises if something was lost with it."""
        held = self._held
        in_transaction = held.driver.in_transaction(held.raw)
        if reason is Reason.ESCAPED:
            in_transaction = in_transaction or not held.driver.autocommits(held.raw)
        held.discard(reason)
        if in_transaction:
            self._refuse_transaction()
        if held.session.is_pinned:
            self._tell_state_lost()

    # --- when a statement fails ------------------------------------------------------------------------------------

    def _judge(self, raw: Raw, error: BaseException, sql: SQL, in_transaction: bool, autocommit: bool) -> Loss:
        """Say what an exception out of the driver means; raises it unchanged where it is not a lost connection."""
        held = self._held
        fault = held.driver.classify(raw, error)
        if fault is Fault.NONE:
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
            code if isinstance(code, int) and code else _SERVER_LOST, text
        )
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

    def _refuse_stranger(self) -> NoReturn:
        from threading import current_thread

        held = self._held
        raise held.driver.module.ProgrammingError(
            f"the connection to {held.describe()} was used by the thread {current_thread().name}: "
            "each thread gets its own from connect()"
        )

    # --- PEP 249 and what the drivers add to it ---------------------------------------------------------------------

    def cursor(self, cursor: Any = None) -> Any:
        """Make a cursor of the driver's own class on this connection."""
        return (cursor or self.cursorclass)(self)

    def begin(self) -> None:
        """Begin a transaction."""
        self._exchange("BEGIN", lambda raw: raw.begin())

    def commit(self) -> None:
        """Commit. Raises ``OutcomeUnknown`` if the answer was lost, ``TransactionLost`` if the transaction was."""
        self._exchange("COMMIT", lambda raw: raw.commit())

    def rollback(self) -> None:
        """Roll back; no round trip if nothing is open. After a lost transaction, this ends the refusal."""
        held = self._held
        self._refusal = None
        if held.is_closing:
            return  # The server rolls back what the goodbye finds open.
        if (held.state is State.IDLE and not held.driver.in_transaction(held.raw)) or held.state is State.VACANT:
            held.interrupted = False
            return
        try:
            self._exchange("ROLLBACK", lambda raw: raw.rollback())
        except ConnectionLost:
            # What the loss did is what was asked for.
            self._refusal = None

    def autocommit(self, value: bool) -> None:
        """Switch autocommit; no round trip if it is so already."""
        self._exchange(f"SET autocommit={int(value)}", lambda raw: raw.autocommit(value))

    def select_db(self, db: Any) -> None:
        """Change the default database, for this connection and those that replace it."""
        self._exchange("USE", lambda raw: raw.select_db(db))
        self._held.session.database = db

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Change the character set, for this connection and those that replace it."""
        self._exchange("SET NAMES", lambda raw: raw.set_character_set(charset, collation))
        self._held.session.charset = charset, collation

    set_charset = set_character_set

    def ping(self, reconnect: bool = False) -> None:  # noqa: ARG002
        """Make sure that the connection is alive; one that died with nothing at stake is replaced.

        ``reconnect`` is the driver's, and means nothing here: a transaction is never given up unsaid.
        """
        self._exchange("SELECT", lambda raw: raw.ping())

    def kill(self, thread_id: int) -> Any:
        """End another session."""
        return self._exchange("KILL", lambda raw: raw.kill(thread_id))

    def show_warnings(self) -> Any:
        """Return the warnings of the last statement."""
        return self._exchange("SHOW WARNINGS", lambda raw: raw.show_warnings())

    def next_result(self, *args: Any, **kwargs: Any) -> Any:
        """Read the next result set of the same statement; 0 if there is none (the connection may be a new one)."""
        has_unread = self._held.driver.has_unread
        return self._exchange("CALL", lambda raw: raw.next_result(*args, **kwargs) if has_unread(raw) else 0)

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
    def settings(self) -> tuple[str, ...]:
        """The ``SET`` statements that would make a new session like this one."""
        return tuple(self._held.session.statements())

    def end_unit(self) -> list[str]:
        """End the unit of work and return what had been left open, in words. A lost connection raises nothing here."""
        held = self._held
        left: list[str] = []
        if get_ident() != held.owner.ident:
            self._refuse_stranger()
        if held.is_closing:
            return left
        if held.state is State.IDLE and held.driver.has_unread(held.raw):
            # Reading the rest could take for ever.
            left.append(f"unread rows on {held.describe()}")
            held.discard(Reason.UNREAD)
        if self._refusal is not None or (held.state is State.IDLE and held.driver.in_transaction(held.raw)):
            left.append(f"an open transaction on {held.describe()}")
            self.rollback()
        if held.session.is_pinned:
            held.discard(Reason.SESSION_STATE, orderly=True)
            held.session.forget_state()
        return left

    def retire(self) -> None:
        """Really close the connection, for good, and drop it from ``connections()``."""
        self._held.close(Reason.RETIRED)
