"""Where a job runs: the connection that it gets, and what its framework must know of the transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from persistconn.connection import PersistentConnection
from persistconn.errors import ConfigError, NotReplayable
from persistconn.once.line import Line
from persistconn.policy import Policy

_DEFAULT = Policy()
Hooks = Callable[[], None]
"""What is to be done after the job's commit has been proved."""


class Site(Protocol):
    """One database, on the calling thread."""

    @property
    def give_up_after(self) -> float:
        """How long (seconds) a job goes on replaying: the policy's."""

    def connection(self, job: str) -> PersistentConnection:
        """Return the thread's connection, with no transaction open; raises NotReplayable if one is.

        Blocks and raises as a connect does.
        """

    def enter(self) -> None:
        """Have the framework take the open transaction for its own outermost block."""

    def objection(self) -> str | None:
        """Say why the framework would not commit; None if it would."""

    def leave(self) -> Hooks:
        """End what :meth:`enter` began, and return what is to be done after the commit."""


class PlainSite:
    """A managed driver without a framework: ``connect`` returns the thread's connection."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._policy = _DEFAULT

    @property
    def give_up_after(self) -> float:
        """The policy's, as of the last connection."""
        return self._policy.give_up_after

    def connection(self, job: str) -> PersistentConnection:
        """Return what ``connect`` returns, which must be a held connection."""
        line = Line.to(self._connect(), f"using= of the job {job} returned")
        if line.is_open:
            raise outer_transaction(job)
        self._policy = line.opening.policy
        return line.connection

    def enter(self) -> None:
        """Do nothing: there is nobody to tell."""

    def objection(self) -> str | None:
        """Have none."""
        return None

    def leave(self) -> Hooks:
        """Return nothing to do."""
        return nothing


def nothing() -> None:
    """Do what there is to do after a commit that nobody waits for."""


def outer_transaction(job: str) -> NotReplayable:
    """Return the refusal of a job that is called inside a transaction."""
    return NotReplayable(
        f"the job {job} was called inside a transaction that is open already: a job is one transaction of its own,"
        " or nobody could tell whether it was committed. Call it outside, or call the plain function"
        " (job.function) to make it a part of yours; in Django's tests use TransactionTestCase"
    )


def nested(job: str, outer: str) -> NotReplayable:
    """Return the refusal of a job that is called inside another one."""
    return NotReplayable(
        f"the job {job} was called inside the job {outer}, whose replay would call it again: call it after that one,"
        " or call the plain function (job.function) to make it a part of it"
    )


class _Current(threading.local):
    connection: PersistentConnection | None = None
    job: str = ""


CURRENT = _Current()
"""The job that runs on this thread."""


def current() -> PersistentConnection:
    """Return the connection of the job that runs on this thread. Raises ConfigError outside of a job."""
    if CURRENT.connection is None:
        raise ConfigError("persistconn.current() is the connection of a @job that runs on this thread, and none does")
    return CURRENT.connection
