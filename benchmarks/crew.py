"""The threads of one contestant, which do its task for as long as a burst lasts."""

from __future__ import annotations

import queue
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

Task = Callable[[], object]
_PATIENCE = 120.0
_WARM_UP = 8
"""Tasks that a thread does before any is measured: they connect, and the first blocks of a run begin one by one."""


@dataclass(frozen=True)
class Burst:
    """What came of one burst. Times in seconds; ``cpu`` is the processor time of the whole process."""

    tasks: int
    seconds: float
    cpu: float
    median: float
    """Of a task."""
    late: float
    """Of a task; one in a hundred takes longer."""

    @property
    def rate(self) -> float:
        """Tasks in a second."""
        return self.tasks / self.seconds

    @property
    def cpu_of_a_task(self) -> float:
        """Seconds of processor time."""
        return self.cpu / self.tasks


class Crew:
    """Threads that live as long as the process. One thread commands it."""

    def __init__(self, on_thread: Callable[[], Task], threads: int) -> None:
        self._on_thread = on_thread
        self._is_over = False
        self._done: queue.SimpleQueue[list[float] | BaseException] = queue.SimpleQueue()
        self._starts: list[queue.SimpleQueue[None]] = []
        for number in range(threads):
            start: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._starts.append(start)
            threading.Thread(target=self._serve, args=(start,), name=f"crew-{number}", daemon=True).start()

    def burst(self, seconds: float, threads: int, meanwhile: Callable[[], object] | None = None) -> Burst:
        """Have the first ``threads`` of them work; ``meanwhile`` is done again and again beside them."""
        self._is_over = False
        cpu, began = time.process_time(), time.perf_counter()
        for start in self._starts[:threads]:
            start.put(None)
        while (left := began + seconds - time.perf_counter()) > 0:
            time.sleep(min(left, 0.02) if meanwhile else left)
            if meanwhile:
                meanwhile()
        self._is_over = True
        times = [self._take() for _ in range(threads)]
        took, used = time.perf_counter() - began, time.process_time() - cpu
        return summed_up([one for each in times for one in each], took, used)

    def _take(self) -> list[float]:
        done = self._done.get(timeout=_PATIENCE)
        if isinstance(done, BaseException):
            raise done
        return done

    def _serve(self, start: queue.SimpleQueue[None]) -> None:
        try:
            task: Task | None = None
            while True:
                start.get()
                # Made with the first burst, so that a crew of which one works has one connection.
                task = task or self._made()
                self._done.put(self._work(task))
        except BaseException as error:
            self._done.put(error)

    def _made(self) -> Task:
        task = self._on_thread()
        for _ in range(_WARM_UP):
            task()
        return task

    def _work(self, task: Task) -> list[float]:
        clock = time.perf_counter
        times: list[float] = []
        before = clock()
        while not self._is_over or not times:
            task()
            now = clock()
            times.append(now - before)
            before = now
        return times


def summed_up(times: list[float], seconds: float, cpu: float) -> Burst:
    """Make a burst of the times of its tasks."""
    ordered = sorted(times)
    return Burst(len(ordered), seconds, cpu, statistics.median(ordered), ordered[(len(ordered) - 1) * 99 // 100])
