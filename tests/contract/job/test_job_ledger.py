"""The ledger: missing, weak or without rights it is refused; and what its rows say of a token."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import persistconn
from persistconn.once.rows import Statements
from persistconn.once.token import Token, key_token, random_token

pytestmark = pytest.mark.server

ALTERATIONS = {
    "no ledger": ("DROP TABLE {}.persistconn_ledger", "is missing.*persistconn.ledger.create"),
    "no horizon": ("DROP TABLE {}.persistconn_horizon", "is missing.*persistconn.ledger.create"),
    "no mark": ("DELETE FROM {}.persistconn_horizon", "must have one row"),
    "MyISAM": ("ALTER TABLE {}.persistconn_ledger ENGINE=MyISAM", "engine MyISAM.*ENGINE=InnoDB"),
    "no key": ("ALTER TABLE {}.persistconn_ledger DROP PRIMARY KEY", "does not fence.*must be the primary key"),
    "key of the attempt": (
        "ALTER TABLE {}.persistconn_ledger DROP PRIMARY KEY, ADD PRIMARY KEY (token, attempt)",
        "does not fence.*must be the primary key",
    ),
    "key of the beginning": (
        "ALTER TABLE {}.persistconn_ledger DROP PRIMARY KEY, ADD PRIMARY KEY (token(6))",
        "takes two tokens for one",
    ),
    "letter case": (
        "ALTER TABLE {}.persistconn_ledger MODIFY token VARCHAR(64) CHARACTER SET latin1 NOT NULL",
        "takes two tokens for one",
    ),
    "a column gone": ("ALTER TABLE {}.persistconn_ledger DROP COLUMN attempts", "lacks a column"),
}


class TestProbe:
    """Before the first job of a process."""

    @pytest.fixture
    def proof_pause(self) -> None:
        """Leave it as it is."""

    @pytest.mark.parametrize("what", ALTERATIONS)
    def test_ledger_that_is_no_fence_is_refused(self, bench: Any, what: str) -> None:
        """Fail closed, and say what to do."""
        alteration, complaint = ALTERATIONS[what]
        bench.ask(alteration)
        with pytest.raises(persistconn.LedgerError, match=complaint):
            bench.job(lambda: bench.add(1), name="first")()
        assert bench.effects == []

    def test_ledger_without_rights_is_refused(self, bench: Any) -> None:
        """By a user who may write the tables alone."""
        user = f"u_{bench.name[-8:]}"
        bench.ask(f"CREATE USER {user} IDENTIFIED BY 'test'")
        bench.ask(f"GRANT SELECT, INSERT ON {{}}.t TO {user}")
        bench.ask(f"GRANT SELECT ON {{}}.persistconn_ledger TO {user}")
        bench.ask(f"GRANT SELECT ON {{}}.persistconn_horizon TO {user}")
        bench.arguments.update(user=user, password="test")
        try:
            with pytest.raises(persistconn.LedgerError, match="may not be used"):
                bench.job(lambda: bench.add(1), name="first")()
            assert bench.effects == []
        finally:
            bench.ask(f"DROP USER {user}")

    def test_good_ledger_is_proved_once_in_a_process(self, bench: Any) -> None:
        """It costs two connections and 0.2 s."""
        job = bench.job(lambda: None, name="first")
        job()
        before = bench.count("Connections")
        job()
        assert bench.count("Connections") == before

    def test_proof_leaves_no_row(self, bench: Any) -> None:
        """Its token is nobody's."""
        persistconn.ledger.check(bench.connect())
        assert bench.states == []

    def test_ledger_that_goes_missing_later_is_told_too(self, bench: Any) -> None:
        """And proved again when it is back."""
        job = bench.job(lambda: bench.add(1), name="first")
        job()
        bench.ask("DROP TABLE {}.persistconn_ledger")
        with pytest.raises(persistconn.LedgerError, match="is missing"):
            job()
        persistconn.ledger.create(bench.connect())
        job()
        assert bench.effects == [1, 1]

    def test_connection_without_a_database_has_no_ledger(self, bench: Any) -> None:
        """The ledger lies where the effects do."""
        bench.arguments.pop("database")
        with pytest.raises(persistconn.LedgerError, match="names no database"):
            bench.job(lambda: None, name="first")()

    def test_name_of_the_database_needs_no_luck(self, bench: Any) -> None:
        """Quotes and dashes in it are data."""
        name = f"{bench.name}-it's `x`"
        quoted = name.replace("`", "``")
        bench.server.ask(f"CREATE DATABASE `{quoted}`")
        try:
            bench.connect().retire()
            bench.arguments["database"] = name
            persistconn.ledger.create(bench.connect())
            bench.job(lambda: None, name="first")()
            assert bench.server.ask(f"SELECT state FROM `{quoted}`.persistconn_ledger") == [("done",)]
            bench.connect().retire()
        finally:
            bench.server.ask(f"DROP DATABASE `{quoted}`")


class TestToken:
    """What the ledger says of one."""

    def test_that_was_cancelled_never_runs(self, bench: Any) -> None:
        """The cancellation takes the token as a job would."""
        token = key_token("cancelled", "k")
        bench.run(Statements(bench.name).cancel(token.digest, "a test"))
        with pytest.raises(persistconn.JobCancelled, match="has not run, and will not") as told:
            bench.job(lambda: bench.add(1), name="cancelled").keyed("k")()
        assert (bench.effects, bench.states) == ([], ["cancelled"])
        assert told.value.token == str(token)

    def test_that_is_cancelled_while_the_job_runs_is_the_job_s(self, bench: Any) -> None:
        """The cancellation waits for the job, and then comes too late."""
        token = key_token("slow", "k")
        cancel = Statements(bench.name).cancel(token.digest, "a test")
        errors: list[Any] = []

        def function() -> None:
            bench.add(1)
            bench.ask("SET SESSION innodb_lock_wait_timeout = 1")
            try:
                bench.server.ask(cancel)
            except Exception as error:
                errors.append(error.args[0])
            finally:
                bench.ask("SET SESSION innodb_lock_wait_timeout = DEFAULT")

        bench.job(function, name="slow").keyed("k")()
        assert (errors, bench.effects, bench.states) == ([1205], [1], ["done"])

    def test_that_is_older_than_what_the_ledger_remembers_has_no_effect(self, bench: Any) -> None:
        """It may have taken effect and been forgotten since."""
        token = random_token("late", datetime.now(timezone.utc) - timedelta(days=8))
        bench.run("UPDATE persistconn_horizon SET low_water = UTC_TIMESTAMP(6) - INTERVAL 7 DAY")
        with pytest.raises(persistconn.TokenExpired, match="nobody can tell whether it took effect"):
            bench.job(lambda: bench.add(1), name="late").run_as(token)
        assert (bench.effects, bench.states) == ([], [])

    def test_that_is_old_and_remembered_takes_effect(self, bench: Any) -> None:
        """The mark is asked for, and lies below."""
        token = random_token("late", datetime.now(timezone.utc) - timedelta(days=2))
        bench.run("UPDATE persistconn_horizon SET low_water = UTC_TIMESTAMP(6) - INTERVAL 7 DAY")
        bench.job(lambda: bench.add(1), name="late").run_as(token)
        assert (bench.effects, bench.states) == ([1], ["done"])

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "READ COMMITTED", "SERIALIZABLE"])
    def test_that_is_forgotten_while_the_job_runs_has_no_effect(self, bench: Any, level: str) -> None:
        """However old the job's snapshot is. A server with snapshot isolation refuses it (1020), and the replay finds out."""
        token = random_token("late", datetime.now(timezone.utc) - timedelta(days=2))
        purges = iter(["UPDATE {}.persistconn_horizon SET low_water = UTC_TIMESTAMP(6) - INTERVAL 1 DAY"])

        def function() -> None:
            bench.run("SELECT COUNT(*) FROM t")
            bench.add(1)
            for purge in purges:
                bench.ask(purge)

        with pytest.raises(persistconn.TokenExpired):
            bench.job(function, name="late", isolation=level).run_as(token)
        assert (bench.effects, bench.states) == ([], [])

    def test_whose_row_is_another_attempt_s_has_no_effect(self, bench: Any) -> None:
        """On a cluster the row under the token may have become another machine's meanwhile."""

        def function() -> None:
            bench.add(1)
            bench.run("UPDATE persistconn_ledger SET attempt = 'another!'")

        with pytest.raises(persistconn.TornJob, match="has lost its row"):
            bench.job(function, name="robbed")()
        assert (bench.effects, bench.states) == ([], [])

    def test_of_a_key_is_remembered_for_ever(self, bench: Any) -> None:
        """It has no time of issue."""
        bench.run("UPDATE persistconn_horizon SET low_water = UTC_TIMESTAMP(6) + INTERVAL 1 DAY")
        bench.job(lambda: bench.add(1), name="keyed").keyed("k")()
        assert bench.effects == [1]

    def test_that_is_not_due_by_the_database_s_clock_waits(self, bench: Any) -> None:
        """A machine whose clock is ahead must not fire tomorrow's job today."""
        from persistconn.once.attempt import NotDue
        from persistconn.once.token import fire_token

        token = fire_token("service", "nightly", datetime.now(timezone.utc) + timedelta(hours=1))
        with pytest.raises(NotDue, match="not due yet by the database's clock"):
            bench.job(lambda: bench.add(1), name="nightly").run_as(token)
        assert (bench.effects, bench.states) == ([], [])

    def test_of_another_job_is_refused(self, bench: Any) -> None:
        """Whatever its arguments."""
        token = Token(os.urandom(32), "one")
        bench.job(lambda: bench.add(1), name="one").run_as(token)
        with pytest.raises(persistconn.NotReplayable, match="by one with other arguments"):
            bench.job(lambda: bench.add(2), name="two").run_as(token)
        assert bench.effects == [1]

    def test_row_tells_who_did_what_and_when(self, bench: Any) -> None:
        """Attempt by attempt: a replay counts."""
        runs: list[int] = []

        def function(x: int) -> int:
            runs.append(x)
            if len(runs) == 1:
                bench.kill()
            bench.add(x)
            return x

        bench.job(function, name="told").keyed("a key")(3)
        ((job, key, attempts, result, place, took),) = bench.ask(
            "SELECT job, job_key, attempts, result, place, ended_at >= started_at FROM {}.persistconn_ledger"
        )
        assert (job, key, attempts, result, took) == ("told", "a key", 2, "3", 1)
        assert f"pid {os.getpid()}" in place
