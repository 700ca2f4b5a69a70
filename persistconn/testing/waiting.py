"""Waiting for what another thread, or the server, is about to do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE = 30.0
"""Seconds. Generous, because a busy machine is slow: what takes longer hangs."""


def eventually(claim: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Return as soon as ``claim()`` is true; ``AssertionError`` if it is not within ``timeout`` seconds."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not claim():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {timeout:g} s")
        pause.wait(0.01)


@contextlib.contextmanager
def within(timeout: float = PATIENCE) -> Iterator[None]:
    """Fail with an ``AssertionError`` if the block takes longer than ``timeout`` seconds: it waited for what never comes.

    The block is not interrupted. A limit that a busy machine cannot exceed is far above the time that the block needs.
    """
    deadline = time.monotonic() + timeout
    yield
    late = time.monotonic() - deadline
    if late > 0:
        raise AssertionError(f"it took {late + timeout:.1f} s, more than {timeout:g} s")
