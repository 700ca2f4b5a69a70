"""The servers' error numbers that mean something of their own to the protocol; the others are in ``drivers/faults.py``."""

from __future__ import annotations

DUPLICATE = 1062  # ER_DUP_ENTRY: somebody has committed the token
NO_SUCH_THREAD = 1094  # ER_NO_SUCH_THREAD: the session that was to be ended has ended
NOT_OWNER = 1095  # ER_KILL_DENIED_ERROR: it is another user's
LOCK_WAIT = 1205  # ER_LOCK_WAIT_TIMEOUT: somebody holds the token
DEADLOCK = 1213  # ER_LOCK_DEADLOCK: several waited for a token whose holder rolled back
NOT_THERE = 1305  # ER_SP_DOES_NOT_EXIST: a savepoint, or a procedure
INTERRUPTED = 1317  # ER_QUERY_INTERRUPTED: KILL QUERY
NO_EXECUTE = 1370  # ER_PROCACCESS_DENIED_ERROR
