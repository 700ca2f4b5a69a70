"""How long a job's session waits for a lock of the server's: not for as long as its client waits for an answer. Pure.

Otherwise waiting itself looks like a loss, and the attempts of those who wait end each other's sessions.
"""

from __future__ import annotations

from persistconn.errors import ConfigError

SHORTEST_READ_TIMEOUT = 1.0
"""Seconds: more than that it must be, because servers count lock waits in whole ones."""
_MARGIN = 0.5
"""Seconds for the answer to be on its way."""


def longest_wait(read_timeout: object) -> int | None:
    """Return the seconds after which a wait for a lock must end, for what the connect arguments say; None for no bound.

    Raises ConfigError for a ``read_timeout`` that a wait for a lock cannot lie below.
    """
    if not isinstance(read_timeout, (int, float)) or not read_timeout:
        return None
    if read_timeout <= SHORTEST_READ_TIMEOUT:
        raise ConfigError(
            f"read_timeout ({read_timeout:g} s) must be longer than {SHORTEST_READ_TIMEOUT:g} s for a job: a wait for a lock,"
            " which the server counts in whole seconds (innodb_lock_wait_timeout), would look like a lost connection"
        )
    return max(1, int(read_timeout - _MARGIN))


def cap(seconds: int) -> str:
    """Return the statement by which a session waits for so long at most; what is shorter already stays as it is."""
    # MySQL takes no expression for it that may be a DECIMAL.
    return f"SET SESSION innodb_lock_wait_timeout = CAST(LEAST(@@innodb_lock_wait_timeout, {seconds}) AS UNSIGNED)"
