"""What becomes of a block of the Django engine whose connection is lost, at each packet of it."""

# The fixtures are imported, and then named by the tests.
# ruff: noqa: F401, F811
from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import numbers, sessions_on, site
from django_site.transactions import (
    ThrownAway,
    add,
    kept,
    kill,
    proxy,
    quiet,
    run,
    sent,
    server,
    thrown_away,
)

import persistconn
from persistconn.testing import eventually
from persistconn.testing.faults import (
    Armed,
    Cut,
    FaultProxy,
    Kind,
    Packet,
    Place,
    Reset,
    Rule,
    Where,
    to_client,
    to_server,
)

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("quiet")]


def block(*, fails: bool) -> None:
    """Write twice in one block, through bare cursors, whose errors do not stop Django."""
    with transaction.atomic():
        for number in (1, 2):
            with contextlib.suppress(persistconn.ConnectionLost):
                add(number)
        if fails:
            raise ThrownAway


def packets_of_a_block(proxy: FaultProxy, *, fails: bool) -> list[Packet]:
    """Return the packets of one undisturbed block."""
    proxy.forget_trace()
    with contextlib.suppress(ThrownAway):
        block(fails=fails)
    return list(proxy.trace)


class TestLosses:
    """The proxy cuts: nothing of a block is kept without the rest, and nothing of it runs outside a transaction."""

    def test_dead_before_the_block_is_replaced_unseen(self, site: Any, sent: Callable[[], list[str]]) -> None:
        """Nothing was at stake; the new session begins."""
        kill(site)
        with transaction.atomic():
            kill(site)
            add(1)
            add(2)
        assert kept(site) == [1, 2]
        assert sent()[-4:] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]

    @pytest.mark.parametrize("where", [to_server("BEGIN"), to_server("BEGIN", place=Place.AFTER), to_client("BEGIN")])
    def test_lost_begin_is_sent_again(self, site: Any, proxy: FaultProxy, where: Where) -> None:
        """Whether it arrived or not: nothing was in that transaction."""
        rule = proxy.arm(Rule(Cut(), where))
        with transaction.atomic():
            add(1)
        assert (rule.fired, kept(site)) == (1, [1])

    def test_begin_that_is_lost_twice_is_told(self, site: Any, proxy: FaultProxy) -> None:
        """And the statement was not sent; the block can be left, and the next one works."""
        rule = proxy.arm(Rule(Cut(), to_client("BEGIN"), times=2))
        with pytest.raises(persistconn.ConnectionLost, match="BEGIN"), transaction.atomic():
            add(1)
        with transaction.atomic():
            add(2)
        assert (rule.fired, kept(site)) == (2, [2])

    @pytest.mark.parametrize("where", [to_server("INSERT", place=Place.AFTER), to_client("INSERT")])
    def test_first_write_that_is_lost_is_a_lost_transaction(
        self,
        site: Any,
        proxy: FaultProxy,
        where: Where,
    ) -> None:
        """It is not sent again, and all further statements of the block are refused."""
        proxy.arm(Rule(Cut(), where))

        @transaction.atomic
        def lose_and_go_on() -> None:
            with pytest.raises(persistconn.TransactionLost):
                add(1)
            with pytest.raises(persistconn.TransactionLost, match="refused"):
                add(2)

        with pytest.raises(persistconn.TransactionLost):
            lose_and_go_on()
        add(3)
        assert kept(site) == [3]

    def test_first_read_that_is_lost_is_read_again_in_a_transaction(self, site: Any, proxy: FaultProxy) -> None:
        """As under autocommit=0: the transaction held nothing else; and what follows is in the one of the second try."""
        add(1)
        rule = proxy.arm(Rule(Cut(), to_client("SELECT")))
        proxy.forget_trace()
        with thrown_away():
            assert numbers() == [1]
            add(2)
        assert (rule.fired, kept(site)) == (1, [1])
        asked = [p.words.split()[0] for p in proxy.trace if p.kind is Kind.QUERY]
        assert [word for word in asked if word not in ("SET",)][-4:] == ["BEGIN", "SELECT", "INSERT", "ROLLBACK"]
        assert asked.count("BEGIN") == 2

    def test_second_read_that_is_lost_is_a_lost_transaction(self, site: Any, proxy: FaultProxy) -> None:
        """What the first one has seen, or locked, would not be what the second one sees."""

        @transaction.atomic
        def lose() -> None:
            numbers()
            proxy.arm(Rule(Cut(), to_client("SELECT")))
            numbers()

        with pytest.raises(persistconn.TransactionLost):
            lose()
        assert numbers() == []

    def test_commit_whose_answer_is_lost_is_unknown(self, site: Any, proxy: FaultProxy) -> None:
        """All of it, or nothing; and Django works on behind it."""
        proxy.arm(Rule(Cut(), to_client("COMMIT")))
        with pytest.raises(persistconn.OutcomeUnknown):
            block(fails=False)
        assert kept(site) == [1, 2]
        assert connection.get_autocommit()
        add(3)
        assert kept(site) == [1, 2, 3]

    def test_loss_under_the_fallback_comes_back_with_autocommit_on(self, site: Any, proxy: FaultProxy) -> None:
        """A block that has had to switch autocommit off, and loses its session: what comes behind commits itself."""

        @transaction.atomic
        def lose() -> None:
            run("ANALYZE TABLE shop_entry")
            add(1)
            proxy.strike(Reset())
            add(2)

        with pytest.raises(persistconn.TransactionLost):
            lose()
        add(3)
        assert kept(site) == [3]

    @pytest.mark.parametrize("fails", [True, False])
    def test_cut_at_each_packet_tears_nothing(
        self,
        site: Any,
        proxy: FaultProxy,
        fails: bool,
    ) -> None:
        """A client that goes on obstinately, up to COMMIT: all of the block is kept or nothing, at each packet of it."""
        packets = packets_of_a_block(proxy, fails=fails)
        assert [packet.words.split()[0] for packet in packets if packet.kind is Kind.QUERY] == [
            *("BEGIN", "INSERT", "INSERT"),
            "ROLLBACK" if fails else "COMMIT",
        ]
        for ordinal in range(len(packets)):
            for place in Place:
                site.ask("TRUNCATE TABLE site_main.shop_entry")
                numbers()
                rule = proxy.arm(Rule(Cut(), Where(place=place, nth=ordinal + 1)))
                told = cut_block(fails=fails)
                await_end(rule, site)
                case = f"cut {place.value} {packets[ordinal]}: told {told!r}"
                assert kept(site) in expected(fails=fails, told=told), case


def await_end(rule: Armed, server: Any) -> None:
    """Wait until the cut was made, and the session that it hit is gone with all that it held."""
    eventually(lambda: rule.fired == 1 and len(sessions_on(server, "site_main")) <= 1)


def cut_block(*, fails: bool) -> Exception | None:
    """Run the block on which a cut waits; return what it was told."""
    try:
        block(fails=fails)
    except Exception as error:
        return None if isinstance(error, ThrownAway) else error
    return None


def expected(*, fails: bool, told: Exception | None) -> list[list[int]]:
    """Return what may be kept."""
    if fails or isinstance(told, persistconn.TransactionLost):
        return [[]]
    return [[1, 2], []] if isinstance(told, persistconn.OutcomeUnknown) else [[1, 2]]
