"""The watchdog: what is due is done at its time, and what was called off is not."""

from __future__ import annotations

import queue
import threading

from persistconn.drivers.watchdog import Watchdog


def test_acts_come_in_the_order_of_their_deadlines() -> None:
    """Not in that in which they were set."""
    watchdog, done = Watchdog(), queue.SimpleQueue[int]()
    for n in (3, 1, 2):
        watchdog.after(n / 100, lambda n=n: done.put(n))
    assert [done.get(timeout=5) for _ in range(3)] == [1, 2, 3]


def test_act_that_was_called_off_is_not_run() -> None:
    """Nor does it keep a later one from running."""
    watchdog, done = Watchdog(), queue.SimpleQueue[str]()
    watchdog.after(0.01, lambda: done.put("called off")).call_off()
    watchdog.after(0.02, lambda: done.put("due"))
    assert done.get(timeout=5) == "due"
    assert done.empty()


def test_act_that_fails_is_not_the_last() -> None:
    """The thread goes on."""
    watchdog, done = Watchdog(), threading.Event()
    watchdog.after(0.0, lambda: 1 / 0)
    watchdog.after(0.0, done.set)
    assert done.wait(5)


def test_forked_process_starts_its_own() -> None:
    """The parent's thread is not there."""
    watchdog, done = Watchdog(), threading.Event()
    watchdog.start()
    watchdog._pid = -1  # As the child sees it.
    watchdog.after(0.0, done.set)
    assert done.wait(5)
