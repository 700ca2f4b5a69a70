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
from persistconn.testing import eventually
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

UntilConclusive = Callable[[Callable[[float], "str | None"]], None]

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


def begin_anew(bench: Any) -> None:
    """Have one row with a 1 in it, and an empty ledger."""
    for statement in ("DELETE FROM {}.t", "INSERT INTO {}.t (x) VALUES (1)", "DELETE FROM {}.persistconn_ledger"):
        bench.ask(statement)


TOO_LATE = "the server's answer that the wait had been too long came later than the client waits for one"
"""Half a second, or a second, is what lies between the two, and is not the test's to choose."""


def test_a_job_that_waits_for_too_long_is_told_so_and_has_lost_nothing(
    limited: Any, until_conclusive: UntilConclusive
) -> None:
    """1205, the server's own answer, on the same session: no attempt ends another one's session."""

    def experiment(_: float) -> str | None:
        begin_anew(limited)
        runs: list[int] = []

        def function() -> None:
            runs.append(limited.session)
            limited.run("UPDATE t SET x = x + 1")

        with locked(limited, "UPDATE t SET x = 9"), pytest.raises(limited.module.OperationalError) as told:
            limited.job(function, name="waits", retries=1)()
        if isinstance(told.value, persistconn.ConnectionLost) or len(set(runs)) > 1:
            return TOO_LATE
        assert told.value.args[0] == 1205
        assert runs == [limited.session] * 2
        assert (limited.effects, limited.states) == ([1], [])
        return None

    until_conclusive(experiment)


def test_a_job_whose_wait_was_cut_short_waits_on(limited: Any, until_conclusive: UntilConclusive) -> None:
    """The server would have let it wait for longer: in another attempt it does, on the same session."""

    def experiment(_: float) -> str | None:
        begin_anew(limited)
        runs: list[int] = []

        def function() -> None:
            runs.append(limited.session)
            if len(runs) == 2:
                give_back()
            limited.run("UPDATE t SET x = x + 1")

        with locked(limited, "UPDATE t SET x = 9") as give_back:
            limited.job(function, name="waits")()
        if len(set(runs)) > 1:
            return TOO_LATE
        assert runs == [limited.session] * 2
        assert (limited.effects, limited.states) == ([2], ["done"])
        return None

    until_conclusive(experiment)


def test_a_job_that_waits_for_its_token_waits_on(limited: Any, until_conclusive: UntilConclusive) -> None:
    """For longer than the client waits for an answer, one statement after the other, on the session that it has."""

    def experiment(factor: float) -> str | None:
        token = key_token("waits", f"k{factor}")
        insert = Statements(limited.name).insert(token, bytes(8), 1, bytes(32), "", "a stranger")
        with locked(limited, insert) as give_back, persistconn.Executor(max_workers=1) as pool:
            job = limited.job(lambda: limited.session, name="waits").keyed(f"k{factor}")
            before = pool.submit(lambda: (limited.job(lambda: None, name="first")(), limited.session)[1]).result()
            waits = limited.count("Innodb_row_lock_waits")
            future = pool.submit(job)
            # The third one: two have ended, after a second each.
            eventually(lambda: limited.count("Innodb_row_lock_waits") >= waits + READ_TIMEOUT + 1)
            assert not future.done()
            give_back()
            return None if future.result(PATIENCE) == before else TOO_LATE

    until_conclusive(experiment)


def test_a_session_whose_patience_is_shorter_keeps_it(limited: Any) -> None:
    """The limit is the caller's; and without a read_timeout it is the server's."""
    limited.arguments["init_command"] = "SET SESSION innodb_lock_wait_timeout = 1"
    limited.arguments["read_timeout"] = 30
    ask = "SELECT @@innodb_lock_wait_timeout"
    job = limited.job(lambda: limited.run(ask)[0][0], name="asks")
    assert job() == 1
    del limited.arguments["init_command"]
    assert job() == 29
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
