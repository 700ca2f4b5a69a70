"""Who has lost his process is found out by its heart, and his job is free for another one. Every driver, every server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import persistconn
from persistconn.once.attempt import JobUnderWay
from persistconn.once.heartbeat import Heartbeat
from persistconn.once.identity import identify
from persistconn.once.line import Line, apart
from persistconn.once.names import election_name, heart_of, random_name
from persistconn.once.records import Records
from persistconn.once.takeover import Takeover
from persistconn.once.token import fire_token
from persistconn.testing import eventually
from persistconn.testing.faults import Cut, Drop, FaultProxy, Side
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

UntilConclusive = Callable[[Callable[[float], "str | None"]], None]
Beat = Callable[[float], Heartbeat]

SHORTEST = 1
"""Seconds for which a server is patient: the least that it can be told."""
LONG = 120
"""Longer than any busy machine keeps a heart from beating."""
OUT_OF_STEP = "the heart's thread did not run for as long as the server was patient"
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)
TOKEN = fire_token("service", "job", LONG_AGO + timedelta(days=1))


@pytest.fixture
def beat(bench: Any) -> Iterator[Beat]:
    """Give this process a heart for which the server is so patient, in the place of the last one."""
    hearts: list[Heartbeat] = []

    def beat(patience: float) -> Heartbeat:
        for last in hearts:
            last.stop(PATIENCE)
        hearts.append(Heartbeat(Line(bench.connect()).opening, round(patience)))
        hearts[-1].start()
        return hearts[-1]

    yield beat
    for last in hearts:
        last.stop(PATIENCE)


@pytest.fixture
def heart(beat: Beat) -> Heartbeat:
    """The heart of this process, which no slow machine stops."""
    return beat(LONG)


def holder(bench: Any, lock: str) -> int | None:
    """Return the session that holds a named lock."""
    ((session,),) = bench.ask(f"SELECT IS_USED_LOCK('{lock}')")
    return session


def take_over(bench: Any, heart: str | None = None, *, patience: int = LONG) -> None:
    """Look as another machine does, or with ``heart`` as the one that has this one."""
    line = Line(bench.connect(connect_timeout=29))
    Takeover(line, Records(line.schema), heart=heart or random_name()).of_fires(
        {"service/job": LONG_AGO}, [TOKEN], patience
    )


def begin_anew(bench: Any) -> None:
    """Forget what has been done, and that it was."""
    for table in ("t", "persistconn_ledger"):
        bench.ask(f"DELETE FROM {{}}.{table}")


def silence(bench: Any, heart: Heartbeat) -> None:
    """Have a heart stop: what the server does with it when its machine has vanished."""
    heart.stop(PATIENCE)
    eventually(lambda: holder(bench, heart.name) is None)


@contextmanager
def under_way(bench: Any, runs: list[int]) -> Iterator[Callable[[], Any]]:
    """Have a fire under way on another thread; yield what lets it go on and returns how it has ended."""
    inside, leave = threading.Event(), threading.Event()

    def function() -> int:
        runs.append(bench.session)
        bench.add(len(runs))
        if len(runs) == 1:
            inside.set()
            assert leave.wait(4 * PATIENCE)
        bench.add(10)
        return len(runs)

    job = bench.job(function, name="job")
    with persistconn.Executor(max_workers=1) as pool:
        future = pool.submit(lambda: job.run_as(TOKEN, waits=False))
        assert inside.wait(PATIENCE)
        try:
            yield lambda: (leave.set(), future.result(PATIENCE))[1]
        finally:
            leave.set()


def run_when_free(job: Any) -> Any:
    """Run the fire: the server needs a moment for the rollback of a session that was ended, a busy one a longer one."""
    results: list[Any] = []

    def has_run() -> bool:
        with suppress(JobUnderWay):
            results.append(job.run_as(TOKEN, waits=False))
        return bool(results)

    eventually(has_run)
    return results[0]


class TestHeart:
    """A session that the server keeps as long as it is pinged."""

    def test_beats_for_longer_than_the_server_is_patient(
        self, bench: Any, beat: Beat, until_conclusive: UntilConclusive
    ) -> None:
        """The same session all the time."""

        def experiment(factor: float) -> str | None:
            heart = beat(SHORTEST * factor)
            session = holder(bench, heart.name)
            bench.ask(f"SELECT SLEEP({SHORTEST * factor + 0.7})")
            if session is None or holder(bench, heart.name) != session:
                return OUT_OF_STEP
            eventually(lambda: heart.is_beating)
            return None

        until_conclusive(experiment)

    def test_is_ended_by_the_server_when_its_machine_vanishes(
        self, bench: Any, proxy: FaultProxy, beat: Beat, until_conclusive: UntilConclusive
    ) -> None:
        """Nothing comes any more, not even a goodbye."""

        def experiment(factor: float) -> str | None:
            heart = beat(SHORTEST * factor)
            if holder(bench, heart.name) is None:
                return OUT_OF_STEP
            proxy.strike(Drop())
            heart.stop(0)
            eventually(lambda: holder(bench, heart.name) is None)
            return None

        until_conclusive(experiment)

    def test_beats_again_under_the_same_name_when_its_session_was_lost(
        self, bench: Any, beat: Beat, until_conclusive: UntilConclusive
    ) -> None:
        """On another session: nobody has to learn another name."""

        def experiment(factor: float) -> str | None:
            heart = beat(SHORTEST * factor)
            session = holder(bench, heart.name)
            if session is None:
                return OUT_OF_STEP
            bench.server.kill_session(session)
            eventually(lambda: holder(bench, heart.name) not in (None, session))
            eventually(lambda: heart.is_beating)
            return None

        until_conclusive(experiment)

    def test_that_lies_in_a_black_hole_beats_again_on_another_session(
        self, bench: Any, proxy: FaultProxy, beat: Beat, until_conclusive: UntilConclusive
    ) -> None:
        """The network was away for a while: the name is free for it, because the old session is ended."""

        def experiment(factor: float) -> str | None:
            heart = beat(SHORTEST * factor)
            session = holder(bench, heart.name)
            if session is None:
                return OUT_OF_STEP
            proxy.strike(Drop())
            eventually(lambda: holder(bench, heart.name) not in (None, session))
            return None

        until_conclusive(experiment)

    def test_that_has_lost_its_side_alone_ends_the_other(
        self, bench: Any, proxy: FaultProxy, beat: Beat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server would keep the old session, and with it the name, for two minutes more."""
        monkeypatch.setattr("persistconn.once.heartbeat.BEATS", 1000)
        heart = beat(LONG)
        session = holder(bench, heart.name)
        assert session is not None
        proxy.strike(Cut(Side.CLIENT))
        eventually(lambda: holder(bench, heart.name) not in (None, session))

    def test_is_not_in_the_name_of_a_session_when_it_does_not_beat(self, bench: Any, heart: Heartbeat) -> None:
        """A job that is known by no heart is left alone: better than one that is ended again and again."""
        line = Line(bench.connect())
        assert heart_of(identify(line)) == heart.name
        silence(bench, heart)
        assert heart_of(identify(line)) is None
        assert holder(bench, identify(line)) == bench.session


class TestTakeover:
    """Of a fire that is under way elsewhere."""

    def test_of_a_process_whose_heart_has_stopped_frees_its_job(self, bench: Any, heart: Heartbeat) -> None:
        """Its session is ended: whoever comes next runs the job, and the other one finds that out."""
        runs: list[int] = []
        with under_way(bench, runs) as go_on:
            silence(bench, heart)
            take_over(bench)
            assert run_when_free(bench.job(lambda: bench.add(5), name="job")) is None
            with pytest.raises(persistconn.JobError, match="has been run by another process"):
                go_on()
        assert (len(runs), bench.effects, bench.states) == (1, [5], ["done"])

    def test_by_mistake_costs_a_living_job_one_attempt(self, bench: Any, heart: Heartbeat) -> None:
        """Its heart could not be heard for a while: it is replayed, and known by no heart that does not beat."""
        runs: list[int] = []
        with under_way(bench, runs) as go_on:
            silence(bench, heart)
            take_over(bench)
            assert go_on() == 2
        assert (bench.effects, bench.states) == ([2, 10], ["done"])

    def test_of_a_process_that_lives_does_nothing(
        self, bench: Any, beat: Beat, until_conclusive: UntilConclusive
    ) -> None:
        """However long its job takes, and whatever it is thinking about."""

        def experiment(factor: float) -> str | None:
            begin_anew(bench)
            runs: list[int] = []
            patience = round(SHORTEST * factor)
            heart = beat(patience)
            session = holder(bench, heart.name)
            with under_way(bench, runs) as go_on:
                bench.ask(f"SELECT SLEEP({patience + 0.5})")
                take_over(bench, patience=patience)
                if session is None or holder(bench, heart.name) != session:
                    return OUT_OF_STEP
                assert go_on() == 1
            assert bench.effects == [1, 10]
            return None

        until_conclusive(experiment)

    def test_of_one_s_own_process_does_nothing(self, bench: Any, heart: Heartbeat) -> None:
        """It lives, whatever the server may think."""
        runs: list[int] = []
        with under_way(bench, runs) as go_on:
            silence(bench, heart)
            take_over(bench, heart.name)
            assert go_on() == 1

    def test_of_a_process_that_never_had_a_heart_does_nothing(self, bench: Any) -> None:
        """A script that calls its jobs by itself: nobody can know."""
        runs: list[int] = []
        with under_way(bench, runs) as go_on:
            take_over(bench)
            assert go_on() == 1

    def test_of_a_session_that_was_elected_and_came_no_further_frees_the_election(
        self, bench: Any, until_conclusive: UntilConclusive
    ) -> None:
        """It has no row yet that could tell whose it is; but there is nothing that it could be thinking about."""
        job = bench.job(lambda: bench.add(1), name="job")

        def experiment(factor: float) -> str | None:
            begin_anew(bench)
            patience = round(SHORTEST * factor)
            with apart(Line(bench.connect()).opening) as ask:
                ask(f"SELECT GET_LOCK('{election_name(TOKEN.digest)}', 0)")
                take_over(bench, patience=patience)
                try:
                    job.run_as(TOKEN, waits=False)
                except JobUnderWay:
                    pass
                else:
                    return f"it took longer than {patience} s from the election to the first look"
                bench.ask(f"SELECT SLEEP({patience + 0.5})")
                take_over(bench, patience=patience)
                run_when_free(job)
                assert bench.effects == [1]
                with pytest.raises(bench.module.Error):
                    ask("SELECT 1")
            return None

        until_conclusive(experiment)

    def test_that_is_not_allowed_is_told(self, bench: Any, heart: Heartbeat, caplog: pytest.LogCaptureFixture) -> None:
        """The machines have users of their own: the job is left to the server, as it would be without a heart."""
        user, runs, arguments = f"u_{bench.name[-8:]}", [], bench.arguments
        bench.ask(f"CREATE USER {user} IDENTIFIED BY 'test'")
        bench.ask(f"GRANT ALL ON {{}}.* TO {user}")
        try:
            with under_way(bench, runs) as go_on:
                silence(bench, heart)
                bench.arguments = {**arguments, "user": user, "password": "test"}
                take_over(bench)
                bench.arguments = arguments
                assert go_on() == 1
        finally:
            bench.ask(f"DROP USER {user}")
        assert "give all machines one user" in caplog.text

    def test_comes_with_waiting_for_the_token_in_vain(self, bench: Any, heart: Heartbeat) -> None:
        """Also a call that is no fire does not wait for hours: it asks when its wait for the lock has ended."""
        runs: list[int] = []
        with under_way(bench, runs) as go_on:
            silence(bench, heart)
            bench.run("SET SESSION innodb_lock_wait_timeout = 1")
            assert bench.job(lambda: bench.add(5) or 5, name="job").run_as(TOKEN) == 5
            with pytest.raises(persistconn.JobError, match="has been run by another process"):
                go_on()
        assert (len(runs), bench.effects) == (1, [5])
