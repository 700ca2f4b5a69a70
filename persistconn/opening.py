"""How a raw connection is made for a held one: through the gate, with the session rebuilt on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from persistconn.drivers import Driver, sockets
from persistconn.drivers.base import Raw
from persistconn.errors import Bound, bind
from persistconn.gate import Gate
from persistconn.policy import Policy
from persistconn.session import Session

CANCEL_TIMEOUT = 2.0
"""Seconds that a connection may take which is made to cancel the statement on another."""
_PASSWORDS = ("password", "passwd")


class Fresh(NamedTuple):
    """A raw connection just made, with what its session said of itself."""

    raw: Raw
    wait_timeout: float


class Opening:
    """The connect arguments of one held connection, and the way to a raw one. Used by its owner and by the sweep."""

    def __init__(
        self, driver: Driver, policy: Policy, gate: Gate, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.driver = driver
        self.policy = policy
        self.gate = gate
        self.args = args
        self.kwargs = dict(kwargs)
        self.address = driver.address(kwargs)
        self.errors: Bound = bind(driver.module.OperationalError)

    def open(self, session: Session, old: Raw | None) -> Fresh:
        """Connect and make the session like the old one; blocks for ``give_up_after`` at most, raises as the gate does."""
        return self._open(session, old, self.policy)

    def try_once(self, session: Session, old: Raw | None) -> Fresh:
        """Do the same, but give up at the first failure: the sweep comes again."""
        return self._open(session, old, dataclasses.replace(self.policy, give_up_after=1e-9))

    def cancel(self, raw: Raw) -> None:
        """Cancel the statement that runs on a raw connection (``KILL QUERY``), from a connection made for that."""

        def tell(messenger: Raw) -> Raw:
            messenger.query(f"KILL QUERY {self.driver.session_id(raw)}")
            return messenger

        limit = min(self.policy.connect_timeout, CANCEL_TIMEOUT)
        self.driver.quit(self.driver.connect(self.args, self.arguments(), limit, tell))

    def _open(self, session: Session, old: Raw | None, policy: Policy) -> Fresh:
        return self.gate.connect(
            lambda: self._connect(session, old),
            lambda error: self.driver.classify(None, error),
            policy,
            self.errors.DatabaseUnavailable,
        )

    def _connect(self, session: Session, old: Raw | None) -> Fresh:
        def prepare(raw: Raw) -> Fresh:
            sockets.watch_path(self.driver.fileno(raw))
            self._rebuild(raw, session, old)
            return Fresh(raw, self.driver.wait_timeout(raw))

        return self.driver.connect(self.args, self.arguments(), self.policy.connect_timeout, prepare)

    def arguments(self) -> dict[str, Any]:
        """Return the connect arguments as they are now."""
        # A password that is rotated, or a token that lasts for minutes, is asked for at each connect.
        return {
            name: value() if name in _PASSWORDS and callable(value) else value for name, value in self.kwargs.items()
        }

    def _rebuild(self, raw: Raw, session: Session, old: Raw | None) -> None:
        for sql in session.statements():
            raw.query(sql)
        if session.charset is not None:
            raw.set_character_set(*session.charset)
        if session.database is not None:
            raw.select_db(session.database)
        if old is not None:
            self.driver.carry_over(old, raw)
            raw.autocommit(self.driver.autocommits(old))
