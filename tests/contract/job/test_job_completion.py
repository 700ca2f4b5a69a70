"""A job's COMMIT and ROLLBACK end its transaction and nothing else, whatever ``completion_type`` makes of a plain one."""

from __future__ import annotations

from typing import Any

import pytest

import persistconn
from persistconn.once import probe, rows
from persistconn.once.line import Line

pytestmark = pytest.mark.server


@pytest.fixture(params=["CHAIN", "RELEASE"])
def completing(bench: Any, request: pytest.FixtureRequest) -> Any:
    """Have every session begin another transaction behind each, or end with it."""
    bench.connect().retire()
    bench.arguments["init_command"] = f"SET SESSION completion_type = '{request.param}'"
    return bench


def test_a_commit_neither_begins_another_transaction_nor_ends_the_session(completing: Any) -> None:
    """The one would have the next job refused, the other would be taken for a loss, or for KILL QUERY."""
    runs: list[int] = []

    def function() -> int:
        runs.append(completing.session)
        completing.add(len(runs))
        return len(runs)

    job = completing.job(function, name="job")
    assert [job(), job.keyed("k")(), job.keyed("k")()] == [1, 2, 2]
    assert (completing.effects, completing.states) == ([1, 2], ["done", "done"])
    assert runs == [completing.session] * 2
    assert not Line(completing.connect()).is_open


def test_a_rollback_neither_begins_another_transaction_nor_ends_the_session(completing: Any) -> None:
    """Of a job that fails."""
    sessions: list[int] = []

    def function() -> None:
        sessions.append(completing.session)
        completing.add(1)
        raise ValueError("no")

    job = completing.job(function, name="job")
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            job()
    assert (completing.effects, completing.states) == ([], [])
    assert sessions == [completing.session] * 2
    assert not Line(completing.connect()).is_open


def test_the_proof_of_the_ledger_leaves_no_row_either(completing: Any) -> None:
    """Its sessions are made like all others."""
    persistconn.ledger.check(completing.connect())
    assert completing.states == []


@pytest.mark.parametrize("has_procedures", ["together"], indirect=True)
def test_procedures_of_an_older_release_are_not_called(bench: Any) -> None:
    """Their text was another one: the statements go one by one, until the ledger is created again."""
    bench.ask(f"DROP PROCEDURE {{}}.{rows.END}")
    bench.ask(
        "CREATE PROCEDURE {}.persistconn_end_1 (a BINARY(32), b BINARY(8), c TEXT, d TEXT, e TEXT) SIGNAL SQLSTATE '45000'"
    )
    job = bench.job(lambda: bench.add(1), name="job")
    job()
    line = Line(bench.connect())
    assert not probe.has_procedures(line.opening, line.schema)
    persistconn.ledger.create(bench.connect())
    probe.forget()
    job()
    assert probe.has_procedures(line.opening, line.schema)
    assert bench.effects == [1, 1]
    persistconn.ledger.drop(bench.connect())
    assert bench.ask("SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{}'") == []
