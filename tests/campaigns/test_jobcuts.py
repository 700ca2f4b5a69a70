"""The sweep of cuts through a job, on a real server: a fixed sample of 500."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from campaigns.cuts.crew import Crew, trust_nobody
from campaigns.cuts.servers import Access, serving
from campaigns.jobcuts import figures, station
from campaigns.jobcuts.__main__ import CRAFT, choose, plan_all, sample_of
from campaigns.jobcuts.cases import Case, Combination, Strike
from campaigns.jobcuts.oracle import Flaw
from campaigns.jobcuts.station import JobStation
from persistconn.once.history import History, Mishap
from persistconn.once.line import Line
from persistconn.testing.faults import Direction

pytestmark = [pytest.mark.server, pytest.mark.slow]

SAMPLE = 500
PLAIN = Combination("mariadb", "pymysql", "plain", "key")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Access]]:
    """MariaDB, and MySQL where an image of it is named."""
    names = ["mariadb", *(["mysql"] if os.environ.get("PERSISTCONN_MYSQL_IMAGE") else [])]
    trust_nobody()
    with serving(names) as servers:
        yield servers


def test_each_of_five_hundred_broken_jobs_has_exactly_one_effect(
    servers: dict[str, Access], note_repetition: Callable[[str], None]
) -> None:
    """Of all combinations that can run here, by a fixed seed; about half of them are broken at COMMIT."""
    chosen = choose("*", mysql="mysql" in servers)
    with Crew(servers, CRAFT) as crew:
        counted = figures.count(crew.run(sample_of(plan_all(chosen, servers, seed=1), SAMPLE, seed=1)))
    assert not counted.broken, "\n".join(figures.tell(counted))
    if counted.again:
        note_repetition(f"{counted.again} of {counted.cases:,} cases: the machine was too busy to answer in time")
    assert counted.cases == SAMPLE
    assert counted.at_commit > SAMPLE / 3
    assert counted.proved > SAMPLE / 10
    assert counted.replayed > SAMPLE / 10
    assert {server: [] for server in servers} == {name: access.leftovers() for name, access in servers.items()}


# --- what the sweep finds ----------------------------------------------------------------------------------------------


@pytest.fixture
def stand(servers: dict[str, Access]) -> Iterator[JobStation]:
    """A proxy and a database of this test's own."""
    with JobStation(servers["mariadb"], "steps") as stand:
        yield stand


def lost_commit(stand: JobStation, *, answered: bool) -> Case:
    """Return the case of a COMMIT that was executed and whose answer was lost, or that never arrived."""
    cases = station_cases(stand)
    letter = "c" if answered else "s"
    return next(case for case in cases if f"/1{letter}" in str(case) and str(case).endswith(".before.rst!"))


def station_cases(stand: JobStation) -> list[Case]:
    """Return all cases of the plain combination."""
    from campaigns.jobcuts.cases import plan

    return plan(PLAIN, stand.record(PLAIN), seed=1)


@pytest.mark.parametrize("answered", [True, False])
def test_a_lost_commit_is_settled_by_the_ledger(stand: JobStation, answered: bool) -> None:
    """Executed: the row of the first attempt proves it. Never arrived: the second attempt takes effect."""
    result = stand.run(lost_commit(stand, answered=answered))
    assert result.findings == ()
    assert result.record.is_proved is answered
    assert result.record.ledger[0].attempts == (1 if answered else 2)


@pytest.mark.parametrize("conversation", [2, 3, 4])
def test_a_first_job_survives_a_cut_while_the_ledger_is_proved(stand: JobStation, conversation: int) -> None:
    """And while it asks for the engines of its tables: sessions of their own, which are asked again."""
    cold = replace(PLAIN, naming="random", start="cold")
    case = Case(cold, (Strike(conversation, Direction.TO_CLIENT, 4, "before", "rst"),))
    assert stand.run(case).findings == ()


def test_a_connection_that_nobody_speaks_on_counts(stand: JobStation) -> None:
    """A client that lost patience with a busy machine leaves one; the case behind it strikes where it was to strike."""
    case = lost_commit(stand, answered=False)
    with socket.create_connection((stand.address["host"], stand.address["port"])) as silent:
        assert silent.recv(1)
    result = stand.run(case)
    assert (result.findings, result.record.mishaps) == ((), 1)


def _without(name: str) -> Callable[[Line, str], int]:
    original = Line.run

    def run(line: Line, sql: str) -> int:
        return 1 if name in sql else original(line, sql)

    return run


def test_the_sweep_catches_a_job_without_a_ledger(stand: JobStation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain reconnect and replay doubles what was committed. A sweep that finds nothing then proves nothing."""
    case = lost_commit(stand, answered=True)
    monkeypatch.setattr(Line, "run", _without("persistconn_ledger"))
    flaws = {finding.flaw for finding in stand.run(case).findings}
    assert Flaw.DOUBLED in flaws


def test_the_sweep_catches_a_commit_whose_error_is_passed_on(
    stand: JobStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaying everything but COMMIT, as some do, surfaces an error that says neither yes nor no."""
    case = lost_commit(stand, answered=True)

    def give_up(history: History, mishap: Mishap, now: float, give_up_after: float) -> float:
        raise mishap.cause

    monkeypatch.setattr(History, "note", give_up)
    assert Flaw.SURFACED in {finding.flaw for finding in stand.run(case).findings}


def test_the_sweep_catches_a_lost_session_that_nobody_ends(stand: JobStation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a black hole the old session holds the token for as long as its server likes."""
    recording = station_cases(stand)
    case = next(case for case in recording if str(case).endswith(".before.hole!") and "/1s" in str(case))
    monkeypatch.setattr("persistconn.once.identity.end_session", lambda line, identity: None)
    monkeypatch.setattr("campaigns.jobcuts.subject.GIVE_UP_AFTER", 1.0)
    monkeypatch.setattr(station, "LIMIT", 5.0)
    monkeypatch.setattr(station, "CLOSING_LIMIT", 2.0)
    assert {Flaw.SURFACED, Flaw.OPEN} & {finding.flaw for finding in stand.run(case).findings}


def test_nothing_is_doubled_by_a_second_look(stand: JobStation) -> None:
    """The second call under a key finds the first one's result, without a second effect."""
    result: Any = stand.run(lost_commit(stand, answered=True))
    assert result.record.again == result.record.said
    assert result.record.effects == {"insert": 1, "update": 1, "next": 0}
