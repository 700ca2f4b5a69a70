"""A server that forks in C runs none of Python's hooks: uWSGI's case, without uWSGI."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.keepalive import KEEPALIVE
from persistconn.testing import eventually

pytestmark = pytest.mark.server

LIMIT = 60.0
"""Seconds after which a child hangs."""
POOLS = pytest.mark.parametrize("pool", [None, {"max_size": 2}], ids=["a session each", "a pool"])


@pytest.fixture
def connect(database: Any, pool: Any) -> Iterator[Callable[[], Any]]:
    """Connects the calling thread."""
    module = persistconn.manage(pymysql, pool=pool)
    arguments = database.server.connect_args(database=database.name, autocommit=True, ssl_disabled=True)
    yield lambda: module.connect(**arguments)
    KEEPALIVE._scheduler = None  # It has ended already.
    persistconn.shutdown()


def end_threads() -> None:
    """End the keepalive's threads without its knowledge: what it finds in the child is a scheduler without threads as ever.

    A thread that waits for the interpreter at the moment of the fork has asked for it in the child too, where it does not
    exist. Whoever gives the interpreter away there waits until that one has taken it: CPython, where no hook puts it right.
    """
    if KEEPALIVE._scheduler is not None and KEEPALIVE._scheduler.running:
        KEEPALIVE._scheduler.shutdown()


def session(connection: Any) -> int:
    """Ask the server for the session's id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return int(cursor.fetchone()[0])


def in_child(work: Callable[[], list[int]]) -> list[int]:
    """Fork as C does, and return what ``work`` returns there."""
    end_threads()
    reads, writes = os.pipe()
    # PyDLL keeps the interpreter's lock, so that the child has it.
    child = ctypes.PyDLL(None).fork()
    if not child:
        try:
            os.write(writes, " ".join(map(str, work())).encode())
        finally:
            os._exit(0)
    os.close(writes)
    # One that waits for a lock or a thread of its parent's would wait for ever.
    is_done, _, _ = select.select([reads], [], [], LIMIT)
    if not is_done:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reads) as pipe:
        assert is_done, "the child hangs"
        return [int(number) for number in pipe.read().split()]


@POOLS
@pytest.mark.parametrize("gives_back", [True, False])
def test_a_child_uses_no_session_of_its_parent_s(connect: Any, database: Any, gives_back: bool) -> None:
    """On whichever thread it begins; and the parent goes on with its own."""
    connection = connect()
    mine = session(connection)
    if gives_back:
        connection.close()

    def work() -> list[int]:
        found: list[int] = []
        other = threading.Thread(target=lambda: found.append(session(connect())))
        other.start()
        other.join()
        found += [session(connection), session(connect()), len(persistconn.connections())]
        persistconn.shutdown()
        return found

    other, same, again, count = in_child(work)
    assert same == again
    assert len({mine, other, same}) == 3
    assert count == 2
    assert session(connection) == mine
    eventually(lambda: set(database.sessions()) == {mine})


@POOLS
def test_a_child_that_goes_on_with_what_it_has_in_its_hands_does_so_on_a_session_of_its_own(
    connect: Any, database: Any
) -> None:
    """With its first statement, before it has connected to anything."""
    connection = connect()
    mine = session(connection)
    (its,) = in_child(lambda: [session(connection)])
    assert its != mine
    assert session(connection) == mine


@POOLS
@pytest.mark.parametrize("end", ["close", "retire", "shutdown"])
def test_what_a_child_ends_is_not_its_parent_s(connect: Any, database: Any, end: str) -> None:
    """A goodbye on the inherited socket would end the parent's session."""
    connection = connect()
    mine = session(connection)

    def work() -> list[int]:
        persistconn.shutdown() if end == "shutdown" else getattr(connection, end)()
        return [1]

    assert in_child(work) == [1]
    assert session(connection) == mine
