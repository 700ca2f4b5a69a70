"""Asynchronous exceptions, thrown at random moments into threads that work."""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

HANG = 120.0
"""Seconds without any progress after which a worker hangs; an operation takes milliseconds."""
LONGEST_PAUSE = 0.002
"""Between two exceptions, in seconds: some operations of the workers are hit at once, some late."""
_STEPS_UNTIL_SWALLOWED = 3
_LOOK = 0.0005

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int


class Interrupted(BaseException):
    """Not an ``Exception``, as ``KeyboardInterrupt`` and gevent's timeouts."""


class SoftLimit(Exception):
    """An ``Exception``, as the time limits of task queues."""


KINDS: tuple[type[BaseException], ...] = (Interrupted, SoftLimit)


class Target:
    """A thread that repeats a step, and can be interrupted anywhere in it but while it recovers.

    ``step`` is called until ``stop``; after an exception of :data:`KINDS` ``recover`` is called, undisturbed. Any other
    exception ends the thread and is kept in ``failure``.
    """

    def __init__(self, name: str, step: Callable[[], None], recover: Callable[[], None], stop: threading.Event) -> None:
        self._step = step
        self._recover = recover
        self._stop = stop
        self._released = threading.Event()
        self.pending = False
        """An exception is on its way."""
        self.steps = 0
        self.caught = 0
        self.masked = 0
        """Of those caught, how many came as the context of another error that they had caused."""
        self.failure: str | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        while not self._released.is_set():
            # What is still on its way when the work is over arrives here.
            with contextlib.suppress(*KINDS):
                self._work()
                # The ident of a thread that has ended is given to another one, which must not be struck in its stead.
                self._released.wait()

    def _work(self) -> None:
        while not self._is_over:
            try:
                self._go_on()
            except KINDS:
                self._note()
            except BaseException as error:
                self._note_other(error)

    def release(self) -> None:
        """Let the thread end: nothing will be thrown any more."""
        self._released.set()

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or self.failure is not None

    def _go_on(self) -> None:
        while not self._is_over:
            self._step()
            self.steps += 1

    def _note_other(self, error: BaseException) -> None:
        if self.pending and is_behind(error):
            self.masked += 1
            self._note()
        else:
            self.failure = traceback.format_exc()

    def _note(self) -> None:
        try:
            self._recover()
        except BaseException:
            self.failure = traceback.format_exc()
        self.caught += 1
        self.pending = False

    def throw(self, kind: type[BaseException]) -> None:
        """Send it an exception; it arrives between two of its bytecodes."""
        self.pending = True
        _set_async_exc(ctypes.c_ulong(self.thread.ident or 0), ctypes.py_object(kind))

    def where(self) -> str:
        """Say where the thread is, for the report of a hang."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else "(the thread has ended)"


def is_behind(error: BaseException | None) -> bool:
    """Say whether one of :data:`KINDS` was being raised when this error came."""
    if error is None or isinstance(error, KINDS):
        return error is not None
    return is_behind(error.__context__) or is_behind(error.__cause__)


class Injector:
    """Throws exceptions into targets until so many have been caught, or one of them fails or hangs. One thread."""

    def __init__(self, targets: list[Target], rng: random.Random, *, hang: float = HANG) -> None:
        self._targets = targets
        self._rng = rng
        self._hang = hang
        self.swallowed = 0
        """Thrown, and never seen by the worker: caught on the way, or raised in a finalizer."""
        self.hung: list[str] = []
        self._sent_at: dict[Target, tuple[int, float]] = {}

    def run(self, wanted: int) -> None:
        """Throw until ``wanted`` are caught."""
        while sum(target.caught for target in self._targets) < wanted and not self._is_over():
            free = [target for target in self._targets if not self._is_waiting(target)]
            if free:
                self._throw(self._rng.choice(free))
            time.sleep(self._rng.random() * LONGEST_PAUSE)

    def settle(self) -> None:
        """Wait until whatever is on its way has arrived."""
        while any(self._is_waiting(target) for target in self._targets) and not self._is_over():
            time.sleep(_LOOK)

    def _is_over(self) -> bool:
        return bool(self.hung) or any(target.failure for target in self._targets)

    def _throw(self, target: Target) -> None:
        target.throw(self._rng.choice(KINDS))
        # Counted from here: the steps that it has made before the exception was on its way have not swallowed it.
        self._sent_at[target] = target.steps, time.monotonic()

    def _is_waiting(self, target: Target) -> bool:
        if not target.pending or not target.thread.is_alive():
            return False
        steps, since = self._sent_at[target]
        if target.steps >= steps + _STEPS_UNTIL_SWALLOWED:
            self.swallowed += 1
            target.pending = False
            return False
        if time.monotonic() - since > self._hang:
            self.hung.append(f"{target.thread.name} has not moved for {self._hang:g} s:\n{target.where()}")
        return True


@contextlib.contextmanager
def counting_strays() -> Iterator[list[Any]]:
    """Take note of exceptions of ours that ended where nobody can catch them, instead of printing them.

    In a finalizer; or in a thread that its parent was just starting: until it runs it has its parent's ident.
    """
    seen: list[Any] = []
    previous_unraisable, previous_hook = sys.unraisablehook, threading.excepthook

    def note(kind: type[BaseException] | None) -> bool:
        is_ours = kind is not None and issubclass(kind, KINDS)
        if is_ours:
            seen.append(kind)
        return is_ours

    sys.unraisablehook = lambda unraisable: None if note(unraisable.exc_type) else previous_unraisable(unraisable)
    threading.excepthook = lambda args: None if note(args.exc_type) else previous_hook(args)
    try:
        yield seen
    finally:
        sys.unraisablehook, threading.excepthook = previous_unraisable, previous_hook
