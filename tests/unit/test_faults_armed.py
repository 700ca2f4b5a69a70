"""A rule under arms: how often it fires, who waits for it, and what the trace keeps."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from persistconn.testing.faults import Cut, Direction, Hold, Kind, Packet, Rule, Sighting, to_client, to_server
from persistconn.testing.faults.armed import Armed, Book, Order, is_holding
from persistconn.testing.waiting import PATIENCE


def see(number: int, conversation: int = 1) -> Sighting:
    packet = Packet(conversation, Direction.TO_SERVER, number, 0, Kind.QUERY, "SELECT", 10)
    return Sighting(packet, "SELECT 1", 14)


def arm(book: Book, rule: Rule) -> Armed:
    armed = Armed(rule, lambda: None)
    book.add(armed)
    return armed


def strike(book: Book, sighting: Sighting, counts: Counter[Armed]) -> list[Order]:
    orders = book.inspect(sighting, counts)
    for order in orders:
        book.note(order)
    return orders


@pytest.mark.parametrize(("times", "fired"), [(1, 1), (3, 3), (None, 5)])
def test_rule_fires_as_often_as_it_may(times: int | None, fired: int) -> None:
    """Once unless said otherwise; None is no limit. The proxy's count is the sum."""
    book, counts = Book(10), Counter[Armed]()
    armed = arm(book, Rule(Cut(), times=times))
    for number in range(1, 6):
        strike(book, see(number), counts)
    assert (armed.fired, book.fired) == (fired, fired)


def test_packets_are_counted_in_each_conversation_by_itself() -> None:
    """The third packet of a conversation is met in the second conversation too, if the rule may fire twice."""
    book = Book(10)
    armed = arm(book, Rule(Cut(), to_server(nth=3), times=2))
    for conversation in (1, 2):
        counts = Counter[Armed]()
        for number in (1, 2, 3):
            strike(book, see(number, conversation), counts)
    assert [(packet.conversation, packet.number) for packet in armed.packets] == [(1, 3), (2, 3)]


def test_packets_are_counted_from_the_moment_of_arming() -> None:
    """A rule that is armed in the middle of a conversation does not know what came before."""
    book, counts = Book(10), Counter[Armed]()
    strike(book, see(1), counts)
    armed = arm(book, Rule(Cut(), to_server(nth=2)))
    strike(book, see(2), counts)
    strike(book, see(3), counts)
    assert [packet.number for packet in armed.packets] == [3]


def test_disarmed_rule_does_not_fire() -> None:
    """Nor does it count against the others."""
    book, counts = Book(10), Counter[Armed]()
    first, second = arm(book, Rule(Cut())), arm(book, Rule(Cut(), to_client()))
    first.disarm()
    assert strike(book, see(1), counts) == []
    assert (first.fired, second.fired) == (0, 0)


def test_wait_returns_the_packet_that_was_struck() -> None:
    """Also if it was struck before anybody waited."""
    book = Book(10)
    armed = arm(book, Rule(Cut()))
    strike(book, see(4), Counter())
    assert armed.wait(timeout=0).number == 4


def test_wait_says_what_did_not_happen() -> None:
    """A test that waits for a fault in vain fails, and its error names the rule."""
    armed = Armed(Rule(Cut(), to_server("COMMIT")), lambda: None)
    with pytest.raises(TimeoutError, match=r"struck 0 of 1 times within 0 s: Rule\(fault=Cut.*COMMIT"):
        armed.wait(timeout=0)


def test_closing_wakes_who_waits() -> None:
    """Nobody waits for the rest of the time for a proxy that is gone."""
    book = Book(10)
    armed = arm(book, Rule(Cut()))
    told: list[str] = []

    def wait() -> None:
        try:
            armed.wait(timeout=600)
        except TimeoutError as error:
            told.append(str(error))

    waiter = threading.Thread(target=wait)
    waiter.start()
    book.end()
    waiter.join(PATIENCE)
    assert "before the proxy was closed" in told[0]


def test_release_wakes_the_proxy_and_ends_the_holding() -> None:
    """A held packet may go, and no other one is held afterwards."""
    book, woken = Book(10), []
    armed = Armed(Rule(Hold(), times=None), lambda: woken.append(1))
    book.add(armed)
    counts = Counter[Armed]()
    (order,) = strike(book, see(1), counts)
    assert is_holding(order)
    armed.release()
    assert not is_holding(order)
    assert woken == [1]
    assert strike(book, see(2), counts) == []


def test_trace_keeps_the_newest_packets() -> None:
    """So many as its limit says; a soak does not fill the memory."""
    book = Book(3)
    for number in range(1, 6):
        book.inspect(see(number), Counter())
    assert [packet.number for packet in book.trace] == [3, 4, 5]
    book.forget_trace()
    assert book.trace == []


def test_used_up_rules_are_forgotten() -> None:
    """A soak arms rules by the thousand, and each packet is shown only to those that may still fire."""
    book = Book(10)
    spent = [arm(book, Rule(Cut())) for _ in range(5)]
    strike(book, see(1), Counter())
    last = arm(book, Rule(Cut()))
    assert all(armed.is_used_up for armed in spent)
    assert book._followed == (last,)
