"""One thread per process that does what is due at a deadline, for calls into a library that has no deadline of its own."""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable

from persistconn import log


class Token:
    """Goes to whoever takes it first. Any thread; no lock, which an asynchronous exception could leave locked."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = [None]

    def take(self) -> bool:
        """Take it; False if somebody else was quicker."""
        try:
            self._left.pop()  # Atomic.
        except IndexError:
            return False
        return True


class Watch:
    """One thing that is due at a deadline, unless it is called off before."""

    __slots__ = ("act", "due", "turn")

    def __init__(self, due: float, act: Callable[[], object]) -> None:
        self.due = due
        self.act: Callable[[], object] | None = act
        """None once it was called off: the watchdog may keep the watch until it would have been due."""
        self.turn = Token()

    def call_off(self) -> bool:
        """Forget it; False if that came too late, and it is done or under way. Any thread."""
        in_time = self.turn.take()
        if in_time:
            self.act = None
        return in_time


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
                if watch.act is not None and watch.turn.take():
                    _act(watch.act)
            else:
                heapq.heappush(waiting, (watch.due, next(order), watch))
            while waiting and waiting[0][2].act is None:
                heapq.heappop(waiting)
            del watch  # What it would have cut must not live until the next one comes.


def _act(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:
        log.unexpected("what was due at a deadline failed", error)


WATCHDOG = Watchdog()
