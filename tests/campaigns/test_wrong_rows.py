"""A sample of the campaign ``wrong-rows``: 300 asynchronous exceptions for each driver."""

from __future__ import annotations

import threading
from itertools import count

import pytest

SAMPLE = 300
PATIENCE = 30.0


@pytest.mark.server
@pytest.mark.slow
def test_no_exception_at_any_moment_gives_a_query_the_rows_of_another(driver: str) -> None:
    """Each answer is the query's own, the statement after an exception works, nothing hangs, writes are what was said."""
    from campaigns import wrong_rows

    figures = wrong_rows.run(driver, exceptions=SAMPLE, seed=7)
    assert figures.has_held, "\n".join(figures.lines())


def test_an_exception_that_was_swallowed_is_not_taken_for_a_hang() -> None:
    """A worker that goes on although an exception was thrown into it has not seen it, and is thrown another."""
    import random

    from campaigns.interrupting import KINDS, Injector, Target

    swallowed = count()
    stop = threading.Event()

    def step() -> None:
        try:
            for _ in range(100):
                pass
        except KINDS:
            if next(swallowed):
                raise

    target = Target("swallower", step, lambda: None, stop)
    injector = Injector([target], random.Random(1))
    target.thread.start()
    injector.run(1)
    stop.set()
    target.release()
    target.thread.join(PATIENCE)
    assert (1, [], None) == (target.caught, injector.hung, target.failure)


def test_a_worker_that_stands_still_is_reported_with_its_stack() -> None:
    """An exception cannot be delivered to a thread that never comes back to Python: that is a hang."""
    import random

    from campaigns.interrupting import Injector, Target

    stop, entered, released = threading.Event(), threading.Event(), threading.Lock()
    released.acquire()

    def stand_still() -> None:
        entered.set()
        released.acquire()

    target = Target("still", stand_still, lambda: None, stop)
    target.thread.start()
    assert entered.wait(PATIENCE)
    injector = Injector([target], random.Random(1), hang=0.05)
    injector.run(1)
    stop.set()
    released.release()
    target.release()
    target.thread.join(PATIENCE)
    (report,) = injector.hung
    assert "stand_still" in report
