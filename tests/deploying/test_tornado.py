"""Tornado: a pool of threads for Django's ORM, and one connection for a loop."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from persistconn.testing import eventually

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.needs("tornado")]
EXAMPLE = "tornado"
THREADS = 4


def test_handlers_that_wait_for_the_orm_share_the_sessions_of_the_executor(
    example: Any, database: Any, crowds: dict[str, int]
) -> None:
    """As many as it has threads, warm before the first request, and gone with an orderly end."""
    with example.serving(lambda port: [sys.executable, "server.py", str(port)]) as served:
        # The first page tells that it serves, on one thread; the others may still be getting warm.
        eventually(lambda: len(database.sessions()) == THREADS)
        warm = set(database.sessions())

        def are_of_all_threads(answers: list[Any]) -> bool:
            return {answer["session"] for answer in answers} >= warm

        answers = served.load_until("/", requests=200, at_once=40, enough=are_of_all_threads)
        assert len({answer["browser"] for answer in answers}) == len(answers)
        assert {answer["session"] for answer in answers} == warm
        assert served.get(f"/?browser={answers[0]['browser']}")["visits"] == 2
        assert crowds == {database.name: THREADS}
    eventually(lambda: not database.sessions())
    assert database.aborted() == []


def test_a_loop_has_one_connection_from_its_first_request_to_its_last(example: Any, database: Any) -> None:
    """It is replaced if it dies between two requests, and nobody hears of it."""
    with example.serving(lambda port: [sys.executable, "loop.py", str(port)]) as served:
        answers = served.load("/", requests=100, at_once=10)
        assert {answer["session"] for answer in answers} == set(database.sessions())
        (first,) = database.sessions()
        database.server.kill_session(first)
        eventually(lambda: first not in database.sessions())
        before = served.get()
        assert before["session"] != first
        eventually(lambda: served.get()["ticks"] > before["ticks"])
        assert {served.get()["session"]} == set(database.sessions())
