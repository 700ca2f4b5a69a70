"""A new thread for each request: the sessions outlive them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]
EXAMPLE = "threads"
POOL = 5
SERVERS = {
    "wsgiref": lambda port: [sys.executable, "serve.py", str(port)],
    "runserver": lambda port: [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
}


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_hundreds_of_requests_on_as_many_threads_connect_as_often_as_the_pool_is_large(
    example: Any, database: Any, crowds: dict[str, int], command: Callable[[int], list[str]]
) -> None:
    """Each request is answered, on a session that an earlier one has opened."""
    example.migrate()
    with example.serving(command) as served:
        before = database.made()
        answers = served.load("/slow", requests=300, at_once=20)
        browsers = served.load("/", requests=100, at_once=20)
        assert database.made() - before <= POOL
        assert {answer["session"] for answer in answers} <= set(database.sessions())
        assert [{"visits": 1}] * 100 == browsers
        assert crowds[database.name] <= POOL
