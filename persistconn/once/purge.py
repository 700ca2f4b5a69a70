"""Forgets what is older than the retention: the mark first, then the rows, in steps that no job has to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistconn import log
from persistconn.once import probe
from persistconn.once.line import Ask, apart
from persistconn.once.names import PURGE
from persistconn.once.rows import Statements

if TYPE_CHECKING:
    from persistconn.opening import Opening

EVERY = 3600.0
"""Seconds between two purges of a process."""
STEP = 500
"""Rows that are deleted at once: a few milliseconds of locks."""


def purge(opening: Opening, schema: str, retention: float) -> int:
    """Forget the tokens of a ledger that were issued more than ``retention`` seconds ago; returns how many.

    Keys, and rows of torn jobs, are never forgotten. Blocks while there is something to delete, on a session of its own;
    returns 0 at once if another machine is at it. Raises the driver's errors.
    """
    statements = Statements(schema)
    with apart(opening) as ask:
        if ask(f"SELECT GET_LOCK('{PURGE}', 0)") != [(1,)]:
            return 0
        ask("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # No locks on the gaps between rows.
        # Before the first row goes: a late replay of its token must find the mark raised, or it would run again.
        ask(statements.raise_mark(retention))
        return _delete(ask, statements)


def _delete(ask: Ask, statements: Statements) -> int:
    deleted = 0
    while True:
        ask(statements.forget(STEP))
        step = int(ask("SELECT ROW_COUNT()")[0][0])
        deleted += step
        if step < STEP:
            return deleted


def purge_all() -> None:
    """Purge each ledger that this process has used; a failure is logged, and the next hour tries again."""
    for (address, schema), opening in probe.proved().items():
        try:
            count = purge(opening, schema, opening.policy.retention)
        except Exception as error:
            log.warning("could not purge the ledger %s at %s: %s", schema, address, error, extra={"action": "purge"})
        else:
            log.info("purged %d tokens of the ledger %s at %s", count, schema, address, extra={"action": "purge"})
