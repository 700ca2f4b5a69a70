"""Sees each lost connection that comes out of a task: what a job was never to see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from persistconn.drivers import Fault, faults
from persistconn.errors import ConnectionLost, DatabaseUnavailable
from persistconn.executor import Executor

#: Where the errors of the drivers, and Django's of the same names, are made.
_MODULES = ("pymysql", "MySQLdb", "django.db")
_CLASSES = ("OperationalError", "InterfaceError", "InternalError")
_NOT_CONNECTED = (0, "")


@dataclass(frozen=True)
class Surfaced:
    """One error with the task that it came out of."""

    task: str
    error: BaseException

    def __str__(self) -> str:
        return f"{self.task}: {type(self.error).__name__}: {self.error}"


class Lookout:
    """Notes what comes out of tasks while it watches. Any thread may add to `errors`."""

    def __init__(self) -> None:
        self.errors: list[Surfaced] = []

    def note(self, task: str, error: BaseException) -> None:
        """Note an error if it means a lost connection."""
        if tells_of_loss(error):
            self.errors.append(Surfaced(task, error))

    @property
    def told(self) -> str:
        """What has surfaced, in words; empty if nothing has."""
        count = len(self.errors)
        lines = "\n  ".join(map(str, self.errors))
        head = "1 lost connection" if count == 1 else f"{count} lost connections"
        return f"{head} reached a task:\n  {lines}" if count else ""


def tells_of_loss(error: BaseException) -> bool:
    """Say whether an error, or a cause of it, is a lost connection: told by us, or the driver's raw one."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        if isinstance(link, (ConnectionLost, DatabaseUnavailable)) or _is_raw_loss(link):
            return True
        seen.add(id(link))
        link = link.__cause__
    return False


def _is_raw_loss(error: BaseException) -> bool:
    is_drivers = any(base.__name__ in _CLASSES and base.__module__.startswith(_MODULES) for base in type(error).__mro__)
    if not is_drivers:
        return False
    code = faults.code_of(error)
    if code is None or error.args == _NOT_CONNECTED or code == 0:
        return True
    return faults.of_statement(code) in (Fault.DEFINITE, Fault.AMBIGUOUS)


@contextmanager
def watch() -> Iterator[Lookout]:
    """Watch the tasks that are submitted from here on: of Executor, APScheduler, workers, and bare threads."""
    lookout = Lookout()
    with _executor(lookout), _workers(lookout), _threads(lookout):
        yield lookout


@contextmanager
def _executor(lookout: Lookout) -> Iterator[None]:
    original = Executor._run

    def run(self: Executor, name: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                outcome = fn(*args, **kwargs)
            except BaseException as error:
                lookout.note(name, error)
                raise
            _note_events(lookout, name, outcome)
            return outcome

        return original(self, name, watched, args, kwargs)

    Executor._run = run  # type: ignore[method-assign]
    try:
        yield
    finally:
        Executor._run = original  # type: ignore[method-assign]


def _note_events(lookout: Lookout, task: str, outcome: object) -> None:
    """Look at what APScheduler returns instead of raising."""
    for event in outcome if isinstance(outcome, list) else ():
        error = getattr(event, "exception", None)
        if isinstance(error, BaseException):
            lookout.note(task, error)


@contextmanager
def _workers(lookout: Lookout) -> Iterator[None]:
    from workers.runner import Runner

    original = Runner._tell

    def tell(self: Runner, report: Any) -> None:
        if report.error is not None:
            lookout.note(report.job.name, report.error)
        original(self, report)

    Runner._tell = tell  # type: ignore[method-assign]
    try:
        yield
    finally:
        Runner._tell = original  # type: ignore[method-assign]


@contextmanager
def _threads(lookout: Lookout) -> Iterator[None]:
    original = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            lookout.note(args.thread.name if args.thread else "a thread", args.exc_value)
        original(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = original
