"""The ledger of a campaign's database, made as a program without Django makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql

import persistconn

WAYS = ("calls", "steps")
"""How the protocol's own statements travel: together in the ledger's procedures, or one by one."""


def make_ledger(arguments: Mapping[str, Any], way: str = WAYS[0], *, is_new: bool = False) -> None:
    """Make the ledger of the database that these arguments of ``connect()`` name, with procedures or without.

    ``is_new``: the database has none yet. Dropping one has the whole process prove all its ledgers again, other threads in
    the middle of a job too.
    """
    connection = persistconn.manage(pymysql).connect(**{**arguments, "ssl_disabled": True, "autocommit": True})
    if not is_new:
        # Of an earlier run, with other rows and perhaps with procedures.
        persistconn.ledger.drop(connection)
    persistconn.ledger.create(connection, procedures=way == "calls")
    connection.retire()
