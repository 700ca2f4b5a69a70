"""What a unit's end means to Django: every alias of the thread is put back as it was, and the query log is emptied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections, reset_queries

from persistconn.backends.mysql import orphans
from persistconn.keeper import KEEPER

if TYPE_CHECKING:
    from persistconn.backends.mysql.base import DatabaseWrapper
    from persistconn.connection import PersistentConnection


def register(engine: type[DatabaseWrapper]) -> None:
    """Have the keeper end the unit of work of this engine's wrappers, on the thread whose unit ends."""

    def end_unit() -> None:
        for wrapper in connections.all(initialized_only=True):
            if isinstance(wrapper, engine):
                wrapper.end_unit()
        # With DEBUG on, a thread that never serves a request collects 9000 queries of each alias.
        reset_queries()
        orphans.retire_all()

    def outlives_unit(connection: PersistentConnection) -> bool:
        wrappers = (wrapper for wrapper in connections.all(initialized_only=True) if isinstance(wrapper, engine))
        return any(wrapper.connection is connection and wrapper.is_a_tests for wrapper in wrappers)

    KEEPER.at_boundary(end_unit)
    KEEPER.outlives_unit = outlives_unit
