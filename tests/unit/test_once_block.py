"""What stands between a job's function and its connection, and what it remembers although the job caught the error."""

from __future__ import annotations

import pytest

from persistconn.errors import NotReplayable, TornJob, TransactionLost
from persistconn.once.block import Block, Foreign

LOSS = TransactionLost(2013, "the connection was lost")
DEADLOCK = ValueError("deadlock")


def block(engine: str | None = None) -> Block:
    """A job's block, on tables of one engine (None: one that has transactions)."""
    return Block("j", lambda schema, table: engine)


def test_statements_are_counted_and_the_last_is_known_by_its_beginning() -> None:
    """For people, without its values."""
    watching = block()
    watching.check("INSERT INTO t VALUES ('secret')", is_open=True)
    watching.check(b"UPDATE t SET a = 1", is_open=True)
    assert watching.place == (2, "UPDATE t")
    watching.has_ended = True
    assert watching.place == (3, "its end")


def test_protocol_s_own_statements_pass_uncounted() -> None:
    """Whatever happened."""
    watching = block()
    watching.lost(LOSS)
    with watching.ours():
        watching.check("COMMIT", is_open=False)
    assert watching.ordinal == 0
    with pytest.raises(TransactionLost):
        watching.check("SELECT 1", is_open=True)


def test_after_an_error_of_the_protocol_s_own_the_job_s_statements_are_watched_again() -> None:
    """Whatever ends the block."""
    watching = block()
    with pytest.raises(KeyboardInterrupt), watching.ours():
        raise KeyboardInterrupt
    watching.lost(LOSS)
    with pytest.raises(TransactionLost):
        watching.check("SELECT 1", is_open=True)


def test_a_statement_that_is_changed_later_is_told_as_it_was() -> None:
    """PyMySQL takes a bytearray, which its owner may fill again."""
    watching, sql = block(), bytearray(b"INSERT INTO t VALUES (1)")
    watching.check(sql, is_open=True)
    sql[:] = b"UPDATE t SET a = 1"
    assert watching.last == "INSERT INTO"


def test_refusal_is_remembered_and_said_again() -> None:
    """For a job that catches it and goes on."""
    watching = block()
    with pytest.raises(NotReplayable, match="COMMIT inside the job j: the job is committed, once"):
        watching.check("COMMIT", is_open=True)
    with pytest.raises(NotReplayable) as again:
        watching.check("SELECT 1", is_open=True)
    assert again.value is watching.refusal


@pytest.mark.parametrize("sql", ["SELECT 1", "INSERT INTO t VALUES (1)", "ROLLBACK", "CLOSE", "COMMIT", "RETIRE"])
def test_after_a_loss_nothing_is_sent(sql: str) -> None:
    """Not even a rollback, behind which the rest of the job would be written in the open."""
    watching = block()
    watching.lost(LOSS)
    watching.lost(TransactionLost(2013, "a later one"))
    with pytest.raises(TransactionLost) as told:
        watching.check(sql, is_open=True)
    assert told.value is watching.loss is LOSS
    assert watching.refusal is None


def test_after_the_server_has_rolled_back_nothing_is_sent() -> None:
    """By autocommit the rest alone would be written."""
    watching = block()
    watching.answered_with_rollback(DEADLOCK)
    watching.answered_with_rollback(ValueError("a later one"))
    for is_open in (True, False):
        with pytest.raises(ValueError, match="deadlock"):
            watching.check("INSERT INTO t VALUES (1)", is_open=is_open)
    assert watching.refusal is None


def test_transaction_that_is_not_open_any_more_is_torn() -> None:
    """The statement before is the suspect."""
    watching = block()
    watching.check("CALL p()", is_open=True)
    with pytest.raises(TornJob, match=r"the last statement was CALL.*look at the job's effects"):
        watching.check("INSERT INTO t VALUES (1)", is_open=False)
    assert isinstance(watching.refusal, TornJob)


def test_table_without_transactions_is_not_written() -> None:
    """With its name, its engine and what to do; it may be read."""
    watching = block("MyISAM")
    watching.check("SELECT * FROM old", is_open=True)
    with pytest.raises(NotReplayable, match=r"writes the table old, whose engine MyISAM has no.*ENGINE=InnoDB"):
        watching.check("INSERT INTO old VALUES (1)", is_open=True)


def test_engine_is_asked_for_the_very_table() -> None:
    """In the schema that the statement names, if it names one."""
    asked: list[tuple[str | None, str]] = []
    watching = Block("j", lambda schema, table: asked.append((schema, table)))
    watching.check("INSERT INTO shop.t VALUES (1)", is_open=True)
    watching.check("SELECT 1", is_open=True)
    watching.check("UPDATE u SET a = 1", is_open=True)
    assert asked == [("shop", "t"), (None, "u")]


def test_write_on_another_connection_is_the_job_s_refusal() -> None:
    """Although it is caught there; a read, its loss and its rollback are not the job's."""
    watching = block()
    foreign = Foreign(watching)
    foreign.check("SELECT 1", is_open=False)
    foreign.lost(LOSS)
    foreign.answered_with_rollback(DEADLOCK)
    watching.check("SELECT 1", is_open=True)
    with pytest.raises(NotReplayable, match="INSERT INTO on another connection inside the job j"):
        foreign.check("INSERT INTO t VALUES (1)", is_open=False)
    with pytest.raises(NotReplayable, match="on another connection"):
        watching.check("SELECT 1", is_open=True)
