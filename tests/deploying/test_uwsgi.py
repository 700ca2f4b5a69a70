"""uWSGI: the site is loaded in the master, and the workers are forked then, in C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from persistconn.testing import eventually
from persistconn.testing.process import pick_port

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.needs("uwsgi")]
EXAMPLE = "uwsgi"
PROCESSES, THREADS = 2, 4
HOOKS = pytest.mark.parametrize(
    "hooks", [(), ("--py-call-uwsgi-fork-hooks",)], ids=["no hooks, as it is by default", "Python's hooks"]
)


def uwsgi(*options: str) -> Callable[[int], list[str]]:
    """Return the command of the example."""
    return lambda port: ["uwsgi", "uwsgi.ini", "--http-socket", f"127.0.0.1:{port}", *options]


def sessions_of_workers(answers: list[dict[str, int]]) -> dict[int, set[int]]:
    """Return which process has answered on which sessions."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for answer in answers:
        found[answer["process"]].add(answer["session"])
    return dict(found)


def loaded_on(said: str) -> int:
    """Return the session that the master had when it loaded the site."""
    found = re.search(r"loaded by process \d+ on session (\d+)", said)
    assert found is not None, said
    return int(found[1])


def states(port: int) -> list[str]:
    """Return what uWSGI says that its workers do, by its stats server."""
    with socket.create_connection(("127.0.0.1", port)) as server, server.makefile() as said:
        return [worker["status"] for worker in json.load(said)["workers"]]


@HOOKS
@pytest.mark.parametrize(("pool", "each"), [(None, THREADS), ("3", 3)], ids=["a session each", "a pool"])
def test_each_worker_has_sessions_of_its_own(
    example: Any, database: Any, hooks: tuple[str, ...], pool: str | None, each: int
) -> None:
    """None is the master's, none is another worker's, and there are as many as the settings say."""
    if pool is not None:
        example.environment["SHOP_POOL"] = pool
    example.migrate()
    eventually(lambda: not database.sessions())
    database.forget()
    stats = pick_port("127.0.0.1")
    with example.serving(uwsgi(*hooks, "--stats", f"127.0.0.1:{stats}")) as served:
        master = loaded_on(served.said())

        def are_on_all(answers: list[dict[str, int]]) -> bool:
            """Each process has answered, and on each session that there is: the first page may have opened one, too."""
            used = {answer["session"] for answer in answers}
            return len(sessions_of_workers(answers)) == PROCESSES and set(database.sessions()) <= used | {master}

        answers = served.load_until("/slow", requests=160, at_once=16, enough=are_on_all)
        workers = sessions_of_workers(answers)
        assert len(workers) == PROCESSES
        first, second = workers.values()
        assert not first & second
        assert master not in first | second
        assert max(len(first), len(second)) <= each
        # The master's stays as long as it lives: one for each thread, and it has one; or free in its pool.
        assert set(database.sessions()) == first | second | {master}
        assert database.most() <= PROCESSES * each + 1
        # The answer has come, but a busy machine may still be at what follows it; uWSGI runs exit hooks in idle workers only.
        eventually(lambda: set(states(stats)) == {"idle"})
    eventually(lambda: not database.sessions())
    # uWSGI's master runs no exit hooks, so its one session ends without a goodbye; the workers say theirs.
    assert [line for line in database.aborted() if f"connection {master} " not in line] == []


@HOOKS
def test_a_worker_that_is_replaced_leaves_the_others_their_sessions(
    example: Any, database: Any, hooks: tuple[str, ...]
) -> None:
    """The new one is forked from the master too, and says nothing on its session."""
    example.migrate()
    with example.serving(uwsgi(*hooks)) as served:

        def are_of_two(answers: list[dict[str, int]]) -> bool:
            return len(sessions_of_workers(answers)) == PROCESSES

        before = sessions_of_workers(served.load_until("/slow", requests=80, at_once=16, enough=are_of_two))
        os.kill(next(iter(before)), signal.SIGKILL)
        eventually(lambda: "Respawned uWSGI worker" in served.said())
        after = sessions_of_workers(served.load_until("/slow", requests=80, at_once=16, enough=are_of_two))
        assert loaded_on(served.said()) in database.sessions()
        new = set(after) - set(before)
        assert len(new) == 1
        assert not set().union(*before.values()) & after[new.pop()]
