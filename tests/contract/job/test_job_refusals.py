"""What a job may not do: refused before it is sent, with what to do instead; and torn jobs, which are told loudly."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import persistconn
from persistconn.once.line import Line
from persistconn.testing import within
from persistconn.testing.faults import Cut, FaultProxy, Rule, to_client
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

COUNTERS = [
    f"Com_{name}"
    for name in ("begin", "rollback", "commit", "create_table", "lock_tables", "truncate", "xa_start", "set_option")
]


def call(bench: Any, *steps: Callable[[], Any], **settings: Any) -> Any:
    """Run a job that writes 1, takes the steps, and writes 2."""

    def function() -> None:
        bench.add(1)
        for step in steps:
            step()
        bench.add(2)

    return bench.job(function, name="steps", **settings)()


def swallow(step: Callable[[], Any]) -> Callable[[], None]:
    """Have a step's error pass unseen, as jobs do."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            step()

    return quietly


class TestStatement:
    """Of the job's own connection."""

    @pytest.mark.parametrize(
        ("sql", "advice"),
        [
            ("COMMIT", "leave the commit out"),
            ("ROLLBACK", "raise one"),
            ("BEGIN", "the job is one transaction"),
            ("START TRANSACTION READ ONLY", "the job is one transaction"),
            ("SET autocommit = 1", "set it before the job"),
            ("CREATE TABLE other (x INT)", "in a migration or before the job"),
            ("LOCK TABLES t WRITE", "in a migration or before the job"),
            ("TRUNCATE TABLE t", "in a migration or before the job"),
            ("XA START 'x'", "leave XA out"),
        ],
    )
    @pytest.mark.parametrize("is_swallowed", [False, True])
    def test_that_would_end_the_transaction_is_not_sent(
        self, bench: Any, sql: str, advice: str, is_swallowed: bool
    ) -> None:
        """And the job is refused although it catches the error."""
        call(bench)
        bench.ask("DELETE FROM {}.persistconn_ledger")
        before = [bench.count(name) for name in COUNTERS]
        step = lambda: bench.run(sql)  # noqa: E731
        with pytest.raises(persistconn.NotReplayable, match=advice):
            call(bench, swallow(step) if is_swallowed else step)
        assert (bench.effects, bench.states) == ([1, 2], [])
        # BEGIN and ROLLBACK are the job's own.
        assert [bench.count(name) - was for name, was in zip(COUNTERS, before, strict=True)] == [1, 1, 0, 0, 0, 0, 0, 0]

    def test_that_was_refused_as_the_last_one_is_not_forgotten(self, bench: Any) -> None:
        """Nothing comes after it that could be refused too."""
        with pytest.raises(persistconn.NotReplayable, match="leave the commit out"):
            bench.job(lambda: [bench.add(1), swallow(lambda: bench.run("COMMIT"))()], name="steps")()
        assert bench.effects == []

    @pytest.mark.parametrize("how", ["commit", "rollback", "begin", "close", "retire", "with"])
    def test_that_the_connection_s_methods_send_is_refused_too(self, bench: Any, how: str) -> None:
        """By the driver's methods as by SQL."""

        def step() -> None:
            if how == "with":
                with persistconn.current():
                    return
            getattr(persistconn.current(), how)()

        with pytest.raises(persistconn.NotReplayable, match="inside the job steps"):
            call(bench, step)
        assert bench.effects == []

    def test_that_switches_autocommit_by_the_driver_s_method_is_refused(self, bench: Any) -> None:
        """It commits what is open."""
        with pytest.raises(persistconn.NotReplayable, match="set it before the job"):
            call(bench, lambda: persistconn.current().autocommit(True))
        assert bench.effects == []

    @pytest.mark.parametrize("sql", ["SAVEPOINT mine", "CREATE TEMPORARY TABLE temp (x INT)", "SET @v = 1", "DO 1"])
    def test_that_leaves_the_transaction_alone_passes(self, bench: Any, sql: str) -> None:
        """Savepoints are the job's own affair, and temporary tables are no DDL."""
        call(bench, lambda: bench.run(sql))
        assert bench.effects == [1, 2]

    def test_that_rolls_back_to_a_savepoint_passes(self, bench: Any) -> None:
        """What it undoes is the job's own."""
        steps = ["SAVEPOINT mine", "INSERT INTO t (x) VALUES (9)", "ROLLBACK TO SAVEPOINT mine"]
        call(bench, *[lambda sql=sql: bench.run(sql) for sql in steps])
        assert bench.effects == [1, 2]

    @pytest.mark.parametrize(
        "write",
        [
            "INSERT INTO old VALUES (1)",
            "/* shop */ INSERT INTO old VALUES (1)",
            "REPLACE INTO `old` VALUES (1)",
            "INSERT INTO `an old one` VALUES (1)",
            "UPDATE old SET x = 2",
            "DELETE FROM {}.old",
            "DELETE FROM `{}` . `old`",
        ],
    )
    def test_that_writes_a_table_without_transactions_is_refused(self, bench: Any, write: str) -> None:
        """No rollback would undo it. Read it may be."""
        for table in ("old", "`an old one`"):
            bench.ask(f"CREATE TABLE {{}}.{table} (x INT) ENGINE=MyISAM")
            bench.ask(f"INSERT INTO {{}}.{table} VALUES (7)")
        with pytest.raises(persistconn.NotReplayable, match=r"engine MyISAM has no transactions.*ENGINE=InnoDB"):
            call(bench, lambda: bench.run(write.replace("{}", bench.name)))
        assert bench.effects == []
        assert bench.ask("SELECT x FROM {}.old") == bench.ask("SELECT x FROM {}.`an old one`") == [(7,)]
        call(bench, lambda: bench.run("SELECT x FROM old"))

    def test_that_writes_a_table_that_was_converted_passes(self, bench: Any) -> None:
        """What the error told to do helps at once, not after a restart."""
        bench.ask("CREATE TABLE {}.old (x INT) ENGINE=MyISAM")
        with pytest.raises(persistconn.NotReplayable):
            call(bench, lambda: bench.run("INSERT INTO old VALUES (1)"))
        bench.ask("ALTER TABLE {}.old ENGINE=InnoDB")
        call(bench, lambda: bench.run("INSERT INTO old VALUES (1)"))
        assert bench.ask("SELECT x FROM {}.old") == [(1,)]


class TestTorn:
    """A transaction that the server ended under the job: loud, and never taken for success."""

    @pytest.fixture
    def procedures(self, bench: Any) -> None:
        bench.ask("CREATE PROCEDURE {}.commits() BEGIN INSERT INTO t (x) VALUES (5); COMMIT; END")
        bench.ask("CREATE PROCEDURE {}.chains() BEGIN COMMIT; START TRANSACTION; END")
        bench.ask("CREATE PROCEDURE {}.undoes() ROLLBACK")

    @pytest.mark.parametrize(
        ("procedure", "effects", "states"),
        [("commits", [1, 5], ["open"]), ("chains", [1], ["open"]), ("undoes", [], [])],
    )
    @pytest.mark.parametrize("is_swallowed", [False, True])
    def test_call_that_ends_the_transaction(
        self, bench: Any, procedures: None, procedure: str, effects: list[int], states: list[str], is_swallowed: bool
    ) -> None:
        """Nothing that comes after it is written, be the server in a transaction again or not."""

        def function() -> None:
            bench.add(1)
            bench.run(f"CALL {procedure}()")
            write = lambda: bench.add(2)  # noqa: E731
            (swallow(write) if is_swallowed else write)()

        with pytest.raises(persistconn.TornJob, match=r"CALL.*look at the job's effects") as told:
            bench.job(function, name="torn")()
        assert (bench.effects, bench.states) == (effects, states)
        assert told.value.token is not None

    def test_call_at_the_very_end_is_found_by_the_sentinel(self, bench: Any, procedures: None) -> None:
        """No statement of the job's comes after it."""
        with pytest.raises(persistconn.TornJob, match="CALL"):
            bench.job(lambda: bench.run("CALL chains()"), name="torn")()
        assert bench.states == ["open"]

    def test_second_statement_in_one_string_is_found(self, bench: Any) -> None:
        """The screen looks at the first word only."""
        bench.connect().retire()
        if bench.module.__name__ == "pymysql":
            from pymysql.constants import CLIENT

            bench.arguments["client_flag"] = CLIENT.MULTI_STATEMENTS
        with pytest.raises(persistconn.TornJob, match="a second statement in one string"):
            call(bench, lambda: bench.run("UPDATE t SET x = 1; COMMIT"))
        assert (bench.effects, bench.states) == ([1], ["open"])

    @pytest.mark.parametrize("whose", ["the same thread", "another thread", "nobody"])
    def test_key_stays_torn_and_says_so_at_once(self, bench: Any, procedures: None, whose: str) -> None:
        """A visible row that is open was committed by accident, whether its session lives on or not."""
        job = bench.job(lambda: bench.run("CALL commits()"), name="torn").keyed("k")
        parked, done = threading.Event(), threading.Event()

        def tear() -> None:
            with pytest.raises(persistconn.TornJob):
                job()
            parked.set()
            if whose == "another thread":
                done.wait(4 * PATIENCE)

        if whose == "the same thread":
            tear()
        else:
            thread = threading.Thread(target=tear)
            thread.start()
            assert parked.wait(PATIENCE)
        if whose == "nobody":
            thread.join(PATIENCE)
            persistconn.shutdown()
        try:
            # Neither the other thread's end nor a lock is waited for.
            with within(), pytest.raises(persistconn.TornJob, match="torn"):
                job()
        finally:
            done.set()
        assert (bench.effects, bench.states) == ([5], ["open"])

    def test_call_that_was_lost_after_it_committed_is_torn(
        self, bench: Any, proxy: FaultProxy, procedures: None
    ) -> None:
        """The replay finds its own row, open: it must not run again."""
        proxy.arm(Rule(Cut(), to_client("CALL commits")))
        with pytest.raises(persistconn.TornJob):
            call(bench, lambda: bench.run("CALL commits()"))
        assert (bench.effects, bench.states) == ([1, 5], ["open"])


class TestOtherConnection:
    """Of the thread, while a job runs: nothing there commits or rolls back with it."""

    @pytest.fixture
    def other(self, bench: Any) -> Iterator[Any]:
        other = bench.connect(init_command="SET @other = 1")
        yield other
        other.retire()

    @pytest.mark.parametrize("is_swallowed", [False, True])
    @pytest.mark.parametrize(
        "write", ["INSERT INTO t (x) VALUES (9)", "WITH a AS (SELECT 9) DELETE FROM t", "CALL p()"]
    )
    def test_is_not_written(self, bench: Any, other: Any, write: str, is_swallowed: bool) -> None:
        """A replay would write it twice."""
        step = lambda: bench.run(write, on=other)  # noqa: E731
        with pytest.raises(persistconn.NotReplayable, match=r"on another connection.*before or after the job"):
            call(bench, swallow(step) if is_swallowed else step)
        assert bench.effects == []

    def test_opened_by_the_job_is_not_written_either(self, bench: Any) -> None:
        """Whenever it was opened."""
        with pytest.raises(persistconn.NotReplayable, match="on another connection"):
            call(bench, lambda: bench.run("INSERT INTO t (x) VALUES (9)", on=bench.connect(init_command="SET @a = 1")))
        assert bench.effects == []

    @pytest.mark.parametrize(
        "sql",
        ["SELECT x FROM t", "WITH a AS (SELECT 9) SELECT * FROM a", "SHOW TABLES", "SET @x = 1", "BEGIN", "COMMIT"],
    )
    def test_may_be_read(self, bench: Any, other: Any, sql: str) -> None:
        """It sees what the job has not committed as little as anybody."""
        call(bench, lambda: bench.run(sql, on=other), other.close, other.ping)
        assert bench.effects == [1, 2]

    def test_may_be_retired(self, bench: Any, other: Any) -> None:
        """Closing is no write."""
        call(bench, other.retire)
        assert bench.effects == [1, 2]

    def test_is_free_again_after_the_job(self, bench: Any, other: Any) -> None:
        """However the job ended."""
        call(bench)
        bench.run("INSERT INTO t (x) VALUES (3)", on=other)
        with pytest.raises(ZeroDivisionError):
            call(bench, lambda: 1 // 0)
        bench.run("INSERT INTO t (x) VALUES (4)", on=other)
        assert bench.effects == [1, 2, 3, 4]


class TestCall:
    """Where a job may not be called."""

    @pytest.mark.parametrize("statement", ["begin", "autocommit off"])
    def test_inside_a_transaction_is_refused(self, bench: Any, statement: str) -> None:
        """Its COMMIT would be none of its own."""
        conn = bench.connect()
        conn.begin() if statement == "begin" else conn.autocommit(False)
        bench.add(9)
        with pytest.raises(
            persistconn.NotReplayable, match=r"inside a transaction that is open already.*job\.function"
        ):
            call(bench)
        conn.rollback()
        conn.autocommit(True)
        assert bench.effects == []

    def test_inside_a_transaction_that_was_lost_is_refused(self, bench: Any) -> None:
        """The block that was lost must stay refused until it is rolled back."""
        conn = bench.connect()
        conn.begin()
        bench.add(9)
        bench.kill()
        with pytest.raises(persistconn.TransactionLost):
            bench.add(9)
        with pytest.raises(persistconn.NotReplayable, match="inside a transaction"):
            call(bench)
        with pytest.raises(persistconn.TransactionLost):
            bench.add(9)
        conn.rollback()
        call(bench)
        assert bench.effects == [1, 2]

    @pytest.mark.parametrize("where", ["on the same connection", "on another connection"])
    def test_inside_a_job_is_refused(self, bench: Any, where: str) -> None:
        """A replay of the outer one would call it again; and the outer one stays watched."""
        extra = {} if where == "on the same connection" else {"init_command": "SET @inner = 1"}
        inner = persistconn.job(using=lambda: bench.connect(**extra), name="inner")(lambda: None)
        with pytest.raises(persistconn.NotReplayable, match=r"inside the job steps.*job\.function"):
            call(bench, inner)
        with pytest.raises(persistconn.NotReplayable, match="leave the commit out"):
            call(bench, swallow(inner), lambda: bench.run("COMMIT"))
        assert bench.effects == []

    def test_of_the_plain_function_inside_a_job_is_a_part_of_it(self, bench: Any) -> None:
        """What the refusal says to do."""
        inner = bench.job(lambda: bench.add(7), name="inner")
        call(bench, inner.function)
        assert bench.effects == [1, 7, 2]

    def test_with_an_argument_that_cannot_be_copied_is_refused(self, bench: Any) -> None:
        """Before anything is sent, and named."""
        with pytest.raises(persistconn.NotReplayable, match=r"argument 2 of the job g \(generator\) cannot be copied"):
            bench.job(lambda a, b: None, name="g")(1, (n for n in range(3)))

    def test_under_a_key_with_other_arguments_is_refused(self, bench: Any) -> None:
        """A key stands for one job with one set of arguments."""
        job = bench.job(bench.add, name="add").keyed("k")
        job(1)
        with pytest.raises(persistconn.NotReplayable, match="with other arguments"):
            job(2)
        assert bench.effects == [1]

    def test_of_a_connection_that_is_not_ours_is_refused(self, bench: Any) -> None:
        """Nobody would replay it."""
        raw = bench.module.connect(**bench.arguments)
        try:
            with pytest.raises(persistconn.ConfigError, match=r"no connection of persistconn.*manage\(\)"):
                persistconn.job(using=lambda: raw, name="raw")(lambda: None)()
        finally:
            raw.close()

    def test_current_outside_of_a_job_is_refused(self, bench: Any) -> None:
        """And behind one too."""
        call(bench)
        with pytest.raises(persistconn.ConfigError, match="and none does"):
            persistconn.current()


class TestCallersState:
    """Session state that cannot be rebuilt, which the caller holds around his jobs."""

    def test_that_was_lost_in_the_job_is_told(self, bench: Any) -> None:
        """A replay without the caller's lock would be a lie; nothing of the job took effect."""
        bench.run("SELECT GET_LOCK('mine', 1)")
        with pytest.raises(persistconn.SessionStateLost):
            call(bench, bench.kill)
        assert (bench.effects, bench.states) == ([], [])
        call(bench)
        assert bench.effects == [1, 2]

    def test_that_was_lost_before_the_job_is_told(self, bench: Any) -> None:
        """Nothing was sent."""
        bench.run("SELECT GET_LOCK('mine', 1)")
        bench.kill()
        with pytest.raises(persistconn.SessionStateLost):
            call(bench)
        assert bench.effects == []

    def test_that_was_lost_behind_the_commit_is_told_at_the_next_statement(self, bench: Any, proxy: FaultProxy) -> None:
        """The job took effect, and its result is returned; the lock is gone all the same."""
        call(bench)
        bench.run("SELECT GET_LOCK('mine', 1)")
        proxy.arm(Rule(Cut(), to_client(bench.commit)))
        call(bench)
        with pytest.raises(persistconn.SessionStateLost):
            bench.add(3)
        assert bench.effects == [1, 2, 1, 2]

    def test_survives_a_job(self, bench: Any) -> None:
        """It is the same session."""
        bench.run("SET @mine = 5")
        call(bench)
        assert bench.run("SELECT @mine") == [(5,)]


class TestNamedLocks:
    """By one of which a job's session is known: without it, nobody could end that session when it is lost."""

    def test_are_not_all_given_back_inside_a_job(self, bench: Any) -> None:
        """It is told what to do instead, and that passes."""
        with pytest.raises(persistconn.NotReplayable, match=r"RELEASE_LOCK\(name\) each of yours"):
            call(bench, lambda: bench.run("SELECT RELEASE_ALL_LOCKS()"))
        assert bench.effects == []
        bench.run("SELECT GET_LOCK('mine', 0)")
        call(bench, lambda: bench.run("DO RELEASE_LOCK('mine')"))
        assert bench.effects == [1, 2]

    def test_are_taken_again_when_all_were_given_back_between_two_jobs(self, bench: Any) -> None:
        """The session is known by another one then."""
        call(bench)
        identity = Line(bench.connect()).identity
        bench.run("SELECT RELEASE_ALL_LOCKS()")
        call(bench)
        assert bench.ask(f"SELECT IS_USED_LOCK('{identity}')") == [(None,)]
        again = Line(bench.connect()).identity
        assert bench.ask(f"SELECT IS_USED_LOCK('{again}')") == [(bench.session,)]
