"""Signals as messages: none is missed, whatever the main thread is at when it strikes."""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from workers import signals
from workers.signals import caught, next_message

PATIENCE = 30.0


def test_signal_that_does_not_end_the_wait_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that strikes right before the wait does not; nor does one that strikes another thread, as it does here."""
    monkeypatch.setattr(signals, "LOOK", 0.05)
    inbox: SimpleQueue[Any] = SimpleQueue()

    def strike() -> None:
        threading.Event().wait(0.1)  # The main thread waits by now; if it does not, the test proves less.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    rescue = threading.Timer(PATIENCE, inbox.put, ["no signal was heard"])
    rescue.start()
    with caught(inbox):
        thread = threading.Thread(target=strike)
        thread.start()
        assert signal.SIGTERM == next_message(inbox)
        thread.join()
    rescue.cancel()


def test_message_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no look every now and then that finds it."""
    monkeypatch.setattr(signals, "LOOK", 10 * PATIENCE)
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Timer(0.05, inbox.put, ["a message"]).start()
    assert "a message" == next_message(inbox)
