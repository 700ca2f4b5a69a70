"""Waiting for what another thread, or the server, is about to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def eventually(claim: Callable[[], object], timeout: float = 10.0) -> None:
    """Return as soon as ``claim()`` is true; ``AssertionError`` if it is not within ``timeout`` seconds."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not claim():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {timeout:g} s")
        pause.wait(0.01)
