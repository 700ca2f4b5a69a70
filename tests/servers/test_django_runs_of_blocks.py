"""Block upon block: autocommit stays off at the server between them, and no statement outside a block may notice."""

# The fixtures are imported, and then named by the tests.
# ruff: noqa: F401, F811
from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, close_old_connections, connection, connections, transaction

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import numbers, site
from django_site.transactions import (
    ThrownAway,
    add,
    kept,
    kill,
    open_transactions,
    proxy,
    quiet,
    run,
    sent,
    server,
    stock,
    thrown_away,
)

import persistconn
from persistconn.backends.mysql.transactions import IN_A_ROW
from persistconn.policy import Reason
from persistconn.testing import eventually
from persistconn.testing.faults import Cut, FaultProxy, Place, Rule, Where, to_client, to_server

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("quiet")]

Sent = Callable[[], list[str]]
WITH_BEGIN, FIRST_WITHOUT, WITHOUT = ["BEGIN", "INSERT", "COMMIT"], ["SET", "INSERT", "COMMIT"], ["INSERT", "COMMIT"]


def close() -> None:
    """End the unit of work."""
    connection.close()


def begin_by_text() -> None:
    """Begin by hand."""
    run("BEGIN")


def begin_by_method() -> None:
    """Begin by the driver's method."""
    connection.connection.begin()


def block(number: int) -> None:
    """Write one row in a block."""
    with transaction.atomic():
        add(number)


@pytest.fixture
def run_of_blocks(site: Any) -> list[int]:
    """Blocks in a row, so that autocommit is off at the server, where Django has it on; returns the rows."""
    for number in range(1, IN_A_ROW + 3):
        block(number)
    assert connection.get_autocommit()
    assert not connection.connection.get_autocommit()
    return kept(site)


class TestCost:
    """What the server is sent."""

    def test_block_of_a_run_is_its_statements_and_a_commit(self, site: Any, sent: Sent) -> None:
        """Two round trips with one write, where the stock engine needs four."""
        for number in range(IN_A_ROW + 3):
            block(number)
        assert sent() == [*WITH_BEGIN * IN_A_ROW, *FIRST_WITHOUT, *WITHOUT * 2]
        assert kept(site) == [*range(IN_A_ROW + 3)]

    def test_statement_outside_ends_the_run(self, sent: Sent, run_of_blocks: list[int]) -> None:
        """It switches autocommit on, once; the blocks behind it begin one by one."""
        block(20)
        sent()
        add(21)
        add(22)
        block(23)
        assert sent() == ["SET", "INSERT", "INSERT", *WITH_BEGIN]

    @pytest.mark.parametrize("between", [close_old_connections, close, persistconn.connections])
    def test_end_of_a_unit_does_not_end_the_run(
        self, sent: Sent, run_of_blocks: list[int], between: Callable[[], object]
    ) -> None:
        """Nor does anything else that sends nothing: an empty block, a block that was thrown away."""
        block(20)
        sent()
        between()
        with transaction.atomic():
            pass
        with thrown_away():
            add(21)
        block(22)
        assert sent() == ["INSERT", "ROLLBACK", *WITHOUT]

    def test_short_runs_with_reads_between_begin_one_by_one(self, site: Any, sent: Sent) -> None:
        """There it would cost a round trip more than it saves."""
        for number in range(10):
            block(number)
            numbers()
        assert sent() == [*WITH_BEGIN, "SELECT"] * 10

    def test_transactions_by_hand_are_a_run_too(self, site: Any, sent: Sent) -> None:
        """``ATOMIC_REQUESTS`` or ``AUTOCOMMIT`` off: the same."""
        transaction.set_autocommit(False)
        for number in range(IN_A_ROW + 2):
            add(number)
            transaction.commit()
        transaction.set_autocommit(True)
        assert sent() == [*WITH_BEGIN * IN_A_ROW, *FIRST_WITHOUT, *WITHOUT]
        add(20)
        assert kept(site) == [*range(IN_A_ROW + 2), 20]


class TestOutside:
    """Whatever comes behind a run commits itself, or is in the transaction that its user begins."""

    def test_write_commits_itself(self, site: Any, run_of_blocks: list[int]) -> None:
        """At once, by Django's cursor and by the driver's."""
        add(20)
        assert kept(site) == [*run_of_blocks, 20]
        block(21)
        with connection.connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_entry (number) VALUES (22)")
        assert kept(site) == [*run_of_blocks, 20, 21, 22]

    def test_autocommit_is_seen_as_it_is_wanted(self, run_of_blocks: list[int]) -> None:
        """By whoever asks the server outside a block."""
        assert run("SELECT @@autocommit") == ((1,),)

    @pytest.mark.parametrize("begin", [begin_by_text, begin_by_method])
    @pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
    def test_transaction_that_is_begun_by_hand_is_one(
        self, site: Any, run_of_blocks: list[int], begin: Callable[[], object], end: str
    ) -> None:
        """By its text or by the driver's method: its statements are kept together or not at all."""
        begin()
        add(20)
        add(21)
        assert kept(site) == run_of_blocks
        run(end)
        add(22)
        assert kept(site) == [*run_of_blocks, *([20, 21] if end == "COMMIT" else []), 22]

    def test_error_outside_leaves_nothing_open(self, site: Any, run_of_blocks: list[int]) -> None:
        """The next statement commits itself as well."""
        with pytest.raises(DatabaseError):
            run("INSERT INTO shop_nothing VALUES (1)")
        add(20)
        assert kept(site) == [*run_of_blocks, 20]

    def test_job_is_a_transaction_of_its_own(self, site: Any, run_of_blocks: list[int], sent: Sent) -> None:
        """Its statements have nothing sent ahead, which would commit what it has begun."""
        job = persistconn.job(name="a job behind blocks")(add)

        def failing(number: int) -> None:
            add(number)
            raise ThrownAway

        block(20)
        job(21)
        block(22)
        with contextlib.suppress(ThrownAway):
            persistconn.job(name="a job that fails")(failing)(23)
        block(24)
        assert kept(site) == [*run_of_blocks, 20, 21, 22, 24]
        site.ask("TRUNCATE TABLE site_main.persistconn_ledger")

    def test_snapshot_is_of_the_block_and_not_older(self, site: Any, run_of_blocks: list[int]) -> None:
        """Between blocks no transaction is open, whose snapshot would be what the next one reads."""
        site.ask("INSERT INTO site_main.shop_entry (number) VALUES (50)")
        with transaction.atomic():
            assert numbers() == [*run_of_blocks, 50]
        site.ask("INSERT INTO site_main.shop_entry (number) VALUES (51)")
        with transaction.atomic():
            assert numbers() == [*run_of_blocks, 50, 51]
        assert open_transactions(site) == []


class TestLosses:
    """A session that dies with autocommit off is one like any other."""

    def test_dead_behind_a_run_is_replaced_unseen(self, site: Any, run_of_blocks: list[int]) -> None:
        """What comes then commits itself, on the new session; and a block is one."""
        kill(site)
        add(20)
        assert kept(site) == [*run_of_blocks, 20]
        kill(site)
        with thrown_away():
            add(21)
        assert kept(site) == [*run_of_blocks, 20]

    def test_write_outside_that_is_lost_is_unknown(
        self, proxy: FaultProxy, site: Any, run_of_blocks: list[int]
    ) -> None:
        """It commits itself, so it may have taken effect: as on any connection with autocommit on."""
        proxy.arm(Rule(Cut(), to_client("INSERT")))
        with pytest.raises(persistconn.OutcomeUnknown):
            add(20)
        add(21)
        assert kept(site) == [*run_of_blocks, 20, 21]

    @pytest.mark.parametrize("where", [to_server("SET"), to_server("SET", place=Place.AFTER), to_client("SET")])
    def test_lost_switch_is_sent_again(
        self, proxy: FaultProxy, site: Any, run_of_blocks: list[int], where: Where
    ) -> None:
        """With the statement behind it, which is sent once."""
        rule = proxy.arm(Rule(Cut(), where))
        add(20)
        assert (rule.fired, kept(site)) == (1, [*run_of_blocks, 20])

    def test_switch_that_is_lost_twice_is_told_and_nothing_is_refused(
        self, proxy: FaultProxy, site: Any, run_of_blocks: list[int]
    ) -> None:
        """The statement was not sent. The next one is, and commits itself."""
        # The second one is lost behind what makes the new session like the old one.
        proxy.arm(Rule(Cut(), to_client("SET autocommit=1"), times=2))
        with pytest.raises(persistconn.ConnectionLost, match="SET"):
            add(20)
        add(21)
        assert kept(site) == [*run_of_blocks, 21]

    def test_interrupt_of_the_switch_loses_no_transaction(
        self, site: Any, run_of_blocks: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There was none: what follows is not refused, and commits itself."""
        raw = connection.connection._held.raw

        def interrupted(sql: Any, *args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(raw, "query", interrupted)
        with pytest.raises(KeyboardInterrupt):
            add(20)
        add(21)
        assert kept(site) == [*run_of_blocks, 21]

    def test_first_write_of_a_block_that_is_lost_is_a_lost_transaction(
        self, proxy: FaultProxy, site: Any, run_of_blocks: list[int]
    ) -> None:
        """Nothing had begun the transaction but the write itself: as under ``autocommit=0`` on any connection."""
        proxy.arm(Rule(Cut(), to_client("INSERT")))
        with pytest.raises(persistconn.TransactionLost), transaction.atomic():
            add(20)
        add(21)
        block(22)
        assert kept(site) == [*run_of_blocks, 21, 22]

    def test_commit_whose_answer_is_lost_is_unknown(
        self, proxy: FaultProxy, site: Any, run_of_blocks: list[int]
    ) -> None:
        """All of it, or nothing; and Django works on behind it."""
        proxy.arm(Rule(Cut(), to_client("COMMIT")))
        with pytest.raises(persistconn.OutcomeUnknown):
            block(20)
        add(21)
        assert kept(site) == [*run_of_blocks, 20, 21]


@pytest.fixture
def pooled(site: Any) -> Iterator[str]:
    """An alias whose sessions are lent, one at the most."""
    definition = copy.deepcopy(connections.settings["default"])
    definition["OPTIONS"]["pool"] = {"max_size": 1}
    connections.settings["pooled"] = definition
    yield "pooled"
    connections["pooled"].close()
    del connections["pooled"]
    del connections.settings["pooled"]


def test_sessions_that_are_lent_begin_each_block(pooled: str, site: Any, sent: Sent) -> None:
    """They go back as they were lent, and to somebody else."""
    for number in range(IN_A_ROW + 3):
        with transaction.atomic(pooled):
            add(number, pooled)
        connections[pooled].close()
    asked = sent()
    assert asked.count("BEGIN") == IN_A_ROW + 3
    assert asked.count("Connect") == 1
    assert kept(site) == [*range(IN_A_ROW + 3)]


def test_session_is_renewed_as_it_is(site: Any, run_of_blocks: list[int]) -> None:
    """The sweep makes a new one between two blocks: what comes then commits itself."""
    held = connection.connection._held
    assert held.renew(Reason.IDLE)
    eventually(lambda: held.has_raw)
    add(20)
    assert kept(site) == [*run_of_blocks, 20]
