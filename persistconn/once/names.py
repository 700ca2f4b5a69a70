"""The names of the locks that the protocol takes (``GET_LOCK``): a session's, a process's heart, an election's. Pure.

A session's name begins with that of its process's heart, if that beats: so a row, which tells the session, tells the heart.
"""

from __future__ import annotations

import hashlib
import os

PREFIX = "pc:"
PURGE = "pc:purge"
SEPARATOR = "-"
"""Between a heart's name and what its session adds to it; no other name has one."""


def random_name() -> str:
    """Return a name that nobody else has."""
    return PREFIX + os.urandom(12).hex()


def session_name(heart: str | None) -> str:
    """Return a new name for a session of the process whose heart this is; None for one without."""
    return random_name() if heart is None else f"{heart}{SEPARATOR}{os.urandom(12).hex()}"


def heart_of(session: str) -> str | None:
    """Return the heart that a session's name tells; None if it tells none."""
    heart, separator, _ = session.partition(SEPARATOR)
    return heart if separator else None


def election_name(token: bytes) -> str:
    """Return the lock whose holder is the one that runs a token."""
    return PREFIX + hashlib.sha256(token).hexdigest()[:40]
