"""The registry of all held connections of the process, and what is done to them from outside their threads."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from persistconn import forking, greenlets, log
from persistconn.connection import PersistentConnection
from persistconn.drivers import Driver
from persistconn.gate import Gate
from persistconn.guard import Watch
from persistconn.held import Held, State
from persistconn.lending import Lender, Lenders
from persistconn.lent import LentConnection
from persistconn.opening import Opening
from persistconn.owner import Owner, current_owner, owner_of
from persistconn.policy import Policy, Pool, Reason
from persistconn.snapshot import ConnectionView
from persistconn.sweep import Renewals, Sweep

# A ping that is due is sent at most a quarter of its period late.
SWEEPS_PER_PERIOD = 4
SHORTEST_PACE, LONGEST_PACE = 0.1, 15.0
OPENING = 1.0
"""Seconds that a connection which is being opened at shutdown may take: milliseconds do, unless its server is away."""
CANCELLED = 1.0
"""Seconds that a statement which was cancelled at shutdown may take to end."""
GOODBYE = 2.0
"""Seconds that a thread which closes a connection may take to say goodbye; the drivers wait for half of that to send it."""


class _Wanted(NamedTuple):
    """What somebody wants to connect to, and how."""

    driver: Driver
    policy: Policy
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


_Mine = tuple[object, tuple[Any, ...], PersistentConnection]
"""A thread's own connection, with the place and the arguments that it is known by."""


class Keeper:
    """All held connections of one process.

    Its one lock guards ``_held``, ``_gates`` and ``_closing``; nothing is connected, pinged, closed or logged under it.
    Each thread's own connections are in its local storage as well, so finding them takes no lock.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None) -> None:
        self.clock = clock
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._gates: dict[str, Gate] = {}
        self._closing = False
        self._local = threading.local()
        self._boundary_hooks: list[Callable[[], None]] = []
        self._renewals = Renewals()
        self._lenders = Lenders()
        self.outlives_unit: Callable[[PersistentConnection], bool] = lambda connection: False
        """Says that what is open on a connection is somebody's who outlives the thread's unit: a Django TestCase's."""
        self.on_connection: Callable[[float], None] = lambda pace: None
        """Called after each connect with the pace that it needs: the keepalive starts, or goes faster."""

    # --- for the owners --------------------------------------------------------------------------------------------

    def connect(
        self,
        driver: Driver,
        policy: Policy,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        place: object = None,
        alias: str | None = None,
    ) -> PersistentConnection:
        """Return the calling thread's one connection for these arguments; opens it the first time (see :class:`Gate`).

        ``place`` is one more part of the key, compared by identity: two users on one thread that must not share a
        session (two Django aliases for one database, say) name a place each. With ``policy.pool`` the connection borrows
        its session when it is used, from a pool for each ``alias`` and these arguments.
        """
        forking.check()
        asked = driver.name, policy, args, kwargs
        for its_place, its, connection in self._mine():
            if its_place is place and its == asked and connection.open:
                return connection
        greenlets.check(policy.pool)
        wanted = _Wanted(driver, policy, _frozen(args), _frozen(dict(kwargs)))
        connection = self._keep(wanted) if policy.pool is None else self._borrow(wanted, policy.pool, alias)
        connection.watch = getattr(self._local, "watch", None)
        self._forget_mine_closed()
        self._mine().append((place, (driver.name, *wanted[1:]), connection))
        return connection

    def _keep(self, wanted: _Wanted) -> PersistentConnection:
        held = self._new_held(wanted, current_owner())
        held.seize()
        try:
            self._register(held)  # Before it is open: a shutdown waits for that.
            held.open()
        except BaseException:
            held.close(Reason.RETIRED)
            self._forget_closed()
            raise
        held.release()
        held.on_open = self._tell_keepalive
        self._tell_keepalive(held)
        return PersistentConnection(held)

    def _borrow(self, wanted: _Wanted, pool: Pool, alias: str | None) -> LentConnection:
        address = wanted.driver.address(wanted.kwargs)
        name = f"{alias} ({address})" if alias else address

        def make(owner: Owner) -> Held:
            held = self._new_held(wanted, owner)
            held.alias = alias
            self._register(held)
            held.on_open = self._tell_keepalive
            return held

        def make_lender() -> Lender:
            return Lender(name, pool, make, wanted.driver.module, self.clock)

        return LentConnection(self._lenders.find((alias, wanted), make_lender), current_owner())

    def _tell_keepalive(self, held: Held) -> None:
        self.on_connection(_pace(held.period))

    def _mine(self) -> list[_Mine]:
        try:
            mine: list[_Mine] = self._local.mine
        except AttributeError:
            mine = self._local.mine = []
        return mine

    def _forget_mine_closed(self) -> None:
        mine = self._mine()
        mine[:] = [entry for entry in mine if entry[-1].open]

    def _new_held(self, wanted: _Wanted, owner: Owner) -> Held:
        driver, policy, args, kwargs = wanted
        address = driver.address(kwargs)
        opening = Opening(driver, policy, self._gate_to(address), args, kwargs)
        return Held(opening, owner, clock=self.clock, rng=self._rng)

    def _gate_to(self, address: str) -> Gate:
        with self._lock:
            if address not in self._gates:
                self._gates[address] = Gate(address, clock=self.clock, rng=self._rng)
            return self._gates[address]

    def _register(self, held: Held) -> None:
        with self._lock:
            if not self._closing:
                self._held.append(held)
                return
        refusal = f"no new connection to {held.address}: persistconn is shutting down"
        raise held.driver.module.InterfaceError(0, refusal)

    def watch(self, connection: PersistentConnection, own: Watch | None, others: Watch | None) -> None:
        """Have ``own`` answer for what is done on a connection, and ``others`` on all others of the calling thread.

        None ends it. Connections that the thread opens meanwhile count among the others.
        """
        self._local.watch = others
        for _, _, mine in self._mine():
            mine.watch = own if mine is connection else others

    @property
    def is_watched(self) -> bool:
        """Whether somebody answers for what the calling thread does: it is inside a job."""
        return getattr(self._local, "watch", None) is not None

    def end_unit(self) -> list[str]:
        """End the calling thread's unit of work on all its connections; return what had been left open, in words."""
        left: list[str] = []
        forking.check()
        self._forget_mine_closed()
        for *_, connection in self._mine():
            if not self.outlives_unit(connection):
                left += connection.end_unit()
        for hook in self._boundary_hooks:
            hook()
        return left

    def at_boundary(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called at the end of each unit of work, on its thread."""
        if hook not in self._boundary_hooks:
            self._boundary_hooks.append(hook)

    def owner(self) -> Owner:
        """Return the token of the calling thread."""
        return current_owner()

    # --- for the keepalive -----------------------------------------------------------------------------------------

    def pace(self) -> float:
        """Return the seconds between two sweeps that the most demanding connection needs."""
        return _pace(min((held.period for held in self._all()), default=math.inf))

    def sweep(self) -> None:
        """Make one maintenance pass: ping, recycle, replace and reap. Blocks for ``ping_timeout`` at most, and logs."""
        for held in self._lenders.tend():
            self._renewals.add(held, None)
        Sweep(self._all(), self._renewals).run(self.clock)
        self._forget_closed()

    # --- for people and for the end --------------------------------------------------------------------------------

    def snapshots(self) -> list[ConnectionView]:
        """Return a frozen view of every held connection; safe from any thread, and does no I/O."""
        return [held.view() for held in self._all() if held.state is not State.CLOSED]

    def reap(self, owners: Iterable[Owner] | None = None) -> None:
        """Close what dead owners left, all of them or those given; the living keep theirs."""
        wanted = None if owners is None else set(owners)
        for held in self._all():
            if not held.owner.is_alive and (wanted is None or held.owner in wanted):
                held.close(Reason.OWNER_DIED)
        self._forget_closed()

    def retire_database(self, arguments: Mapping[str, Any]) -> None:
        """Really close each connection, of any thread, to the same server, user and database, before that is dropped."""
        self._lenders.rest()
        for held in self._all():
            if _target(held.opening.kwargs) == _target(arguments):
                held.close(Reason.RETIRED)
        self._forget_closed()

    def shutdown(self, timeout: float = 5.0, *, final: bool = False) -> None:
        """Close everything in order: no new connections or statements, wait for those under way, COM_QUIT on each.

        A statement that still runs after ``timeout`` seconds is cancelled (``KILL QUERY``) and its connection closed. One
        that is being opened is waited for as well, for :data:`OPENING` at most: its server may be away. Idempotent; a later
        ``connect()`` starts anew, unless this was ``final``: the process ends.
        """
        with self._lock:
            self._closing = True
        try:
            self._lenders.rest()
            self._renewals.drain()
            now, everything = self.clock(), self._all()
            for held in everything:
                held.drain()
            for held in everything:
                if held.state is not State.BUSY:
                    held.close(Reason.SHUTDOWN)
            for held in everything:
                self._wait_for(held, now + min(timeout, OPENING), now + timeout)
                held.close(Reason.SHUTDOWN, orderly=held.state is not State.BUSY)
            # The process may end right behind this, in the middle of the goodbye of a thread that was quicker.
            for held in everything:
                held.wait_until_gone(GOODBYE)
            self._forget_closed()
        finally:
            with self._lock:
                self._closing = final

    def _wait_for(self, held: Held, opened_by: float, deadline: float) -> None:
        """Wait until nothing is under way on it; a statement that still runs at the deadline is cancelled."""
        if held.wait_until_free(opened_by - self.clock()) or not held.has_raw:
            return
        if not held.wait_until_free(deadline - self.clock()):
            self._cancel(held)

    def _cancel(self, held: Held) -> None:
        log.warning(
            "cancelled the statement of %s: it still ran at shutdown", held.describe(), extra={"action": "cancel"}
        )
        try:
            held.opening.cancel(held.raw)
        except Exception as error:
            log.warning("could not cancel it: %s", error, extra={"action": "cancel"})
        held.wait_until_free(CANCELLED)

    def after_fork_in_child(self, survivor: int | None = None) -> None:
        """Forget the parent's connections in a forked child, without a word on their sockets.

        ``survivor`` is the ident of the thread that forked (None: the calling one); what is its own can be used again.
        """
        self._lock = threading.Lock()
        self._gates.clear()
        self._renewals = Renewals()
        for held in self._held:
            held.forget_after_fork()
            held.opening.gate = self._gate_to(held.address)
        own = current_owner() if survivor is None else owner_of(survivor)
        self._lenders.after_fork_in_child(own)
        self._held = [held for held in self._held if held.owner is own]

    def _all(self) -> list[Held]:
        forking.check()
        with self._lock:
            return list(self._held)

    def _forget_closed(self) -> None:
        with self._lock:
            self._held = [held for held in self._held if not held.is_gone]


def _pace(period: float) -> float:
    return min(max(period / SWEEPS_PER_PERIOD, SHORTEST_PACE), LONGEST_PACE)


def _frozen(value: Any) -> Any:
    """Copy the containers among connect arguments, so that a caller who changes his own later asks for another connection."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)(_frozen(inner) for inner in value)
    return value


def _target(arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    database = arguments.get("database", arguments.get("db"))
    return (*(arguments.get(name) for name in ("host", "port", "unix_socket", "user")), database)


KEEPER = Keeper()
forking.at_fork(KEEPER.after_fork_in_child)
