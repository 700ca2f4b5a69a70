"""What both service processes have in common: they tell their parent what happens, and do not outlive it."""

from __future__ import annotations

import os
import signal
import sys
import threading

from workers import jobs as jobs_modules
from workers.cli import set_up_logging
from workers.demo.events import Event, encode

GRACE = 3.0
"""Seconds that running jobs get at the end: an interrupted demo is to end soon, be the server up or down."""


class Teller:
    """Writes events to standard output, from any thread. A parent that has gone is told nothing more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Write one line."""
        with self._lock:
            try:
                print(encode(event), flush=True)
            except (OSError, ValueError):
                return


def set_up() -> int:
    """Prepare this process, Django included; returns the number of threads that its parent asked for."""
    set_up_logging("info")
    threading.Thread(target=_end_with_parent, name="demo-parent", daemon=True).start()
    jobs_modules.set_up_django()
    return int(sys.argv[1])


def _end_with_parent() -> None:
    # The parent holds the other end of our standard input, and writes nothing to it. However it ends, we read the end;
    # not through sys.stdin, whose lock a daemon thread may not hold when the interpreter ends.
    if not os.read(0, 1):
        os.kill(os.getpid(), signal.SIGTERM)
