"""A job under the faults that no driver can tell apart: COMMIT in flight, black holes, a server that dies or stays away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import persistconn
from persistconn.once.identity import end_session
from persistconn.once.line import Line
from persistconn.testing import eventually, within
from persistconn.testing.faults import (
    Cut,
    Direction,
    Drop,
    Fault,
    FaultProxy,
    HalfClose,
    Kind,
    Reset,
    Rule,
    Side,
    to_client,
    to_server,
)
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server


def sessions(bench: Any) -> list[tuple[int, str]]:
    """The sessions on this test's database with what they run."""
    return [
        (int(session), str(running))
        for session, running in bench.ask(
            # The beginning: a procedure's statement has bytes in it that are no text.
            "SELECT ID, COALESCE(LEFT(INFO, 100), '') FROM information_schema.PROCESSLIST WHERE DB = '{}' ORDER BY ID"
        )
    ]


@contextlib.contextmanager
def commits_held(bench: Any) -> Iterator[Any]:
    """Hold every COMMIT at the server, by a global read lock; yields what frees them."""
    holder = bench.module.connect(**bench.arguments)
    with holder.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")

    def free() -> None:
        with holder.cursor() as cursor:
            cursor.execute("UNLOCK TABLES")

    try:
        yield free
    finally:
        holder.close()


# What the list of processes shows: of a procedure its call, or the statement that it is at.
COMMITTING = ("COMMIT", "commit", "CALL", "UPDATE persistconn_ledger")


def wait_for_commit(bench: Any) -> int:
    """Wait until a COMMIT is under way, and return its session."""
    under_way: list[int] = []

    def is_under_way() -> bool:
        under_way[:] = [session for session, running in sessions(bench) if running.startswith(COMMITTING)]
        return bool(under_way)

    eventually(is_under_way)
    # Of the same look: in the next one a procedure may be at a statement between these.
    return under_way[0]


# The lock that holds a COMMIT holds the procedure already at its UPDATE.
HELD = pytest.mark.parametrize("has_procedures", ["one-by-one"], indirect=True)


class TestCommitInFlight:
    """Held by the server, or in the network."""

    def run(self, bench: Any, proxy: FaultProxy, at_commit: Any) -> tuple[Any, list[int]]:
        """Run a job whose first COMMIT is held while ``at_commit(session, free)`` acts; return its future and its runs."""
        runs: list[int] = []

        def function() -> int:
            runs.append(1)
            bench.add(7)
            return 5

        with persistconn.Executor(max_workers=1) as pool, proxy.holding(to_server(bench.commit)) as packet:
            future = pool.submit(bench.job(function, name="held"))
            packet.wait()
            # Behind the last write, which the lock would hold as well.
            with commits_held(bench) as free:
                packet.release()
                at_commit(wait_for_commit(bench), free)
            with contextlib.suppress(Exception):
                future.result(2 * PATIENCE)
        return future, runs

    def test_that_is_killed_is_settled_by_the_fence(self, bench: Any, proxy: FaultProxy) -> None:
        """Whatever became of it, the effect is there once, and the caller has the result."""

        def kill(session: int, free: Any) -> None:
            bench.server.kill_session(session)
            free()

        future, _ = self.run(bench, proxy, kill)
        assert future.result() == 5
        assert bench.effects == [7]

    @HELD
    def test_that_is_stopped_by_kill_query_is_somebody_s_will(self, bench: Any, proxy: FaultProxy) -> None:
        """1317 on COMMIT: nothing was stored, a second COMMIT would say OK, and the job is told, not replayed."""

        def stop(session: int, free: Any) -> None:
            bench.server.ask(f"KILL QUERY {session}")
            eventually(lambda: not any(s == session and i.upper().startswith("COMMIT") for s, i in sessions(bench)))
            free()

        commits = bench.count("Com_commit")
        future, runs = self.run(bench, proxy, stop)
        with pytest.raises(bench.module.OperationalError) as told:
            future.result()
        assert told.value.args[0] == 1317
        assert (bench.effects, len(runs)) == ([], 1)
        assert bench.count("Com_commit") - commits == 1

    @pytest.mark.parametrize(
        "fault",
        [Cut(), Reset(), Drop(), Cut(Side.CLIENT), HalfClose(Direction.TO_SERVER), HalfClose(Direction.TO_CLIENT)],
        ids=str,
    )
    @pytest.mark.parametrize("heals", [True, False])
    def test_that_comes_late_is_waited_for(self, bench: Any, proxy: FaultProxy, fault: Fault, heals: bool) -> None:
        """The COMMIT is on its way when the client gives up: no SELECT would see it, the INSERT waits for it."""
        bench.connect().retire()
        bench.arguments["read_timeout"] = 2
        runs: list[int] = []

        def function() -> int:
            runs.append(1)
            bench.add(7)
            return len(runs)

        rule = proxy.arm(Rule(fault, to_client(bench.commit)))
        with ThreadPoolExecutor(1) as healer:
            healing = healer.submit(lambda: (rule.wait(), proxy.heal())) if heals else None
            assert bench.job(function, name="late")() == len(runs)
            if healing is not None:
                healing.result()
        assert rule.fired == 1
        assert (bench.effects, bench.states) == ([7], ["done"])

    def test_is_sent_once(self, bench: Any, proxy: FaultProxy) -> None:
        """However often its answer is lost: the next attempt asks the ledger, with an INSERT."""
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.add(7)

        commits = bench.count("Com_commit")
        proxy.arm(Rule(Cut(), to_client(bench.commit)))
        # And the answer to the question is lost too, twice.
        proxy.arm(Rule(Cut(), to_client(bench.fence), times=2))
        bench.job(function, name="once")()
        assert bench.effects == [7]
        assert bench.count("Com_commit") - commits == 1


class TestBlackHole:
    """The session that we have lost lives on at the server, with the token."""

    def test_is_ended_by_the_replay(self, bench: Any, proxy: FaultProxy) -> None:
        """Not by waiting for it: the server would notice after hours."""
        bench.connect().retire()
        bench.arguments["read_timeout"] = 2
        runs: list[int] = []

        def function() -> None:
            runs.append(bench.session)
            bench.add(7)
            if len(runs) == 1:
                proxy.strike(Drop())
            bench.add(8)

        with within():
            bench.job(function, name="hole")()
        assert len(runs) >= 2  # A machine that is too slow for read_timeout loses further ones.
        assert (bench.effects, bench.states) == ([7, 8], ["done"])
        # It had to give its token back before; the server takes it out of its list a moment later.
        eventually(lambda: runs[0] not in [session for session, _ in sessions(bench)])

    def test_kills_no_stranger_that_has_its_number(self, bench: Any) -> None:
        """The session is known by a named lock, which ends with it: a number alone is no identity."""
        bench.job(lambda: None, name="first")()
        line = Line(bench.connect())
        identity = line.identity
        assert identity is not None
        bench.kill()
        before = bench.count("Com_kill")
        bench.run("SELECT 1")
        end_session(Line(bench.connect()), identity)
        assert bench.count("Com_kill") == before
        assert bench.run("SELECT 1") == [(1,)]

    def test_own_session_is_never_ended(self, bench: Any) -> None:
        """Should it be the same one still."""
        bench.job(lambda: None, name="first")()
        line = Line(bench.connect())
        assert line.identity is not None
        end_session(line, line.identity)
        assert bench.run("SELECT 1") == [(1,)]


class TestPoison:
    """A job that brings its own loss about is named, not replayed for ever."""

    @pytest.mark.parametrize("at_the_end", [False, True])
    def test_pause_beyond_the_server_s_patience(self, bench: Any, at_the_end: bool) -> None:
        """Inside the job, or behind its last statement."""
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.add(1)
            bench.kill()
            if not at_the_end:
                bench.add(2)

        with pytest.raises(
            persistconn.PoisonJob, match=r"5 times in a row at its statement 2 \((INSERT INTO|its end)\)"
        ):
            bench.job(function, name="pauses")()
        assert (len(runs), bench.effects, bench.states) == (5, [], [])

    def test_packet_over_the_limit(self, bench: Any) -> None:
        """MySQL says so, and is believed at once; MariaDB hangs up."""
        limit = int(bench.ask("SELECT @@global.max_allowed_packet")[0][0])
        if limit > 64 << 20:
            pytest.skip("a packet of more than 64 MB")
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.add(1)
            bench.run("SELECT LENGTH(%s)", "x" * (limit + 1024))

        with pytest.raises((persistconn.PoisonJob, bench.module.Error)) as told:
            bench.job(function, name="large")()
        assert isinstance(told.value, persistconn.PoisonJob) or told.value.args[0] == 1153
        assert len(runs) <= 5
        assert bench.effects == []
        bench.job(lambda: bench.add(2), name="next")()
        assert bench.effects == [2]


class TestBounds:
    """How long a job goes on."""

    def test_retries_bound_the_replays(self, bench: Any) -> None:
        """With none at all, the loss comes out."""
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.kill()
            bench.add(1)

        with pytest.raises(persistconn.TransactionLost):
            bench.job(function, name="bound", retries=1)()
        assert (len(runs), bench.effects) == (2, [])

    @pytest.mark.parametrize("when", ["before COMMIT", "at COMMIT"])
    def test_database_that_stays_away_is_told_with_what_is_known(
        self, bench: Any, proxy: FaultProxy, when: str
    ) -> None:
        """Nothing took effect, or only the ledger can tell; and the token, to look for it."""
        bench.connect().retire()
        bench.settings["give_up_after"] = 1.0
        bench.job(lambda: None, name="first")()

        def function() -> None:
            bench.add(1)
            if when == "before COMMIT":
                proxy.close()
                bench.add(2)

        if when == "at COMMIT":
            proxy.arm(Rule(Cut(), to_client(bench.commit)))
            proxy.arm(Rule(Cut(), to_client(kind=Kind.GREETING), times=None))
        known = "nothing of it took effect" if when == "before COMMIT" else "only the ledger can tell"
        with pytest.raises(persistconn.DatabaseUnavailable, match=f"away .*token.*{known}"):
            bench.job(function, name="away")()


class TestServer:
    """That dies, and comes back."""

    @pytest.mark.parametrize("when", ["in the job", "with COMMIT in flight"])
    def test_killed_outright_is_survived(self, bench: Any, proxy: FaultProxy, when: str) -> None:
        """The job is replayed on the server that came back, once."""
        runs: list[int] = []

        def strike() -> None:
            bench.server.restart(kill=True)

        def function() -> None:
            runs.append(1)
            bench.add(1)
            if len(runs) == 1 and when == "in the job":
                strike()
            bench.add(2)

        if when == "in the job":
            bench.job(function, name="crash")()
        else:
            future, _ = TestCommitInFlight().run(bench, proxy, lambda session, free: strike())
            assert future.result() == 5
        assert bench.effects == ([1, 2] if when == "in the job" else [7])
        assert bench.states[-1] == "done"
