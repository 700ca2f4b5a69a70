"""What a borrower holds: a connection whose session is lent for one unit of work."""

from __future__ import annotations

from threading import current_thread, get_ident
from typing import Any

from persistconn import forking
from persistconn.connection import PersistentConnection
from persistconn.guard import Guard, Watch
from persistconn.held import State
from persistconn.lending import Claim, Lender
from persistconn.owner import Owner


class LentConnection(PersistentConnection):
    """This thread's or greenlet's connection: the first statement borrows a session, ``close()`` gives it back.

    While nothing is lent it has no ``_held`` and no ``_guard``; whoever asks for one of them borrows. So a statement
    costs nothing more than on a connection of one's own.
    """

    def __init__(self, lender: Lender, owner: Owner) -> None:
        self._lender = lender
        self._owner = owner
        self._alias: str | None = None
        self._watch: Watch | None = None
        self._claim: Claim | None = None

    def __repr__(self) -> str:
        return super().__repr__() if self._claim else f"<LentConnection to {self._lender.name}, nothing lent>"

    def __getattr__(self, name: str) -> Any:
        if name in ("_held", "_guard"):
            self._borrow()
            return self.__dict__[name]
        return super().__getattr__(name)

    def _borrow(self) -> None:
        forking.check()
        if get_ident() != self._owner.ident:
            raise self._lender.errors.ProgrammingError(
                f"the connection to {self._lender.name} of {self._owner.name} was used by the thread"
                f" {current_thread().name}: each thread gets its own from connect()"
            )
        claim = self._lender.lend(self._owner)
        assert claim.held is not None
        claim.held.alias = self._alias
        self._held = claim.held
        self._guard = Guard(claim.held)
        self._guard.watch = self._watch
        self._claim = claim

    def end_unit(self) -> list[str]:
        """End the unit of work and give the session back; return what had been left open, in words."""
        if self._claim is None:
            return []
        left = super().end_unit()
        self._give_back(self._claim)
        return left

    def retire(self) -> None:
        """Really close the session, if one is lent; the next statement borrows another."""
        if self._claim is not None:
            super().retire()
            self._give_back(self._claim)

    def _give_back(self, claim: Claim) -> None:
        # First of all: whatever strikes from here on, what is no longer ours is not used again.
        del self._held, self._guard
        self._claim = None
        self._lender.give_back(claim)

    @property
    def open(self) -> bool:
        """Whether statements can be sent; a session that was closed by ``shutdown()`` must be given back first."""
        return self._claim is None or self._held.state is not State.CLOSED

    @property
    def alias(self) -> str | None:
        """The Django alias that it belongs to."""
        return self._alias

    @alias.setter
    def alias(self, alias: str | None) -> None:
        self._alias = alias
        if self._claim is not None:
            self._held.alias = alias

    @property
    def owner(self) -> Owner:
        """Who may use it."""
        return self._owner

    @owner.setter
    def owner(self, owner: Owner) -> None:
        self._owner = owner
        if self._claim is not None:
            self._held.owner = self._claim.owner = owner

    @property
    def watch(self) -> Watch | None:
        """Who answers for the transaction that is open, if anybody does."""
        return self._watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._watch = watch
        if self._claim is not None:
            self._guard.watch = watch

    @property
    def dress(self) -> object:
        """What its user has made of the session that is lent."""
        return self._held.dress

    @dress.setter
    def dress(self, dress: object) -> None:
        self._held.dress = dress
        assert self._claim is not None
        self._claim.found = self._held.form
