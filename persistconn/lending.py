"""Lending from a bounded pool, where threads or greenlets are many and short.

There is one queue. Whoever wants a session stands in it, and whatever becomes free, a session or the place for a new
one, goes to its head: so nobody overtakes, and a burst never opens more than ``max_size``.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from persistconn.errors import bind
from persistconn.held import Held, State
from persistconn.owner import Owner
from persistconn.policy import Pool, Reason, Verdict, decide
from persistconn.whereabouts import whereabouts

LONGEST_WAIT = 1.0
"""Seconds until a waiter looks again whether somebody has died with a session in his hands."""


class Shelf(Owner):
    """Owns what is not lent: nobody may use it, and the sweep looks after it."""

    ident = -1
    name = "nobody (free to be lent)"
    is_alive = True

    def __init__(self) -> None:
        """Belong to no thread."""


@dataclass(eq=False)
class Claim:
    """A wish for a session, and the loan that it becomes.

    The lender knows it by a weak reference: a greenlet that is killed, or an exception that strikes between the grant and
    the borrower's next line, takes it away, and the session can be lent again.
    """

    owner: Owner
    where: str = ""
    since: float = 0.0
    held: Held | None = None
    """The session that was granted; None while it waits, or if it got the place for a new one."""
    found: object = None
    """What the session was like when it was lent."""
    turn: Any = field(default_factory=threading.Lock)
    """Locked until the grant."""

    def describe(self, now: float) -> str:
        """Say who has borrowed, since when and, if that is known, in which function."""
        return f"{self.owner.name} for {now - self.since:.1f} s" + (f" in {self.where}" if self.where else "")


class Lender:
    """Lends the sessions of one set of connect arguments. Thread-safe; opens and closes outside its lock.

    The lock guards ``_free``, ``_loans``, ``_closing`` and ``_waiting``. A session is in one of the first three, each of
    which takes a place, and changes hands only under the lock: so no two units of work can have it at once.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        make: Callable[[Owner], Held],
        module: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.pool = pool
        self.errors = module
        """The driver's module, for the errors of its users."""
        self._make = make
        self._clock = clock
        self._shelf = Shelf()
        # A plain lock, as in the gate: an asynchronous exception inside a Condition would leave it locked, or open.
        self._lock = threading.Lock()
        self._free: list[Held] = []
        """The one that came back last is lent first, so that the others age and can be closed."""
        self._loans: dict[weakref.ref[Claim], Held | None] = {}
        self._closing: list[Held] = []
        self._waiting: deque[weakref.ref[Claim]] = deque()
        self._is_wanted = True
        """Whether somebody has borrowed since everything was closed on purpose."""

    # --- for the borrowers -----------------------------------------------------------------------------------------

    def lend(self, owner: Owner) -> Claim:
        """Lend a session to ``owner``; first come, first served.

        Blocks for up to ``timeout`` seconds, then raises PoolTimeout, which names the holders. A session that has to be
        opened takes as long as a connect does, and raises what that raises.
        """
        claim = Claim(owner, whereabouts() if self.pool.leak_stacks else "")
        try:
            self._stand_in_line(claim)
            self._await(claim)
            self._open(claim)
        except BaseException:
            self.give_back(claim)
            raise
        return claim

    def give_back(self, claim: Claim) -> None:
        """Take back what was lent, or the wish. What is as it was found is lent again; all else is closed."""
        if claim.held is not None and not _is_as_found(claim.held, claim.found):
            # Before its place is free, or there would be one session too many.
            claim.held.close(Reason.SESSION_STATE)
        reference = weakref.ref(claim)
        with self._lock:
            if reference not in self._loans:
                self._waiting = deque(waiter for waiter in self._waiting if waiter is not reference)
            elif held := self._loans.pop(reference):
                held.owner = self._shelf
                self._free.append(held)
            claim.held = None
        self._serve()

    def _stand_in_line(self, claim: Claim) -> None:
        claim.turn.acquire()
        self._is_wanted = True
        with self._lock:
            self._waiting.append(weakref.ref(claim))

    def _await(self, claim: Claim) -> None:
        deadline = self._clock() + self.pool.timeout
        self._serve()
        while not self._pause(claim.turn, min(deadline - self._clock(), LONGEST_WAIT)):
            self._serve()
            if self._clock() >= deadline and claim.turn.locked():
                raise bind(self.errors.OperationalError).PoolTimeout(self._farewell())

    def _pause(self, turn: Any, timeout: float) -> bool:
        return bool(turn.acquire(timeout=max(timeout, 0.0)))

    def _open(self, claim: Claim) -> None:
        if claim.held is None:
            made = self._make(claim.owner)
            with self._lock:
                claim.held = self._loans[weakref.ref(claim)] = made
        held = claim.held
        if not held.has_raw:
            # The sweep may have opened it in the meantime.
            if held.seize() is State.VACANT:
                held.open()
            held.release()
            claim.found = held.form

    # --- the queue -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Give what is free to those who wait, in their order; what the dead still hold counts as free."""
        if not self._has_room():
            self._close(self._take_from_the_dead(), Reason.OWNER_DIED)
        with self._lock:
            self._free = [held for held in self._free if held.state is not State.CLOSED]
            while self._has_room() and (claim := self._first_waiting()):
                self._grant(claim)

    def _has_room(self) -> bool:
        return bool(self._free) or len(self._loans) + len(self._closing) < self.pool.max_size

    def _first_waiting(self) -> Claim | None:
        while self._waiting:
            if (claim := self._waiting.popleft()()) is not None:
                return claim
        return None

    def _grant(self, claim: Claim) -> None:
        claim.held = held = self._pick()
        if held is not None:
            held.owner, claim.found = claim.owner, held.form
        claim.since = self._clock()
        self._loans[weakref.ref(claim)] = held
        claim.turn.release()

    def _pick(self) -> Held | None:
        """Take the session that came back last, one that is open if there is any."""
        if not self._free:
            return None
        last = len(self._free) - 1
        return self._free.pop(next((at for at in range(last, -1, -1) if self._free[at].has_raw), last))

    def _farewell(self) -> str:
        now = self._clock()
        with self._lock:
            holders = [claim.describe(now) for reference in self._loans if (claim := reference())]
            waiting = sum(waiter() is not None for waiter in self._waiting)
        return (
            f"no session of {self.name} became free within {self.pool.timeout:g} s (timeout): all {self.pool.max_size}"
            f" (max_size) are lent, to {'; '.join(holders)}; {waiting} waiting. Give each back with close() or"
            " persistconn.unit_of_work as soon as it is not needed, or raise max_size"
            + ("" if self.pool.leak_stacks else "; leak_stacks=True tells in which functions they were lent")
        )

    # --- for the sweep ---------------------------------------------------------------------------------------------

    def tend(self) -> list[Held]:
        """Take back what the dead hold, close what nobody has wanted for ``keepalive``; return what is to be opened."""
        self._close(self._take_from_the_dead(), Reason.OWNER_DIED)
        self._close(self._take_surplus(), Reason.IDLE)
        self._serve()
        return self._missing() if self._is_wanted else []

    def rest(self) -> None:
        """Open nothing until somebody borrows again: all was closed on purpose."""
        self._is_wanted = False

    def _take_from_the_dead(self) -> list[Held]:
        with self._lock:
            dead = [reference for reference in self._loans if _is_abandoned(reference)]
            left = [held for held in map(self._loans.pop, dead) if held is not None]
            self._closing += left
            return left

    def _take_surplus(self) -> list[Held]:
        """Take those that are due to be recycled, and too many to be opened again."""
        with self._lock:
            spare = len(self._free) + len(self._loans) - self.pool.min_size
            due = [held for held in self._free if _is_due(held, self._clock())][: max(spare, 0)]
            self._free = [held for held in self._free if held not in due]
            self._closing += due
            return due

    def _close(self, leaving: list[Held], reason: Reason) -> None:
        for held in leaving:
            held.close(reason, orderly=held.state is State.IDLE)
        with self._lock:
            self._closing = [held for held in self._closing if held not in leaving]

    def _missing(self) -> list[Held]:
        """Make what is missing to ``min_size``, not yet opened."""
        with self._lock:
            there = len(self._free) + len(self._loans) + len(self._closing)
            made = [self._make(self._shelf) for _ in range(self.pool.min_size - there)]
            self._free += made
            return made

    def after_fork_in_child(self, own: Owner | None) -> None:
        """Forget in a forked child what is its parent's: all but what the forking thread has borrowed."""
        self._lock = threading.Lock()
        mine = [reference for reference in self._loans if (claim := reference()) and claim.owner is own]
        self._loans = {reference: self._loans[reference] for reference in mine}
        self._free, self._closing, self._waiting = [], [], deque()


def _is_abandoned(reference: weakref.ref[Claim]) -> bool:
    claim = reference()
    return claim is None or not claim.owner.is_alive


def _is_as_found(held: Held, found: object) -> bool:
    return held.raw is not None and held.is_at_rest and not held.session.is_pinned and held.form == found


def _is_due(held: Held, now: float) -> bool:
    return decide(held.condition(), held.policy, now)[0] is Verdict.RECYCLE


class Lenders:
    """The lenders of a process, one for each set of connect arguments. Its lock guards ``_lenders``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lenders: list[tuple[object, Lender]] = []

    def find(self, key: object, make: Callable[[], Lender]) -> Lender:
        """Return the lender of a key, which may not be hashable; the first to ask makes it."""
        with self._lock:
            for known, lender in self._lenders:
                if known == key:
                    return lender
            self._lenders.append((key, made := make()))
            return made

    def tend(self) -> list[Held]:
        """Tend them all (see :meth:`Lender.tend`)."""
        with self._lock:
            lenders = [lender for _, lender in self._lenders]
        return [held for lender in lenders for held in lender.tend()]

    def rest(self) -> None:
        """Have none of them open anything until somebody borrows from it again."""
        with self._lock:
            for _, lender in self._lenders:
                lender.rest()

    def after_fork_in_child(self, own: Owner | None) -> None:
        """Forget in a forked child what is its parent's."""
        self._lock = threading.Lock()
        for _, lender in self._lenders:
            lender.after_fork_in_child(own)
