"""The errors that persistconn raises, and how they join a driver's own tree.

Callers catch them by these names. What is raised is always an instance of a *bound* class as well, a subclass of the
driver's ``OperationalError`` (see :func:`bind`), so that ``except OperationalError`` and Django's wrapping go on working.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar


class PersistconnError(Exception):
    """The root of all errors of this library."""


class ConfigError(PersistconnError, ValueError):
    """A setting, a module or a cron expression that cannot work; the text names it, its value and the limit."""


class ConnectionLost(PersistconnError):
    """The connection was lost, and going on without a word would lose or double something.

    The driver's error is in ``__cause__``. The connection object stays usable: the next statement runs on a new session.
    """


class TransactionLost(ConnectionLost):
    """The connection was lost inside a transaction: the server has rolled it back.

    Every further statement of the block is refused with this error until ``rollback()`` or ``close()``.
    """


class OutcomeUnknown(ConnectionLost):
    """The connection was lost while a write or a COMMIT was under way: it may have taken effect or not."""


class SessionStateLost(ConnectionLost):
    """The connection was lost with session state that cannot be rebuilt: locks, temporary tables, user variables."""


class DatabaseUnavailable(PersistconnError):
    """No connection could be made for ``give_up_after`` seconds; the last error of the driver is in ``__cause__``."""


class PoolTimeout(PersistconnError):
    """No session of the pool became free within its ``timeout``; the text names the holders, and since when."""


class JobError(PersistconnError):
    """A ``@job`` could not be run, or not be run to its end; the text says why and what became of its effects."""

    token: str | None = None
    """The token of the job in hexadecimal, as ``workers cancel`` takes it; None before there was one."""


class NotReplayable(JobError):
    """The job did, or was given, what cannot be run again safely. Nothing of it took effect."""


class PoisonJob(JobError):
    """The job lost its connection at the same statement again and again: it seems to be the cause. Nothing took effect."""


class TornJob(JobError):
    """A part of the job was committed without the rest, by a statement that commits implicitly. Look at its effects."""


class JobFailed(JobError):
    """The job failed before, and ``on_failure="record"`` made that its outcome; the text tells what it raised then."""


class JobCancelled(JobError):
    """The token was cancelled: the job has no effect, and never will under this token."""


class TokenExpired(JobError):
    """The token is older than what the ledger remembers, so nobody can tell whether it took effect. It did not run now."""


class LedgerError(JobError, ConfigError):
    """The ledger's table is missing, may not be used, or does not fence; no job can run until that is mended."""


LOSSES: tuple[type[PersistconnError], ...] = (
    TransactionLost,
    OutcomeUnknown,
    SessionStateLost,
    ConnectionLost,
    DatabaseUnavailable,
    PoolTimeout,
)

E = TypeVar("E", bound=Exception)


class Bound:
    """The loss errors as subclasses of one ``OperationalError``: ``Bound.TransactionLost`` and so on."""

    ConnectionLost: type[ConnectionLost]
    TransactionLost: type[TransactionLost]
    OutcomeUnknown: type[OutcomeUnknown]
    SessionStateLost: type[SessionStateLost]
    DatabaseUnavailable: type[DatabaseUnavailable]
    PoolTimeout: type[PoolTimeout]

    def __init__(self, operational_error: type[Exception]) -> None:
        bound_parent: type[Any] = type(
            "ConnectionLost", (ConnectionLost, operational_error), _namespace(ConnectionLost)
        )
        self.ConnectionLost = bound_parent
        for base in LOSSES:
            if base is ConnectionLost:
                continue
            parents = (base, bound_parent) if issubclass(base, ConnectionLost) else (base, operational_error)
            setattr(self, base.__name__, type(base.__name__, parents, _namespace(base)))

    def of(self, base: type[PersistconnError]) -> Any:
        """Return the bound class of one of this module's losses."""
        return getattr(self, base.__name__)

    def like(self, error: PersistconnError) -> PersistconnError:
        """Return the same error as an instance of this tree; one that is no loss comes back as it is."""
        for base in LOSSES:
            if isinstance(error, base):
                return self.of(base)(*error.args)  # type: ignore[no-any-return]
        return error


@cache
def bind(operational_error: type[Exception]) -> Bound:
    """Return the loss errors bound to a driver's (or Django's) ``OperationalError``; the same ones each time."""
    return Bound(operational_error)


def _namespace(base: type[Exception]) -> dict[str, Any]:
    # Tracebacks and logs show the public name, not where the class was made, and the text without the number.
    return {"__module__": "persistconn", "__doc__": base.__doc__, "__str__": _text}


def _text(error: Exception) -> str:
    return str(error.args[-1]) if error.args else ""
