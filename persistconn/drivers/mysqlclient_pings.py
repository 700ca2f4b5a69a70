"""Many pings of mysqlclient at once: each blocks in the library, so each needs a thread while it waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from persistconn.drivers.base import Raw

MOST_THREADS = 256
_KEEP_UP = 0.001
"""Seconds for which the threads that ping may be without an answer before another one starts."""


class Pings:
    """One round of pings. A thread costs more than a ping, so a few of them send all, and more start while peers are silent.

    Its lock guards ``_raws``, ``_waiting`` and ``_is_over``.
    """

    def __init__(self, raws: Iterable[Raw], send: Callable[[Raw], bool]) -> None:
        self._raws = iter(raws)
        self._send = send
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[tuple[Raw, bool]] = queue.SimpleQueue()
        self._waiting: dict[int, Raw] = {}
        self._is_over = False
        self._threads = 0
        self._unexpected: list[Exception] = []

    def run(self, timeout: float) -> Iterator[tuple[Raw, bool]]:
        """Yield each connection with its answer; False for those that have not answered within ``timeout`` seconds.

        What no thread has come to by then is left out. Raises in the end what ``send`` has raised.
        """
        deadline = time.monotonic() + timeout
        self._start()
        while not self._is_done():
            left = deadline - time.monotonic()
            try:
                raw, alive = self._answers.get(timeout=max(min(left, left if self._is_over else _KEEP_UP), 0.0))
            except queue.Empty:
                if left <= 0:
                    break
                if not self._is_over and self._threads < MOST_THREADS:
                    self._start()
                continue
            with self._lock:
                del self._waiting[id(raw)]
            yield raw, alive
        for raw in self._silent():
            # Its thread is inside the library, and comes out now.
            raw.wire.cut()
            yield raw, False
        if self._unexpected:
            raise self._unexpected[0]

    def _is_done(self) -> bool:
        with self._lock:
            return self._is_over and not self._waiting

    def _silent(self) -> list[Raw]:
        with self._lock:
            self._is_over = True
            return list(self._waiting.values())

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._ping, name="persistconn-ping", daemon=True).start()

    def _ping(self) -> None:
        while (raw := self._next()) is not None:
            alive = False
            try:
                alive = self._send(raw)
            except Exception as error:
                self._unexpected.append(error)
            finally:
                self._answers.put((raw, alive))

    def _next(self) -> Raw | None:
        # Only now is it reserved, so that its owner waits for this one ping.
        with self._lock:
            raw = None if self._is_over else next(self._raws, None)
            if raw is None:
                self._is_over = True
            else:
                self._waiting[id(raw)] = raw
            return raw
