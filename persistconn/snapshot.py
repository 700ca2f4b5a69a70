"""Frozen views of what is held, for people and for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConnectionView:
    """One held connection at one moment. Durations are float seconds. Carries no credential."""

    owner: str
    """The name of the thread that it belongs to."""
    owner_alive: bool
    alias: str | None
    """The Django alias, if Django holds it."""
    address: str
    """``host:port`` or the path of the Unix socket."""
    session_id: int | None
    """The server's id of the session; None while there is none."""
    state: str
    """``idle``, ``busy``, ``reserved`` (the sweep is at it), ``vacant`` (to be opened at the next use) or ``closed``."""
    in_transaction: bool
    age: float | None
    """Since the session was opened; None while there is none."""
    idle: float
    """Since the owner last used it."""
    proof_age: float | None
    """Since the server last answered: the last proof of life."""
    pings: int
    """How often the sweep, or the check before a statement, has pinged it."""
    recycles: dict[str, int] = field(default_factory=dict)
    """How often its session was given up, by reason."""
