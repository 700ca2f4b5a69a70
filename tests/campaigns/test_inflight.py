"""A sample of the campaign ``in-flight``: each kind once, on a private MariaDB."""

from __future__ import annotations

import pytest

from campaigns.inflight import Hold, Outcome, Strike, judge


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("way", ["calls", "steps"])
def test_a_commit_that_is_struck_in_flight_has_exactly_one_effect(driver: str, way: str) -> None:
    """Held by FLUSH TABLES WITH READ LOCK or late, then killed, interrupted, cut, swallowed, or its server crashed."""
    from campaigns import inflight

    figures = inflight.run(driver, rounds=1, way=way)
    assert figures.has_held, "\n".join(figures.lines())


def outcome(said: str, effects: int, *attempts: int, strike: Strike = Strike.KILL) -> Outcome:
    """Return what came of a job."""
    return Outcome(Hold.LATE, strike, said, effects, attempts)


def test_a_job_is_done_once_with_one_row() -> None:
    """By the first attempt or by a later one."""
    assert outcome("done", 1, 1).flaw is None
    assert outcome("done", 1, 2).flaw is None
    assert ["committed all the same", "replayed"] == [outcome("done", 1, 1).end, outcome("done", 1, 2).end]


@pytest.mark.parametrize(
    "wrong",
    [
        outcome("done", 0),
        outcome("done", 2, 1),
        outcome("done", 1),
        outcome("pymysql.err.OperationalError: (2013, '')", 1, 1),
        outcome("interrupted", 0),
        outcome("interrupted", 1, 1, strike=Strike.KILL_QUERY),
    ],
)
def test_anything_else_is_a_flaw(wrong: Outcome) -> None:
    """Lost, doubled, without its row, an error that surfaced, or KILL QUERY told of what took effect."""
    assert wrong.flaw is not None
    assert not judge("pymysql", [wrong]).has_held


def test_kill_query_is_somebodys_will() -> None:
    """Told, and no effect."""
    told = outcome("interrupted", 0, strike=Strike.KILL_QUERY)
    assert told.flaw is None
    assert told.end == "told, no effect"
