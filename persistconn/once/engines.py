"""Which tables have an engine without transactions: a job may not write them, for no rollback would undo it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from persistconn.once.line import Rows, apart, insist
from persistconn.once.literals import as_text, of_text

if TYPE_CHECKING:
    from persistconn.opening import Opening


def _question(schema: str) -> str:
    return (
        "SELECT t.TABLE_NAME, t.ENGINE, e.TRANSACTIONS = 'YES' FROM information_schema.TABLES AS t"
        " JOIN information_schema.ENGINES AS e ON e.ENGINE = t.ENGINE"
        f" WHERE t.TABLE_SCHEMA = {of_text(schema)}"
    )


class Engines:
    """The engines of one server's tables, read when a name is first met; its lock guards the changes of ``_good``.

    It asks on a connection of its own: on MySQL a look into ``information_schema`` would open the job's snapshot.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Not those that are refused: they are asked for again, because somebody may convert them now.
        # Replaced as a whole, so that each statement of a job can look into it without the lock.
        self._good: frozenset[tuple[str, str]] = frozenset()

    def without_transactions(self, opening: Opening, schema: str, table: str) -> str | None:
        """Return the engine of a table if that has no transactions, else None; asks the server for a name that is new."""
        if (schema, table) in self._good:
            return None
        # What is no base table (a view, a temporary table) is not found, and passes.
        found: dict[str, str | None] = {table: None}
        for name, engine, has_transactions in insist(opening, lambda: _ask_for(opening, schema)):
            found[as_text(name)] = None if has_transactions else as_text(engine)
        with self._lock:
            self._good |= {(schema, name) for name, engine in found.items() if engine is None}
        return found[table]


def _ask_for(opening: Opening, schema: str) -> Rows:
    with apart(opening) as ask:
        return ask(_question(schema))


_lock = threading.Lock()
_engines: dict[str, Engines] = {}


def engines_at(address: str) -> Engines:
    """Return what is known of one server's tables."""
    if (known := _engines.get(address)) is not None:
        return known
    with _lock:
        return _engines.setdefault(address, Engines())
