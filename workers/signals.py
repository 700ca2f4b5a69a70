"""SIGTERM and SIGINT as messages."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

LOOK = 1.0
"""Seconds after which a wait for a message is begun anew."""


def next_message(inbox: SimpleQueue[Any]) -> Any:
    """Wait for a message, a signal among others, and return it.

    A signal that strikes in the moment before a thread begins to wait does not end the wait, and Python runs its handler
    only behind that: hence the new beginning. The moment is long where other threads keep the interpreter busy.
    """
    while True:
        with suppress(Empty):
            return inbox.get(timeout=LOOK)


@contextmanager
def caught(inbox: SimpleQueue[Any]) -> Iterator[None]:
    """Put each SIGTERM and SIGINT into ``inbox`` as a :class:`signal.Signals`; restores the previous handlers.

    Off the main thread, where Python lets nobody install a handler, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def post(number: int, _frame: FrameType | None) -> None:
        # SimpleQueue.put may be interrupted by itself. Event.set may not: a signal that came while this same thread
        # held the event's lock would hang the process.
        inbox.put(signal.Signals(number))

    previous = {number: signal.signal(number, post) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            # None: it was not Python that had installed it, and Python cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
