"""One thread per process that does what is due at a deadline, for calls into a library that has no deadline of its own."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable


class Watch:
    """One thing that is due at a deadline, unless it is called off before."""

    __slots__ = ("act", "called_off", "due")

    def __init__(self, due: float, act: Callable[[], object]) -> None:
        self.due = due
        self.act = act
        self.called_off = False

    def call_off(self) -> None:
        """Forget it; the act may be under way already. Any thread."""
        self.called_off = True


class Watchdog:
    """Runs short acts at their deadlines, on a thread of its own.

    A thread per watch would be simpler, but an asynchronous exception that is meant for whoever starts a thread can strike
    the new one instead (CPython gives it the same ident for a moment), and then ``Thread.start()`` never returns. For the
    same reason no lock is taken by those who set a watch: they only put it into a queue.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._set: queue.SimpleQueue[Watch] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread, if this process has none yet."""
        if self._pid != os.getpid():
            incoming: queue.SimpleQueue[Watch] = queue.SimpleQueue()
            # Two threads may come here at once: then there are two watchdogs, and each queue has one.
            threading.Thread(target=self._run, args=(incoming,), name="persistconn-watchdog", daemon=True).start()
            self._pid, self._set = os.getpid(), incoming

    def after(self, seconds: float, act: Callable[[], object]) -> Watch:
        """Run ``act`` after so many seconds, unless the returned watch is called off. ``act`` must not block."""
        self.start()
        watch = Watch(time.monotonic() + seconds, act)
        self._set.put(watch)
        return watch

    @staticmethod
    def _run(incoming: queue.SimpleQueue[Watch]) -> None:
        order = itertools.count()
        waiting: list[tuple[float, int, Watch]] = []
        while True:
            timeout = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else None
            try:
                watch = incoming.get(timeout=timeout)
            except queue.Empty:
                _, _, watch = heapq.heappop(waiting)
                if not watch.called_off:
                    with contextlib.suppress(Exception):
                        watch.act()
            else:
                heapq.heappush(waiting, (watch.due, next(order), watch))
            while waiting and waiting[0][2].called_off:
                heapq.heappop(waiting)
            del watch  # What it would have cut must not live until the next one comes.


WATCHDOG = Watchdog()
