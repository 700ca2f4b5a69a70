"""The watch over the scheduler: one that does not fire any more says nothing of it by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workers.lines import log

EVERY = 5.0
"""Seconds between two looks at the scheduler."""
SILENT = 30.0
"""Seconds without a look at the clock after which a scheduler is stuck: it looks every 5 seconds at least."""


def trouble(is_alive: bool, silent_for: float) -> str | None:
    """Say what is wrong with a scheduler; None if nothing is. ``silent_for`` is in seconds."""
    if not is_alive:
        return "thread has died"
    return f"has not looked at the clock for {silent_for:.0f} s" if silent_for > SILENT else None


class Watchdog:
    """Calls ``look`` every few seconds, on a thread of its own, until it is stopped."""

    def __init__(self, look: Callable[[], None], every: float = EVERY) -> None:
        self._look = look
        self._every = every
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="workers-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more; does not wait."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self._look()
            except Exception:  # The next look may go well, and nobody watches the watchdog
                log.exception("the watchdog failed", extra={"action": "watchdog"})
