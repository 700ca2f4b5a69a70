"""Many pings of PyMySQL at once: how long each is waited for, and what reading its answer takes. No server, no waiting."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from persistconn.drivers import Driver, driver_for
from persistconn.testing.clock import FakeClock

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
