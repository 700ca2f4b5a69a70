"""A job waits for a lock for less time than its client for an answer: a wait is no loss. Every driver, every server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import persistconn
from persistconn.once.line import apart
from persistconn.once.rows import Statements
from persistconn.once.token import key_token

pytestmark = pytest.mark.server

READ_TIMEOUT = 2


@pytest.fixture
def limited(bench: Any) -> Any:
    """Connections whose client waits for an answer for two seconds."""
    bench.connect().retire()
    bench.arguments["read_timeout"] = READ_TIMEOUT
    return bench


@contextmanager
def locked(bench: Any, *statements: str) -> Iterator[Callable[[], Any]]:
    """Have a stranger hold locks; yield what has him give them back."""
    arguments = {**bench.arguments, "read_timeout": 60}
    stranger = bench.module.connect(**arguments)
    try:
        with stranger.cursor() as cursor:
            for statement in ("BEGIN", *statements):
                cursor.execute(statement)
        yield stranger.rollback
    finally:
        stranger.close()


def test_a_job_that_waits_for_too_long_is_told_so_and_has_lost_nothing(limited: Any) -> None:
    """1205, the server's own answer, on the same session: no attempt ends another one's session."""
    runs: list[int] = []

    def function() -> None:
        runs.append(limited.session)
        limited.run("UPDATE t SET x = x + 1")

    limited.add(1)
    with locked(limited, "UPDATE t SET x = 9"), pytest.raises(limited.module.OperationalError) as told:
        limited.job(function, name="waits", retries=1)()
    assert told.value.args[0] == 1205
    assert runs == [limited.session] * 2
    assert (limited.effects, limited.states) == ([1], [])


def test_a_job_whose_wait_was_cut_short_waits_on(limited: Any) -> None:
    """The server would have let it wait for longer: in another attempt it does, on the same session."""
    runs: list[int] = []

    def function() -> None:
        runs.append(limited.session)
        if len(runs) == 2:
            give_back()
        limited.run("UPDATE t SET x = x + 1")

    limited.add(1)
    with locked(limited, "UPDATE t SET x = 9") as give_back:
        limited.job(function, name="waits")()
        assert runs == [limited.session] * 2
    assert (limited.effects, limited.states) == ([2], ["done"])


def test_a_job_that_waits_for_its_token_waits_on(limited: Any) -> None:
    """For longer than the client waits for an answer, one statement after the other, on the session that it has."""
    token = key_token("waits", "k")
    insert = Statements(limited.name).insert(token, bytes(8), 1, bytes(32), "", "a stranger")
    with locked(limited, insert) as give_back, persistconn.Executor(max_workers=1) as pool:
        job = limited.job(lambda: limited.session, name="waits").keyed("k")
        before = pool.submit(lambda: (limited.job(lambda: None, name="first")(), limited.session)[1]).result()
        future = pool.submit(job)
        limited.ask(f"SELECT SLEEP({READ_TIMEOUT + 0.5})")
        assert not future.done()
        give_back()
        assert future.result(30) == before


def test_a_session_whose_patience_is_shorter_keeps_it(limited: Any) -> None:
    """The limit is the caller's; and without a read_timeout it is the server's."""
    limited.arguments["init_command"] = "SET SESSION innodb_lock_wait_timeout = 1"
    limited.arguments["read_timeout"] = 20
    ask = "SELECT @@innodb_lock_wait_timeout"
    job = limited.job(lambda: limited.run(ask)[0][0], name="asks")
    assert job() == 1
    del limited.arguments["init_command"]
    assert job() == 19
    with apart(limited.connect()._held.opening) as fresh:
        usual = fresh(ask)[0][0]
    del limited.arguments["read_timeout"]
    assert job() == usual


@pytest.mark.parametrize("read_timeout", [1])
def test_a_read_timeout_that_leaves_no_time_to_wait_is_refused(limited: Any, read_timeout: int) -> None:
    """With the setting and its value, before anything of the job is run."""
    limited.arguments["read_timeout"] = read_timeout
    with pytest.raises(persistconn.ConfigError, match=r"read_timeout \(1 s\) must be longer than 1 s for a job"):
        limited.job(lambda: limited.add(1), name="hasty")()
    assert limited.effects == []
