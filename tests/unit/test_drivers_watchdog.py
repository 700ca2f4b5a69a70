"""The watchdog: what is due is done at its time, and what was called off is not."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from persistconn import log
from persistconn.drivers.watchdog import Watchdog
from persistconn.testing import FakeClock
from persistconn.testing.waiting import PATIENCE


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The watchdogs' clock, which stands still until a test moves it."""
    clock = FakeClock()
    monkeypatch.setattr("persistconn.drivers.watchdog.time", SimpleNamespace(monotonic=clock))
    return clock


@contextlib.contextmanager
def kept_busy(watchdog: Watchdog) -> Iterator[None]:
    """Keep the watchdog's thread in an act of its own until the block ends, so that no other act can run before."""
    begun, free = threading.Event(), threading.Event()

    def keep() -> None:
        begun.set()
        free.wait(2 * PATIENCE)

    watchdog.after(0.0, keep)
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        free.set()


def test_acts_come_in_the_order_of_their_deadlines(clock: FakeClock) -> None:
    """Not in that in which they were set."""
    watchdog, done = Watchdog(), queue.SimpleQueue[int]()
    with kept_busy(watchdog):
        for n in (3, 1, 2):
            watchdog.after(n, lambda n=n: done.put(n))
        clock.advance(3)
    assert [done.get(timeout=PATIENCE) for _ in range(3)] == [1, 2, 3]


@pytest.mark.usefixtures("clock")
def test_act_is_not_run_before_its_deadline() -> None:
    """Although it was set first."""
    watchdog, done = Watchdog(), queue.SimpleQueue[str]()
    with kept_busy(watchdog):
        watchdog.after(3600.0, lambda: done.put("later"))
        watchdog.after(0.0, lambda: done.put("now"))
    assert done.get(timeout=PATIENCE) == "now"
    with kept_busy(watchdog):
        assert done.empty()


def test_act_that_was_called_off_is_not_run(clock: FakeClock) -> None:
    """Nor does it keep a later one from running."""
    watchdog, done = Watchdog(), queue.SimpleQueue[str]()
    with kept_busy(watchdog):
        assert watchdog.after(1.0, lambda: done.put("called off")).call_off()
        watchdog.after(2.0, lambda: done.put("due"))
        clock.advance(2.0)
    assert done.get(timeout=PATIENCE) == "due"
    assert done.empty()


def test_act_that_fails_is_told_and_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread goes on: a limit that never cuts would be noticed by nobody."""
    monkeypatch.setattr(log, "_told", set())
    watchdog, done = Watchdog(), threading.Event()
    watchdog.after(0.0, lambda: 1 / 0)
    watchdog.after(0.0, done.set)
    assert done.wait(PATIENCE)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_forked_process_starts_its_own() -> None:
    """The parent's thread is not there."""
    watchdog, done = Watchdog(), threading.Event()
    watchdog.start()
    watchdog._pid = -1  # As the child sees it.
    watchdog.after(0.0, done.set)
    assert done.wait(PATIENCE)
