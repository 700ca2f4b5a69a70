"""One direction of a connection: faults strike at the byte, bytes keep their order, and buffers have an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from persistconn.testing.faults import Conversation, Cut, Delay, Direction, Drop, Fault, Frame, Place, Rule, Where
from persistconn.testing.faults.armed import Armed, Book, Order
from persistconn.testing.faults.endpoint import State
from persistconn.testing.faults.outbox import Barrier, Chunk, End, Outbox
from persistconn.testing.faults.pipe import LIMIT, Flow, Pipe


class FakeEndpoint:
    """Gives the segments that it was given, then the end of the stream."""

    def __init__(self, *segments: bytes, broken: bool = False) -> None:
        self.state = State.OPEN
        self.segments = list(segments)
        self.broken = broken
        self.shut_downs = 0

    def receive(self) -> bytes:
        if self.segments:
            return self.segments.pop(0)
        if self.broken:
            self.state = State.BROKEN
        return b""

    def shut_down(self) -> None:
        self.shut_downs += 1


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def make_inspect(*rules: Rule) -> Callable[[Direction, Frame], list[Order]]:
    book, conversation, counts = Book(100), Conversation(), Counter[Armed]()
    for rule in rules:
        book.add(Armed(rule, lambda: None))
    return lambda direction, frame: book.inspect(conversation.see(direction, frame), counts)


def make_pipe(source: FakeEndpoint, *rules: Rule) -> Pipe:
    return Pipe(Direction.TO_SERVER, source, FakeEndpoint(), make_inspect(*rules))  # type: ignore[arg-type]


def empty(outbox: Outbox) -> list[object]:
    """Take everything out: bytes as bytes, a fault in its place."""
    found: list[object] = []
    while (first := outbox.first) is not None:
        if isinstance(first, Chunk):
            found.append(bytes(first.data))
            outbox.sent(len(first.data))
        else:
            found.append(first.fault if isinstance(first, Order) else first)
            outbox.pop()
    assert outbox.size == 0
    return found


FIRST, SECOND, THIRD = packet(b"aaaa"), packet(b"bbbbbb"), packet(b"cc")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place.BEFORE, [FIRST, Cut(), SECOND + THIRD]),
        (Place.MIDDLE, [FIRST + SECOND[:5], Cut(), SECOND[5:] + THIRD]),
        (Place.AFTER, [FIRST + SECOND, Cut(), THIRD]),
    ],
)
@pytest.mark.parametrize("width", [1, 3, 7, 1000])
def test_fault_stands_at_the_byte(place: Place, expected: list[object], width: int) -> None:
    """Whatever segments the packets come in, the fault strikes before, in the middle of or after the one named."""
    stream = FIRST + SECOND + THIRD
    source = FakeEndpoint(*(stream[at : at + width] for at in range(0, len(stream), width)))
    pipe = make_pipe(source, Rule(Cut(), Where(nth=2, place=place)))
    while source.segments:
        pipe.take_in(0.0)
    assert empty(pipe.outbox) == expected


def test_several_faults_strike_one_packet_in_order() -> None:
    """Rules that meet at one packet strike in the order of its bytes, whichever was armed first."""
    after, before = Rule(Cut(), Where(place=Place.AFTER)), Rule(Drop(), Where())
    pipe = make_pipe(FakeEndpoint(FIRST), after, before)
    pipe.take_in(0.0)
    assert empty(pipe.outbox) == [Drop(), FIRST, Cut()]


def test_delay_sets_a_time_for_one_packet_and_those_behind_wait_for_it() -> None:
    """Each delayed packet is due its seconds after it came; order is kept."""
    pipe = make_pipe(FakeEndpoint(FIRST + SECOND), Rule(Delay(2.0), Where()))
    pipe.take_in(100.0)
    assert isinstance(pipe.outbox.first, Order)  # tells that the fault has struck
    pipe.outbox.pop()
    assert pipe.due(100.0) == 102.0
    assert not pipe.wants_write(101.9)
    assert pipe.wants_write(102.0)
    assert empty(pipe.outbox) == [FIRST, SECOND]


def test_delays_of_packets_that_follow_each_other_do_not_add_up() -> None:
    """A line with a latency of 2 s carries ten packets in little more than 2 s."""
    pipe = make_pipe(FakeEndpoint(FIRST, SECOND), Rule(Delay(2.0), Where(), times=None))
    pipe.take_in(100.0)
    pipe.take_in(100.5)
    dues = []
    while (first := pipe.outbox.first) is not None:
        if isinstance(first, Chunk):
            dues.append(first.due)
            pipe.outbox.sent(len(first.data))
        else:
            pipe.outbox.pop()
    assert dues == [102.0, 102.5]


def test_sender_waits_when_the_buffer_is_full() -> None:
    """What the receiver does not take is not read either, beyond a limit: the sender feels it as on a real line."""
    pipe = make_pipe(FakeEndpoint(*[packet(b"x" * 65532)] * 5))
    while pipe.wants_read:
        pipe.take_in(0.0)
    assert LIMIT <= pipe.outbox.size <= LIMIT + 65536
    pipe.outbox.sent(65536)
    assert pipe.wants_read


@pytest.mark.parametrize("broken", [False, True])
def test_end_of_the_stream_comes_behind_all_bytes(broken: bool) -> None:
    """Bytes of a frame that was never complete included; an end by reset stays one."""
    pipe = make_pipe(FakeEndpoint(FIRST + b"\x09\0", broken=broken))
    pipe.take_in(0.0)
    pipe.take_in(0.0)
    assert empty(pipe.outbox) == [FIRST + b"\x09\0", End(broken)]
    assert not pipe.wants_read


def test_black_hole_swallows_bytes_and_end() -> None:
    """Nothing comes out of it, the sender is read all the same, and it knows that something is missing."""
    pipe = make_pipe(FakeEndpoint(FIRST))
    pipe.swallow()
    assert not pipe.has_swallowed
    pipe.take_in(0.0)
    assert pipe.has_swallowed
    assert not pipe.is_over
    pipe.take_in(0.0)
    assert empty(pipe.outbox) == []
    assert pipe.is_over


def test_black_hole_that_begins_in_the_middle_knows_that_a_piece_is_missing() -> None:
    """What was on its way is swallowed too."""
    pipe = make_pipe(FakeEndpoint(FIRST))
    pipe.take_in(0.0)
    pipe.swallow()
    assert pipe.has_swallowed


def test_ended_direction_tells_the_receiver_once() -> None:
    """The receiver reads the end of the stream; what the sender still says is thrown away."""
    sink = FakeEndpoint()
    pipe = Pipe(Direction.TO_CLIENT, FakeEndpoint(FIRST), sink, make_inspect())  # type: ignore[arg-type]
    pipe.end()
    pipe.take_in(0.0)
    assert (pipe.flow, sink.shut_downs, empty(pipe.outbox)) == (Flow.ENDED, 1, [])


def test_barrier_stays_until_it_is_removed_and_held_packets_stay_held() -> None:
    """What waits for the proxy to heal is let go by that; what a test holds is not."""
    outbox = Outbox()
    held = make_order(Cut())
    outbox.put(b"a")
    outbox.put_first(Barrier(held))
    outbox.put_first(Barrier())
    outbox.remove_barriers()
    assert outbox.first == Barrier(held)


def make_order(fault: Fault) -> Order:
    rule = Rule(fault)
    (order,) = make_inspect(rule)(Direction.TO_SERVER, Frame(*FRAME))
    return order


FRAME = Conversation().framing, b"\x01\0\0\0", b"a", 1
