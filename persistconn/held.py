"""The bookkeeping around one held connection: its state, its raw connection, its stamps and counters."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum

from persistconn import log
from persistconn.drivers.base import Raw, Wire
from persistconn.drivers.sockets import ALIVE
from persistconn.opening import Fresh, Opening
from persistconn.owner import Owner
from persistconn.policy import Condition, Reason
from persistconn.session import Session
from persistconn.snapshot import ConnectionView

LIFETIME_JITTER = 0.1
"""A share of ``max_lifetime``: connections that were opened together must not be retired together."""


class State(Enum):
    """Who may touch the raw connection."""

    IDLE = "idle"
    BUSY = "busy"
    RESERVED = "reserved"
    VACANT = "vacant"
    CLOSED = "closed"


# For the two moves around each statement: up to Python 3.11 a member of an Enum is looked up by Python code.
_IDLE, _BUSY, _RESERVED, _VACANT = State.IDLE, State.BUSY, State.RESERVED, State.VACANT

_MOVES = {
    State.IDLE: {State.BUSY, State.RESERVED, State.VACANT, State.CLOSED},
    State.BUSY: {State.IDLE, State.VACANT, State.CLOSED},
    State.RESERVED: {State.IDLE, State.VACANT, State.CLOSED},
    State.VACANT: {State.BUSY, State.IDLE, State.RESERVED, State.CLOSED},
    State.CLOSED: set(),
}


class Held:
    """One connection for one owner and one set of connect arguments.

    Its lock guards ``state``, ``raw``, ``exchanges``, ``proved_at``, ``is_draining`` and ``_partings``, and is never held
    over I/O. BUSY belongs to the owner, RESERVED to the sweep; a BUSY that the owner finds at its next statement was left
    by an exception that struck between send and reply.
    """

    def __init__(self, opening: Opening, owner: Owner, *, clock: Callable[[], float], rng: random.Random) -> None:
        self.opening = opening
        self.driver = opening.driver
        self.policy = opening.policy
        self.address = opening.address
        self.owner = owner
        self.alias: str | None = None
        self.session = Session()
        self.clock = clock
        self.raw: Raw = None
        """The raw connection, or the last one there was."""
        self.wire: Wire
        """What is asked of ``raw`` around each statement."""
        self.has_raw = False
        self.dress: object = None
        """What a user who sets his sessions up has made of this one, in his own terms; kept for those who come later."""
        self.identity: tuple[Raw, str] | None = None
        """The raw connection whose session holds a named lock to be known by, and the lock's name."""
        self.state = State.VACANT
        self.exchanges = 0
        self.wait_timeout: float | None = None
        self.connected_at = self.used_at = self.proved_at = clock()
        self.is_draining = False
        """A shutdown has begun: the statement under way may end, and no other begins."""
        self.interrupted = False
        """The process forked inside a transaction, which stays the parent's: the owner in the child must be told."""
        self.on_open: Callable[[Held], None] = lambda held: None
        self.pings = 0
        self.recycles: Counter[Reason] = Counter()
        self._trust = self.policy.trust
        self._jitter = rng.random() * LIFETIME_JITTER
        self._partings = 0
        """How many raw connections threads are just now giving up, saying goodbye to the server or not."""
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)

    def __repr__(self) -> str:
        return f"<{self.describe()}, {self.state.value}>"

    def describe(self) -> str:
        """Name the connection for people: alias or address, session, owner."""
        session = "no session" if self.raw is None else f"session {self.driver.session_id(self.raw)}"
        where = f"{self.alias} ({self.address}, {session})" if self.alias else f"{self.address} ({session})"
        return f"{where} of {self.owner.name}"

    # --- the state -------------------------------------------------------------------------------------------------

    def _move(self, to: State) -> None:
        if to not in _MOVES[self.state]:
            raise AssertionError(f"{self.describe()}: no way from {self.state.value} to {to.value}")
        self.state = to

    @property
    def is_closing(self) -> bool:
        """Whether no further statement may begin."""
        return self.is_draining or self.state is State.CLOSED

    def take(self) -> Raw | None:
        """Take the wire for the owner if it can be sent on as it is, as nearly always; None changes nothing.

        That is: nobody has it, the server has answered within ``trust``, and has not hung up since. All else is for
        :meth:`seize`, and for whoever finds out what has happened.
        """
        if self.clock() - self.proved_at > self._trust:
            return None
        try:
            if self.wire.look() != ALIVE:
                return None
        except (AttributeError, OSError):  # Not opened yet, or closed.
            return None
        with self._lock:
            if self.state is not _IDLE or self.is_draining:
                return None
            self.state = _BUSY
            self.exchanges += 1
            return self.raw

    def seize(self) -> State:
        """Take the wire for the owner and return the state that it was in; waits while the sweep pings (``ping_timeout``)."""
        with self._lock:
            while self.state is _RESERVED:
                self._freed.wait()
            if self.is_draining:
                return State.CLOSED
            before = self.state
            if before is _IDLE or before is _VACANT:
                self.exchanges += 1
                self.state = _BUSY
            return before

    def release(self) -> None:
        """Give the wire back after a clean reply, which is a proof of life."""
        now = self.clock()
        with self._lock:
            # CLOSED in the meantime by a shutdown that did not wait any longer.
            if self.state is _BUSY:
                self.state = _IDLE
                if self.is_draining:  # A shutdown waits for the end of a statement, and nobody else does.
                    self._freed.notify_all()
            self.used_at = self.proved_at = now

    def vacate(self) -> None:
        """Give the wire back without a connection on it."""
        with self._lock:
            if self.state is State.BUSY:
                self._move(State.VACANT)
                self._freed.notify_all()

    def reserve(self) -> bool:
        """Take an idle connection for the sweep; False if it is anything but idle and at rest."""
        with self._lock:
            if self.state is not State.IDLE or self._is_under_use():
                return False
            self._move(State.RESERVED)
            return True

    def unreserve(self, alive: bool) -> None:
        """Give a reserved connection back after its ping, or give it up if it did not answer."""
        now = self.clock()
        with self._lock:
            if self.state is not State.RESERVED:
                return
            self.pings += 1
            if alive:
                self.proved_at = now
                self._move(State.IDLE)
                self._freed.notify_all()
                return
            raw = self._vacate(Reason.PING_FAILED)
        self._dispose(raw, Reason.PING_FAILED, orderly=False)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way on it: no statement, no transaction, no rows to read."""
        return self.state is State.VACANT or (self.state is State.IDLE and not self._is_under_use())

    def _is_under_use(self) -> bool:
        raw = self.raw
        return raw is not None and (self.driver.in_transaction(raw) or self.driver.has_unread(raw))

    def drain(self) -> None:
        """Let no further statement begin: whoever is not BUSY from now on never is again. Before a shutdown."""
        # Under the lock, or an owner that has looked and is about to be BUSY would be closed in the middle of a statement.
        with self._lock:
            self.is_draining = True

    def wait_until_free(self, timeout: float) -> bool:
        """Wait (seconds) for a running statement to end; False if it still runs."""
        with self._lock:
            return self._freed.wait_for(lambda: self.state is not State.BUSY, max(timeout, 0.0))

    @property
    def is_gone(self) -> bool:
        """Whether it is closed, and whoever closed it has said goodbye to the server."""
        return self.state is State.CLOSED and not self._partings

    def wait_until_gone(self, timeout: float) -> None:
        """Wait (seconds) for the goodbye of whoever has closed it, or what it had before: another thread perhaps."""
        with self._lock:
            self._freed.wait_for(lambda: self.is_gone, timeout)

    # --- the raw connection ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the raw connection of a vacant one that its owner has seized. Blocks and raises as the gate does."""
        try:
            fresh = self.opening.open(self.session, self.raw)
        except BaseException:
            self.vacate()
            raise
        with self._lock:
            self._put(fresh)
            surplus = self._let_go() if self.state is State.CLOSED else None
        if surplus is not None:
            self._part(surplus, orderly=True)
        self.on_open(self)

    def _put(self, fresh: Fresh) -> None:
        if self.raw is not None and not self.driver.has_unread(self.raw):
            # The cursor of a statement that has just ended may not have taken its rows yet.
            self.driver.carry_answer(self.raw, fresh.raw)
        self.raw, self.wait_timeout = fresh
        self.wire = self.driver.wire(self.raw)
        self.has_raw = True
        self.connected_at = self.proved_at = self.clock()

    def renew(self, reason: Reason | None) -> bool:
        """Make a new raw connection in the background and put it in place; False if the owner was quicker.

        Tries once; raises what the gate raises.
        """
        with self._lock:
            if self.state is State.BUSY:
                return False  # The statement under way may change the session that the new one would be made like.
            seen = self.exchanges
        fresh = self.opening.try_once(self.session, self.raw)
        with self._lock:
            fits = self.exchanges == seen and self._is_replaceable()
            surplus = self._replace(fresh, reason) if fits else fresh.raw
        if surplus is not None:
            self.driver.quit(surplus)
        if fits:
            why = reason.value if reason else "opened again"
            log.info("recycled %s: %s", self.describe(), why, extra={"action": "recycle"})
        return fits

    def fill(self) -> bool:
        """Make the raw connection of a vacant one in the background; whoever wants it meanwhile waits. For what is lent.

        :meth:`renew` lets the owner be quicker, and for a moment there is one session too many. Tries once; raises what
        the gate raises.
        """
        with self._lock:
            if self.state is not State.VACANT or self.session.is_pinned:
                return False
            self._move(State.RESERVED)
        fresh = None
        try:
            fresh = self.opening.try_once(self.session, self.raw)
        finally:
            surplus = self._end_of_filling(fresh)
        if surplus is not None:
            self.driver.quit(surplus)
        return surplus is None

    def _end_of_filling(self, fresh: Fresh | None) -> Raw | None:
        with self._lock:
            if self.state is not State.RESERVED:  # Closed in the meantime.
                return None if fresh is None else fresh.raw
            if fresh is not None:
                self._put(fresh)
            self._move(State.VACANT if fresh is None else State.IDLE)
            self._freed.notify_all()
            return None

    def _is_replaceable(self) -> bool:
        # At rest and untouched since we looked, so nobody can notice, and the settings on the new one are the newest.
        if self.state is State.VACANT:
            return not self.session.is_pinned
        return self.state is State.IDLE and not self._is_under_use() and not self.session.is_pinned

    def _replace(self, fresh: Fresh, reason: Reason | None) -> Raw | None:
        old = None
        if self.state is State.VACANT:
            self._move(State.IDLE)
        else:
            old = self.raw
        if reason is not None and old is not None:
            self.recycles[reason] += 1
        self._put(fresh)
        return old

    def discard(self, reason: Reason, *, orderly: bool = False) -> None:
        """Give the raw connection up; the next use, or the sweep, makes a new one. For the owner."""
        with self._lock:
            while self.state is State.RESERVED:
                self._freed.wait()
            if self.state in (State.VACANT, State.CLOSED):
                return
            raw = self._vacate(reason)
        self._dispose(raw, reason, orderly=orderly)

    def discard_idle(self, reason: Reason, *, orderly: bool = False) -> None:
        """Give a connection at rest up, unless its owner has come in the meantime. For the sweep."""
        with self._lock:
            if self.state is not State.IDLE or (orderly and self._is_under_use()):
                return
            raw = self._vacate(reason)
        self._dispose(raw, reason, orderly=orderly)

    def _vacate(self, reason: Reason) -> Raw:
        self.recycles[reason] += 1
        self._move(State.VACANT)
        return self._let_go()

    def _let_go(self) -> Raw:
        """Take the raw connection away, for :meth:`_part`: by then another thread may have put the next one in place."""
        self.has_raw = False
        self._partings += 1
        self._freed.notify_all()
        return self.raw

    def _part(self, raw: Raw, *, orderly: bool) -> None:
        try:
            (self.driver.quit if orderly else self.driver.abandon)(raw)
        finally:
            with self._lock:
                self._partings -= 1
                self._freed.notify_all()

    def _dispose(self, raw: Raw, reason: Reason, *, orderly: bool) -> None:
        self._part(raw, orderly=orderly)
        log.info("gave up %s: %s", self.describe(), reason.value, extra={"action": "discard"})

    def close(self, reason: Reason, *, orderly: bool = True) -> None:
        """Close for good."""
        with self._lock:
            if self.state is State.CLOSED:
                return
            raw = self._let_go() if self.has_raw else None
            self._move(State.CLOSED)
            self._freed.notify_all()
        if raw is not None:
            self._part(raw, orderly=orderly)
        log.debug("closed %s: %s", self.describe(), reason.value, extra={"action": "close"})

    def forget_after_fork(self) -> None:
        """Drop the parent's raw connection in a forked child, without a word to the server."""
        # The lock may have been held by a thread of the parent that does not exist here.
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._partings = 0
        if self.state in (State.VACANT, State.CLOSED):
            return
        if not self.has_raw:  # It was being opened.
            self.state = State.VACANT
            return
        self.interrupted = self.state is State.BUSY or self.driver.in_transaction(self.raw)
        self.state = State.VACANT
        self.has_raw = False
        self.recycles[Reason.FORKED] += 1
        self.driver.abandon(self.raw)

    @property
    def period(self) -> float:
        """How often (seconds) the sweep has something to do for it."""
        policy, limit = self.policy, self.wait_timeout
        return min(policy.ping_every_under(limit), policy.keepalive_under(limit))

    @property
    def form(self) -> tuple[object, ...]:
        """What its session has been made into: settings, database, character set, autocommit."""
        session = self.session
        return session.statements(), session.database, session.charset, self.driver.autocommits(self.raw)

    # --- views -----------------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """Return what :func:`persistconn.policy.decide` needs to know; looks at the socket of an idle connection."""
        raw, state = self.raw, self.state
        at_rest = state is State.IDLE and not self._is_under_use()
        return Condition(
            owner_alive=self.owner.is_alive,
            busy=not at_rest and state is not State.VACANT,
            vacant=state is State.VACANT,
            hung_up=at_rest and self.driver.hung_up(raw),
            pinned=self.session.is_pinned,
            connected_at=self.connected_at,
            # A new session starts its idle age anew, although its owner has not used it yet.
            used_at=max(self.used_at, self.connected_at),
            proved_at=self.proved_at,
            wait_timeout=self.wait_timeout,
            lifetime_jitter=self._jitter,
        )

    def view(self) -> ConnectionView:
        """Return a frozen view for people and for metrics."""
        now, raw = self.clock(), self.raw
        present = self.has_raw
        return ConnectionView(
            owner=self.owner.name,
            owner_alive=self.owner.is_alive,
            alias=self.alias,
            address=self.address,
            session_id=self.driver.session_id(raw) if present else None,
            state=self.state.value,
            in_transaction=present and self.driver.in_transaction(raw),
            age=now - self.connected_at if present else None,
            idle=now - self.used_at,
            proof_age=now - self.proved_at if present else None,
            pings=self.pings,
            recycles={reason.value: count for reason, count in self.recycles.items()},
        )
