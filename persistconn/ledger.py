"""The ledger: the table that proves which jobs have taken effect."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from persistconn.once import probe
from persistconn.once import procedures as making
from persistconn.once import purge as purging
from persistconn.once.line import Line
from persistconn.once.rows import CREATE, DROP

if TYPE_CHECKING:
    from persistconn.connection import PersistentConnection


def create(connection: PersistentConnection, *, procedures: bool = True) -> None:
    """Create the ledger in the connection's database, unless it is there; for programs without Django's migrations.

    Commits what is open, as every CREATE TABLE does. Takes the right to create tables there. With the right to create
    routines a job costs three round trips instead of seven; without it, or with ``procedures`` off, it works the same.
    """
    line = _line(connection)
    for statement in CREATE:
        connection.query(statement)
    if procedures:
        making.create(connection.query, line.Error)
    connection.commit()


def drop(connection: PersistentConnection) -> None:
    """Drop the ledger, and with it the proof of every job that took effect."""
    _line(connection)
    for statement in (*making.DROP, *DROP):
        connection.query(statement)
    connection.commit()
    probe.forget()


def purge(connection: PersistentConnection, retention: float | None = None) -> int:
    """Forget the tokens that were issued more than ``retention`` seconds ago (None: the policy's); returns how many.

    The keepalive does it each hour in a process that runs jobs; a script that ends sooner calls this. Keys are never
    forgotten. Blocks while there is something to delete.
    """
    line = _line(connection)
    policy = line.opening.policy
    if retention is not None:
        policy = dataclasses.replace(policy, retention=retention)
    return purging.purge(line.opening, line.schema, policy.retention)


def check(connection: PersistentConnection) -> None:
    """Prove that the ledger is there, may be used and fences; blocks for about 0.2 s, the first time in a process.

    Raises LedgerError with what to do. Each process does it before its first job; a service may do it when it starts.
    """
    line = _line(connection)
    probe.prove(line.opening, line.schema)


def _line(connection: object) -> Line:
    return Line.to(connection, "persistconn.ledger was given")
