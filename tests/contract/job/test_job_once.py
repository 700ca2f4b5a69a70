"""A job takes effect once, whatever becomes of its connection, and its caller gets the result. Every driver, every server."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import persistconn
from persistconn.once.attempt import Attempt
from persistconn.once.block import Block
from persistconn.testing import eventually
from persistconn.testing.faults import Cut, Fault, FaultProxy, Place, Reset, Rule, Where, to_client, to_server
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

STATEMENTS = 3


def three(bench: Any, strike: Callable[[int], None]) -> Any:
    """Make a job of three statements that calls ``strike`` with a number before each and behind the last."""

    def function() -> str:
        for number in range(STATEMENTS):
            strike(number)
            bench.add(number)
        strike(STATEMENTS)
        return "done"

    return bench.job(function, name="three")


def once(strike: Callable[[], None], at: int) -> Callable[[int], None]:
    """Strike the first time that a place is reached."""
    left = [strike]
    return lambda number: left.pop()() if number == at and left else None


def test_an_attempt_leaves_nothing_to_the_garbage_collector(bench: Any) -> None:
    """What hangs together in a ring would be found by a look at all objects, every few jobs."""
    job = bench.job(lambda: bench.add(1), name="once")
    job()
    gc.collect()
    gc.disable()
    try:
        before = attempts_and_blocks()
        job()
        left = attempts_and_blocks()
    finally:
        gc.enable()
    assert list(map(id, left)) == list(map(id, before))


def attempts_and_blocks() -> list[object]:
    """Return those of the whole process, and with it keep them: other tests have some too, in their tracebacks."""
    # Not isinstance(): a lazy object of Django, its settings above all, would come to life.
    return [each for each in gc.get_objects() if type(each) in (Attempt, Block)]


class TestResult:
    """Whoever calls gets what the function returned."""

    def test_is_what_the_function_returned_as_json_has_it(self, bench: Any) -> None:
        """A tuple becomes a list the first time as any other time."""
        job = bench.job(lambda: (1, "ü", None), name="tuple")
        assert job() == job.keyed("k")() == job.keyed("k")() == [1, "ü", None]

    @pytest.mark.parametrize("fault", [Cut(), Reset()])
    @pytest.mark.parametrize(
        ("where", "attempts"),
        [
            (to_server, 2),
            (lambda commit: to_server(commit, place=Place.AFTER), None),
            (to_client, 1),
        ],
    )
    def test_is_returned_although_the_answer_to_commit_was_lost(
        self, bench: Any, proxy: FaultProxy, where: Callable[[str], Where], fault: Fault, attempts: int | None
    ) -> None:
        """Whether the COMMIT came through is proved by the row, and the function runs again only if it did not."""
        runs: list[int] = []

        def function() -> int:
            runs.append(len(runs))
            bench.add(7)
            return len(runs)

        job = bench.job(function, name="count")
        rule = proxy.arm(Rule(fault, where(bench.commit)))
        result = job()
        assert rule.fired == 1
        assert (bench.effects, bench.states) == ([7], ["done"])
        assert result == len(runs)
        assert attempts in (None, len(runs))

    def test_is_that_of_whoever_did_the_work(self, bench: Any) -> None:
        """A second call under a key runs nothing, on any thread, and gets the first one's result."""
        job = bench.job(lambda: (bench.add(1), threading.current_thread().name)[1], name="who")
        first = job.keyed("a")()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(job.keyed("a")).result() == first
        assert job.keyed("b")() == first
        assert bench.effects == [1, 1]

    def test_of_eight_at_once_under_one_key_is_the_same(self, bench: Any) -> None:
        """One of them does the work, the others wait for it."""
        barrier = threading.Barrier(8)

        def function() -> int:
            bench.add(1)
            return threading.get_ident()

        job = bench.job(function, name="race").keyed("k")

        def call() -> int:
            bench.connect()
            barrier.wait(PATIENCE)
            return int(job())

        with persistconn.Executor(max_workers=8) as pool:
            results = {future.result() for future in [pool.submit(call) for _ in range(8)]}
        assert len(results) == 1
        assert bench.effects == [1]

    def test_of_those_who_waited_for_one_that_failed_is_the_next_one_s(self, bench: Any) -> None:
        """With its rollback the server picks one, and calls a deadlock on the others: that is no replay of theirs."""
        waiting, failed = threading.Event(), [ZeroDivisionError()]

        def function() -> int:
            if failed:
                assert waiting.wait(2 * PATIENCE)
                raise failed.pop()
            bench.add(1)
            return threading.get_ident()

        job = bench.job(function, name="waits", retries=0).keyed("k")
        with persistconn.Executor(max_workers=7) as pool:
            futures = [pool.submit(job) for _ in range(7)]
            held = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
            # Who reads this table more often than each 0.1 s reads the same again and again.
            eventually(lambda: bench.ask("SELECT SLEEP(0.15)") and bench.ask(held)[0][0] == 6)
            waiting.set()
            results = [future.exception() or future.result() for future in futures]
        assert sorted(type(result).__name__ for result in results) == ["ZeroDivisionError"] + ["int"] * 6
        assert bench.effects == [1]

    def test_comes_through_an_executor(self, bench: Any) -> None:
        """A job is a task like any other."""
        job = bench.job(lambda x: bench.add(x) or x, name="task")
        with persistconn.Executor(max_workers=2) as pool:
            assert sorted(pool.map(job, range(10))) == list(range(10))
        assert sorted(bench.effects) == list(range(10))

    def test_that_is_no_json_takes_its_effect_back(self, bench: Any) -> None:
        """The ledger could not give it to the next caller."""
        with pytest.raises(persistconn.NotReplayable, match="returned an object, which is no JSON"):
            bench.job(lambda: bench.add(1) or object(), name="odd")()
        assert (bench.effects, bench.states) == ([], [])


class TestReplay:
    """A job that loses its connection runs again, whole."""

    @pytest.mark.parametrize("at", range(STATEMENTS + 1))
    def test_after_a_kill_at_each_statement(self, bench: Any, at: int) -> None:
        """The half that was written is rolled back by the server."""
        assert three(bench, once(bench.kill, at))() == "done"
        assert (bench.effects, bench.states) == ([0, 1, 2], ["done"])

    def test_after_a_session_that_died_idle_costs_no_attempt(self, bench: Any) -> None:
        """The check before BEGIN replaces it."""
        job = bench.job(lambda: bench.add(1), name="idle", retries=0)
        job()
        bench.kill()
        job()
        assert bench.effects == [1, 1]

    def test_gets_its_arguments_as_they_were_when_it_was_called(self, bench: Any) -> None:
        """What an attempt does to them is gone with it."""
        kill = once(bench.kill, 0)
        given = [1, 2]

        def function(numbers: list[int]) -> list[int]:
            numbers.append(3)
            bench.add(len(numbers))
            kill(0)
            bench.add(len(numbers))
            return numbers

        assert bench.job(function, name="mutates")(given) == [1, 2, 3]
        assert (given, bench.effects) == ([1, 2], [3, 3])

    @pytest.mark.parametrize("then", ["returns", "writes on", "rolls back and writes on", "closes and writes on"])
    def test_happens_although_the_job_swallowed_the_loss(self, bench: Any, then: str) -> None:
        """And nothing that it writes after the loss stands by itself."""
        kill = once(bench.kill, 0)

        def function() -> None:
            try:
                bench.add(1)
                kill(0)
                bench.add(2)
            except Exception:
                if then.startswith("rolls back"):
                    persistconn.current().rollback()
                if then.startswith("closes"):
                    persistconn.current().close()
                if then.endswith("writes on"):
                    bench.add(99)

        bench.job(function, name="swallows")()
        assert (bench.effects, bench.states) == ([1, 2], ["done"])

    def test_happens_although_the_job_swallowed_the_loss_of_a_call(self, bench: Any, proxy: FaultProxy) -> None:
        """Nobody knows what a lost CALL did, but what comes after it runs in no transaction: it is not sent."""
        bench.ask("CREATE PROCEDURE {}.p() INSERT INTO {}.t (x) VALUES (1)")
        proxy.arm(Rule(Cut(), to_client("CALL p")))

        def function() -> None:
            try:
                bench.run("CALL p()")
            except Exception:
                bench.add(99)

        bench.job(function, name="calls")()
        assert bench.effects == [1]

    def test_begins_in_the_database_that_the_first_attempt_began_in(self, bench: Any) -> None:
        """USE outlives a rollback, and a new session is made like the old one: that would be the wrong table."""
        bench.ask("CREATE TABLE {}.u (x INT) ENGINE=InnoDB")
        other = f"{bench.name}_b"
        bench.server.ask(f"CREATE DATABASE {other}")
        bench.server.ask(f"CREATE TABLE {other}.u (x INT) ENGINE=InnoDB")
        kill = once(bench.kill, 0)

        def function() -> None:
            bench.run("INSERT INTO u VALUES (1)")
            bench.run(f"USE {other}")
            bench.run("INSERT INTO u VALUES (2)")
            kill(0)
            bench.run("INSERT INTO u VALUES (3)")

        try:
            bench.job(function, name="uses")()
            assert bench.ask("SELECT x FROM {}.u") == [(1,)]
            assert bench.ask("SELECT x FROM {}_b.u ORDER BY x") == [(2,), (3,)]
            assert bench.states == ["done"]
        finally:
            bench.run(f"USE {bench.name}")
            bench.server.ask(f"DROP DATABASE {other}")

    def test_begins_with_the_settings_and_without_the_temporary_tables(self, bench: Any) -> None:
        """After a deadlock the session lives on, but a replay finds it as the first attempt did."""
        seen: list[Any] = []

        def function() -> None:
            seen.append(bench.run("SELECT @@time_zone, @v")[0])
            bench.run("SET SESSION time_zone = '+05:00'")
            bench.run("SET @v = 1")
            bench.run("CREATE TEMPORARY TABLE temp (x INT)")
            if len(seen) == 1:
                bench.run("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'a deadlock'")
            bench.add(1)

        bench.job(function, name="settings")()
        assert len(seen) == 2
        assert seen[0] == seen[1]
        assert bench.effects == [1]


class TestAnswer:
    """What the server answers when it has rolled back, or when somebody has stopped the job."""

    def test_deadlock_between_two_jobs_ends_with_both_done(self, bench: Any) -> None:
        """The one that lost runs again; both take effect once."""
        bench.ask("CREATE TABLE {}.account (id INT PRIMARY KEY, balance INT) ENGINE=InnoDB")
        bench.ask("INSERT INTO {}.account VALUES (1, 0), (2, 0)")
        met = threading.Barrier(2)
        runs: list[int] = []

        def function(first: int, second: int) -> None:
            runs.append(first)
            bench.run("UPDATE account SET balance = balance + 1 WHERE id = %s", first)
            if len(runs) <= 2:
                met.wait(PATIENCE)
            bench.run("UPDATE account SET balance = balance + 1 WHERE id = %s", second)

        job = bench.job(function, name="transfer")
        with persistconn.Executor(max_workers=2) as pool:
            for future in [pool.submit(job, 1, 2), pool.submit(job, 2, 1)]:
                future.result()
        assert len(runs) > 2
        assert bench.ask("SELECT id, balance FROM {}.account ORDER BY id") == [(1, 2), (2, 2)]

    def test_rollback_that_the_job_swallowed_is_replayed(self, bench: Any) -> None:
        """After a deadlock the rest of the job would be written in the open."""
        block = threading.Event()
        bench.ask("CREATE TABLE {}.account (id INT PRIMARY KEY, balance INT) ENGINE=InnoDB")
        bench.ask("INSERT INTO {}.account VALUES (1, 0), (2, 0)")
        runs: list[int] = []

        def rival() -> None:
            conn = bench.connect()
            conn.begin()
            # Many rows, so that the server rolls the other one back.
            bench.run("INSERT INTO t (x) VALUES " + ", ".join(["(5)"] * 50))
            bench.run("UPDATE account SET balance = 9 WHERE id = 2")
            block.set()
            bench.run("UPDATE account SET balance = 9 WHERE id = 1")
            conn.rollback()
            conn.retire()

        def function() -> None:
            runs.append(1)
            bench.run("UPDATE account SET balance = balance + 1 WHERE id = 1")
            if len(runs) == 1:
                thread.start()
                assert block.wait(PATIENCE)
            try:
                bench.run("UPDATE account SET balance = balance + 1 WHERE id = 2")
            except bench.module.Error:
                bench.add(99)

        thread = threading.Thread(target=rival)
        bench.job(function, name="deadlocked")()
        thread.join()
        assert len(runs) == 2
        assert bench.ask("SELECT balance FROM {}.account") == [(1,), (1,)]
        assert bench.effects == []

    @pytest.mark.parametrize("contract_server", ["mariadb"], indirect=True)
    def test_changed_record_that_the_job_swallowed_is_replayed(self, bench: Any) -> None:
        """MariaDB's snapshot isolation rolls back with 1020, whose SQLSTATE tells nothing."""
        if not bench.ask("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"):
            pytest.skip(f"{bench.server!r} has no snapshot isolation")
        bench.add(0)
        bench.run("SET SESSION innodb_snapshot_isolation = ON")
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.run("SELECT x FROM t")
            if len(runs) == 1:
                bench.ask("UPDATE {}.t SET x = 10")
            try:
                bench.run("UPDATE t SET x = x + 1")
            except bench.module.Error:
                bench.add(99)

        bench.job(function, name="snapshot", isolation="REPEATABLE READ")()
        assert (len(runs), bench.effects) == (2, [11])

    def test_kill_query_is_somebody_s_will(
        self,
        bench: Any,
        once_under_way: Callable[[int, Callable[[], object]], Any],
        kill_query: Callable[[Any, int], None],
    ) -> None:
        """The error of the driver comes out, and the job does not run again."""
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            bench.add(1)
            session = bench.session
            with once_under_way(session, lambda: kill_query(bench.server, session)):
                bench.run(f"UPDATE t SET x = x + SLEEP({4 * PATIENCE}) + 1")

        with pytest.raises(bench.module.OperationalError) as told:
            bench.job(function, name="killed")()
        assert told.value.args[0] == 1317
        assert (len(runs), bench.effects, bench.states) == (1, [], [])

    def test_exception_of_the_function_takes_everything_back(self, bench: Any) -> None:
        """And leaves the token free: the next call under the key runs."""
        raised = [ValueError("first")]

        def function() -> None:
            bench.add(1)
            if raised:
                raise raised.pop()

        job = bench.job(function, name="raises").keyed("k")
        with pytest.raises(ValueError, match="first"):
            job()
        assert (bench.effects, bench.states) == ([], [])
        job()
        assert (bench.effects, bench.states) == ([1], ["done"])

    @pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
    def test_interrupt_takes_everything_back(self, bench: Any, raised: type[BaseException]) -> None:
        """And the connection serves on."""

        def function() -> None:
            bench.add(1)
            raise raised

        with pytest.raises(raised):
            bench.job(function, name="interrupted")()
        assert (bench.effects, bench.states) == ([], [])
        bench.job(lambda: bench.add(2), name="next")()
        assert bench.effects == [2]


class TestRecordedFailure:
    """``on_failure="record"`` makes an exception the outcome of the token."""

    def test_is_told_to_the_next_caller(self, bench: Any) -> None:
        """Who gets JobFailed with what was raised then; the effects are gone."""

        def function() -> None:
            bench.add(1)
            raise ValueError("no such invoice")

        job = bench.job(function, name="fails", on_failure="record").keyed("k")
        with pytest.raises(ValueError, match="no such invoice"):
            job()
        with pytest.raises(persistconn.JobFailed, match="ValueError: no such invoice"):
            job()
        assert (bench.effects, bench.states) == ([], ["failed"])

    def test_is_raised_although_the_answer_to_commit_was_lost(self, bench: Any, proxy: FaultProxy) -> None:
        """The caller gets what its function raised, as without the loss."""
        runs: list[int] = []

        def function() -> None:
            runs.append(1)
            raise ValueError("no such invoice")

        rule = proxy.arm(Rule(Cut(), to_client(bench.commit)))
        with pytest.raises(ValueError, match="no such invoice"):
            bench.job(function, name="fails", on_failure="record")()
        assert (rule.fired, len(runs), bench.states) == (1, 1, ["failed"])

    def test_with_half_a_character_in_its_text_is_raised_and_recorded(self, bench: Any) -> None:
        """UTF-8 has no word for it; the record spells it out."""

        def function() -> None:
            raise ValueError("invoice \ud800")

        job = bench.job(function, name="fails", on_failure="record").keyed("k")
        with pytest.raises(ValueError, match="invoice \ud800"):
            job()
        with pytest.raises(persistconn.JobFailed, match=r"invoice \\ud800"):
            job()

    def test_is_not_made_of_a_loss(self, bench: Any) -> None:
        """A loss is replayed, not recorded."""
        kill = once(bench.kill, 0)

        def function() -> None:
            bench.add(1)
            kill(0)
            bench.add(2)

        bench.job(function, name="lost", on_failure="record")()
        assert (bench.effects, bench.states) == ([1, 2], ["done"])


class TestConnection:
    """What the caller's connection is like makes no difference."""

    @pytest.mark.parametrize("cursor", ["DictCursor", "SSCursor", "SSDictCursor"])
    def test_may_have_cursors_of_any_class(self, bench: Any, cursor: str) -> None:
        """The protocol's own statements use the plain one."""
        bench.connect().retire()
        bench.arguments["cursorclass"] = getattr(bench.module.cursors, cursor)
        three(bench, once(bench.kill, 1))()
        assert (bench.effects, bench.states) == ([0, 1, 2], ["done"])

    def test_may_have_autocommit_switched_off(self, bench: Any) -> None:
        """And has it off afterwards; a read behind the job opens a transaction, as ever."""
        bench.connect().retire()
        bench.arguments["autocommit"] = False
        job = three(bench, once(bench.kill, 1)).keyed("k")
        assert job() == job() == "done"
        assert (bench.effects, bench.states) == ([0, 1, 2], ["done"])
        assert bench.run("SELECT @@autocommit") == [(0,)]

    def test_may_have_told_in_bytes(self, bench: Any) -> None:
        """Without use_unicode the driver returns text as bytes: the ledger and the engines are understood all the same."""
        bench.ask("CREATE TABLE {}.old (x INT) ENGINE=MyISAM")
        bench.connect().retire()
        bench.arguments["use_unicode"] = False
        job = three(bench, once(bench.kill, 1)).keyed("k")
        assert job() == job() == "done"
        with pytest.raises(persistconn.NotReplayable, match="engine MyISAM"):
            bench.job(lambda: bench.run("INSERT INTO old VALUES (1)"), name="old")()

    def test_may_have_rows_that_the_caller_has_not_read(self, bench: Any) -> None:
        """They are given up or read, but the job runs, or it says what to do."""
        cursor = bench.connect().cursor(bench.module.cursors.SSCursor)
        cursor.execute("SELECT 1 UNION SELECT 2")
        with pytest.raises(persistconn.NotReplayable, match="rows that are not read"):
            bench.job(lambda: bench.add(1), name="unread")()
        cursor.close()
        bench.job(lambda: bench.add(1), name="unread")()
        assert bench.effects == [1]

    def test_may_be_left_with_unread_rows_by_the_job(self, bench: Any) -> None:
        """A stream that the job did not read to its end is no reason to replay it for a minute."""

        def function() -> None:
            cursor = bench.connect().cursor(bench.module.cursors.SSCursor)
            cursor.execute("SELECT 1 UNION SELECT 2")
            left.append(cursor)
            bench.module  # noqa: B018

        left: list[Any] = []
        with pytest.raises(persistconn.NotReplayable, match="rows that are not read"):
            bench.job(function, name="streams")()
        bench.job(lambda: bench.add(1), name="next")()
        assert bench.effects == [1]

    @pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
    def test_has_the_isolation_of_the_job_while_it_runs(self, bench: Any, level: str) -> None:
        """A phantom is seen at READ COMMITTED; a SERIALIZABLE read locks, so nobody can write one."""
        bench.add(1)

        def function() -> list[int]:
            first = bench.run("SELECT COUNT(*) FROM t")[0][0]
            try:
                bench.ask("INSERT INTO {}.t (x) VALUES (2)")
            except Exception:
                return [first, -1]
            return [first, bench.run("SELECT COUNT(*) FROM t")[0][0]]

        bench.ask("SET SESSION innodb_lock_wait_timeout = 1")
        try:
            result = bench.job(function, name="isolated", isolation=level)()
        finally:
            bench.ask("SET SESSION innodb_lock_wait_timeout = DEFAULT")
        assert result == ([1, 2] if level == "READ COMMITTED" else [1, -1])

    def test_keeps_the_job_s_isolation_when_it_is_lost_at_begin(
        self, bench: Any, proxy: FaultProxy, has_procedures: bool
    ) -> None:
        """SET TRANSACTION counts for the next transaction of its own session only."""
        seen: list[int] = []

        def function() -> None:
            first = bench.run("SELECT COUNT(*) FROM t")[0][0]
            bench.ask("INSERT INTO {}.t (x) VALUES (2)")
            seen.append(bench.run("SELECT COUNT(*) FROM t")[0][0] - first)

        rule = proxy.arm(Rule(Cut(), to_server(bench.fence if has_procedures else "BEGIN")))
        bench.job(function, name="isolated", isolation="READ COMMITTED")()
        assert (rule.fired, seen) == (1, [1])
