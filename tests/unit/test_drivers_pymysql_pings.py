"""Many pings of PyMySQL at once: how long each is waited for, and what reading its answer takes. No server, no waiting."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from persistconn import log
from persistconn.drivers import Driver, driver_for
from persistconn.testing.clock import FakeClock

EOF = b"\x05\x00\x00\x01\xfe\x00\x00\x02\x00"
PONG = b"\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"
TIMEOUT = 2.0


class Poll:
    """Looks at real sockets, but lets the clock pass where it would wait."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._poll = clock, select.poll()
        self.register, self.unregister = self._poll.register, self._poll.unregister

    def poll(self, milliseconds: float) -> list[tuple[int, int]]:
        """Find what can be read."""
        found = self._poll.poll(0)
        if not found:
            self._clock.advance(milliseconds / 1000)
        return found


class Peers:
    """Raw connections of a driver, and the servers' ends of their sockets."""

    def __init__(self, driver: Driver, stack: ExitStack) -> None:
        self._driver, self._stack = driver, stack
        self._ends: dict[Any, socket.socket] = {}

    def add(self, answer: bytes = b"") -> Any:
        """Return a raw connection as it is after its login, whose answer has come already."""
        ours, theirs = map(self._stack.enter_context, socket.socketpair())
        ours.settimeout(5.0)  # For a driver that waits without a limit: the test is to fail, and not to hang.
        raw = self._driver._raw_class(user="nobody", defer_connect=True, ssl_disabled=True)  # type: ignore[attr-defined]
        raw._sock, raw._rfile, raw._current_timeout = ours, ours.makefile("rb"), None
        self._stack.callback(self._driver.abandon, raw)
        self._ends[raw] = theirs
        self.answer(raw, answer)
        return raw

    def answer(self, raw: Any, answer: bytes = PONG) -> None:
        """Have the server send something."""
        self._ends[raw].sendall(answer)

    def close(self, raw: Any, *, abruptly: bool = False) -> None:
        """Have the server close its end; abruptly, with what was sent to it unread."""
        if abruptly:
            raw._sock.sendall(b"unread")
        self._ends[raw].close()


@pytest.fixture(params=[True, False], ids=["fast_reads", "driver_reads"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """PyMySQL's; where it is to read by itself, ours is not even made."""
    if not request.param:
        monkeypatch.setattr("persistconn.drivers.pymysql_raw.Answers", None)
    return driver_for(pymysql, fast_reads=request.param)


@pytest.fixture
def peers(driver: Driver) -> Iterator[Peers]:
    """Some that are closed in the end."""
    with ExitStack() as stack:
        yield Peers(driver, stack)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The driver's, which passes only where it waits and where a test says so."""
    clock = FakeClock()
    monkeypatch.setattr("persistconn.drivers.pymysql.time", SimpleNamespace(monotonic=clock))
    waiting = SimpleNamespace(poll=lambda: Poll(clock), POLLIN=select.POLLIN)
    monkeypatch.setattr("persistconn.drivers.pymysql.select", waiting)
    return clock


def test_time_of_a_ping_begins_when_it_is_sent(driver: Driver, peers: Peers, clock: FakeClock) -> None:
    """And not once all are sent: that takes long among busy threads, and the owner of each waits for his own alone."""
    early, late = peers.add(), peers.add()

    def due() -> Iterator[Any]:
        yield early
        for _ in range(50):
            clock.advance(0.03)
            yield peers.add(PONG)
        yield late

    given_up = {raw: clock() for raw, alive in driver.ping(due(), TIMEOUT) if not alive}
    assert given_up == {early: pytest.approx(TIMEOUT), late: pytest.approx(1.5 + TIMEOUT)}


def test_silent_one_is_given_up_while_others_are_still_being_sent(
    driver: Driver, peers: Peers, clock: FakeClock
) -> None:
    """Its owner waits for one ``ping_timeout``, however many come behind it; and it is closed while they are awaited."""
    silent, *others = peers.add(), *[peers.add(PONG) for _ in range(100)]
    given_up: list[float] = []

    def due() -> Iterator[Any]:
        yield silent
        for other in others:
            clock.advance(0.1)
            yield other

    for raw, alive in driver.ping(due(), TIMEOUT):
        if not alive:
            driver.abandon(raw)
            given_up.append(clock())
    assert len(given_up) == 1
    assert TIMEOUT <= given_up[0] < TIMEOUT + 17 * 0.1


def test_answer_that_is_found_late_counts(driver: Driver, peers: Peers, clock: FakeClock) -> None:
    """It is there: that we were kept from looking is not the server's fault."""
    prompt, other = peers.add(PONG), peers.add()
    answers = driver.ping([prompt, other], TIMEOUT)
    assert next(answers) == (prompt, True)
    peers.answer(other)
    clock.advance(10 * TIMEOUT)
    assert list(answers) == [(other, True)]


def test_whole_answer_is_read_without_a_limit(driver: Driver, peers: Peers) -> None:
    """To set one costs more system calls than the ping, and among busy threads each is a queue for the GIL."""
    raws = [peers.add(PONG) for _ in range(20)]
    assert dict(driver.ping(raws, TIMEOUT)) == dict.fromkeys(raws, True)
    assert [raw._current_timeout for raw in raws] == [None] * 20


@pytest.mark.parametrize("length", range(1, len(PONG)))
def test_half_an_answer_is_waited_for_within_the_limit(driver: Driver, peers: Peers, length: int) -> None:
    """The rest may never come."""
    raw = peers.add(PONG[:length])
    assert list(driver.ping([raw], 0.0)) == [(raw, False)]
    assert raw._current_timeout == pytest.approx(0.001)
    assert raw._read_timeout is None


# --- what goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_execute_command", "_read_packet", "_write_bytes"])
def test_name_that_is_gone_is_raised_once_all_are_answered_for(
    driver: Driver, peers: Peers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A ping that cannot be sent, or not be read, is no ping that was not answered."""
    # Other than an OK, no answer is read at one go.
    raws = [peers.add(EOF if name == "_read_packet" else PONG) for _ in range(3)]
    monkeypatch.delattr(pymysql.connections.Connection, name)
    answers = driver.ping(raws, TIMEOUT)
    assert dict(next(answers) for _ in raws) == dict.fromkeys(raws, False)
    with pytest.raises(AttributeError, match=name):
        next(answers)


def test_what_a_lost_connection_raises_is_not_raised(driver: Driver, peers: Peers) -> None:
    """Cut, closed in order, out of turn, with an error for an answer, or closed here."""
    cut, ended, shifted, refused, closed, good = raws = [peers.add() for _ in range(6)]
    peers.close(cut, abruptly=True)
    peers.close(ended)
    peers.answer(shifted, PONG[:3] + b"\x09" + PONG[4:])
    peers.answer(refused, b"\x0b\x00\x00\x01\xff\xbf\x0f#HY000no")
    closed._force_close()
    peers.answer(good)
    left = SimpleNamespace(unbuffered_active=False, has_next=0, insert_id=7)
    for raw in raws:
        raw._result = left
    assert dict(driver.ping(raws, TIMEOUT)) == {**dict.fromkeys(raws, False), good: True}
    assert [raw.insert_id() for raw in raws] == [7] * 6  # Which a connection in its place is given.


@pytest.mark.parametrize("end", ["quit", "abandon"])
@pytest.mark.parametrize("moment", ["_execute_command", "_write_bytes", "register", "poll", "peek", "_read_ok_packet"])
def test_one_that_another_thread_closes_meanwhile_has_not_answered(
    driver: Driver, peers: Peers, monkeypatch: pytest.MonkeyPatch, moment: str, end: str
) -> None:
    """A shutdown closes what the sweep pings, at any moment; that is no defect, and the others' pings go on."""
    before, closing, after = peers.add(PONG), peers.add(PONG), peers.add(PONG)
    close_first(monkeypatch, closing, moment, lambda: getattr(driver, end)(closing))
    assert dict(driver.ping([before, closing, after], TIMEOUT)) == {before: True, closing: False, after: True}


def close_first(monkeypatch: pytest.MonkeyPatch, raw: Any, moment: str, close: Callable[[], None]) -> None:
    """Have a connection closed right before something is done with it."""
    owner: Any = raw if moment.startswith("_") else raw._rfile
    if moment in ("register", "poll"):
        owner, poll = SimpleNamespace(poll=None), select.poll()
        steps = {"register": poll.register, "poll": poll.poll, "unregister": poll.unregister}
        monkeypatch.setattr(
            "persistconn.drivers.pymysql.select", SimpleNamespace(poll=lambda: owner, POLLIN=select.POLLIN)
        )
        owner.__dict__.update(steps)
    do, left = getattr(owner, moment), [close]  # Once: closing peeks as well.

    def closed(*args: Any) -> Any:
        if left and (moment != "register" or args[0] == raw._sock.fileno()):
            left.pop()()
        return do(*args)

    if moment == "peek":
        raw._rfile = SimpleNamespace(peek=closed, close=owner.close, read=owner.read)
    else:
        setattr(owner, moment, closed)


@pytest.mark.parametrize("end", ["quit", "abandon"])
def test_end_never_raises(
    driver: Driver, peers: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    """But it tells, once: sockets that are not closed would add up without a word."""
    monkeypatch.setattr(log, "_told", set())
    raws = [peers.add() for _ in range(3)]
    with monkeypatch.context() as gone:
        gone.delattr(pymysql.connections.Connection, "_force_close")
        for raw in raws:
            getattr(driver, end)(raw)
    for raw in raws:
        getattr(driver, end)(raw)  # Again, which is nothing to tell of.
    (told,) = [record for record in caplog.records if record.exc_info]
    assert "closing a connection failed" in told.getMessage()
    assert "_force_close" in told.getMessage()
